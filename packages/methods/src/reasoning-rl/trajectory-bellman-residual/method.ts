import {
  add,
  concat,
  cumSum,
  equal,
  expandDims,
  logSumExp,
  mean,
  mul,
  slice,
  sub,
  sum,
  type Tensor,
  where,
  zeros,
} from "@prior-art/tensor";
import { type PolicyObjective, sequenceLogProbability } from "@prior-art/toolkit/lm";

export interface Trajectories {
  /** ℓ of the policy at each token, `[trajectories, length, vocabulary]`, with gradient. */
  readonly logits: Tensor;
  /** log π of each token, from the same logits, `[trajectories, length]`. */
  readonly logProbabilities: Tensor;
  /** log π_ref of each token, `[trajectories, length]`. */
  readonly referenceLogProbabilities: Tensor;
  /** 1 at the answer's tokens, the first of which starts it, else 0. */
  readonly mask: Tensor;
  /** R of each trajectory, `[trajectories]`. */
  readonly rewards: Tensor;
}

/** 1 at the first token of each answer, else 0. */
const firstToken = (mask: Tensor): Tensor => where(equal(cumSum(mask, -1), 1), mask, 0);

/** `V_θ(s) = β log Σ_a exp ℓ(s, a)`, `[…, vocabulary] → […]`: the soft value that logits stand for. */
export const softValue = (logits: Tensor, beta: number | Tensor): Tensor => mul(beta, logSumExp(logits, -1));

/**
 * The trajectory's Bellman residual, `V_θ(s₁) + β Σ log(π_θ/π_ref) − R`, `[trajectories]`: what is left when the residuals of
 * all its steps are added up, where values in between cancel.
 */
export function trajectoryResidual(trajectories: Trajectories, beta: number | Tensor): Tensor {
  const { logits, logProbabilities, referenceLogProbabilities, mask, rewards } = trajectories;
  const start = sum(mul(softValue(logits, beta), firstToken(mask)), -1);
  const logRatio = sequenceLogProbability(sub(logProbabilities, referenceLogProbabilities), mask);
  return sub(add(start, mul(beta, logRatio)), rewards);
}

/**
 * Each step's own residual, `Q_θ(s_h, a_h) − r_h − V_θ(s_{h+1})` with `Q_θ = β (ℓ − log π_ref)` and the reward at the last
 * token, `[trajectories, length]`; what the method is compared with.
 */
export function stepResiduals(trajectories: Trajectories, beta: number | Tensor): Tensor {
  const { logits, logProbabilities, referenceLogProbabilities, mask, rewards } = trajectories;
  const values = mul(softValue(logits, beta), mask);
  // ℓ(s, a) is log π(a|s) + log Σ exp ℓ(s, ·).
  const q = add(mul(beta, sub(logProbabilities, referenceLogProbabilities)), values);
  // The value after a token is that before the next one; after the last there is none.
  const following = shiftLeft(values);
  const last = sub(mask, shiftLeft(mask));
  return mul(sub(q, add(following, mul(last, column(rewards)))), mask);
}

/** Every entry moved one place to the front; 0 comes in at the end. */
function shiftLeft(x: Tensor): Tensor {
  const [rows, length] = x.shape as [number, number];
  return concat([slice(x, null, [1, length]), zeros([rows, 1], x.dtype)], 1);
}

const column = (x: Tensor): Tensor => expandDims(x, -1);

/** `mean R_θ(τ)²`, to be minimized, on trajectories from any policy. */
export function tbrmLoss(trajectories: Trajectories, beta: number | Tensor): Tensor {
  const residual = trajectoryResidual(trajectories, beta);
  return mean(mul(residual, residual));
}

/** `mean Σ_h` of squared step residuals: token-level Bellman residual minimization. */
export function tokenBrmLoss(trajectories: Trajectories, beta: number | Tensor): Tensor {
  const residuals = stepResiduals(trajectories, beta);
  return mean(sum(mul(residuals, residuals), -1));
}

export interface TbrmOptions {
  /** β, 0.01 by default. */
  readonly beta?: number;
}

/**
 * The family's `PolicyObjective`: no advantages, ratios or clips, and no other completions of the prompt. The batch's frozen
 * reference is π_ref.
 */
export const tbrm =
  ({ beta = 0.01 }: TbrmOptions = {}): PolicyObjective =>
  (batch) =>
    tbrmLoss(batch, beta);

/** The same for token-level residuals. */
export const tokenBrm =
  ({ beta = 0.01 }: TbrmOptions = {}): PolicyObjective =>
  (batch) =>
    tokenBrmLoss(batch, beta);
