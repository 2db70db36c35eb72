import {
  broadcastTo,
  div,
  expandDims,
  eye,
  matrixTranspose,
  maximum,
  mean,
  mul,
  neg,
  oneHot,
  reshape,
  softmax,
  sqrt,
  sub,
  sum,
  type Tensor,
  TensorError,
  vjp,
} from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import type { OutputLoss } from "@prior-art/toolkit/optim";

export type OutputLossKind = OutputLoss<unknown>["kind"];

/** Least probability in the factor of the Hessian: 1/√p must stay a float32. */
const LEAST = 1e-30;

/**
 * Hessian of each example's loss in its outputs, `[examples, outputs, outputs]`: the identity for `½‖f - y‖²`, and
 * `diag(p) - ppᵀ` with `p = softmax(f)` for the cross-entropy.
 * @param outputs Values or logits, `[examples, outputs]`.
 */
export function outputHessian(kind: OutputLossKind, outputs: Tensor): Tensor {
  const [examples, count] = outputs.shape as readonly [number, number];
  const identity = eye(count, count, outputs.dtype as "float32" | "float64");
  if (kind === "squaredError") return broadcastTo(identity, [examples, count, count]);
  const p = softmax(outputs);
  return sub(mul(identity, expandDims(p, -1)), mul(expandDims(p, -1), expandDims(p, -2)));
}

/** The loss as the optimizer sees it: a mean over the examples. */
export function outputLoss(kind: OutputLossKind, outputs: Tensor, targets: Tensor): Tensor {
  if (kind === "crossEntropy") return crossEntropy(outputs, targets);
  const residual = sub(outputs, targets);
  return mean(mul(0.5, sum(mul(residual, residual), -1)));
}

/** A batch's outputs, with what is needed of the loss around them. */
export interface Linearization<P> {
  readonly examples: number;
  /** Outputs of an example. */
  readonly count: number;
  readonly loss: Tensor;
  /** `r`, the loss's gradient in the outputs, `[examples, outputs]`. */
  readonly residual: Tensor;
  /** `L` with `LLᵀ` the output Hessian, `[examples, outputs, outputs]`. */
  readonly factor: Tensor;
  /** `s` with `Ls = r`, `[examples, outputs]`. */
  readonly factored: Tensor;
  /** `Jᵀ` times a cotangent `[examples, outputs]`. */
  readonly pullback: (cotangent: Tensor) => P;
}

/**
 * Outputs, residual and output Hessian, the latter factored, so that the small system is symmetric and positive
 * definite for both losses. For the cross-entropy `L = (I - p1ᵀ)diag(√p)`, whose product with `s = -e_y/√p_y` is
 * `p - e_y`.
 * @throws TensorError when the outputs are no matrix or the targets don't fit them.
 */
export function linearize<P>(
  op: string,
  { predict, targets, kind }: OutputLoss<P>,
  params: P,
): Linearization<P> {
  const [outputs, pull] = vjp((p: P) => predict(p), params);
  const [examples, count] = outputs.shape;
  if (outputs.rank !== 2 || examples === undefined || count === undefined)
    throw new TensorError(op, `the outputs must be [examples, outputs], got ${outputs.toString()}`);
  const wanted = kind === "crossEntropy" ? [examples] : outputs.shape;
  if (targets.shape.join() !== wanted.join() || (kind === "crossEntropy") !== (targets.dtype === "int32"))
    throw new TensorError(
      op,
      `targets ${targets.toString()} don't fit outputs ${outputs.toString()} for the ${kind} loss`,
    );
  const shared = { examples, count, pullback: (cotangent: Tensor): P => pull(cotangent)[0] as P };
  const loss = outputLoss(kind, outputs, targets);
  if (kind === "squaredError") {
    const residual = sub(outputs, targets);
    return { ...shared, loss, residual, factor: outputHessian(kind, outputs), factored: residual };
  }
  const p = softmax(outputs);
  const label = oneHot(targets, count, p.dtype);
  const root = sqrt(maximum(p, LEAST));
  const identity = eye(count, count, p.dtype as "float32" | "float64");
  const factor = mul(sub(identity, expandDims(p, -1)), expandDims(root, -2));
  return { ...shared, loss, residual: sub(p, label), factor, factored: neg(div(label, root)) };
}

/** Cotangents that pull back to the rows of `LᵀJ`: `[examples · outputs, examples, outputs]`. */
export function factoredBasis<P>({ examples, count, factor }: Linearization<P>): Tensor {
  const own = eye(examples, examples, factor.dtype as "float32" | "float64");
  // Row (i, l): example i's cotangent is column l of its factor, the others' are 0.
  const columns = reshape(matrixTranspose(factor), [examples, count, 1, count]);
  const rows = mul(reshape(own, [examples, 1, examples, 1]), columns);
  return reshape(rows, [examples * count, examples, count]);
}
