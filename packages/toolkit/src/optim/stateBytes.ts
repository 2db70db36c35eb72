import { type Tensor, treeLeaves } from "@prior-art/tensor";

const BYTES: Readonly<Record<Tensor["dtype"], number>> = {
  float32: 4,
  float64: 8,
  int32: 4,
  bool: 1,
  key: 8,
};

/**
 * Bytes that an optimizer's state takes: the tensors of the tree, each counted once.
 * @example
 * stateBytes(adam({ learningRate: 1e-3 }).init(params)); // 2 numbers a parameter, and the step
 */
export const stateBytes = (state: unknown): number =>
  [...new Set(treeLeaves(state))].reduce((bytes, t) => bytes + t.size * BYTES[t.dtype], 0);
