import type { Matrix } from "@prior-art/toolkit/linalg";

/**
 * Choose hyperparameters λ by `min_λ g(X(λ), λ)` with `X(λ) = argmin_x h(x, λ)`: an outer objective, such as a validation loss, of
 * the minimizer of a smooth, strongly convex inner one, such as a penalized training loss.
 */
export interface BilevelProblem {
  /** Size of x. */
  readonly parameters: number;
  /** λ lies in a box: `[hyperparameters]` each. */
  readonly lower: Float64Array;
  readonly upper: Float64Array;
  readonly inner: {
    /** h and ∇_x h. */
    evaluate(
      x: Float64Array,
      lambda: Float64Array,
    ): { readonly value: number; readonly gradient: Float64Array };
    /** ∇²_xx h · v, `[parameters]`. */
    hessianProduct(x: Float64Array, lambda: Float64Array, v: Float64Array): Float64Array;
    /** ∇²_xx h as a matrix, where that is cheaper than one product for each parameter; only to judge solutions by. */
    hessian?(x: Float64Array, lambda: Float64Array): Matrix;
    /** A lower bound of the eigenvalues of ∇²_xx h, which turns a gradient's norm into a distance from the minimizer. */
    strongConvexity(lambda: Float64Array): number;
    /** ∇²_λx h · q, `[hyperparameters]`. */
    crossProduct(x: Float64Array, lambda: Float64Array, q: Float64Array): Float64Array;
  };
  readonly outer: {
    value(x: Float64Array, lambda: Float64Array): number;
    /** ∇_x g. */
    gradient(x: Float64Array, lambda: Float64Array): Float64Array;
    /** ∇_λ g with x held fixed; zero where it is not given. */
    hyperGradient?(x: Float64Array, lambda: Float64Array): Float64Array;
  };
}

/** Hyperparameters whose inner problem a solver has solved to its liking, and the work until then. */
export interface Step {
  readonly lambda: Float64Array;
  /** Inner gradients and Hessian-vector products so far. */
  readonly work: number;
  /** The outer objective as the solver knows it, at an inner solution that may be rough. */
  readonly outer: number;
  /** The solver kept the answer that it had: a candidate worse than the best, a step taken back. */
  readonly rejected?: boolean;
}

export interface SearchOptions {
  /** Where to start, `[hyperparameters]`; methods that need no start ignore it. */
  readonly start: Float64Array;
  /** Inner gradients and Hessian-vector products at which to stop. */
  readonly maxWork: number;
  /** For methods that draw. */
  readonly seed: number;
}

export interface SearchResult {
  /**
   * The last λ that the solver did not reject: the best by its own account for a search, where the descent has come to for a
   * gradient method. The start when the work did not suffice for any.
   */
  readonly lambda: Float64Array;
  /** Every λ that was tried, in order, but not one whose training the end of the work cut short. */
  readonly history: readonly Step[];
}

/** What a solver would have answered after some work; `undefined` before it has anything. */
export function answerAfter(history: readonly Step[], work: number): Float64Array | undefined {
  return history.filter((step) => step.work <= work && !step.rejected).at(-1)?.lambda;
}

/** The family's interface. */
export type HyperparameterSolver = (problem: BilevelProblem, options: SearchOptions) => SearchResult;

/** Hyperparameters of a solver itself, which the task tunes. */
export type Hyperparameters = Readonly<Record<string, number>>;

/** What a room provides to enter the family's shared task. */
export interface Contender {
  readonly label: string;
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  readonly solver: (hyperparameters: Hyperparameters) => HyperparameterSolver;
}
