import { range, type Shape, sameShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { sum } from "./reduce.ts";
import { broadcastTo, broadcastToPrimitive, reshape } from "./shape.ts";

/** Sums a cotangent over the axes along which an operand of `shape` was broadcast. */
export function unbroadcast(ct: Tensor, shape: Shape): Tensor {
  if (sameShape(ct.shape, shape)) return ct;
  const lead = ct.rank - shape.length;
  const axes = range(ct.rank).filter((i) => i < lead || (shape[i - lead] === 1 && ct.shape[i] !== 1));
  return reshape(sum(ct, axes), shape);
}

/** What `t` was broadcast from, when an operation that broadcasts to `shape` can as well take that. */
export function broadcastSource(t: Tensor, other: Tensor, shape: Shape): Tensor {
  if (t.node.primitive !== broadcastToPrimitive) return t;
  const source = t.node.inputs[0]!;
  const covers = shape.every((n, i) => {
    const at = (s: Shape): number => s[i - (shape.length - s.length)] ?? 1;
    return at(source.shape) === n || at(other.shape) === n;
  });
  // Axes of size 1 are covered by any shape, but one of the two must have them.
  return covers && Math.max(source.rank, other.rank) === shape.length ? source : t;
}

/** Batched operands of a broadcasting operation, with axes of size 1 put after the batch axis to level their ranks. */
export function alignRanks(inputs: readonly Tensor[], batched: readonly boolean[]): Tensor[] {
  const rank = Math.max(...inputs.map((t, i) => t.rank - (batched[i] ? 1 : 0)));
  return inputs.map((t, i) => {
    if (!batched[i] || t.rank - 1 === rank) return t;
    const [size, ...rest] = t.shape;
    return reshape(t, [size!, ...new Array<number>(rank - rest.length).fill(1), ...rest]);
  });
}

/** `t` as a stack of `size`, batch axis first. */
export const stackOf = (t: Tensor, isBatched: boolean, size: number): Tensor =>
  isBatched ? t : broadcastTo(t, [size, ...t.shape]);
