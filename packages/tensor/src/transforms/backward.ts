import { isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { dependents } from "../graph.ts";
import { zerosLike } from "../ops/create.ts";
import { sumOfPieces } from "../ops/shape.ts";
import { sameShape } from "../shape.ts";
import type { Maybe, Tensor } from "../tensor.ts";

/**
 * Cotangents of `wrt` from those of `outputs`: reverse-mode differentiation of the graph between them. `undefined`
 * where an output doesn't depend on the source.
 */
export function backward(
  outputs: readonly Tensor[],
  cotangents: readonly Maybe<Tensor>[],
  wrt: readonly Tensor[],
): Maybe<Tensor>[] {
  const nodes = dependents(outputs, new Set(wrt));
  const active = new Set<Tensor>(wrt);
  for (const node of nodes) for (const t of node.outputs) active.add(t);
  const gathered = new Map<Tensor, Tensor[]>();
  const accumulate = (t: Tensor, ct: Maybe<Tensor>): void => {
    if (ct === undefined || !active.has(t) || !isFloat(t.dtype)) return;
    const terms = gathered.get(t);
    if (terms === undefined) gathered.set(t, [ct]);
    else terms.push(ct);
  };
  const total = (t: Tensor): Maybe<Tensor> => {
    const terms = gathered.get(t);
    return terms && sumOfPieces(terms);
  };
  outputs.forEach((t, i) => {
    accumulate(t, cotangents[i]);
  });
  for (const node of nodes.reverse()) {
    const cts = node.outputs.map(total);
    const needed = node.inputs.map((t) => active.has(t) && isFloat(t.dtype));
    if (!cts.some(Boolean) || !needed.some(Boolean) || !node.primitive.vjp) continue;
    const ctx = { inputs: node.inputs, outputs: node.outputs, attrs: node.attrs, node };
    const results = node.primitive.vjp(ctx, cts, needed);
    node.inputs.forEach((input, i) => {
      const ct = results[i];
      if (ct && needed[i] && !sameShape(ct.shape, input.shape))
        throw new TensorError(
          node.primitive.name,
          `its vjp rule made ${ct.toString()} for ${input.toString()}`,
        );
      if (needed[i]) accumulate(input, ct);
    });
  }
  return wrt.map(total);
}

/** Tangents of `outputs` from those of `inputs`: forward-mode differentiation of the graph between them. */
export function forward(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  tangents: readonly Maybe<Tensor>[],
): Maybe<Tensor>[] {
  const known = new Map<Tensor, Tensor>();
  inputs.forEach((t, i) => {
    const tangent = tangents[i];
    if (tangent) known.set(t, tangent);
  });
  for (const node of dependents(outputs, new Set(known.keys()))) {
    const incoming = node.inputs.map((t) => known.get(t));
    if (!incoming.some(Boolean) || !node.primitive.jvp) continue;
    const ctx = { inputs: node.inputs, outputs: node.outputs, attrs: node.attrs, node };
    const results = node.primitive.jvp(ctx, incoming);
    node.outputs.forEach((t, i) => {
      const tangent = results[i];
      if (tangent && isFloat(t.dtype)) known.set(t, tangent);
    });
  }
  return outputs.map((t) => known.get(t));
}

/** (Co)tangents with the zeros filled in that the walks leave out. */
export const orZeros = (found: readonly Maybe<Tensor>[], like: readonly Tensor[]): Tensor[] =>
  like.map((t, i) => found[i] ?? zerosLike(t));
