import { treeLeaves } from "@prior-art/tensor";

/** Numbers in all tensors of a tree. */
export const countParameters = (params: unknown): number =>
  treeLeaves(params).reduce((count, t) => count + t.size, 0);
