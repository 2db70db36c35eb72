import { difference, dot, powerIteration } from "../linalg/index.ts";
import { column, correlations, type Design, fittedValues } from "./design.ts";
import { type Groups, groupNorms, groupSize } from "./groups.ts";
import { dualityGap, type RegressionSolution, requireRegression } from "./leastSquares.ts";
import { groupPenalty } from "./penalty.ts";
import { softThreshold } from "./prox.ts";

export interface CoordinateDescentOptions {
  /** Stops when the duality gap is at most this times ‖y‖²/2n. Default 1e-8. */
  readonly tolerance?: number;
  /** Passes over all or over the active variables. Default 10,000. */
  readonly maxPasses?: number;
  readonly start?: Float64Array;
}

export interface ElasticNet {
  readonly design: Design;
  readonly response: Float64Array;
  /** λ ≥ 0. */
  readonly lambda: number;
  /** Share of the ℓ1 norm: 1 (default) is the lasso, towards 0 it becomes ridge regression; in (0, 1]. */
  readonly l1Ratio?: number;
}

/**
 * Coordinate descent for `(1/2n) ‖y − Xβ‖² + λ (ρ ‖β‖₁ + ½ (1 − ρ) ‖β‖²)`, cycling over the variables that are not zero
 * between full passes (Friedman, Hastie and Tibshirani 2010).
 *
 * @throws RangeError when sizes do not fit, λ is negative or ρ is outside (0, 1].
 */
export function elasticNet(
  { design: x, response, lambda, l1Ratio = 1 }: ElasticNet,
  { tolerance = 1e-8, maxPasses = 10_000, start }: CoordinateDescentOptions = {},
): RegressionSolution {
  requireRegression({ design: x, response, lambda });
  if (!(l1Ratio > 0 && l1Ratio <= 1))
    throw new RangeError(`elasticNet: l1Ratio must be in (0, 1], got ${l1Ratio}`);
  const n = x.observations;
  const l1 = lambda * l1Ratio;
  const l2 = lambda * (1 - l1Ratio);
  const stop = (tolerance * dot(response, response)) / (2 * n);
  const curvature = Float64Array.from({ length: x.variables }, (_, j) => dot(column(x, j), column(x, j)) / n);
  const beta = start?.slice() ?? new Float64Array(x.variables);
  const residual = difference(response, fittedValues(x, beta));
  let products = x.variables;

  /** Largest decrease of the objective that one coordinate gave, roughly. */
  const sweep = (variables: Iterable<number>): number => {
    let largest = 0;
    for (const j of variables) {
      if (curvature[j] === 0) continue;
      const values = column(x, j);
      const old = beta[j]!;
      const next = softThreshold(dot(values, residual) / n + curvature[j]! * old, l1) / (curvature[j]! + l2);
      products++;
      if (next === old) continue;
      beta[j] = next;
      for (let i = 0; i < n; i++) residual[i]! += (old - next) * values[i]!;
      products++;
      largest = Math.max(largest, curvature[j]! * (next - old) ** 2);
    }
    return largest;
  };

  let passes = 0;
  let gap = elasticNetGap(x, response, l1, l2, beta, residual);
  products += x.variables;
  while (gap > stop && passes < maxPasses) {
    sweep(beta.keys());
    passes++;
    const active = [...beta.keys()].filter((j) => beta[j] !== 0);
    // Solving the active variables further than the gap that remains is wasted: others may be missing.
    const enough = 0.01 * Math.max(stop / 10, Math.min(gap, stop));
    while (passes < maxPasses) {
      passes++;
      if (sweep(active) <= enough) break;
    }
    gap = elasticNetGap(x, response, l1, l2, beta, residual);
    products += x.variables;
  }
  return { coefficients: beta, iterations: passes, columnProducts: products, gap, converged: gap <= stop };
}

/** The duality gap of the elastic net; with a ridge part every residual is dual feasible. */
function elasticNetGap(
  x: Design,
  response: Float64Array,
  l1: number,
  l2: number,
  beta: Float64Array,
  residual: Float64Array,
): number {
  const n = x.observations;
  const correlation = correlations(x, residual);
  let penalty = 0;
  let conjugate = 0;
  let strongest = 0;
  for (let j = 0; j < x.variables; j++) {
    penalty += l1 * Math.abs(beta[j]!) + 0.5 * l2 * beta[j]! ** 2;
    const size = Math.abs(correlation[j]!) / n;
    strongest = Math.max(strongest, size);
    if (l2 > 0) conjugate += Math.max(0, size - l1) ** 2 / (2 * l2);
  }
  let scale = 1;
  if (l2 === 0) {
    const free = dot(residual, response) / Math.max(dot(residual, residual), Number.MIN_VALUE);
    const limit = strongest > 0 ? l1 / strongest : Number.POSITIVE_INFINITY;
    scale = Math.min(limit, Math.max(-limit, free));
  }
  let dual = -conjugate;
  for (let i = 0; i < n; i++)
    dual += (response[i]! ** 2 - (response[i]! - scale * residual[i]!) ** 2) / (2 * n);
  return dot(residual, residual) / (2 * n) + penalty - dual;
}

