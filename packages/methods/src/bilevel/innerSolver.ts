import { lbfgs } from "@prior-art/toolkit/convex";
import {
  addScaled,
  choleskyFactor,
  choleskySolve,
  dot,
  type Matrix,
  matrix,
  norm,
} from "@prior-art/toolkit/linalg";
import type { BilevelProblem } from "./family.ts";

export interface WorkCount {
  readonly problem: BilevelProblem;
  /** Inner gradients and Hessian-vector products so far. */
  readonly work: () => number;
}

/** The same problem, with its inner gradients and Hessian-vector products counted. */
export function countWork(problem: BilevelProblem): WorkCount {
  let count = 0;
  const { inner } = problem;
  return {
    problem: {
      ...problem,
      inner: {
        ...inner,
        evaluate: (x, lambda) => {
          count++;
          return inner.evaluate(x, lambda);
        },
        hessianProduct: (x, lambda, v) => {
          count++;
          return inner.hessianProduct(x, lambda, v);
        },
      },
    },
    work: () => count,
  };
}

export interface InnerSolution {
  readonly x: Float64Array;
  /** False when the limit ended the training; true also where rounding forbids the tolerance. */
  readonly finished: boolean;
}

/** Steps of L-BFGS without a smaller value or a smaller gradient after which rounding is all that is left. */
const PATIENCE = 100;

/**
 * x with `‖∇_x h(x, λ)‖ ≤ tolerance`, or as close as rounding lets it come, by L-BFGS from `start`.
 *
 * @param limit Inner gradients after which no further step is begun. Default 2,000.
 */
export function trainInner(
  { inner }: BilevelProblem,
  start: Float64Array,
  lambda: Float64Array,
  tolerance: number,
  limit = 2000,
): InnerSolution {
  let leastValue = Number.POSITIVE_INFINITY;
  let leastGradient = Number.POSITIVE_INFINITY;
  let isBetter = false;
  let idle = 0;
  let spent = 0;
  const { x, converged } = lbfgs(
    (at) => {
      const found = inner.evaluate(at, lambda);
      const size = norm(found.gradient);
      if (size < 0.99 * leastGradient || found.value < leastValue - 1e-14 * Math.abs(leastValue))
        isBetter = true;
      leastGradient = Math.min(leastGradient, size);
      leastValue = Math.min(leastValue, found.value);
      return found;
    },
    {
      start,
      tolerance,
      maxIterations: limit,
      onIteration: ({ evaluations }) => {
        spent = evaluations;
        idle = isBetter ? 0 : idle + 1;
        isBetter = false;
        return spent >= limit || idle >= PATIENCE;
      },
    },
  );
  return { x, finished: converged || spent < limit };
}

/** The point of {@link trainInner} alone. */
export function solveInner(...training: Parameters<typeof trainInner>): Float64Array {
  return trainInner(...training).x;
}

/** ‖∇_x h(0, λ)‖: what inner tolerances are relative to. */
export function gradientScale({ inner, parameters }: BilevelProblem, lambda: Float64Array): number {
  return norm(inner.evaluate(new Float64Array(parameters), lambda).gradient);
}

/**
 * X(λ) to rounding, by Newton's method on the dense Hessian: what solvers are judged by, not what they are charged for.
 *
 * @throws Error when the gradient does not vanish.
 */
export function exactSolution(
  problem: BilevelProblem,
  lambda: Float64Array,
  start?: Float64Array,
): Float64Array {
  const origin = new Float64Array(problem.parameters);
  // A start from another λ may be where the Hessian says nothing; the origin is not.
  const found = (start && newton(problem, lambda, start)) ?? newton(problem, lambda, origin);
  if (!found) throw new Error("exactSolution: the gradient does not vanish");
  return found;
}

