import { add, div, maximum, mean, mul, neg, softplus, sub, sum, type Tensor } from "@prior-art/tensor";
import type { RandomStream } from "../stats/index.ts";

/** One side of preference pairs. */
export interface PreferenceSide {
  /** Log-probability of each token under the policy that is trained, `[pairs, length]`. */
  readonly logProbabilities: Tensor;
  /** The same under the frozen reference. */
  readonly referenceLogProbabilities: Tensor;
  /** 1 at the completion's tokens, else 0. */
  readonly mask: Tensor;
}

export interface PreferenceBatch {
  readonly chosen: PreferenceSide;
  readonly rejected: PreferenceSide;
}

/** The loss of each pair, `[pairs]`. */
export type PreferenceLoss = (batch: PreferenceBatch) => Tensor;

export interface LogRatioOptions {
  /** The mean over tokens instead of their sum; false by default. */
  readonly perToken?: boolean;
  /** Weight of each token, such as `[pairs, length]`, from a side; 1 by default. */
  readonly tokenWeights?: (side: PreferenceSide) => Tensor;
}

/** `Σ weight · log(π / π_reference)` over a completion's tokens, `[pairs]`: DPO's implicit reward divided by β. */
export function logRatio(
  side: PreferenceSide,
  { perToken = false, tokenWeights }: LogRatioOptions = {},
): Tensor {
  const { logProbabilities, referenceLogProbabilities, mask } = side;
  const each = mul(sub(logProbabilities, referenceLogProbabilities), mask);
  const total = sum(tokenWeights ? mul(each, tokenWeights(side)) : each, -1);
  return perToken ? div(total, maximum(sum(mask, -1), 1)) : total;
}

export interface DpoOptions extends LogRatioOptions {
  /** Strength of the implied KL penalty, 0.1 by default. */
  readonly beta?: number;
  /** Share of pairs taken to be labelled the wrong way round (conservative DPO), 0 by default. */
  readonly smoothing?: number;
}

/** Difference of the two sides' log-ratios, `[pairs]`. */
export const preferenceMargin = (
  { chosen, rejected }: PreferenceBatch,
  options: LogRatioOptions = {},
): Tensor => sub(logRatio(chosen, options), logRatio(rejected, options));

/**
 * Direct preference optimization, `−log σ(β (log-ratio of chosen − log-ratio of rejected))` (Rafailov et al., 2023,
 * eq. 7).
 * @throws RangeError unless β > 0 and `0 ≤ smoothing < 1/2`.
 */
export function dpo({ beta = 0.1, smoothing = 0, ...options }: DpoOptions = {}): PreferenceLoss {
  requireBeta("dpo", beta);
  if (!(smoothing >= 0 && smoothing < 0.5))
    throw new RangeError(`dpo: smoothing is in [0, 1/2), got ${smoothing}`);
  return (batch) => {
    const margin = mul(beta, preferenceMargin(batch, options));
    const right = softplus(neg(margin));
    return smoothing === 0 ? right : add(mul(1 - smoothing, right), mul(smoothing, softplus(margin)));
  };
}

/** Identity preference optimization, `(margin − 1/(2β))²` (Azar et al., 2023, eq. 17). @throws RangeError unless β > 0. */
export function ipo({ beta = 0.1, ...options }: Omit<DpoOptions, "smoothing"> = {}): PreferenceLoss {
  requireBeta("ipo", beta);
  return (batch) => {
    const error = sub(preferenceMargin(batch, options), 1 / (2 * beta));
    return mul(error, error);
  };
}

function requireBeta(name: string, beta: number): void {
  if (!(beta > 0)) throw new RangeError(`${name}: β is positive, got ${beta}`);
}

/** Scores completions; a gold reward, or one learned from preferences. Higher is better. */
export interface RewardModel {
  /** `[batch]` from int32 tokens `[batch, length]` and a mask of the completions' tokens. */
  score(tokens: Tensor, mask: Tensor): Tensor;
}

/**
 * What keeps a policy near its reference while a reward pulls it away: a penalty to be added to the loss, one number,
 * from the same tensors that a preference's side has.
 */
export type PolicyRegularizer = (side: PreferenceSide) => Tensor;

/** `weight · mean over sequences of log(π / π_reference)`, on samples of the policy. */
export const sequenceKlPenalty =
  (weight: number): PolicyRegularizer =>
  (side) =>
    mul(weight, mean(logRatio(side)));

/** `weight` times the mean negative log-likelihood of completions that should stay likely, per sequence. */
export const likelihoodRegularizer =
  (weight: number): PolicyRegularizer =>
  ({ logProbabilities, mask }) =>
    mul(-weight, mean(sum(mul(logProbabilities, mask), -1)));

/**
 * Which of two answers is preferred under Bradley and Terry's model, true for the first: with probability
 * `σ((a − b) / temperature)`. Temperature 0 always prefers the better one (ties by coin).
 */
export function prefersFirst(a: number, b: number, stream: RandomStream, temperature = 1): boolean {
  const u = stream.uniform();
  if (temperature === 0) return a === b ? u < 0.5 : a > b;
  return u < 1 / (1 + Math.exp((b - a) / temperature));
}
