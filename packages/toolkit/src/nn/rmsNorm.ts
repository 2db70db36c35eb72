import { ones, rmsNorm, type Tensor } from "@prior-art/tensor";
import type { FloatDType } from "./initializers.ts";

export interface RmsNormParams {
  /** `[features]`, 1 at first. */
  readonly scale: Tensor;
}

export const init = (features: number, dtype: FloatDType = "float32"): RmsNormParams => ({
  scale: ones([features], dtype),
});

/** `x / √(mean(x²) + epsilon) · scale` over the last axis of `[…, features]` (Zhang & Sennrich, 2019). */
export const apply = ({ scale }: RmsNormParams, x: Tensor, epsilon = 1e-6): Tensor =>
  rmsNorm(x, scale, epsilon);
