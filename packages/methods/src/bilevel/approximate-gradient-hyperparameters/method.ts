import { addScaled, conjugateGradient, norm } from "@prior-art/toolkit/linalg";
import type { BilevelProblem, HyperparameterSolver, SearchResult, Step } from "../family.ts";
import { countWork, gradientScale, type InnerSolution, trainInner } from "../innerSolver.ts";

/** How the tolerance ε_k falls: `0.1/k²`, `0.1/k³`, `0.1 · 0.9^k` for ε_0 = 0.1 and a factor of 0.9, or always 1e-12. */
export type Schedule = "quadratic" | "cubic" | "exponential" | "exact";

export interface ToleranceOptions {
  /** Default exponential. */
  readonly schedule?: Schedule;
  /** ε_0. Default 0.1. */
  readonly epsilon0?: number;
  /** Of the exponential schedule. Default 0.9. */
  readonly factor?: number;
}

export interface HoagOptions extends ToleranceOptions {
  /** 1/L fixed, or adapted to what steps achieve (default). */
  readonly stepSize?: "adaptive" | number;
  /** Default none: the work ends it. */
  readonly maxIterations?: number;
}

export interface Hypergradient {
  /** p, `[hyperparameters]`. */
  readonly gradient: Float64Array;
  /** Solution of `∇²_xx h q = ∇_x g`. */
  readonly q: Float64Array;
}

/** Tolerances below this are rounding. */
const SMALLEST = 1e-12;

/** ε_k of the iteration k = 1, 2, …. */
export function toleranceAt(
  k: number,
  { schedule = "exponential", epsilon0 = 0.1, factor = 0.9 }: ToleranceOptions = {},
): number {
  switch (schedule) {
    case "quadratic":
      return Math.max(SMALLEST, epsilon0 / k ** 2);
    case "cubic":
      return Math.max(SMALLEST, epsilon0 / k ** 3);
    case "exponential":
      return Math.max(SMALLEST, epsilon0 * factor ** k);
    case "exact":
      return SMALLEST;
  }
}

/**
 * The gradient of the outer objective in λ by implicit differentiation at a (rough) inner solution,
 * `p = ∇_λ g − ∇²_λx h q` with `∇²_xx h q = ∇_x g` solved by conjugate gradients.
 *
 * @param tolerance Residual of the linear system at which to stop.
 * @param start Where the linear solver starts, e.g. the last q.
 */
export function hypergradient(
  { inner, outer }: BilevelProblem,
  x: Float64Array,
  lambda: Float64Array,
  tolerance: number,
  start?: Float64Array,
): Hypergradient {
  const { x: q } = conjugateGradient((v) => inner.hessianProduct(x, lambda, v), outer.gradient(x, lambda), {
    tolerance,
    ...(start ? { start } : {}),
  });
  const direct = outer.hyperGradient?.(x, lambda) ?? new Float64Array(lambda.length);
  return { gradient: addScaled(direct, -1, inner.crossProduct(x, lambda, q)), q };
}

/** Constants of the acceptance test as in the author's code, here in units of the first outer value. */
const C = 0.25;
const M = 1;

/**
 * The least tolerances that are asked for: of the inner gradient relative to its size at zero, of the linear system's residual
 * relative to the right side. Beyond them an exact gradient gains nothing and rounding is close.
 */
const FLOOR = 1e-8;

/**
 * HOAG: gradient descent on hyperparameters with approximate gradients (algorithm 1). Iteration k trains the model, from
 * where the last training ended, until `‖∇_x h‖ ≤ ε_k μ`, μ being the strong convexity, which certifies `‖x − X(λ)‖ ≤ ε_k`;
 * solves the linear system of the implicit gradient, from the last q, until its residual is at most ε_k; and takes a projected
 * step of size 1/L. All are absolute; neither is asked for beyond 1e-8 of the gradient's size at zero and of the right side.
 *
 * With an adaptive step, L starts at `‖p_1‖/√dim`, and a step is judged by the outer values before and after it. If it is as
 * good as promised, up to the tolerances, L falls by 5%; if not, the step is taken back and L doubles (the paper enlarges it
 * too; the author's code only takes back a step that made things worse by a fifth).
 *
 * @throws RangeError when a fixed step is not positive.
 *
 * @example
 * const solve = hoag({ schedule: "exponential" });
 * const { lambda } = solve(problem, { start: Float64Array.of(0), maxWork: 1000, seed: 0 });
 */
export function hoag({
  stepSize = "adaptive",
  maxIterations = Number.POSITIVE_INFINITY,
  ...tolerances
}: HoagOptions = {}): HyperparameterSolver {
  if (stepSize !== "adaptive" && !(stepSize > 0))
    throw new RangeError(`hoag: stepSize must be positive or "adaptive", got ${stepSize}`);
  return (uncounted, { start, maxWork }): SearchResult => {
    const { problem, work } = countWork(uncounted);
    const { outer, lower, upper } = problem;
    const project = (lambda: Float64Array): Float64Array =>
      lambda.map((value, j) => Math.min(upper[j]!, Math.max(lower[j]!, value)));
    const least = FLOOR * gradientScale(uncounted, start);
    const train = (from: Float64Array, at: Float64Array, epsilon: number): InnerSolution =>
      trainInner(
        problem,
        from,
        at,
        Math.max(least, epsilon * problem.inner.strongConvexity(at)),
        Math.max(1, maxWork - work()),
      );
    const gradientAt = (
      at: Float64Array,
      lambda: Float64Array,
      epsilon: number,
      q?: Float64Array,
    ): Hypergradient =>
      hypergradient(problem, at, lambda, Math.max(epsilon, FLOOR * norm(outer.gradient(at, lambda))), q);

    const history: Step[] = [];
    let lambda = project(start);
    let previousEpsilon = toleranceAt(1, tolerances);
    const begun = train(new Float64Array(problem.parameters), lambda, previousEpsilon);
    if (!begun.finished) return { lambda, history };
    let { x } = begun;
    let value = outer.value(x, lambda);
    let { gradient, q } = gradientAt(x, lambda, previousEpsilon);
    const size = norm(gradient) / Math.sqrt(lambda.length);
    let lipschitz = stepSize === "adaptive" ? (size > 1e-3 ? size : 1) : 1 / stepSize;
    history.push({ lambda, work: work(), outer: value });
    const first = Math.abs(value);
    for (let k = 2; k <= maxIterations && work() < maxWork; k++) {
      const epsilon = toleranceAt(k, tolerances);
      const next = project(addScaled(lambda.slice(), -1 / lipschitz, gradient));
      const moved = norm(addScaled(next.slice(), -1, lambda));
      if (moved === 0 && epsilon <= SMALLEST) break;
      const { x: nextX, finished } = train(x, next, epsilon);
      if (!finished) break;
      const nextValue = outer.value(nextX, next);
      const slack = first * (C * epsilon + previousEpsilon * (C + M) * moved);
      const promised = value + slack - 0.5 * lipschitz * moved * moved;
      const rejected = stepSize === "adaptive" && nextValue > promised;
      history.push({ lambda: next, work: work(), outer: nextValue, rejected });
      if (rejected) {
        lipschitz *= 2;
        continue;
      }
      if (stepSize === "adaptive") lipschitz *= 0.95;
      ({ gradient, q } = gradientAt(nextX, next, epsilon, q));
      previousEpsilon = epsilon;
      [lambda, x, value] = [next, nextX, nextValue];
    }
    return { lambda, history };
  };
}
