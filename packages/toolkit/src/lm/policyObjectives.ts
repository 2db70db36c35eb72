import {
  add,
  broadcastTo,
  clip,
  div,
  exp,
  expandDims,
  mean,
  minimum,
  mul,
  neg,
  reshape,
  sqrt,
  stopGradient,
  sub,
  type Tensor,
  TensorError,
  variance,
} from "@prior-art/tensor";
import {
  type KlEstimator,
  klEstimate,
  maskedMean,
  sequenceLogProbability,
  sequenceMean,
} from "./logProbabilities.ts";

/** What an objective sees of a batch of completions. Only `logProbabilities` and `logits` carry gradients. */
export interface PolicyBatch {
  /** Log-probability of each token under the policy that is trained, `[completions, length]`. */
  readonly logProbabilities: Tensor;
  /** Logits that each token was drawn from, `[completions, length, vocabulary]`, for entropies and the like. */
  readonly logits: Tensor;
  /** Log-probabilities under the policy that drew the completions. */
  readonly oldLogProbabilities: Tensor;
  /** Its logits, `[completions, length, vocabulary]`. */
  readonly oldLogits: Tensor;
  /** Log-probabilities under a frozen reference policy. */
  readonly referenceLogProbabilities: Tensor;
  /** 1 at drawn tokens, up to and with the end, else 0; `[completions, length]`. */
  readonly mask: Tensor;
  /** Reward of each completion, `[completions]`. */
  readonly rewards: Tensor;
  /** Completions of each prompt; those of one prompt stand together. */
  readonly group: number;
}

/** A loss to minimize, one number, whose negative gradient improves the policy. */
export type PolicyObjective = (batch: PolicyBatch) => Tensor;

const inGroups = (rewards: Tensor, group: number): Tensor => {
  if (rewards.rank !== 1 || !Number.isInteger(group) || group < 1 || rewards.size % group !== 0)
    throw new TensorError("advantages", `${rewards.toString()} are not rewards in groups of ${group}`);
  return reshape(rewards, [rewards.size / group, group]);
};

/**
 * Rewards minus the mean of the prompt's other completions (RLOO; Kool et al., 2019; Ahmadian et al., 2024),
 * `[completions]`: an unbiased baseline.
 * @throws TensorError unless there are at least two completions a prompt.
 */
export function leaveOneOutAdvantages(rewards: Tensor, group: number): Tensor {
  if (group < 2) throw new TensorError("leaveOneOutAdvantages", "one completion leaves none to compare with");
  const grouped = inGroups(rewards, group);
  return reshape(mul(sub(grouped, mean(grouped, -1, true)), group / (group - 1)), rewards.shape);
}

export interface GroupAdvantageOptions {
  /** Divides by the group's standard deviation, as GRPO does; true by default (false is Dr. GRPO's). */
  readonly normalize?: boolean;
  /** Added to the standard deviation, 1e-4 by default. */
  readonly epsilon?: number;
}

/** Rewards standardized among each prompt's completions (GRPO; Shao et al., 2024), `[completions]`. */
export function groupAdvantages(
  rewards: Tensor,
  group: number,
  { normalize = true, epsilon = 1e-4 }: GroupAdvantageOptions = {},
): Tensor {
  const grouped = inGroups(rewards, group);
  const centred = sub(grouped, mean(grouped, -1, true));
  const deviation = sqrt(variance(grouped, -1, { keepDims: true }));
  return reshape(normalize ? div(centred, add(deviation, epsilon)) : centred, rewards.shape);
}

/** One number a completion on each of its tokens, `[completions] → [completions, length]`. */
export const onTokens = (values: Tensor, mask: Tensor): Tensor =>
  broadcastTo(expandDims(values, -1), mask.shape);

export interface ClipRange {
  readonly low: number;
  readonly high: number;
}

/**
 * PPO's surrogate `min(w A, clip(w, 1 − low, 1 + high) A)` with `w = p / p_old` (Schulman et al., 2017, eq. 7), shaped
 * as its arguments; to be maximized.
 */
export function clippedSurrogate(
  logProbabilities: Tensor,
  oldLogProbabilities: Tensor,
  advantages: Tensor,
  { low, high }: ClipRange,
): Tensor {
  const ratio = exp(sub(logProbabilities, oldLogProbabilities));
  return minimum(mul(ratio, advantages), mul(clip(ratio, 1 - low, 1 + high), advantages));
}

/** Mean over all tokens of the batch, or over each completion first. */
export type Aggregation = "token" | "sequence";

export const aggregate = (values: Tensor, mask: Tensor, by: Aggregation): Tensor =>
  by === "token" ? maskedMean(values, mask) : sequenceMean(values, mask);

export interface ReinforceOptions {
  /** β of a penalty `β log(p / p_reference)` of the whole completion inside its reward, 0 by default. */
  readonly klCoefficient?: number;
  /** What the rewards are compared with: the prompt's other completions (default), the batch's mean, or nothing. */
  readonly baseline?: "leaveOneOut" | "mean" | "none";
}

/**
 * REINFORCE with the whole completion as one action: `−mean A(y) log π(y)` with advantages of the penalized rewards
 * `r − β log(π / π_reference)`. On samples of the current policy its gradient is that of `E[r] − β KL`.
 */
export function reinforce({
  klCoefficient = 0,
  baseline = "leaveOneOut",
}: ReinforceOptions = {}): PolicyObjective {
  return ({ logProbabilities, referenceLogProbabilities, mask, rewards, group }) => {
    const logProbability = sequenceLogProbability(logProbabilities, mask);
    const penalty = sub(logProbability, sequenceLogProbability(referenceLogProbabilities, mask));
    const penalized = stopGradient(sub(rewards, mul(klCoefficient, penalty)));
    const advantages =
      baseline === "leaveOneOut"
        ? leaveOneOutAdvantages(penalized, group)
        : baseline === "mean"
          ? sub(penalized, mean(penalized))
          : penalized;
    return neg(mean(mul(advantages, logProbability)));
  };
}

export interface GrpoOptions extends GroupAdvantageOptions {
  /** Of the ratio, 0.2 both ways by default; `null` doesn't clip. */
  readonly clip?: ClipRange | null;
  /** β of the penalty by an estimator of the KL to the reference, 0.04 by default. */
  readonly klCoefficient?: number;
  /** k3 by default, differentiated as it stands, as in the paper. */
  readonly estimator?: KlEstimator;
  /** `"sequence"` by default, as in the paper; DAPO takes `"token"`. */
  readonly aggregation?: Aggregation;
}

/** Group-relative policy optimization (Shao et al., 2024, eq. 3 and 4), to be minimized. */
export function grpo(options: GrpoOptions = {}): PolicyObjective {
  const { clip: range = { low: 0.2, high: 0.2 }, klCoefficient = 0.04, estimator = "k3" } = options;
  return (batch) => {
    const { logProbabilities, oldLogProbabilities, referenceLogProbabilities, mask, rewards, group } = batch;
    const advantages = onTokens(groupAdvantages(rewards, group, options), mask);
    const surrogate = range
      ? clippedSurrogate(logProbabilities, oldLogProbabilities, advantages, range)
      : mul(exp(sub(logProbabilities, oldLogProbabilities)), advantages);
    const penalty = klEstimate(estimator, logProbabilities, referenceLogProbabilities);
    return neg(
      aggregate(sub(surrogate, mul(klCoefficient, penalty)), mask, options.aggregation ?? "sequence"),
    );
  };
}
