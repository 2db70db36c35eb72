import { add, matmul, type Tensor } from "@prior-art/tensor";
import { type FloatDType, type Initializer, lecun, zeros } from "./initializers.ts";

export interface DenseParams {
  /** `[inputs, outputs]` */
  readonly weight: Tensor;
  /** `[outputs]` */
  readonly bias: Tensor | null;
}

export interface DenseOptions {
  readonly inputs: number;
  readonly outputs: number;
  /** Default true; it starts at 0. */
  readonly bias?: boolean;
  /** `lecun()` by default. */
  readonly weights?: Initializer;
  readonly dtype?: FloatDType;
}

export function init(
  key: Tensor,
  { inputs, outputs, bias = true, weights = lecun(), dtype = "float32" }: DenseOptions,
): DenseParams {
  return {
    weight: weights(key, [inputs, outputs], dtype),
    bias: bias ? zeros(key, [outputs], dtype) : null,
  };
}

/** `x · weight + bias`, `[…, inputs] → […, outputs]`. @throws TensorError when sizes don't fit. */
export function apply({ weight, bias }: DenseParams, x: Tensor): Tensor {
  const y = matmul(x, weight);
  return bias ? add(y, bias) : y;
}
