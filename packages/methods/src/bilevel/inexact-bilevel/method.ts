import { addScaled, conjugateGradient, difference, dot, norm } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import { checkedProblem } from "../checkedProblem.ts";
import type { BilevelProblem, SearchOptions, SearchResult, Step } from "../family.ts";
import { countWork } from "../innerSolver.ts";
import { type BilevelConstants, constantsOf, hypergradientErrorBound } from "./errorBound.ts";
import { fistaToTolerance, type LowerSolution, lbfgsToTolerance } from "./lowerSolver.ts";

export { type BilevelConstants, type BoundTerms, hypergradientErrorBound } from "./errorBound.ts";
export { type FistaOptions, fistaToTolerance, type LowerSolution } from "./lowerSolver.ts";

export interface MaidOptions extends BilevelConstants {
  /** First accuracy of the inner solution, ε₀. Default 0.1. */
  readonly epsilon?: number;
  /** First accuracy of the linear solution, δ₀. Default ε₀. */
  readonly delta?: number;
  /** First step α₀. Default 1. */
  readonly stepSize?: number;
  /** Backtracking factor ρ. Default 0.5. */
  readonly shrink?: number;
  /** Growth of the step after success, ρ̄. Default 10/9. */
  readonly grow?: number;
  /** Factor of the accuracies when they do not suffice, ν̲. Default 0.5. */
  readonly tighten?: number;
  /** Factor of the accuracies after success, ν̄. Default 1.05; the paper's quadratic test has 1.25. */
  readonly loosen?: number;
  /** How far below ‖z‖ the error bound must lie: ω ≤ (1 − η)‖z‖. Default 1e-4. */
  readonly eta?: number;
  /** Share λ of the promised decrease that is asked for. Default 1e-4. */
  readonly decrease?: number;
  /** Backtracking steps before the accuracies are tightened, one more after each failure of the same step. Default 10. */
  readonly maxBacktracks?: number;
  /** Whether g is convex, which makes its lower bound sharper (κ = 0). Default true. */
  readonly outerConvex?: boolean;
  /**
   * False keeps ε and δ as they are: a step is taken whatever the error bound says, and the run ends when no step passes the
   * line search. The baseline that the adaptive method is measured against. Default true.
   */
  readonly adaptive?: boolean;
  /** Where the inner solver starts. Default zero. */
  readonly start?: Float64Array;
}

/** An accepted step: `outer` is g at the inner solution x̃ of the new λ. */
export interface MaidStep extends Step {
  readonly epsilon: number;
  readonly delta: number;
  /** Bound of the error of the hypergradient that the step was taken along; 0 for the start. */
  readonly omega: number;
  readonly stepSize: number;
  /** ‖z‖ of that hypergradient. */
  readonly gradientNorm: number;
  /** Inner gradients and products of the linear solver so far; the rest of `work` went into estimating constants. */
  readonly lowerIterations: number;
  readonly cgIterations: number;
}

export interface MaidResult extends SearchResult {
  readonly history: readonly MaidStep[];
  /** Inner solution at the last λ. */
  readonly x: Float64Array;
  /** Why it ended: the work was spent, no step could be certified at the smallest accuracies, or the gradient vanished. */
  readonly end: "work" | "stalled" | "stationary";
}

export interface InexactHypergradient {
  /** z, `[hyperparameters]`. */
  readonly gradient: Float64Array;
  /** Approximate solution of `A q = ∇_x g`. */
  readonly q: Float64Array;
  /** Norm of the linear system's residual. */
  readonly residual: number;
  readonly iterations: number;
}

/**
 * `z = ∇_λ g − Bᵀq` with `‖A q − ∇_x g‖ ≤ δ` by conjugate gradients, A and B the second derivatives of h at an approximate
 * inner solution.
 *
 * @param start Where the linear solver starts, e.g. the last q.
 */
export function inexactHypergradient(
  { inner, outer }: BilevelProblem,
  x: Float64Array,
  lambda: Float64Array,
  delta: number,
  start?: Float64Array,
): InexactHypergradient {
  const right = outer.gradient(x, lambda);
  const solution = conjugateGradient((v) => inner.hessianProduct(x, lambda, v), right, {
    // Below rounding a residual does not fall.
    tolerance: Math.max(delta, 1e-13 * norm(right)),
    ...(start ? { start } : {}),
  });
  const direct = outer.hyperGradient?.(x, lambda) ?? new Float64Array(lambda.length);
  return {
    gradient: addScaled(direct.slice(), -1, inner.crossProduct(x, lambda, solution.x)),
    q: solution.x,
    residual: solution.residualNorm,
    iterations: solution.iterations + (start ? 1 : 0),
  };
}

