import {
  div,
  greater,
  linalg,
  max,
  mul,
  sqrt,
  sum,
  type Tensor,
  TensorError,
  transpose,
  where,
  zerosLike,
} from "@prior-art/tensor";
import { newtonSchulz, polarFactor } from "@prior-art/toolkit/optim";

/**
 * Operator norm of a layer `W`, `[outputs, inputs]`, between root-mean-square norms `‖x‖/√d`: `oneToRms` for tables of embeddings
 * (an input is one token), `rmsToRms` for hidden matrices, `rmsToInf` for the output matrix (logits count one by one).
 */
export type NormKind = "oneToRms" | "rmsToRms" | "rmsToInf";

function sizes(op: string, w: Tensor): readonly [outputs: number, inputs: number] {
  if (w.rank !== 2) throw new TensorError(op, `takes a matrix [outputs, inputs], got ${w.toString()}`);
  return w.shape as [number, number];
}

const lengths = (w: Tensor, axis: 0 | 1): Tensor => sqrt(sum(mul(w, w), axis, true));

/**
 * The norm of a layer, a scalar: `max_j ‖W_:j‖/√outputs`, `√(inputs/outputs) ‖W‖₂`, or `max_i √inputs ‖W_i:‖`.
 * @param w `[outputs, inputs]`.
 * @throws TensorError unless `w` is a matrix.
 */
export function operatorNorm(w: Tensor, kind: NormKind): Tensor {
  const [outputs, inputs] = sizes("operatorNorm", w);
  switch (kind) {
    case "oneToRms":
      return div(max(lengths(w, 0)), Math.sqrt(outputs));
    case "rmsToRms":
      return mul(Math.sqrt(inputs / outputs), max(linalg.singularValues(w)));
    case "rmsToInf":
      return mul(Math.sqrt(inputs), max(lengths(w, 1)));
  }
}

/** How singular values are made equal: five Newton–Schulz steps, or exactly. */
export type Orthogonalization = "newtonSchulz" | "svd";

/**
 * 𝓛(m): the matrix of unit norm that has the largest inner product with `m`. Columns of equal length for embeddings, `UVᵀ` for
 * hidden matrices, rows of equal length for the output; columns and rows of zeros stay zero.
 * @param m `[outputs, inputs]`.
 * @throws TensorError unless `m` is a matrix.
 */
export function steepestDirection(
  m: Tensor,
  kind: NormKind,
  orthogonalize: Orthogonalization = "newtonSchulz",
): Tensor {
  const [outputs, inputs] = sizes("steepestDirection", m);
  const normalized = (axis: 0 | 1): Tensor => {
    const size = lengths(m, axis);
    const safe = where(greater(size, 0), size, 1);
    return where(greater(size, 0), div(m, safe), zerosLike(m));
  };
  switch (kind) {
    case "oneToRms":
      return mul(Math.sqrt(outputs), normalized(0));
    case "rmsToRms":
      return mul(Math.sqrt(outputs / inputs), orthogonalize === "svd" ? polarFactor(m) : newtonSchulz(m));
    case "rmsToInf":
      return div(normalized(1), Math.sqrt(inputs));
  }
}

/** Matrices kept as `[inputs, outputs]`, which `x · W` takes, in the layout of the norms and back. */
export const turned = (w: Tensor, layout: "outputsFirst" | "inputsFirst"): Tensor =>
  layout === "inputsFirst" ? transpose(w) : w;
