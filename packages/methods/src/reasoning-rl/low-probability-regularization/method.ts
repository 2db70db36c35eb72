import {
  add,
  cast,
  clip,
  exp,
  expm1,
  floor,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  logicalAnd,
  logSoftmax,
  max,
  maximum,
  mul,
  neg,
  reshape,
  softmax,
  sort,
  stopGradient,
  sub,
  sum,
  type Tensor,
  take,
  where,
} from "@prior-art/tensor";
import {
  type ClipRange,
  groupAdvantages,
  maskedMean,
  onTokens,
  type PolicyObjective,
} from "@prior-art/toolkit/lm";

export interface MinPProxy {
  /** The renormalized distribution; 0 where a token is filtered out. */
  readonly probabilities: Tensor;
  /** Its logarithm, −10,000 where a token is filtered out, as in the released code. */
  readonly logProbabilities: Tensor;
  /** Mass of the kept tokens before renormalizing, `[…, 1]`. */
  readonly mass: Tensor;
}

const FILTERED = -1e4;

/**
 * The proxy policy: what is left of a distribution without its noise, `K = {v : π(v) ≥ κ max π}` renormalized. No gradient
 * flows through it.
 * @param logits of the policy that drew the tokens, `[…, vocabulary]`
 * @throws RangeError unless 0 ≤ κ ≤ 1.
 */
export function minPProxy(logits: Tensor, kappa: number): MinPProxy {
  if (!(kappa >= 0 && kappa <= 1)) throw new RangeError(`minPProxy: κ is in [0, 1], got ${kappa}`);
  const p = softmax(stopGradient(logits));
  const kept = greaterEqual(p, mul(kappa, max(p, -1, true)));
  const mass = sum(where(kept, p, 0), -1, true);
  const logProbabilities = where(kept, sub(logSoftmax(stopGradient(logits)), log(mass)), FILTERED);
  return { probabilities: where(kept, exp(logProbabilities), 0), logProbabilities, mass };
}

export interface LpRegTokens {
  /** log π of each token, with gradient. */
  readonly logProbabilities: Tensor;
  readonly oldLogProbabilities: Tensor;
  /** log π_proxy of each token. */
  readonly proxyLogProbabilities: Tensor;
  readonly advantages: Tensor;
  /** 1 at tokens that count, else 0. */
  readonly mask: Tensor;
}

export interface LpRegOptions {
  /** κ of the proxy, 0.02 by default. */
  readonly kappa?: number;
  /** ρ: share of the negative tokens, from the least probable on, that are considered; 0.01 by default. */
  readonly share?: number;
  /** β, 1 by default. */
  readonly beta?: number;
  /** Of the ratio where a token is not regularized; 0.2 and 0.28 by default. */
  readonly clip?: ClipRange;
}

/**
 * The tokens that are regularized: of a negative advantage, among the least probable share of all such tokens, and less
 * probable than under the proxy, which is to say that they survived its filter. Nothing is selected where the share comes
 * to a single token.
 * @returns bool, shaped as the log-probabilities
 */
export function regularizedTokens(tokens: LpRegTokens, share = 0.01): Tensor {
  const { logProbabilities, proxyLogProbabilities, advantages, mask } = tokens;
  const logp = stopGradient(logProbabilities);
  const negative = logicalAnd(less(advantages, 0), greater(mask, 0));
  const inOrder = sort(reshape(where(negative, logp, Number.POSITIVE_INFINITY), [logp.size]));
  const count = maximum(floor(mul(sum(cast(negative, logp.dtype)), share)), 1);
  const threshold = take(inOrder, cast(sub(count, 1), "int32"));
  const rare = logicalAnd(lessEqual(logp, threshold), greater(count, 1));
  return logicalAnd(logicalAnd(negative, rare), less(logp, proxyLogProbabilities));
}

/**
 * The loss of each token: PPO's clipped surrogate, except that a regularized token gets `−w A + β k₃` without clipping,
 * `k₃ = e^d − d − 1` (at most 10) with `d = log π_proxy − log π`, whose gradient raises the token.
 */
export function lpRegLoss(tokens: LpRegTokens, options: LpRegOptions = {}): Tensor {
  const { share = 0.01, beta = 1, clip: { low, high } = { low: 0.2, high: 0.28 } } = options;
  const { logProbabilities, oldLogProbabilities, proxyLogProbabilities, advantages } = tokens;
  const ratio = exp(sub(logProbabilities, oldLogProbabilities));
  const plain = neg(mul(ratio, advantages));
  const clipped = neg(mul(clip(ratio, 1 - low, 1 + high), advantages));
  const selected = regularizedTokens(tokens, share);
  // Elsewhere d may be −10,000; it is cut before its exponential is taken.
  const d = where(selected, sub(proxyLogProbabilities, logProbabilities), 0);
  const penalty = clip(sub(expm1(d), d), -10, 10);
  return where(selected, add(plain, mul(beta, penalty)), maximum(plain, clipped));
}

/** The family's `PolicyObjective`: group-relative advantages, and the mean over all tokens. */
export const lpReg =
  (options: LpRegOptions = {}): PolicyObjective =>
  ({ logProbabilities, oldLogProbabilities, oldLogits, mask, rewards, group }) =>
    maskedMean(
      lpRegLoss(
        {
          logProbabilities,
          oldLogProbabilities,
          proxyLogProbabilities: proxyAt(oldLogits, oldLogProbabilities, options.kappa),
          advantages: onTokens(groupAdvantages(rewards, group, { epsilon: 1e-6 }), mask),
          mask,
        },
        options,
      ),
      mask,
    );

/**
 * log π_proxy of drawn tokens, `[…]`, from the logits they were drawn from and their log-probabilities there: `log π − log Z`
 * where they survive the filter.
 */
export function proxyAt(oldLogits: Tensor, oldLogProbabilities: Tensor, kappa = 0.02): Tensor {
  const { mass } = minPProxy(oldLogits, kappa);
  const old = stopGradient(oldLogProbabilities);
  const top = max(logSoftmax(stopGradient(oldLogits)), -1);
  // A token at the threshold itself survives, whatever the last digit says.
  const floorOf = add(top, Math.log(kappa) - 1e-6);
  return where(greaterEqual(old, floorOf), sub(old, log(reshape(mass, top.shape))), FILTERED);
}
