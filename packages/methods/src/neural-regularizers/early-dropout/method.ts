import {
  add,
  div,
  less,
  maximum,
  mean,
  mul,
  random,
  sqrt,
  sub,
  sum,
  type Tensor,
  TensorError,
  where,
} from "@prior-art/tensor";
import type { Regularizer } from "../family.ts";

/** A drop rate from the share of training that is done, a scalar in [0, 1). */
export type DropSchedule = (progress: Tensor) => Tensor;

export interface DropScheduleOptions {
  /** `early`: up to the boundary. `late`: from it on. `standard`: throughout. */
  readonly phase: "early" | "late" | "standard";
  /** p in [0, 1). */
  readonly rate: number;
  /** Share of the training at which the phase changes; 1/6 by default, 50 of 300 epochs as in the paper. */
  readonly boundary?: number;
  /**
   * Of the early phase: `linear` (default) falls from the rate to 0 at the boundary, `constant` stays until there. The
   * other phases are constant.
   */
  readonly shape?: "linear" | "constant";
}

/**
 * When to drop (section 4 of the paper).
 * @throws RangeError unless `0 ≤ rate < 1` and `0 < boundary ≤ 1`.
 */
export function dropSchedule(options: DropScheduleOptions): DropSchedule {
  const { phase, rate, boundary = 1 / 6, shape = "linear" } = options;
  if (!(rate >= 0 && rate < 1)) throw new RangeError(`dropSchedule: the rate is in [0, 1), got ${rate}`);
  if (!(boundary > 0 && boundary <= 1))
    throw new RangeError(`dropSchedule: the boundary is in (0, 1], got ${boundary}`);
  return (progress) => {
    const constant = add(mul(0, progress), rate);
    if (phase === "standard") return constant;
    const isEarly = less(progress, boundary);
    if (phase === "late") return where(isEarly, 0, constant);
    return where(isEarly, shape === "linear" ? mul(rate, sub(1, div(progress, boundary))) : constant, 0);
  };
}

/**
 * Dropout with a rate that may change from step to step: each element is 0 with probability `rate`, else divided by
 * `1 - rate`.
 * @param rate a scalar in [0, 1)
 */
export function dropUnits(key: Tensor, x: Tensor, rate: Tensor): Tensor {
  const keep = sub(1, rate);
  return where(less(random.uniform(key, x.shape), keep), div(x, keep), 0);
}

/** Stochastic depth: drops a residual branch for whole examples. @param x the branch's output, `[batch, …]` */
export function dropBranch(key: Tensor, x: Tensor, rate: Tensor): Tensor {
  const keep = sub(1, rate);
  const draws = random.uniform(key, [x.shape[0]!, ...new Array<number>(x.rank - 1).fill(1)]);
  return where(less(draws, keep), div(x, keep), 0);
}

/** Early, late or standard dropout of hidden units. */
export const scheduledDropout = <P>(options: DropScheduleOptions): Regularizer<P> => {
  const rateAt = dropSchedule(options);
  return {
    activations: (x, { kind, index }, { key, progress }) =>
      kind === "hidden" ? dropUnits(random.fold(key, index), x, rateAt(progress)) : x,
  };
};

/** Early, late or standard stochastic depth; the rate grows linearly with depth and is `rate` at the last branch. */
export const scheduledStochasticDepth = <P>(options: DropScheduleOptions): Regularizer<P> => {
  const rateAt = dropSchedule(options);
  return {
    activations: (x, { kind, index, count }, { key, progress }) =>
      kind === "branch" && index > 0
        ? dropBranch(random.fold(key, index), x, mul(index / (count - 1), rateAt(progress)))
        : x,
  };
};

/** Rows divided by their lengths; a row of zeros stays. */
function directions(op: string, gradients: Tensor): Tensor {
  if (gradients.rank !== 2)
    throw new TensorError(op, `takes one gradient a row, [batches, parameters], got ${gradients.toString()}`);
  return div(gradients, sqrt(maximum(sum(mul(gradients, gradients), -1, true), 1e-30)));
}

/**
 * Gradient direction variance: the mean of `½ (1 - cos(gᵢ, gⱼ))` over all pairs of mini-batch gradients, 0 when they point
 * the same way and ½ when they are unrelated (section 3 of the paper).
 * @param gradients `[batches, parameters]`, two rows or more
 */
export function gradientDirectionVariance(gradients: Tensor): Tensor {
  const units = directions("gradientDirectionVariance", gradients);
  const count = units.shape[0]!;
  if (count < 2) throw new TensorError("gradientDirectionVariance", "a variance takes two gradients or more");
  const resultant = sum(units, 0);
  // Σ_{i≠j} cos = ‖Σ uᵢ‖² - Σ ‖uᵢ‖².
  const cosines = sub(sum(mul(resultant, resultant)), sum(mul(units, units)));
  return mul(0.5, sub(1, div(cosines, count * (count - 1))));
}

/**
 * Gradient direction error: the mean of `½ (1 - cos(gᵢ, ĝ))` of mini-batch gradients from the gradient of the whole data set
 * without dropout (section 3 of the paper).
 * @param gradients `[batches, parameters]`
 * @param whole `[parameters]`
 */
export function gradientDirectionError(gradients: Tensor, whole: Tensor): Tensor {
  const units = directions("gradientDirectionError", gradients);
  if (whole.shape.join() !== `${gradients.shape[1]}`)
    throw new TensorError(
      "gradientDirectionError",
      `${whole.toString()} doesn't fit ${gradients.toString()}`,
    );
  const unit = div(whole, sqrt(maximum(sum(mul(whole, whole)), 1e-30)));
  return mul(0.5, sub(1, mean(sum(mul(units, unit), -1))));
}
