import type { DType } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { less } from "../ops/compare.ts";
import { lift, type TensorLike } from "../ops/create.ts";
import { add, mul } from "../ops/elementwise.ts";
import { take } from "../ops/indexing.ts";
import { argmax } from "../ops/reduce.ts";
import { broadcastTo, slice } from "../ops/shape.ts";
import { checkShape, type Shape, showShape } from "../shape.ts";
import { apply, constant, type Tensor } from "../tensor.ts";
import type { DrawAttrs } from "./draw.ts";
import { drawPrimitive, foldPrimitive, splitPrimitive } from "./primitives.ts";

function requireKey(op: string, key: Tensor): void {
  if (key?.dtype !== "key")
    throw new TensorError(op, `takes a key from random.key, split or fold, not ${String(key)}`);
}

function drawFrom(op: string, key: Tensor, attrs: DrawAttrs): Tensor {
  requireKey(op, key);
  checkShape(op, attrs.shape);
  return apply(drawPrimitive, [key], attrs);
}

/** A random key from a whole number: the same seed gives the same numbers on every machine and backend. */
export function key(seed: number): Tensor {
  if (!Number.isSafeInteger(seed))
    throw new TensorError("random.key", `a seed is a whole number, not ${seed}`);
  return constant(Uint32Array.of(Math.floor(seed / 2 ** 32), seed), [], "key");
}

/** `count` independent keys, `[count]`, to be used instead of `key`. Take one with `at`, or scan over them. */
export function split(parent: Tensor, count = 2): Tensor {
  requireKey("random.split", parent);
  return apply(splitPrimitive, [parent], { count });
}

/** `count` independent keys as a list, for destructuring. */
export const keys = (parent: Tensor, count = 2): Tensor[] => {
  const all = split(parent, count);
  return Array.from({ length: count }, (_, i) => slice(all, ...parent.shape.map(() => null), i));
};

/** A key for a step number or another whole number (which may be a tensor known before the graph runs). */
export function fold(parent: Tensor, data: TensorLike): Tensor {
  requireKey("random.fold", parent);
  return apply(foldPrimitive, [parent, lift("random.fold", data, "int32")], null);
}

export interface DrawOptions {
  readonly dtype?: "float32" | "float64";
}

/** Uniform numbers in `[low, high)`, `[...shape]` (`[...keys, ...shape]` for several keys). */
export function uniform(
  from: Tensor,
  shape: Shape = [],
  { low = 0, high = 1, dtype = "float32" }: DrawOptions & { low?: number; high?: number } = {},
): Tensor {
  const unit = drawFrom("random.uniform", from, { distribution: "uniform", shape, dtype });
  return add(mul(unit, high - low), low);
}

/** Standard normal numbers. */
export const normal = (from: Tensor, shape: Shape = [], { dtype = "float32" }: DrawOptions = {}): Tensor =>
  drawFrom("random.normal", from, { distribution: "normal", shape, dtype });

/** Standard Gumbel numbers, `-log(-log(u))`. */
export const gumbel = (from: Tensor, shape: Shape = [], { dtype = "float32" }: DrawOptions = {}): Tensor =>
  drawFrom("random.gumbel", from, { distribution: "gumbel", shape, dtype });

/** `true` with the given probability, a number or a tensor that broadcasts to `shape`. */
export function bernoulli(from: Tensor, probability: TensorLike = 0.5, shape?: Shape): Tensor {
  const p = lift("random.bernoulli", probability, "float32");
  const size = shape ?? p.shape;
  const dtype = p.dtype === "float64" ? "float64" : "float32";
  return less(drawFrom("random.bernoulli", from, { distribution: "uniform", shape: size, dtype }), p);
}

/** Whole numbers in `[low, high)`, int32. */
export function randint(from: Tensor, shape: Shape, low: number, high: number): Tensor {
  if (!(Number.isInteger(low) && Number.isInteger(high) && high > low))
    throw new TensorError("random.randint", `[${low}, ${high}) holds no whole number`);
  return drawFrom("random.randint", from, { distribution: "randint", shape, dtype: "int32", low, high });
}

/** Indices drawn from the distributions `softmax(logits)` over the last axis, int32. */
export function categorical(from: Tensor, logits: Tensor, shape?: Shape): Tensor {
  const lead = shape ?? logits.shape.slice(0, -1);
  const full = [...lead, logits.shape.at(-1)!];
  const dtype = logits.dtype === "float64" ? "float64" : "float32";
  return argmax(add(broadcastTo(logits, full), gumbel(from, full, { dtype })), -1);
}

/** A random order of `0…n-1` (int32), or of the slices of a tensor along axis 0. */
export function permutation(from: Tensor, n: number | Tensor): Tensor {
  const count = typeof n === "number" ? n : n.shape[0];
  if (count === undefined || !Number.isInteger(count) || count < 0)
    throw new TensorError(
      "random.permutation",
      `can't order ${typeof n === "number" ? n : showShape(n.shape)}`,
    );
  const order = drawFrom("random.permutation", from, {
    distribution: "permutation",
    shape: [count],
    dtype: "int32" as DType,
  });
  return typeof n === "number" ? order : take(n, order, 0);
}