/** How far g at an inner solution accurate to ε can be from g at the exact one, above and below. */
export function outerUncertainty(
  gradientNorm: number,
  epsilon: number,
  outerSmoothness: number,
  convex: boolean,
): { readonly above: number; readonly below: number } {
  const curvature = 0.5 * outerSmoothness * epsilon ** 2;
  return {
    above: gradientNorm * epsilon + curvature,
    below: gradientNorm * epsilon + (convex ? 0 : curvature),
  };
}

const requireOptions = (options: Readonly<Record<string, number>>): void => {
  const check = (name: string, holds: (value: number) => boolean, range: string): void => {
    if (!holds(options[name]!)) throw new RangeError(`maid: ${name} must be ${range}, got ${options[name]}`);
  };
  for (const name of ["epsilon", "delta", "stepSize"])
    check(name, (value) => value > 0 && Number.isFinite(value), "positive and finite");
  for (const name of ["shrink", "tighten", "eta", "decrease"])
    check(name, (value) => value > 0 && value < 1, "between 0 and 1");
  for (const name of ["grow", "loosen"]) check(name, (value) => value >= 1, "at least 1");
  check("maxBacktracks", (value) => Number.isInteger(value) && value >= 1, "a whole number from 1");
};

/**
 * MAID, the method of adaptive inexact descent: gradient descent on hyperparameters whose inner accuracy ε, linear accuracy δ
 * and step α are chosen on the way.
 *
 * The inner solver stops at `‖∇_x h‖ ≤ με`, which certifies `‖x̃ − x̂‖ ≤ ε`. While the error bound ω of the hypergradient z
 * exceeds (1 − η)‖z‖, so that −z need not be a descent direction, ε and δ are tightened. The line search accepts a step when
 * the largest value that g can have after it lies `ληα‖z‖²` below the smallest that it can have before, so that
 * the exact objective falls; when no step does, ε and δ are tightened, and after a success they are loosened.
 *
 * Within a box, z is the gradient in the free hyperparameters (not at a bound that the step points beyond), steps are projected,
 * and `α‖z‖²` is `‖Δλ‖²/α`; away from the bounds that is the paper's method. Work in `maxWork` counts inner gradients
 * and Hessian products, including those that estimate constants which are not given.
 *
 * @throws RangeError for options out of range, or a start outside the box. @throws Error, naming the hyperparameters, when the
 *   problem returns something that is not finite.
 *
 * @example
 * const solve = maid({ epsilon: 0.1, stepSize: 0.1 });
 * const { lambda, x, history } = solve(problem, { start: Float64Array.of(0), maxWork: 1000, seed: 0 });
 */
