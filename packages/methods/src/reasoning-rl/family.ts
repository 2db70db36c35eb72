import type { HyperparameterValue, SearchSpace } from "@prior-art/toolkit/experiment";
import type { PolicyObjective } from "@prior-art/toolkit/lm";

/** What the family's methods are: log-probabilities, rewards and masks in, a loss out. */
export type { PolicyBatch, PolicyObjective } from "@prior-art/toolkit/lm";

/** An entry in the family's shared task. */
export interface Contender {
  readonly label: string;
  /** `learningRate` (Adam's) is the task's; all other names go to `objective`. */
  readonly space?: SearchSpace;
  readonly fixed?: Readonly<Record<string, HyperparameterValue>>;
  /** The loss of each round's completions. */
  readonly objective: (hyperparameters: Readonly<Record<string, number>>) => PolicyObjective;
}
