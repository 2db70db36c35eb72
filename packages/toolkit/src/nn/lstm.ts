import { add, concat, mul, ones, random, sigmoid, split, type Tensor, tanh, zeros } from "@prior-art/tensor";
import type { CellOptions } from "./cell.ts";
import * as dense from "./dense.ts";
import { glorot, orthogonal } from "./initializers.ts";

export interface LstmParams {
  /** `[inputs, 4 · width]`: input, forget, candidate, output. */
  readonly input: dense.DenseParams;
  /** `[width, 4 · width]`, in the same order, without bias. */
  readonly hidden: dense.DenseParams;
}

/** Both `[batch, width]`. */
export interface LstmState {
  readonly hidden: Tensor;
  readonly cell: Tensor;
}

/**
 * Glorot's weights for the inputs, orthogonal rows for the state, and a forget gate biased by 1 (Jozefowicz et al.,
 * 2015).
 */
export function init(key: Tensor, { inputs, width, dtype = "float32" }: CellOptions): LstmParams {
  const [inputKey, hiddenKey] = random.keys(key) as [Tensor, Tensor];
  const outputs = 4 * width;
  return {
    input: {
      weight: glorot()(inputKey, [inputs, outputs], dtype),
      bias: concat([zeros([width], dtype), ones([width], dtype), zeros([2 * width], dtype)]),
    },
    hidden: dense.init(hiddenKey, { inputs: width, outputs, weights: orthogonal(), bias: false, dtype }),
  };
}

/** Zeros `[batch, width]`. */
export function start({ hidden: { weight } }: LstmParams, batch: number): LstmState {
  const zero = zeros([batch, weight.shape[0]!], weight.dtype);
  return { hidden: zero, cell: zero };
}

export const project = ({ input }: LstmParams, x: Tensor): Tensor => dense.apply(input, x);

export function step(params: LstmParams, state: LstmState, projected: Tensor): readonly [LstmState, Tensor] {
  const gates = add(projected, dense.apply(params.hidden, state.hidden));
  const [input, forget, candidate, output] = split(gates, 4, -1) as [Tensor, Tensor, Tensor, Tensor];
  const cell = add(mul(sigmoid(forget), state.cell), mul(sigmoid(input), tanh(candidate)));
  const hidden = mul(sigmoid(output), tanh(cell));
  return [{ hidden, cell }, hidden];
}

/**
 * One step: `x` `[batch, inputs]`; the output is the new hidden state (Hochreiter & Schmidhuber, 1997; forget gate of
 * Gers et al., 2000).
 */
export const apply = (
  params: LstmParams,
  state: LstmState,
  x: Tensor,
): readonly [state: LstmState, output: Tensor] => step(params, state, project(params, x));
