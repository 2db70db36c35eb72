import {
  abs,
  arange,
  argmax,
  cast,
  equal,
  expandDims,
  lessEqual,
  logSoftmax,
  mean,
  mul,
  neg,
  softplus,
  sub,
  sum,
  type Tensor,
  TensorError,
  where,
} from "@prior-art/tensor";

export interface LossOptions {
  /** The mean of all losses (default), or each on its own. */
  readonly reduction?: "mean" | "none";
}

const reduced = (losses: Tensor, { reduction = "mean" }: LossOptions): Tensor =>
  reduction === "mean" ? mean(losses) : losses;

const requireSame = (op: string, x: Tensor, y: Tensor): void => {
  if (x.shape.join() !== y.shape.join() || x.dtype !== y.dtype)
    throw new TensorError(
      op,
      `takes two tensors of one shape and dtype, got ${x.toString()} and ${y.toString()}`,
    );
};

function requireTargets(op: string, scores: Tensor, targets: Tensor): void {
  const classes = scores.shape.at(-1);
  const wanted = (targets.dtype === "int32" ? scores.shape.slice(0, -1) : scores.shape).join();
  if (classes === undefined || targets.shape.join() !== wanted)
    throw new TensorError(op, `targets ${targets.toString()} don't fit logits ${scores.toString()}`);
}

/** `-Σ target · log p`, where a target of 0 counts nothing even at `log 0`. */
function surprise(logProbabilities: Tensor, targets: Tensor): Tensor {
  if (targets.dtype !== "int32")
    return neg(sum(mul(targets, where(equal(targets, 0), 0, logProbabilities)), -1));
  const chosen = equal(expandDims(targets, -1), arange(logProbabilities.shape.at(-1)!));
  return neg(sum(where(chosen, logProbabilities, 0), -1));
}

/**
 * `-Σ target · log p` from log-probabilities `[…, classes]`, in nats; targets as in `crossEntropy`.
 * @throws TensorError when targets don't fit.
 */
export function negativeLogLikelihood(
  logProbabilities: Tensor,
  targets: Tensor,
  options: LossOptions = {},
): Tensor {
  requireTargets("negativeLogLikelihood", logProbabilities, targets);
  return reduced(surprise(logProbabilities, targets), options);
}

export interface CrossEntropyOptions extends LossOptions {
  /** Share of each target that is spread over all classes alike (Szegedy et al., 2016), 0 by default. */
  readonly smoothing?: number;
}

/**
 * `-Σ target · log softmax(logits)`, in nats. Classes may be ruled out by logits of `-∞`.
 * @param logits `[…, classes]`
 * @param targets int32 labels `[…]` (one out of range counts as a loss of 0, unless smoothed) or soft targets
 *   `[…, classes]`
 * @throws TensorError when targets don't fit. @throws RangeError unless `0 ≤ smoothing ≤ 1`.
 */
export function crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { smoothing = 0 } = options;
  if (!(smoothing >= 0 && smoothing <= 1))
    throw new RangeError(`crossEntropy: smoothing is in [0, 1], got ${smoothing}`);
  requireTargets("crossEntropy", logits, targets);
  const logProbabilities = logSoftmax(logits);
  const sharp = surprise(logProbabilities, targets);
  if (smoothing === 0) return reduced(sharp, options);
  return reduced(sub(mul(1 - smoothing, sharp), mul(smoothing, mean(logProbabilities, -1))), options);
}

/**
 * `-y log σ(z) - (1 - y) log(1 - σ(z))` from logits `z` and targets `y` in [0, 1] of one shape, without overflow.
 * @throws TensorError when shapes or dtypes differ.
 */
export function binaryCrossEntropy(logits: Tensor, targets: Tensor, options: LossOptions = {}): Tensor {
  requireSame("binaryCrossEntropy", logits, targets);
  return reduced(sub(softplus(logits), mul(logits, targets)), options);
}

/** `(prediction - target)²`. @throws TensorError when shapes or dtypes differ: nothing broadcasts. */
export function meanSquaredError(predictions: Tensor, targets: Tensor, options: LossOptions = {}): Tensor {
  requireSame("meanSquaredError", predictions, targets);
  const error = sub(predictions, targets);
  return reduced(mul(error, error), options);
}

export interface HuberOptions extends LossOptions {
  /** Where the square turns into a line, 1 by default. */
  readonly delta?: number;
}

/**
 * `e²/2` up to `|e| = delta`, then `delta · (|e| - delta/2)` (Huber, 1964).
 * @throws TensorError when shapes or dtypes differ. @throws RangeError unless `delta > 0`.
 */
export function huber(predictions: Tensor, targets: Tensor, options: HuberOptions = {}): Tensor {
  const { delta = 1 } = options;
  requireSame("huber", predictions, targets);
  if (!(delta > 0)) throw new RangeError(`huber: delta must be positive, got ${delta}`);
  const error = sub(predictions, targets);
  const size = abs(error);
  const losses = where(lessEqual(size, delta), mul(0.5, mul(error, error)), mul(delta, sub(size, delta / 2)));
  return reduced(losses, options);
}

/** Share of examples whose largest logit is that of the label (or of the largest soft target); float32. */
export function accuracy(logits: Tensor, targets: Tensor): Tensor {
  requireTargets("accuracy", logits, targets);
  const labels = targets.dtype === "int32" ? targets : argmax(targets);
  return mean(cast(equal(argmax(logits), labels), "float32"));
}
