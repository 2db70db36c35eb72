import { add, clip, div, greater, minimum, mul, sub, type Tensor, where } from "@prior-art/tensor";
import {
  centralize,
  chain,
  type GradientTransformation,
  type Mask,
  requireLearningRate,
  type Schedule,
  scaleByLearningRate,
} from "@prior-art/toolkit/optim";
import {
  exponentialMomentum,
  lookahead,
  positiveNegativeMomentum,
  softplusDenominator,
  stableWeightDecay,
} from "./moments.ts";
import { adaptiveGradientClipping, normalizeGradients, normLoss } from "./units.ts";

export {
  exponentialMomentum,
  lookahead,
  positiveNegativeMomentum,
  softplusDenominator,
  softplusOf,
  stableWeightDecay,
} from "./moments.ts";
export { adaptiveGradientClipping, normalizeGradients, normLoss, unitAxes, unitNorm } from "./units.ts";
export { centralize };

export interface ScheduleOptions {
  readonly learningRate: number | Tensor;
  /** K. */
  readonly totalSteps: number;
  /** 0.999 by default; see {@link warmupSteps}. */
  readonly beta2?: number;
  /** Where the warm-down begins, as a share of the training; 0.72 by default. */
  readonly warmdownStart?: number;
  /** The rate of the last step, 3e-5 by default; never above the learning rate. */
  readonly finalRate?: number;
}

/**
 * Steps of the warm-up: `⌈2/(1 - β₂)⌉`, the untuned linear warm-up of Ma & Yarats (2021), or 22% of the training, rounded
 * down, where that is over 45% of it.
 *
 * This is the rule of the authors' code (github.com/lessw2020/Ranger21). The second author's port to JAX, to which its README
 * refers, takes the shorter of the two instead, which with β₂ = 0.999 differs between 4,445 and 9,090 steps only. Which of them
 * the paper's text has is not verified.
 */
export function warmupSteps({
  totalSteps,
  beta2 = 0.999,
}: Pick<ScheduleOptions, "totalSteps" | "beta2">): number {
  // Without the rounding, 2/(1 - .999) is a little over 2000.
  const untuned = Math.ceil(Math.round(2e6 / (1 - beta2)) / 1e6);
  return untuned > 0.45 * totalSteps ? Math.max(1, Math.floor(0.22 * totalSteps)) : untuned;
}

/**
 * Explore–exploit: in a straight line up to the learning rate, constant, and from 72% of the training in a straight line down to
 * the final rate, which the last step has. Step number t, counted from 1, of the warm-up has `t/warmup` of the rate. The share
 * and the final rate are those of the authors' code, which begins to go down a step earlier; the port ends at 0.
 * @throws RangeError for a rate that is not positive, fewer than one step, or a warm-down outside the training.
 */
export function exploreExploitSchedule(options: ScheduleOptions): Schedule {
  const { learningRate, totalSteps, warmdownStart = 0.72, finalRate = 3e-5 } = options;
  requireLearningRate("exploreExploitSchedule", learningRate);
  if (!(Number.isInteger(totalSteps) && totalSteps >= 1))
    throw new RangeError(
      `exploreExploitSchedule: totalSteps must be a whole number of at least 1, got ${totalSteps}`,
    );
  if (!(warmdownStart >= 0 && warmdownStart < 1 && finalRate >= 0))
    throw new RangeError(
      `exploreExploitSchedule: needs warmdownStart in [0, 1) and finalRate ≥ 0, got ${warmdownStart} and ${finalRate}`,
    );
  const warmup = warmupSteps(options);
  const start = warmdownStart * totalSteps;
  return (step) => {
    const t = add(step, 1);
    const rising = mul(learningRate, clip(div(t, warmup), 0, 1));
    const over = clip(div(sub(t, start), totalSteps - start), 0, 1);
    const low = minimum(add(mul(t, 0), learningRate), finalRate);
    return where(greater(t, start), sub(rising, mul(over, sub(rising, minimum(rising, low)))), rising);
  };
}

/** The parts, all on by default, as in the authors' code. With all off the optimizer is AdamW at a constant rate. */
export interface Components {
  /** Adaptive gradient clipping. */
  readonly agc: boolean;
  /** Gradient centralization. */
  readonly gc: boolean;
  /** Gradient normalization. */
  readonly gradNorm: boolean;
  /** Positive–negative momentum. */
  readonly pnm: boolean;
  /** The largest second moment so far. */
  readonly amsMax: boolean;
  readonly softplus: boolean;
  readonly stableDecay: boolean;
  readonly normLoss: boolean;
  readonly lookahead: boolean;
  /** Explore–exploit. */
  readonly schedule: boolean;
}

