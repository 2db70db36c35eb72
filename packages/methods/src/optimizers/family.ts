import type { AnyOptimizer, Mask } from "@prior-art/toolkit/optim";

export type { AnyOptimizer, ClosureOptimizer, GradientTransformation } from "@prior-art/toolkit/optim";

export type Hyperparameters = Readonly<Record<string, number>>;

export interface Budget {
  /** Steps of the whole training, for schedules. */
  readonly steps: number;
}

/** The family's shared problems. */
export type ProblemName = "digitsCnn" | "mnistMlp" | "transformer" | "regression";

/** What a room provides to enter the family's shared task: an optimizer for any tree of parameters. */
export interface Contender {
  /** Name in tables. */
  readonly label: string;
  /** Candidates of all hyperparameters, the learning rate included. */
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  /** The problems that it can enter, such as those with few enough outputs for a Jacobian; all by default. */
  readonly problems?: readonly ProblemName[];
  /** The tensors that it treats in a way of its own, where it leaves others to Adam; all by default. */
  readonly select?: Mask;
  /**
   * Anneals its learning rate over the budget by itself, like the task's baselines by half a cosine. A promise where
   * something must be loaded first.
   */
  readonly optimizer: <P>(
    hyperparameters: Hyperparameters,
    budget: Budget,
    // biome-ignore lint/suspicious/noExplicitAny: each optimizer keeps a state of its own type
  ) => AnyOptimizer<P, any> | Promise<AnyOptimizer<P, any>>;
}

/**
 * The matrices inside a network, for methods that leave embeddings and the last layer to Adam, and that need room for a
 * rank in both sides: neither the ten outputs of a classifier nor the tables of 6 tokens and 24 positions. A network of
 * filters has none, and neither has a linear model.
 */
export const hiddenMatrices: Mask = ({ shape }) => shape.length === 2 && Math.min(...shape) >= 32;

/** The problems with hidden matrices: elsewhere, such a method would be Adam under another name. */
export const withHiddenMatrices = ["mnistMlp", "transformer"] as const satisfies readonly ProblemName[];
