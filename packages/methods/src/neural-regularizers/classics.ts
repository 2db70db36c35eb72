import { add, mul, random, sum, type Tensor, treeLeaves } from "@prior-art/tensor";
import { dropout as dropUnits } from "@prior-art/toolkit/nn";
import type { Regularizer } from "./family.ts";

/** Dropout of hidden units all through training (Srivastava et al., 2014). */
export const dropout = <P>({ rate = 0.5 }: { readonly rate?: number }): Regularizer<P> => ({
  activations: (x, { kind, index }, { key }) =>
    kind === "hidden" ? dropUnits(random.fold(key, index), x, rate) : x,
});

/** `strength/2 · ‖W‖²` over all tensors of two axes or more. */
export const l2Penalty = <P>({ strength = 1e-4 }: { readonly strength?: number }): Regularizer<P> => ({
  loss: (crossEntropy, { params }) =>
    treeLeaves(params)
      .filter((t) => t.rank > 1)
      .reduce((total: Tensor, t) => add(total, mul(strength / 2, sum(mul(t, t)))), crossEntropy),
});

/** Targets mixed with the uniform distribution (Szegedy et al., 2016). */
export const labelSmoothing = <P>({ smoothing = 0.1 }: { readonly smoothing?: number }): Regularizer<P> => ({
  targets: (targets) => add(mul(1 - smoothing, targets), smoothing / targets.shape.at(-1)!),
});
