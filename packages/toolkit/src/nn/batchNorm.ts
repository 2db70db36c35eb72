import {
  add,
  type BatchStatistics,
  batchNorm,
  batchStatistics,
  mul,
  ones,
  stopGradient,
  type Tensor,
  TensorError,
  zeros,
} from "@prior-art/tensor";
import type { FloatDType } from "./initializers.ts";

export interface BatchNormParams {
  /** `[channels]`, 1 at first. */
  readonly scale: Tensor;
  /** `[channels]`, 0 at first. */
  readonly offset: Tensor;
}

/** Running mean and (unbiased) variance, each `[channels]`: state beside the parameters, which no gradient reaches. */
export type BatchNormState = BatchStatistics;

export const init = (channels: number, dtype: FloatDType = "float32"): BatchNormParams => ({
  scale: ones([channels], dtype),
  offset: zeros([channels], dtype),
});

/** Mean 0 and variance 1. */
export const initState = (channels: number, dtype: FloatDType = "float32"): BatchNormState => ({
  mean: zeros([channels], dtype),
  variance: ones([channels], dtype),
});

export interface BatchNormOptions {
  /** Normalize by the batch and move the running statistics, or by the running statistics alone. */
  readonly training: boolean;
  /** Share of the running statistics that a step keeps, 0.9 by default. */
  readonly momentum?: number;
  readonly epsilon?: number;
}

/**
 * `x` `[batch, channels, …]` normalized channel by channel, and the running statistics after it (Ioffe & Szegedy, 2015).
 * @throws TensorError in training when a channel has a single value, which has no variance.
 */
export function apply(
  { scale, offset }: BatchNormParams,
  state: BatchNormState,
  x: Tensor,
  { training, momentum = 0.9, epsilon = 1e-5 }: BatchNormOptions,
): readonly [y: Tensor, state: BatchNormState] {
  if (!training) return [batchNorm(x, state, scale, offset, { epsilon }), state];
  const count = x.size / x.shape[1]!;
  if (count < 2) throw new TensorError("batchNorm", `${x.toString()} has a single value for each channel`);
  const batch = batchStatistics(x);
  const moved = (running: Tensor, seen: Tensor, factor: number): Tensor =>
    add(mul(momentum, running), mul((1 - momentum) * factor, stopGradient(seen)));
  return [
    batchNorm(x, batch, scale, offset, { epsilon }),
    {
      mean: moved(state.mean, batch.mean, 1),
      variance: moved(state.variance, batch.variance, count / (count - 1)),
    },
  ];
}
