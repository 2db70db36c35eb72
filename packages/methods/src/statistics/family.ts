import type { Design, Groups } from "@prior-art/toolkit/convex";

/** What an estimator of this family is fitted to. */
export interface RegressionData {
  readonly design: Design;
  /** `[observations]`. */
  readonly response: Float64Array;
  /** Groups of neighbouring variables, for penalties that know groups. */
  readonly groups: Groups;
}

export interface FitOptions {
  /** Largest duality gap, or its counterpart for an estimator without one, as a share of ‖y‖²/2n. Default 1e-6. */
  readonly tolerance?: number;
}

/** One fitted model. */
export interface Fit {
  readonly lambda: number;
  /** β, `[variables]`, of the design as given. */
  readonly coefficients: Float64Array;
  /** Upper bound on how far the objective is from its minimum; NaN for objectives that are not convex. */
  readonly gap: number;
  /** Products of one column of the design with a vector: the unit of work, independent of the machine. */
  readonly columnProducts: number;
  readonly iterations: number;
}

/** The family's interface: a penalized regression with a strength λ. */
export interface Estimator<F extends Fit = Fit> {
  fit(data: RegressionData, lambda: number, options?: FitOptions): F;
  /** Fits a decreasing sequence of strengths, each from the one before. */
  path(data: RegressionData, lambdas: ArrayLike<number>, options?: FitOptions): F[];
  /** Fitted values of new observations, `[observations]`. */
  predict(design: Design, fit: Fit): Float64Array;
}

/** Hyperparameters of a contender that the task tunes; most solvers have none. */
export type Hyperparameters = Readonly<Record<string, number>>;

/**
 * What a room provides to enter the family's shared task: a solver of the group lasso
 * `(1/2n) ‖y − Xβ‖² + λ Σ_g √p_g ‖β_g‖` along a path of strengths.
 */
export interface Contender {
  readonly label: string;
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  /** Solves every strength to the tolerance; the task checks the gaps itself. */
  readonly path: (
    data: RegressionData,
    lambdas: Float64Array,
    options: Required<FitOptions>,
    hyperparameters: Hyperparameters,
  ) => readonly Fit[];
}
