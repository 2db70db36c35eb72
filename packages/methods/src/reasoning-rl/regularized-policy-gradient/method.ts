import {
  add,
  clip,
  exp,
  expm1,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  logicalAnd,
  logicalOr,
  mul,
  neg,
  onesLike,
  stopGradient,
  sub,
  type Tensor,
  where,
} from "@prior-art/tensor";
import {
  type Aggregation,
  aggregate,
  groupAdvantages,
  leaveOneOutAdvantages,
  onTokens,
  type PolicyObjective,
} from "@prior-art/toolkit/lm";

/**
 * Which divergence of the policy π and a reference regularizes `J = E_π[R] − β D`: forward `KL(reference ‖ π)`, reverse
 * `KL(π ‖ reference)`, or their unnormalized forms `Σ p log(p/q) + Σ (q − p)`.
 */
export type Divergence = "fkl" | "rkl" | "ufkl" | "urkl";

/** `"differentiable"`: the gradient comes from the loss itself; `"reinforce"`: a stopped weight times `log π`. */
export type Style = "differentiable" | "reinforce";

/**
 * What happens to REINFORCE-style weights at ratios far from 1, as in the authors' code: without `dual` ratios are limited to
 * `[1 − low, 1 + high]` wherever they enter the weight (hard clip); with it (RPG-style clip) a token beyond the range gets no
 * gradient at all: at an advantage above 0 from `1 + high` on, at others below `1 − low` and from `dual` on.
 */
export interface RatioClip {
  /** ε below 1, 0.2 by default. */
  readonly low?: number;
  /** ε above 1, 0.28 by default. */
  readonly high?: number;
  /** c, 3 in the authors' code. */
  readonly dual?: number;
}

export interface RpgOptions {
  readonly divergence: Divergence;
  /** β, 1e-4 by default. */
  readonly beta?: number | Tensor;
  /** `"reinforce"` by default. */
  readonly style?: Style;
  /** REINFORCE style only; none by default. */
  readonly clip?: RatioClip;
  /** Z, the total mass of an unnormalized π_old, 1 by default; for the unnormalized divergences to π_old only. */
  readonly mass?: number | Tensor;
}

/** Tokens drawn from π_old; tensors of one shape. */
export interface RpgTokens {
  /** log π, with gradient. */
  readonly logProbabilities: Tensor;
  readonly oldLogProbabilities: Tensor;
  /** log of the divergence's reference; π_old by default, the paper's iterated reference. */
  readonly referenceLogProbabilities?: Tensor;
  /** R, or an advantage in its place. */
  readonly advantages: Tensor;
}

/** Which tokens the RPG-style clip leaves their gradient, as bool. */
export function withinRange(
  ratio: Tensor,
  advantages: Tensor,
  { low = 0.2, high = 0.28, dual = 3 }: RatioClip,
): Tensor {
  const otherwise = logicalAnd(greaterEqual(ratio, 1 - low), less(ratio, dual));
  return logicalOr(
    logicalAnd(greater(advantages, 0), less(ratio, 1 + high)),
    logicalAnd(lessEqual(advantages, 0), otherwise),
  );
}

interface Ratios {
  /** w = π/π_old */
  readonly w: Tensor;
  /** log(π/reference) */
  readonly logRatio: Tensor;
  /** ρ = reference/π_old, 1 with the iterated reference; no gradient. */
  readonly rho: Tensor;
}

function ratios({ logProbabilities, oldLogProbabilities, referenceLogProbabilities }: RpgTokens): Ratios {
  const logW = sub(logProbabilities, oldLogProbabilities);
  if (!referenceLogProbabilities) return { w: exp(logW), logRatio: logW, rho: onesLike(logW) };
  return {
    w: exp(logW),
    logRatio: sub(logProbabilities, referenceLogProbabilities),
    rho: exp(sub(referenceLogProbabilities, oldLogProbabilities)),
  };
}

const unnormalized = (divergence: Divergence): boolean => divergence === "ufkl" || divergence === "urkl";

/**
 * What `∇ log π` is weighed with, so that `E_old[weight · ∇ log π]` is `∇J` (the paper's table of policy gradients):
 * forward `wR + β`, reverse `w(R − β log w − β)`, unnormalized forward `Z(wR − β(w − 1))`, unnormalized reverse
 * `Z w(R − β log w)`; with a reference of its own, ρ stands for 1 and `π/reference` for w in the logarithm. No gradient
 * flows through it.
 */
export function rpgWeight(tokens: RpgTokens, options: RpgOptions): Tensor {
  const { divergence, beta = 1e-4, clip: range, mass = 1 } = options;
  const { advantages } = tokens;
  const free = ratios(tokens);
  const { rho } = free;
  const { w, logRatio } = range && range.dual === undefined ? hardClipped(free, range) : free;
  const pull = {
    fkl: () => mul(beta, rho),
    rkl: () => neg(mul(w, mul(beta, add(logRatio, 1)))),
    ufkl: () => neg(mul(beta, sub(w, rho))),
    urkl: () => neg(mul(w, mul(beta, logRatio))),
  }[divergence]();
  const whole = add(mul(w, advantages), pull);
  const weight = range?.dual === undefined ? whole : where(withinRange(w, advantages, range), whole, 0);
  return stopGradient(unnormalized(divergence) ? mul(mass, weight) : weight);
}

