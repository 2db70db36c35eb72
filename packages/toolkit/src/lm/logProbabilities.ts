import {
  arange,
  concat,
  div,
  equal,
  expandDims,
  expm1,
  logSoftmax,
  logSumExp,
  maximum,
  mul,
  slice,
  softmax,
  sub,
  sum,
  type Tensor,
  TensorError,
  where,
  zeros,
} from "@prior-art/tensor";

/** The entry of `values` `[…, classes]` at int32 `indices` `[…]`. */
export const pick = (values: Tensor, indices: Tensor): Tensor =>
  sum(where(equal(expandDims(indices, -1), arange(values.shape.at(-1)!)), values, 0), -1);

/**
 * Logits moved one place on, so that entry `t` is the distribution that token `t` was drawn from: `[batch, length,
 * vocabulary]` to the same shape; entry 0, which nothing predicts, is uniform.
 */
export function predictive(logits: Tensor): Tensor {
  const [batch, length, vocabulary] = logits.shape as [number, number, number];
  if (logits.rank !== 3)
    throw new TensorError("predictive", `takes logits [batch, length, vocabulary], got ${logits.toString()}`);
  return concat([zeros([batch, 1, vocabulary], logits.dtype), slice(logits, null, [0, length - 1])], 1);
}

/**
 * `log p(token t | tokens before t)`, `[batch, length]`, from a model's logits on the same tokens; 0 for the first
 * token, which nothing predicts.
 * @param logits `[batch, length, vocabulary]` @param tokens int32 `[batch, length]`
 */
export function tokenLogProbabilities(logits: Tensor, tokens: Tensor): Tensor {
  if (logits.rank !== 3 || tokens.shape.join() !== logits.shape.slice(0, 2).join())
    throw new TensorError(
      "tokenLogProbabilities",
      `tokens ${tokens.toString()} don't fit logits ${logits.toString()}`,
    );
  const length = logits.shape[1]!;
  const later = pick(logSoftmax(slice(logits, null, [0, length - 1])), slice(tokens, null, [1, length]));
  return concat([zeros([logits.shape[0]!, 1], logits.dtype), later], 1);
}

/** `Σ mask · log p` of each sequence, `[batch]`. */
export const sequenceLogProbability = (logProbabilities: Tensor, mask: Tensor): Tensor =>
  sum(mul(logProbabilities, mask), -1);

/** Entropy of `softmax(logits)` over the last axis, nats. */
export const softmaxEntropy = (logits: Tensor): Tensor =>
  sub(logSumExp(logits, -1), sum(mul(softmax(logits), logits), -1));

/** `Σ p (log p − log q)` over the last axis, nats, of `p = softmax(logits)` and `q = softmax(other)`. */
export function softmaxKl(logits: Tensor, other: Tensor): Tensor {
  const [logP, logQ] = [logSoftmax(logits), logSoftmax(other)];
  return sum(mul(softmax(logits), sub(logP, logQ)), -1);
}

/** Mean of `values` over all places where the float `mask` is 1; 0 where it never is. */
export const maskedMean = (values: Tensor, mask: Tensor): Tensor =>
  div(sum(mul(values, mask)), maximum(sum(mask), 1));

/** Mean over each sequence's masked places, then over sequences: long ones weigh no more than short ones. */
export function sequenceMean(values: Tensor, mask: Tensor): Tensor {
  const each = div(sum(mul(values, mask), -1), maximum(sum(mask, -1), 1));
  return div(sum(each), each.size);
}

/** Which of three estimators of `KL(p ‖ reference)` from samples of `p` (Schulman, 2020). */
export type KlEstimator = "k1" | "k2" | "k3";

/**
 * Estimates of `KL(p ‖ reference)` at sampled tokens, shaped as the log-probabilities. With `u = reference / p`, k1 is
 * `−log u` (unbiased), k2 `½ log² u` (biased, never negative), and k3 `u − 1 − log u` (both unbiased and never
 * negative).
 */
export function klEstimate(kind: KlEstimator, logProbabilities: Tensor, reference: Tensor): Tensor {
  const logRatio = sub(reference, logProbabilities);
  if (kind === "k1") return mul(logRatio, -1);
  if (kind === "k2") return mul(0.5, mul(logRatio, logRatio));
  return sub(expm1(logRatio), logRatio);
}