export const ALL: Components = {
  agc: true,
  gc: true,
  gradNorm: true,
  pnm: true,
  amsMax: true,
  softplus: true,
  stableDecay: true,
  normLoss: true,
  lookahead: true,
  schedule: true,
};

/** The parts that the paper has; normalization and softplus were added to the authors' code after its ImageNet runs. */
export const PUBLISHED: Components = { ...ALL, gradNorm: false, softplus: false };

export const NONE = Object.fromEntries(
  Object.keys(ALL).map((name) => [name, false]),
) as unknown as Components;

export interface Ranger21Options {
  /** η; a scalar tensor in sweeps under `vmap`. */
  readonly learningRate: number | Tensor;
  /** Steps of the whole training, for the schedule. */
  readonly totalSteps: number;
  /** Parts to switch off. */
  readonly components?: Partial<Components>;
  /** (0.9, 0.999) by default. */
  readonly betas?: readonly [number, number];
  /** β₀ of the positive–negative momentum; 1 by default, as in the authors' code (the second author's port has 0.9). */
  readonly beta0?: number;
  /** 1e-8 by default. */
  readonly eps?: number;
  /** λ, 1e-4 by default. */
  readonly weightDecay?: number;
  /** λ_n, 1e-4 by default. */
  readonly normLossRate?: number;
  /** Which tensors decay; all by default, as in the paper. */
  readonly mask?: Mask;
  /** A rate in place of the explore–exploit schedule's and the constant one's. */
  readonly schedule?: Schedule;
}

/**
 * Ranger21: AdamW with published improvements, as a chain of transformations that are of use by themselves. In order: clip each
 * unit's gradient, centralize and normalize gradients, divide the positive–negative momentum by a softplus of the root of the
 * largest second moment, add stable weight decay and norm loss, multiply by the schedule's rate, look ahead. All are on by
 * default, as in the authors' code; with {@link PUBLISHED} those that the paper has.
 *
 * Decay and norm loss are parts of one sum here, where the paper multiplies the weights by one factor after the other; the two
 * differ by their product, `2 η² λ λ_n/√v̂` at most for long units. The paper's noise factor `√((1 + β₀)² + β₀²)`, AMSGrad maximum and decay of all tensors
 * are kept; the released code has β₂ for β₀, no maximum, and decays the last tensor of a group only.
 *
 * @throws RangeError for a learning rate that is not positive, and numbers out of range. @throws TensorError, at a step, when
 *   gradients or state don't fit the parameters.
 * @example
 * const optimizer = ranger21<MlpParams>({ learningRate: 3e-3, totalSteps: 2000 });
 */
export function ranger21<P>({
  learningRate,
  totalSteps,
  components = {},
  betas: [beta1, beta2] = [0.9, 0.999],
  beta0 = 1,
  eps = 1e-8,
  weightDecay = 1e-4,
  normLossRate = 1e-4,
  mask,
  schedule,
}: Ranger21Options): GradientTransformation<P, unknown> {
  requireLearningRate("ranger21", learningRate);
  const on: Components = { ...ALL, ...components };
  const momentum: GradientTransformation<P, unknown> = on.pnm
    ? positiveNegativeMomentum({ beta1, beta0 })
    : exponentialMomentum({ beta1 });
  const adaptive = softplusDenominator(momentum, {
    beta2,
    eps,
    amsMax: on.amsMax,
    softplus: on.softplus ? 50 : null,
  });
  const rate = on.schedule ? exploreExploitSchedule({ learningRate, totalSteps, beta2 }) : learningRate;
  const masked = mask && { mask };
  const parts: readonly (GradientTransformation<P, unknown> | false)[] = [
    on.agc && adaptiveGradientClipping(),
    on.gc && centralize(),
    on.gradNorm && normalizeGradients(),
    stableWeightDecay(adaptive, { rate: weightDecay, stable: on.stableDecay, ...masked }),
    on.normLoss && normLoss({ rate: normLossRate, eps, ...masked }),
    scaleByLearningRate(schedule ?? rate),
    on.lookahead && lookahead(),
  ];
  const active = parts.filter((part) => part !== false);
  return chain<P, typeof active>(...active);
}
