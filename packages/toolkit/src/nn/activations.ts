import { gelu, relu, sigmoid, silu, softplus, type Tensor, tanh } from "@prior-art/tensor";

const named = { relu, gelu, silu, tanh, sigmoid, softplus } as const;

/** A nonlinearity by name, or any function of each element. */
export type Activation = keyof typeof named | ((x: Tensor) => Tensor);

export const activationOf = (activation: Activation): ((x: Tensor) => Tensor) =>
  typeof activation === "string" ? named[activation] : activation;
