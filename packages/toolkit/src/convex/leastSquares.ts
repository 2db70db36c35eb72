import { addScaled, difference, dot, powerIteration } from "../linalg/index.ts";
import { correlations, type Design, fittedValues } from "./design.ts";
import type { NormPenalty } from "./penalty.ts";

/** `(1/2n) ‖y − Xβ‖² + λ Ω(β)`, n observations. */
export interface PenalizedRegression {
  readonly design: Design;
  /** y, `[observations]`. */
  readonly response: Float64Array;
  readonly penalty: NormPenalty;
  /** λ ≥ 0. */
  readonly lambda: number;
}

export interface RegressionSolution {
  /** β, `[variables]`. */
  readonly coefficients: Float64Array;
  readonly iterations: number;
  /** Products of one column with a vector of observations, the unit of work of all solvers. */
  readonly columnProducts: number;
  /** Upper bound on how far the objective is from its minimum. */
  readonly gap: number;
  readonly converged: boolean;
}

export interface LeastSquaresOptions {
  /** Stops when the duality gap is at most this times ‖y‖²/2n. Default 1e-8. */
  readonly tolerance?: number;
  /** Default 10,000. */
  readonly maxIterations?: number;
  /** Default zero. */
  readonly start?: Float64Array;
  /** Momentum with gradient restart (default `true`), momentum alone, or none. */
  readonly momentum?: boolean | "no-restart";
  /** The gradient's Lipschitz constant ‖X‖²/n; estimated by power iteration when not given. */
  readonly lipschitz?: number;
  /** Iterations between computations of the gap. Default 10. */
  readonly checkEvery?: number;
}

/**
 * λ_max: the smallest λ whose solution is zero, `Ω°(Xᵀy)/n`.
 */
export function largestLambda({ design, response, penalty }: Omit<PenalizedRegression, "lambda">): number {
  return penalty.dualNorm(correlations(design, response)) / design.observations;
}

/** `count` values from `largest` down to `ratio · largest`, evenly spaced in logarithm. */
export function lambdaPath(largest: number, count: number, ratio: number): Float64Array {
  if (!(count >= 1 && ratio > 0 && ratio <= 1))
    throw new RangeError(`lambdaPath: needs count ≥ 1 and ratio in (0, 1], got ${count} and ${ratio}`);
  return Float64Array.from(
    { length: count },
    (_, k) => largest * ratio ** (count === 1 ? 0 : k / (count - 1)),
  );
}

/**
 * The duality gap at β: the residual, scaled into the dual's feasible set, bounds the objective's minimum from below.
 *
 * @param residual y − Xβ, if known.
 * @param correlation Xᵀ(y − Xβ), if known.
 */
export function dualityGap(
  { design, response, penalty, lambda }: PenalizedRegression,
  coefficients: Float64Array,
  residual: Float64Array = difference(response, fittedValues(design, coefficients)),
  correlation: Float64Array = correlations(design, residual),
): number {
  const n = design.observations;
  const strength = penalty.dualNorm(correlation) / n;
  // The best point of the ray through the residual that is feasible.
  const free = dot(residual, response) / Math.max(dot(residual, residual), Number.MIN_VALUE);
  const limit = strength > 0 ? lambda / strength : Number.POSITIVE_INFINITY;
  const scale = Math.min(limit, Math.max(-limit, free));
  const primal = dot(residual, residual) / (2 * n) + lambda * penalty.value(coefficients);
  const distance = addScaled(response.slice(), -scale, residual);
  const dual = (dot(response, response) - dot(distance, distance)) / (2 * n);
  return primal - dual;
}

/**
 * Solves a penalized regression by FISTA with restart, certified by the duality gap.
 *
 * Fitted values are carried along, so that an iteration costs one product with Xᵀ and one with the columns of X whose
 * coefficients are not zero.
 *
 * @throws RangeError when sizes do not fit or λ is negative.
 */
export function solveLeastSquares(
  problem: PenalizedRegression,
  {
    tolerance = 1e-8,
    maxIterations = 10_000,
    start,
    momentum = true,
    lipschitz,
    checkEvery = 10,
  }: LeastSquaresOptions = {},
): RegressionSolution {
  requireRegression(problem);
  const { design: x, response, penalty, lambda } = problem;
  const n = x.observations;
  const stop = (tolerance * dot(response, response)) / (2 * n);
  let products = 0;
  const fit = (beta: Float64Array): Float64Array => {
    products += beta.reduce((count, value) => count + (value === 0 ? 0 : 1), 0);
    return fittedValues(x, beta);
  };
  const correlate = (residual: Float64Array): Float64Array => {
    products += x.variables;
    return correlations(x, residual);
  };
  let constant = lipschitz;
  if (constant === undefined) {
    const { value } = powerIteration((v) => correlate(fit(v)), x.variables, {
      tolerance: 1e-2,
      maxIterations: 20,
    });
    constant = value / n;
  }
  let beta: Float64Array = start?.slice() ?? new Float64Array(x.variables);
  let fitted = fit(beta);
  let point = beta;
  let pointFitted = fitted;
  let t = 1;
  let iterations = 0;
  const check = (): number => {
    const residual = difference(response, fitted);
    return dualityGap(problem, beta, residual, correlate(residual));
  };
  let gap = check();
  while (gap > stop && iterations < maxIterations) {
    iterations++;
    const gradient = correlate(difference(pointFitted, response));
    let next: Float64Array;
    let nextFitted: Float64Array;
    for (;;) {
      const step = 1 / constant;
      next = penalty.prox(
        point.map((value, j) => value - (step / n) * gradient[j]!),
        lambda * step,
      );
      nextFitted = fit(next);
      // The power iteration underestimates: ‖X d‖²/n ≤ L ‖d‖² is what the step needs.
      const move = difference(next, point);
      const image = difference(nextFitted, pointFitted);
      if (dot(image, image) / n <= constant * dot(move, move) * (1 + 1e-12)) break;
      constant *= 1.1;
    }
    const uphill = (): boolean => {
      let product = 0;
      for (let j = 0; j < next.length; j++) product += (next[j]! - point[j]!) * (next[j]! - beta[j]!);
      return product < 0;
    };
    if (momentum === false || (momentum === true && uphill())) t = 1;
    const following = momentum === false ? 1 : (1 + Math.sqrt(1 + 4 * t * t)) / 2;
    const weight: number = (t - 1) / following;
    point = next.map((value, j) => value + weight * (value - beta[j]!));
    pointFitted = nextFitted.map((value, i) => value + weight * (value - fitted[i]!));
    beta = next;
    fitted = nextFitted;
    t = following;
    if (iterations % checkEvery === 0 || iterations === maxIterations) gap = check();
  }
  return { coefficients: beta, iterations, columnProducts: products, gap, converged: gap <= stop };
}

/** Throws a RangeError unless sizes fit and λ ≥ 0. */
export function requireRegression({
  design,
  response,
  lambda,
}: {
  readonly design: Design;
  readonly response: ArrayLike<number>;
  readonly lambda: number;
}): void {
  if (response.length !== design.observations)
    throw new RangeError(`regression: ${response.length} responses for ${design.observations} observations`);
  if (!(lambda >= 0)) throw new RangeError(`regression: lambda must not be negative, got ${lambda}`);
}