/** Ratios with w limited to the range, in the logarithm too. */
function hardClipped({ w, logRatio, rho }: Ratios, { low = 0.2, high = 0.28 }: RatioClip): Ratios {
  const limited = clip(w, 1 - low, 1 + high);
  return { w: limited, logRatio: add(logRatio, sub(log(limited), log(w))), rho };
}

/**
 * The loss of each token, shaped as the log-probabilities, whose expectation under π_old has the gradient `−∇J`. The
 * differentiable losses are the paper's surrogates: forward `−wR − β log π`, reverse `−wR + β w log w`, unnormalized
 * forward `Z(−wR + β(w − log w − 1))`, unnormalized reverse `Z(−wR + β(w log w − w + 1))`.
 * @throws RangeError for a clip in the differentiable style.
 */
export function rpgLoss(tokens: RpgTokens, options: RpgOptions): Tensor {
  const { divergence, beta = 1e-4, style = "reinforce", mass = 1 } = options;
  const { logProbabilities, advantages } = tokens;
  if (style === "reinforce") return neg(mul(rpgWeight(tokens, options), logProbabilities));
  if (options.clip) throw new RangeError("rpgLoss: ratios are clipped in the REINFORCE style only");
  const { w, logRatio, rho } = ratios(tokens);
  const penalty = {
    fkl: () => neg(mul(rho, logProbabilities)),
    rkl: () => mul(w, logRatio),
    // ρ (u − 1 − log u) with u = π/reference.
    ufkl: () => mul(rho, sub(expm1(logRatio), logRatio)),
    urkl: () => add(sub(mul(w, logRatio), w), rho),
  }[divergence]();
  const loss = sub(mul(beta, penalty), mul(w, advantages));
  return unnormalized(divergence) ? mul(mass, loss) : loss;
}

export interface RpgObjectiveOptions extends RpgOptions {
  /** The divergence's reference: the policy that drew the completions (default), or the batch's frozen one. */
  readonly reference?: "old" | "frozen";
  /** `"normalized"` as in GRPO by default, or the unbiased leave-one-out difference. */
  readonly advantages?: "normalized" | "leaveOneOut";
  /** `"token"` by default. */
  readonly aggregation?: Aggregation;
}

/** The family's `PolicyObjective`: the RPG loss on the tokens of a group of completions. */
export function rpg(options: RpgObjectiveOptions): PolicyObjective {
  const { reference = "old", advantages = "normalized", aggregation = "token" } = options;
  return (batch) => {
    const { logProbabilities, oldLogProbabilities, referenceLogProbabilities, mask, rewards, group } = batch;
    const each = (advantages === "normalized" ? groupAdvantages : leaveOneOutAdvantages)(rewards, group);
    const losses = rpgLoss(
      {
        logProbabilities,
        oldLogProbabilities,
        ...(reference === "frozen" ? { referenceLogProbabilities } : {}),
        advantages: onTokens(each, mask),
      },
      options,
    );
    return aggregate(losses, mask, aggregation);
  };
}

/** The value of an objective and its gradient. */
export interface Objective {
  readonly value: number;
  /** By the logits of π, `[outcomes]`. */
  readonly gradient: Float64Array;
}

/**
 * `J = Σ π R − β D` of a distribution over a few outcomes, by enumeration: what the losses' gradients are checked against.
 * @param reference may have any positive total mass with the unnormalized divergences
 * @throws RangeError when lengths differ or a probability is not positive.
 */
export function exactObjective(
  probabilities: ArrayLike<number>,
  reference: ArrayLike<number>,
  rewards: ArrayLike<number>,
  divergence: Divergence,
  beta: number,
): Objective {
  const p = Float64Array.from(probabilities);
  if (reference.length !== p.length || rewards.length !== p.length)
    throw new RangeError("exactObjective: probabilities, reference and rewards are of one length");
  if (p.some((x) => !(x > 0)) || Array.from(reference).some((q) => !(q > 0)))
    throw new RangeError("exactObjective: all probabilities are positive");
  let value = 0;
  /** ∂J/∂π(x), π taken as free. */
  const slope = p.map((x, i) => {
    const q = reference[i]!;
    const terms = {
      fkl: [q * Math.log(q / x), -q / x],
      rkl: [x * Math.log(x / q), Math.log(x / q) + 1],
      ufkl: [q * Math.log(q / x) + x - q, 1 - q / x],
      urkl: [x * Math.log(x / q) + q - x, Math.log(x / q)],
    } as const;
    const [divergenceTerm, divergenceSlope] = terms[divergence];
    value += x * rewards[i]! - beta * divergenceTerm;
    return rewards[i]! - beta * divergenceSlope;
  });
  const average = p.reduce((sum, x, i) => sum + x * slope[i]!, 0);
  return { value, gradient: p.map((x, i) => x * (slope[i]! - average)) };
}
