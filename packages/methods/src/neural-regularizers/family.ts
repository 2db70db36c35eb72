import type { Tensor } from "@prior-art/tensor";

/** Where training stands at a step; all hooks of one step get the same. */
export interface Moment {
  /** The step's own randomness: fold it for each use. */
  readonly key: Tensor;
  /** Share of the training steps that are done, in [0, 1), a scalar. */
  readonly progress: Tensor;
  /** Position of the batch's examples in the training set, int32 `[batch]`. */
  readonly indices: Tensor;
}

/** A place in the network whose activations a regularizer may change. */
export interface Site {
  /** `hidden`: units after their nonlinearity. `branch`: what a residual block adds to its input. */
  readonly kind: "hidden" | "branch";
  /** Number of the site among those of its kind, from 0 at the input's side. */
  readonly index: number;
  readonly count: number;
}

/** What a step has computed when the loss is formed. */
export interface Seen<P> {
  readonly params: P;
  /** `[batch, …input]` */
  readonly inputs: Tensor;
  /** `[batch, classes]` */
  readonly logits: Tensor;
  /** Rows sum to 1, `[batch, classes]`. */
  readonly targets: Tensor;
  /** Activations of the sites in order, after the regularizer's hook. */
  readonly activations: readonly { readonly site: Site; readonly value: Tensor }[];
}

/**
 * Hooks into the training of a network; what is missing changes nothing. All are pure functions, for use inside `jit`,
 * `scan` and `vmap`, and none is called in evaluation except `parameters`.
 */
export interface Regularizer<P, S = null> {
  /** The regularizer's own memory before the first step; `null` by default. */
  init?(params: P, task: { readonly examples: number; readonly classes: number }): S;
  /** Inputs of a batch, `[batch, …input]`: noise, mixtures, augmentation. */
  inputs?(inputs: Tensor, moment: Moment): Tensor;
  /** Soft targets of a batch, `[batch, classes]`: smoothing, self-distillation. */
  targets?(targets: Tensor, moment: Moment, state: S): Tensor;
  /** Activations at a site, `[batch, width]`: dropout, stochastic depth. */
  activations?(x: Tensor, site: Site, moment: Moment): Tensor;
  /** The parameters that the network uses in place of those that are trained: reparametrizations. */
  parameters?(params: P): P;
  /** The loss to minimize, from the mean cross-entropy: penalties, other losses. */
  loss?(crossEntropy: Tensor, seen: Seen<P>, moment: Moment, state: S): Tensor;
  /** Gradients for the optimizer. */
  gradients?(gradients: P, params: P, moment: Moment): P;
  /** Memory for the next step, from what this one has seen. */
  update?(state: S, seen: Seen<P>, moment: Moment): S;
}

export type Hyperparameters = Readonly<Record<string, number>>;

/** What a room provides to enter the family's shared task. */
export interface Contender {
  /** Name in tables. */
  readonly label: string;
  /** Candidates of the regularizer's hyperparameters; the task adds those of the optimizer. */
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  // biome-ignore lint/suspicious/noExplicitAny: made for any network, with a memory of its own type
  readonly regularizer: (hyperparameters: Hyperparameters) => Regularizer<any, any>;
}
