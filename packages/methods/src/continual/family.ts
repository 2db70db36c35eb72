import type { Tensor } from "@prior-art/tensor";

/** A number, or a scalar tensor where the value is known only in the graph (a sweep under `vmap`). */
export type Scalar = number | Tensor;

/** Examples of the task at hand. */
export interface Examples {
  /** `[examples, …input]` */
  readonly inputs: Tensor;
  /** int32 `[examples]` */
  readonly labels: Tensor;
}

/** What a learner sees in a step. */
export interface LearnerStep<P> {
  readonly params: P;
  /** The mini-batch. */
  readonly batch: Examples;
  /** The network's outputs on it, `[batch, classes]`. */
  readonly logits: Tensor;
  /** The network at other parameters and inputs: replayed examples, old models. */
  readonly predict: (params: P, inputs: Tensor) => Tensor;
  /** The step's own randomness. */
  readonly key: Tensor;
}

/** What a learner sees between tasks. */
export interface TaskBoundary<P> {
  readonly params: P;
  /** All training examples of the task that begins or has ended. */
  readonly task: Examples;
  readonly predict: (params: P, inputs: Tensor) => Tensor;
  readonly key: Tensor;
}

/**
 * How a network learns one task after another without forgetting, or without losing the ability to learn. All hooks are
 * pure functions over trees of tensors, for use inside `jit`, `scan` and `vmap`; what is missing changes nothing. The
 * memory keeps its shapes, so that one compiled loop serves all tasks.
 */
export interface ContinualLearner<P, S = null> {
  /** The memory before the first task; `null` by default. */
  init?(params: P, network: { readonly inputs: number; readonly classes: number; readonly key: Tensor }): S;
  /** Memory and parameters at the start of a task. */
  beforeTask?(state: S, boundary: TaskBoundary<P>): { readonly state: S; readonly params: P };
  /** The loss to minimize, from the batch's mean cross-entropy: penalties, replay, distillation. */
  loss?(crossEntropy: Tensor, step: LearnerStep<P>, state: S): Tensor;
  /** Gradients for the optimizer: projections, masks. */
  gradients?(gradients: P, step: LearnerStep<P>, state: S): P;
  /** Memory and parameters after the optimizer's step. */
  afterStep?(state: S, step: LearnerStep<P>): { readonly state: S; readonly params: P };
  /** Memory at the end of a task. */
  afterTask?(state: S, boundary: TaskBoundary<P>): S;
}

export type Hyperparameters = Readonly<Record<string, number>>;

/** What a room provides to enter the family's shared task. */
export interface Contender {
  /** Name in tables. */
  readonly label: string;
  /** Candidates of the learner's hyperparameters; the task adds those of the optimizer. */
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  // biome-ignore lint/suspicious/noExplicitAny: made for any network, with a memory of its own type
  readonly learner: (hyperparameters: Hyperparameters) => ContinualLearner<any, any>;
}
