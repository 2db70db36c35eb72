import { add, gelu, mul, relu, sigmoid, silu, softplus, type Tensor, tanh } from "@prior-art/tensor";

/** GELU with the normal distribution function approximated by tanh, as in GPT-2 (Hendrycks & Gimpel, 2016). */
const geluTanh = (x: Tensor): Tensor =>
  mul(mul(x, 0.5), add(1, tanh(mul(mul(x, Math.sqrt(2 / Math.PI)), add(1, mul(0.044715, mul(x, x)))))));

const named = { relu, gelu, geluTanh, silu, tanh, sigmoid, softplus } as const;

/** A nonlinearity by name, or any function of each element. */
export type Activation = keyof typeof named | ((x: Tensor) => Tensor);

export const activationOf = (activation: Activation): ((x: Tensor) => Tensor) =>
  typeof activation === "string" ? named[activation] : activation;
