import { matrix } from "../linalg/index.ts";
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
 * Entropy-regularized transport by Sinkhorn's iteration on the potentials, in the logarithmic domain: stable for any ε.
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

  let iterations = 0;
  let converged = false;
  const oldF = new Float64Array(m);
  while (!converged && iterations < maxIterations) {
    iterations++;
    oldF.set(f);
    updateSource();
    // The row sums of the plan before this update were a exp((f_old − f)/ε).
    if (iterations > 1) {
      let error = 0;
      for (let i = 0; i < m; i++) error += source[i]! * Math.abs(Math.expm1((oldF[i]! - f[i]!) / epsilon));
      converged = error <= tolerance;
    }
    updateTarget();
  }
  const plan = matrix(m, n);
  for (let i = 0, at = 0; i < m; i++)
    for (let j = 0; j < n; j++, at++) plan.values[at] = Math.exp((f[i]! + g[j]! - c[at]!) / epsilon);
  return describePlan(problem, plan, { iterations, converged, potentials: { source: f, target: g } });
}
