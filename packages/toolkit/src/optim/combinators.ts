import { concat, reshape, slice, type Tensor, TensorError, treeLeaves, treeMap } from "@prior-art/tensor";
import type { Mask } from "./scaling.ts";
import { type GradientTransformation, requireSameTree } from "./transformation.ts";

/** All tensors of a tree as one vector, in order. @throws TensorError when their dtypes differ. */
export function ravel(tree: unknown): Tensor {
  const leaves = treeLeaves(tree);
  if (leaves.length === 0) throw new TensorError("ravel", "the tree holds no tensor");
  if (leaves.some((t) => t.dtype !== leaves[0]!.dtype))
    throw new TensorError("ravel", `dtypes differ: ${leaves.join(", ")}`);
  return concat(leaves.map((t) => reshape(t, [t.size])));
}

/** A vector cut up into tensors like those of `tree`. */
export function unravel<P>(vector: Tensor, tree: P): P {
  let at = 0;
  return treeMap((t) => {
    at += t.size;
    return reshape(slice(vector, [at - t.size, at]), t.shape);
  }, tree);
}

/**
 * Runs an element-wise transformation on all tensors as one vector: a handful of large operations a step instead of as
 * many for each tensor, which is faster for networks of many small ones.
 */
export const flat = <P, S>(inner: GradientTransformation<Tensor, S>): GradientTransformation<P, S> => ({
  init: (params) => inner.init(ravel(params)),
  update: (gradients, state, params) => {
    const [updates, next] = inner.update(ravel(gradients), state, ravel(params));
    return [unravel(updates, params), next];
  },
});

/** Tensors of a tree in a list, those that the mask leaves out missing. */
const chosen = (tree: unknown, params: unknown, mask: Mask): Tensor[] => {
  const keep = treeLeaves(params).map(mask);
  return treeLeaves(tree).filter((_, i) => keep[i]);
};

/**
 * Applies a transformation to the tensors that `mask` chooses; the others' gradients pass through.
 *
 * @throws TensorError from `update` when the gradients don't fit the parameters.
 */
export const masked = <P, S>(
  inner: GradientTransformation<Tensor[], S>,
  mask: Mask,
): GradientTransformation<P, S> => ({
  init: (params) => inner.init(chosen(params, params, mask)),
  update: (gradients, state, params) => {
    requireSameTree("masked", gradients, params);
    const [updates, next] = inner.update(
      chosen(gradients, params, mask),
      state,
      chosen(params, params, mask),
    );
    let at = 0;
    return [treeMap((g, p) => (mask(p) ? updates[at++]! : g), gradients, params), next];
  },
});
