import type { HyperparameterValue, SearchSpace } from "@prior-art/toolkit/experiment";
import type { TextBatch, Transformer } from "@prior-art/toolkit/lm";
import type { TransformerParams } from "@prior-art/toolkit/nn";

/** What the family's methods are: weights reparametrized, or another loss on texts, or both. */
export type { Adapter, SequenceBatch, SequenceLoss } from "@prior-art/toolkit/lm";

/** A pretrained model and the texts that it is to learn. */
export interface FineTuningTask {
  readonly model: Transformer;
  readonly base: TransformerParams;
  readonly texts: TextBatch;
  /** Gradient steps allowed, on `batchSize` texts each. */
  readonly steps: number;
  readonly batchSize: number;
  /** The only source of randomness. */
  readonly seed: number;
}

/** An entry in the family's shared task: a way to fine-tune. */
export interface Contender {
  readonly label: string;
  readonly space?: SearchSpace;
  readonly fixed?: Readonly<Record<string, HyperparameterValue>>;
  /** Fine-tunes within the task's steps and returns the weights in effect. */
  readonly fineTune: (
    task: FineTuningTask,
    hyperparameters: Readonly<Record<string, number>>,
  ) => Promise<TransformerParams>;
}
