import type { Tensor } from "@prior-art/tensor";

/** What a network makes of inputs. */
export interface Outputs {
  /** `[batch, classes]` */
  readonly logits: Tensor;
  /** What the last layer sees, `[batch, features]`. */
  readonly features: Tensor;
}

/** A mini-batch as an objective sees it; what an objective leaves alone costs nothing. */
export interface RobustBatch extends Outputs {
  /** `[batch, …input]` */
  readonly inputs: Tensor;
  /** Observed labels, which may be wrong, int32 `[batch]`. */
  readonly labels: Tensor;
  /** Position of each example in the training set, int32 `[batch]`: where its own state is kept. */
  readonly indices: Tensor;
  /** Group or domain of each example, int32 `[batch]`; 0 where there is only one. */
  readonly groups: Tensor;
  /** The network at other inputs: attacks, augmented views. */
  readonly predict: (inputs: Tensor) => Outputs;
}

export interface RobustTask {
  /** Training examples. */
  readonly examples: number;
  readonly classes: number;
  readonly groups: number;
}

/**
 * What training minimizes so that a network withstands wrong labels, spurious correlations, shifted domains or attacks.
 * Pure functions, for use inside `jit`, `scan` and `vmap`; derivatives are taken of the loss, never of the state.
 */
export interface RobustObjective<S> {
  /** The state before the first step: running targets, group weights, or `null`. */
  init(task: RobustTask): S;
  /** The loss of a batch, one number, and the state for the next step. */
  loss(batch: RobustBatch, state: S): readonly [loss: Tensor, state: S];
}

export type Hyperparameters = Readonly<Record<string, number>>;

/** What a room provides to enter the family's shared task. */
export interface Contender {
  /** Name in tables. */
  readonly label: string;
  /** Candidates of the objective's hyperparameters; the task adds those of the optimizer. */
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  // biome-ignore lint/suspicious/noExplicitAny: each objective keeps a state of its own type
  readonly objective: (hyperparameters: Hyperparameters) => RobustObjective<any>;
}
