import type { AnyOptimizer } from "@prior-art/toolkit/optim";

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