export function maid(
  options: MaidOptions = {},
): (problem: BilevelProblem, search: SearchOptions) => MaidResult {
  const {
    epsilon: epsilon0 = 0.1,
    delta: delta0 = epsilon0,
    stepSize = 1,
    shrink = 0.5,
    grow = 10 / 9,
    tighten = 0.5,
    loosen = 1.05,
    eta = 1e-4,
    decrease = 1e-4,
    maxBacktracks = 10,
    outerConvex = true,
    adaptive = true,
  } = options;
  requireOptions({
    epsilon: epsilon0,
    delta: delta0,
    stepSize,
    shrink,
    grow,
    tighten,
    loosen,
    eta,
    decrease,
    maxBacktracks,
  });
  return (uncounted, { start, maxWork, seed }) => {
    if (!(maxWork >= 1)) throw new RangeError(`maid: maxWork must be at least 1, got ${maxWork}`);
    if (options.start && options.start.length !== uncounted.parameters)
      throw new RangeError(
        `maid: the inner start has ${options.start.length} entries, the problem ${uncounted.parameters} parameters`,
      );
    const { problem, work } = countWork(checkedProblem("maid", uncounted, start));
    const { inner, outer, lower, upper } = problem;
    const constants = constantsOf(problem, options, randomStream(seed, "MAID"));
    let [lowerIterations, cgIterations] = [0, 0];
    let end: MaidResult["end"] | undefined;

    const solve = (from: Float64Array, lambda: Float64Array, epsilon: number): LowerSolution => {
      const strongConvexity = inner.strongConvexity(lambda);
      const tolerance = strongConvexity * epsilon;
      const maxIterations = Math.max(1, maxWork - work());
      const solution = options.smoothness
        ? fistaToTolerance((x) => inner.evaluate(x, lambda).gradient, from, {
            smoothness: options.smoothness(lambda),
            strongConvexity,
            tolerance,
            maxIterations,
          })
        : lbfgsToTolerance((x) => inner.evaluate(x, lambda), from, tolerance, maxIterations);
      lowerIterations += solution.iterations;
      return solution;
    };

    /** The part of z along which the box leaves freedom. */
    const free = (z: Float64Array, lambda: Float64Array): Float64Array =>
      z.map((value, j) =>
        (value > 0 && lambda[j]! <= lower[j]!) || (value < 0 && lambda[j]! >= upper[j]!) ? 0 : value,
      );

    let [epsilon, delta, alpha] = [epsilon0, delta0, stepSize];
    let lambda: Float64Array = start.slice();
    let x = solve(options.start ?? new Float64Array(problem.parameters), lambda, epsilon).x;
    let q: Float64Array | undefined;
    const row = (omega: number, gradientNorm: number): MaidStep => ({
      lambda,
      work: work(),
      outer: outer.value(x, lambda),
      epsilon,
      delta,
      omega,
      stepSize: alpha,
      gradientNorm,
      lowerIterations,
      cgIterations,
    });
    const history: MaidStep[] = [row(0, 0)];

    /** Tightens both accuracies and solves again; false when they are down to rounding or the method is not adaptive. */
    const tightened = (): boolean => {
      if (!adaptive || (epsilon <= 1e-13 && delta <= 1e-13)) {
        end = "stalled";
        return false;
      }
      epsilon *= tighten;
      delta *= tighten;
      const solution = solve(x, lambda, epsilon);
      x = solution.x;
      // Short of work, or of digits: nothing smaller can be certified.
      if (!solution.converged) end = work() >= maxWork ? "work" : "stalled";
      return solution.converged;
    };

    /** A hypergradient that is certified to point downhill, or nothing when the work or the accuracies end first. */
    const direction = () => {
      for (;;) {
        const found = inexactHypergradient(problem, x, lambda, delta, q);
        q = found.q;
        cgIterations += found.iterations;
        const outerGradient = outer.gradient(x, lambda);
        const bounds = constants.at(x, lambda, outerGradient, q);
        const omega = hypergradientErrorBound({ ...bounds, epsilon, delta });
        const z = free(found.gradient, lambda);
        const gradientNorm = norm(z);
        if (gradientNorm === 0 && omega <= Number.MIN_VALUE) {
          end = "stationary";
          return undefined;
        }
        if (!adaptive || omega <= (1 - eta) * gradientNorm)
          return { z, gradientNorm, omega, outerSmoothness: bounds.outerSmoothness };
        if (work() >= maxWork || !tightened()) return undefined;
      }
    };

    for (let failures = 0; work() < maxWork && !end; ) {
      const descent = direction();
      if (!descent) break;
      const { z, gradientNorm, omega, outerSmoothness } = descent;
      const uncertainty = (at: Float64Array, hyper: Float64Array) =>
        outerUncertainty(norm(outer.gradient(at, hyper)), epsilon, outerSmoothness, outerConvex);
      const least = outer.value(x, lambda) - uncertainty(x, lambda).below;
      let accepted = false;
      for (let i = 0; i <= maxBacktracks + failures && !accepted && work() < maxWork; i++) {
        const size = shrink ** i * alpha;
        const next = lambda.map((value, j) => Math.min(upper[j]!, Math.max(lower[j]!, value - size * z[j]!)));
        const move = difference(next, lambda);
        const solution = solve(x, next, epsilon);
        if (!solution.converged) continue;
        const most = outer.value(solution.x, next) + uncertainty(solution.x, next).above;
        accepted = most - least <= (-decrease * eta * dot(move, move)) / size;
        if (!accepted) continue;
        [lambda, x, alpha] = [next, solution.x, size];
        history.push(row(omega, gradientNorm));
        alpha *= grow;
        if (adaptive) {
          epsilon *= loosen;
          delta *= loosen;
        }
      }
      if (accepted) {
        failures = 0;
        continue;
      }
      if (work() >= maxWork) continue;
      failures++;
      tightened();
    }
    return { lambda, x, history, end: end ?? "work" };
  };
}
