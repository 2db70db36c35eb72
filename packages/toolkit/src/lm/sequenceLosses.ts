import { neg, type Tensor } from "@prior-art/tensor";
import type { TransformerParams } from "../nn/index.ts";
import { maskedMean, predictive, tokenLogProbabilities } from "./logProbabilities.ts";
import type { Transformer } from "./tokenModel.ts";

/** Texts to learn from. */
export interface TextBatch {
  /** int32 `[batch, length]` */
  readonly tokens: Tensor;
  /** 1 at tokens to be learned, else 0; float, `[batch, length]`. */
  readonly mask: Tensor;
}

/** What a sequence loss sees. */
export interface SequenceBatch extends TextBatch {
  /** Logits that each token is drawn from, `[batch, length, vocabulary]`; entry 0, which nothing predicts, uniform. */
  readonly logits: Tensor;
  /** `log p(token | before)`, `[batch, length]`; 0 at entry 0. */
  readonly logProbabilities: Tensor;
}

/** A loss on texts, one number. */
export type SequenceLoss = (batch: SequenceBatch) => Tensor;

/** Mean negative log-likelihood of the masked tokens, nats: maximum likelihood. */
export const nextTokenLoss: SequenceLoss = ({ logProbabilities, mask }) =>
  neg(maskedMean(logProbabilities, mask));

/** The loss of a transformer's parameters on texts, for `fit` and `trainSteps`. */
export const lossOn =
  (model: Transformer, loss: SequenceLoss = nextTokenLoss) =>
  (params: TransformerParams, { tokens, mask }: TextBatch): Tensor => {
    const logits = model.apply(params, tokens);
    return loss({
      tokens,
      mask,
      logits: predictive(logits),
      logProbabilities: tokenLogProbabilities(logits, tokens),
    });
  };
