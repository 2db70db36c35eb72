import type { LinearOperator } from "@prior-art/toolkit/linalg";

/** A square image of grey levels about 0–1, `[size, size]`, row-major. */
export interface Image {
  readonly size: number;
  readonly values: Float64Array;
}

/** Recover an image from `y = K x + η`, of which K, y and ‖η‖ are known. */
export interface InverseProblem {
  readonly forward: LinearOperator;
  /** y, `[measurements]`. */
  readonly data: Float64Array;
  /** δ = ‖η‖₂. */
  readonly noiseNorm: number;
  /** Side of the image. */
  readonly size: number;
}

/** The interface of the family's inverse problems. */
export type Reconstructor = (problem: InverseProblem) => Image | Promise<Image>;

/** Hyperparameters of a contender that the task tunes. */
export type Hyperparameters = Readonly<Record<string, number>>;

/** What a room provides to enter the family's shared task, tomography of simple phantoms. */
export interface Contender {
  readonly label: string;
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  readonly reconstruct: (problem: InverseProblem, hyperparameters: Hyperparameters) => Image | Promise<Image>;
}
