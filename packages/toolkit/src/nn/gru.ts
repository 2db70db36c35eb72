import { add, mul, random, sigmoid, split, sub, type Tensor, tanh, zeros } from "@prior-art/tensor";
import type { CellOptions } from "./cell.ts";
import * as dense from "./dense.ts";
import { glorot, orthogonal } from "./initializers.ts";

export interface GruParams {
  /** `[inputs, 3 · width]`: reset, update, candidate. */
  readonly input: dense.DenseParams;
  /** `[width, 3 · width]`, in the same order. */
  readonly hidden: dense.DenseParams;
}

/** Glorot's weights for the inputs, orthogonal rows for the state. */
export function init(key: Tensor, { inputs, width, dtype = "float32" }: CellOptions): GruParams {
  const [inputKey, hiddenKey] = random.keys(key) as [Tensor, Tensor];
  const outputs = 3 * width;
  return {
    input: dense.init(inputKey, { inputs, outputs, weights: glorot(), dtype }),
    hidden: dense.init(hiddenKey, { inputs: width, outputs, weights: orthogonal(), dtype }),
  };
}

/** Zeros `[batch, width]`. */
export const start = ({ hidden: { weight } }: GruParams, batch: number): Tensor =>
  zeros([batch, weight.shape[0]!], weight.dtype);

export const project = ({ input }: GruParams, x: Tensor): Tensor => dense.apply(input, x);

export function step(params: GruParams, state: Tensor, projected: Tensor): readonly [Tensor, Tensor] {
  const [xr, xz, xn] = split(projected, 3, -1) as [Tensor, Tensor, Tensor];
  const [hr, hz, hn] = split(dense.apply(params.hidden, state), 3, -1) as [Tensor, Tensor, Tensor];
  const reset = sigmoid(add(xr, hr));
  const update = sigmoid(add(xz, hz));
  const candidate = tanh(add(xn, mul(reset, hn)));
  const next = add(candidate, mul(update, sub(state, candidate)));
  return [next, next];
}

/**
 * One step: `x` `[batch, inputs]`, `state` `[batch, width]`; the next state is the output (Cho et al., 2014, with the
 * reset gate after the product, as cuDNN and PyTorch have it).
 */
export const apply = (
  params: GruParams,
  state: Tensor,
  x: Tensor,
): readonly [state: Tensor, output: Tensor] => step(params, state, project(params, x));