/** `undefined` when the gradient does not vanish in 100 steps. */
function newton(
  problem: BilevelProblem,
  lambda: Float64Array,
  start: Float64Array,
): Float64Array | undefined {
  const { inner } = problem;
  const stop = 1e-11 * (1 + gradientScale(problem, lambda));
  let x = start;
  let { value, gradient } = inner.evaluate(x, lambda);
  for (let step = 0; step < 100; step++) {
    if (norm(gradient) <= stop) return x;
    const direction = choleskySolve(choleskyFactor(denseHessian(problem, x, lambda)), gradient);
    const slope = dot(gradient, direction);
    let size = 1;
    let next = addScaled(x.slice(), -size, direction);
    let found = inner.evaluate(next, lambda);
    const isProgress = (): boolean =>
      found.value <= value - 1e-4 * size * slope ||
      // Close to the minimum values no longer tell, but gradients do.
      (found.value - value <= 1e-12 * Math.abs(value) && norm(found.gradient) < norm(gradient));
    while (size > 1e-9 && !isProgress()) {
      size /= 2;
      next = addScaled(x.slice(), -size, direction);
      found = inner.evaluate(next, lambda);
    }
    // Newton's method converges quadratically; where it no longer does, rounding is all that is left.
    if (norm(found.gradient) > 0.1 * norm(gradient) && norm(gradient) <= 1e6 * stop) return x;
    x = next;
    ({ value, gradient } = found);
  }
  return undefined;
}

/** g(X(λ), λ), exactly. */
export function exactOuter(problem: BilevelProblem, lambda: Float64Array, start?: Float64Array): number {
  return problem.outer.value(exactSolution(problem, lambda, start), lambda);
}

/** g(X(λ), λ) and its gradient in λ by a direct solve of the implicit system. */
export function exactValueAndGradient(
  problem: BilevelProblem,
  lambda: Float64Array,
  start?: Float64Array,
): { readonly value: number; readonly gradient: Float64Array; readonly x: Float64Array } {
  const { inner, outer } = problem;
  const x = exactSolution(problem, lambda, start);
  const q = choleskySolve(choleskyFactor(denseHessian(problem, x, lambda)), outer.gradient(x, lambda));
  const direct = outer.hyperGradient?.(x, lambda) ?? new Float64Array(lambda.length);
  return {
    value: outer.value(x, lambda),
    gradient: addScaled(direct, -1, inner.crossProduct(x, lambda, q)),
    x,
  };
}

/**
 * A local minimum of the outer objective within the problem's bounds, exactly, from the best of some starts: what solvers are
 * measured against. The bounds are kept by a logistic change of variables.
 */
export function leastOuter(problem: BilevelProblem, starts: readonly Float64Array[]): number {
  const { lower, upper } = problem;
  const share = (u: number): number => 1 / (1 + Math.exp(-u));
  const inside = (u: Float64Array): Float64Array =>
    u.map((value, j) => lower[j]! + (upper[j]! - lower[j]!) * share(value));
  let x: Float64Array | undefined;
  const objective = (lambda: Float64Array) => {
    const found = exactValueAndGradient(problem, lambda, x);
    x = found.x;
    return found;
  };
  const values = starts.map((lambda) => objective(lambda).value);
  const best = starts[values.indexOf(Math.min(...values))]!;
  // A start on a bound moves a hair inside, where the change of variables still has a slope.
  const start = best.map((value, j) => {
    const within = Math.min(0.999, Math.max(0.001, (value - lower[j]!) / (upper[j]! - lower[j]!)));
    return Math.log(within / (1 - within));
  });
  // The value is off by the square of the gradient that is left.
  const tolerance = 1e-5 * Math.min(...values.map(Math.abs));
  const { value } = lbfgs(
    (u) => {
      const found = objective(inside(u));
      const gradient = found.gradient.map(
        (g, j) => g * (upper[j]! - lower[j]!) * share(u[j]!) * (1 - share(u[j]!)),
      );
      return { value: found.value, gradient };
    },
    { start, tolerance, maxIterations: 30 },
  );
  return Math.min(value, ...values);
}

function denseHessian({ inner, parameters }: BilevelProblem, x: Float64Array, lambda: Float64Array): Matrix {
  if (inner.hessian) return inner.hessian(x, lambda);
  const hessian = matrix(parameters, parameters);
  const unit = new Float64Array(parameters);
  for (let j = 0; j < parameters; j++) {
    unit[j] = 1;
    hessian.values.set(inner.hessianProduct(x, lambda, unit), j * parameters);
    unit[j] = 0;
  }
  return hessian;
}
