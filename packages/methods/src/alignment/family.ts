import type { HyperparameterValue, SearchSpace } from "@prior-art/toolkit/experiment";
import type { TextBatch, TokenModel, Transformer } from "@prior-art/toolkit/lm";
import type { TransformerParams } from "@prior-art/toolkit/nn";
import type { LearnedReward } from "./rewardModel.ts";

/** What the family's methods are. */
export type {
  PolicyRegularizer,
  PreferenceBatch,
  PreferenceLoss,
  PreferenceSide,
  RewardModel,
} from "@prior-art/toolkit/lm";

/** A reference policy and preferences between its words; the gold reward behind them is out of sight. */
export interface AlignmentTask {
  readonly model: Transformer;
  /** Of the reference policy. */
  readonly reference: TransformerParams;
  /** Pairs of words, row for row; the chosen one was preferred. */
  readonly chosen: TextBatch;
  readonly rejected: TextBatch;
  /** A reward model trained on the pairs, the same for all who ask. */
  readonly rewardModel: () => Promise<LearnedReward>;
  /** Gradient steps allowed, on `batchSize` pairs or words each. */
  readonly steps: number;
  readonly batchSize: number;
  /** The only source of randomness. */
  readonly seed: number;
}

/** An entry in the family's shared task: a way to align. */
export interface Contender {
  readonly label: string;
  readonly space?: SearchSpace;
  readonly fixed?: Readonly<Record<string, HyperparameterValue>>;
  /** Aligns within the task's steps and returns the policy to be sampled from. */
  readonly align: (
    task: AlignmentTask,
    hyperparameters: Readonly<Record<string, number>>,
  ) => Promise<TokenModel<unknown>>;
}
