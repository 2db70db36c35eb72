import { dot, matrix } from "../linalg/index.ts";
import { describePlan, requireProblem, type TransportPlan, type TransportProblem } from "./problem.ts";

export interface SinkhornOptions {
  /** ε > 0, in units of cost: the plan minimizes `⟨T, C⟩ + ε Σ T (log T − 1)`. */
  readonly epsilon: number;
  /** Largest marginal error ‖T1 − a‖₁. Default 1e-9. */
  readonly tolerance?: number;
  /** Default 10,000. */
  readonly maxIterations?: number;
  /** Log-domain potential of the target to start from, `[n]`. Default zero. */
  readonly start?: Float64Array;
}

/**
 * Entropy-regularized transport by Sinkhorn's iteration, stable for any ε: scalings are plain products with a kernel, and go into
 * the potentials, among logarithms, whenever they outgrow it (Schmitzer 2019).
 *
 * @throws RangeError when ε is not positive or the problem does not fit together.
 */
export function sinkhorn(
  problem: TransportProblem,
  { epsilon, tolerance = 1e-9, maxIterations = 10_000, start }: SinkhornOptions,
): TransportPlan {
  requireProblem("sinkhorn", problem);
  if (!(epsilon > 0)) throw new RangeError(`sinkhorn: epsilon must be positive, got ${epsilon}`);
  const { cost, source, target } = problem;
  const { rows: m, columns: n, values: c } = cost;
  const f = new Float64Array(m);
  const g = start?.slice() ?? new Float64Array(n);
  const logSource = source.map(Math.log);
  const logTarget = target.map(Math.log);
  const scratch = new Float64Array(Math.max(m, n));
  const columnMax = new Float64Array(n);
  const columnSum = new Float64Array(n);

  const updateSource = (): void => {
    for (let i = 0; i < m; i++) {
      let largest = Number.NEGATIVE_INFINITY;
      for (let j = 0, at = i * n; j < n; j++, at++) {
        scratch[j] = (g[j]! - c[at]!) / epsilon;
        if (scratch[j]! > largest) largest = scratch[j]!;
      }
      let sum = 0;
      for (let j = 0; j < n; j++) sum += Math.exp(scratch[j]! - largest);
      f[i] = epsilon * (logSource[i]! - largest - Math.log(sum));
    }
  };
  // Row after row, as the costs lie in memory.
  const updateTarget = (): void => {
    columnMax.fill(Number.NEGATIVE_INFINITY);
    for (let i = 0, at = 0; i < m; i++)
      for (let j = 0; j < n; j++, at++) {
        const value = f[i]! - c[at]!;
        if (value > columnMax[j]!) columnMax[j] = value;
      }
    columnSum.fill(0);
    for (let i = 0, at = 0; i < m; i++)
      for (let j = 0; j < n; j++, at++) columnSum[j]! += Math.exp((f[i]! - c[at]! - columnMax[j]!) / epsilon);
    for (let j = 0; j < n; j++) g[j] = epsilon * (logTarget[j]! - Math.log(columnSum[j]!)) - columnMax[j]!;
  };

  const kernel = new Float64Array(m * n);
  const fillKernel = (): void => {
    for (let i = 0, at = 0; i < m; i++)
      for (let j = 0; j < n; j++, at++) kernel[at] = Math.exp((f[i]! + g[j]! - c[at]!) / epsilon);
  };
  let u: Float64Array = new Float64Array(m).fill(1);
  let v: Float64Array = new Float64Array(n).fill(1);
  const absorb = (): void => {
    for (let i = 0; i < m; i++) f[i]! += epsilon * Math.log(u[i]!);
    for (let j = 0; j < n; j++) g[j]! += epsilon * Math.log(v[j]!);
    u.fill(1);
    v.fill(1);
  };
  updateSource();
  updateTarget();
  fillKernel();

  let iterations = 1;
  let converged = false;
  for (; iterations < maxIterations; iterations++) {
    const sums = rowProducts(kernel, v, m);
    // The columns are exact after the update before, so that the rows' error is all.
    const error = sums.reduce((total, sum, i) => total + Math.abs(u[i]! * sum - source[i]!), 0);
    converged = error <= tolerance;
    if (converged) break;
    const nextU = source.map((mass, i) => mass / sums[i]!);
    const columns = columnProducts(kernel, nextU, n);
    const nextV = target.map((mass, j) => mass / columns[j]!);
    if (moderate(nextU) && moderate(nextV)) [u, v] = [nextU, nextV];
    else {
      // Scalings that outgrow the kernel go into the potentials, and this iteration happens among logarithms.
      absorb();
      updateSource();
      updateTarget();
      fillKernel();
    }
  }
  absorb();
  fillKernel();
  const plan = matrix(m, n, kernel);
  return describePlan(problem, plan, { iterations, converged, potentials: { source: f, target: g } });
}

/** Σ_j K_ij v_j. */
function rowProducts(kernel: Float64Array, v: Float64Array, m: number): Float64Array {
  const n = v.length;
  const result = new Float64Array(m);
  for (let i = 0; i < m; i++) result[i] = dot(kernel.subarray(i * n, (i + 1) * n), v);
  return result;
}

/** Σ_i K_ij u_i. */
function columnProducts(kernel: Float64Array, u: Float64Array, n: number): Float64Array {
  const result = new Float64Array(n);
  for (let i = 0, at = 0; i < u.length; i++) {
    const weight = u[i]!;
    for (let j = 0; j < n; j++, at++) result[j]! += weight * kernel[at]!;
  }
  return result;
}

/** Whether all factors are far from overflow, which also rules out NaN. */
function moderate(factors: Float64Array): boolean {
  return factors.every((factor) => factor > 1e-30 && factor < 1e30);
}
