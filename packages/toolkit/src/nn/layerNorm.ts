import { layerNorm, ones, type Tensor, zeros } from "@prior-art/tensor";
import type { FloatDType } from "./initializers.ts";

export interface LayerNormParams {
  /** `[features]`, 1 at first. */
  readonly scale: Tensor;
  /** `[features]`, 0 at first. */
  readonly offset: Tensor;
}

export const init = (features: number, dtype: FloatDType = "float32"): LayerNormParams => ({
  scale: ones([features], dtype),
  offset: zeros([features], dtype),
});

/** `x` `[…, features]` with mean 0 and variance 1 over its last axis, scaled and shifted (Ba et al., 2016). */
export const apply = ({ scale, offset }: LayerNormParams, x: Tensor, epsilon = 1e-5): Tensor =>
  layerNorm(x, scale, offset, epsilon);