export interface GroupLasso {
  readonly design: Design;
  readonly response: Float64Array;
  readonly lambda: number;
  readonly groups: Groups;
  /** w_g, `[groups]`. Default √(group size). */
  readonly weights?: ArrayLike<number>;
}

/**
 * Block coordinate descent for `(1/2n) ‖y − Xβ‖² + λ Σ_g w_g ‖β_g‖`: a proximal gradient step on one group after the
 * other, each with its own group's curvature.
 *
 * @throws RangeError when sizes do not fit or λ is negative.
 */
export function groupLasso(
  { design: x, response, lambda, groups, weights }: GroupLasso,
  { tolerance = 1e-8, maxPasses = 10_000, start }: CoordinateDescentOptions = {},
): RegressionSolution {
  requireRegression({ design: x, response, lambda });
  if (groups.starts[groups.count] !== x.variables)
    throw new RangeError(`groupLasso: groups of ${groups.starts[groups.count]} variables for ${x.variables}`);
  const n = x.observations;
  const w = weights ?? Float64Array.from({ length: groups.count }, (_, g) => Math.sqrt(groupSize(groups, g)));
  const penalty = groupPenalty(groups, w);
  const stop = (tolerance * dot(response, response)) / (2 * n);
  const beta = start?.slice() ?? new Float64Array(x.variables);
  const residual = difference(response, fittedValues(x, beta));
  let products = x.variables;
  const curvature = new Float64Array(groups.count);

  const curvatureOf = (g: number): number => {
    if (curvature[g] === 0) {
      const { value, iterations } = powerIteration((v) => blockGram(x, groups, g, v), groupSize(groups, g), {
        tolerance: 1e-4,
        maxIterations: 50,
      });
      products += 2 * iterations * groupSize(groups, g);
      // The estimate comes from below; a step must not be too long.
      curvature[g] = Math.max((1.01 * value) / n, Number.MIN_VALUE);
    }
    return curvature[g]!;
  };
  const sweep = (chosen: Iterable<number>): number => {
    let largest = 0;
    for (const g of chosen) {
      const [from, to] = [groups.starts[g]!, groups.starts[g + 1]!];
      const gradient = Float64Array.from(
        { length: to - from },
        (_, k) => dot(column(x, from + k), residual) / n,
      );
      products += to - from;
      const zero = beta.subarray(from, to).every((value) => value === 0);
      if (zero && Math.sqrt(dot(gradient, gradient)) <= lambda * w[g]!) continue;
      const constant = curvatureOf(g);
      const moved = gradient.map((value, k) => beta[from + k]! + value / constant);
      const length = Math.sqrt(dot(moved, moved));
      const scale = Math.max(0, 1 - (lambda * w[g]!) / (constant * length));
      for (let k = 0; k < moved.length; k++) {
        const change = scale * moved[k]! - beta[from + k]!;
        if (change === 0) continue;
        beta[from + k] = scale * moved[k]!;
        const values = column(x, from + k);
        for (let i = 0; i < n; i++) residual[i]! -= change * values[i]!;
        products++;
        largest = Math.max(largest, constant * change * change);
      }
    }
    return largest;
  };

  const problem = { design: x, response, lambda, penalty };
  const check = (): number => {
    products += x.variables;
    return dualityGap(problem, beta, residual);
  };
  let passes = 0;
  let gap = check();
  while (gap > stop && passes < maxPasses) {
    sweep(Array(groups.count).keys());
    passes++;
    const norms = groupNorms(groups, beta);
    const active = [...norms.keys()].filter((g) => norms[g]! > 0);
    while (passes < maxPasses) {
      passes++;
      if (sweep(active) <= 1e-2 * stop) break;
    }
    gap = check();
  }
  return { coefficients: beta, iterations: passes, columnProducts: products, gap, converged: gap <= stop };
}

/** X_gᵀ X_g v. */
function blockGram(x: Design, groups: Groups, g: number, v: Float64Array): Float64Array {
  const image = new Float64Array(x.observations);
  v.forEach((weight, k) => {
    const values = column(x, groups.starts[g]! + k);
    for (let i = 0; i < image.length; i++) image[i]! += weight * values[i]!;
  });
  return v.map((_, k) => dot(column(x, groups.starts[g]! + k), image));
}
