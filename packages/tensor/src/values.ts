import type { TypedArray } from "./dtype.ts";
import { TensorError } from "./errors.ts";
import { evaluate } from "./runtime/evaluate.ts";
import { type Shape, sizeOf } from "./shape.ts";
import { concreteValue, type Nested, readers, type Tensor } from "./tensor.ts";

/** The values of a tensor in row-major order; it is computed first if need be. Don't write to them. */
export async function data(t: Tensor): Promise<TypedArray> {
  await evaluate(t);
  return concreteValue(t)!;
}

/** The value of a tensor of one element. Bools come as 0 or 1. */
export async function item(t: Tensor): Promise<number> {
  if (t.size !== 1 || t.dtype === "key")
    throw new TensorError("item", `${t.toString()} is not one number; use data() or toArray()`);
  return (await data(t))[0]!;
}

/** The values as nested arrays (a number for a tensor without axes); bools as booleans. */
export async function toArray(t: Tensor): Promise<Nested> {
  if (t.dtype === "key") throw new TensorError("toArray", "random keys have no public value");
  const values = await data(t);
  const nest = (shape: Shape, from: number): Nested => {
    if (shape.length === 0) return t.dtype === "bool" ? values[from] !== 0 : values[from]!;
    const [n, ...rest] = shape;
    const width = sizeOf(rest);
    return Array.from({ length: n! }, (_, i) => nest(rest, from + i * width));
  };
  return nest(t.shape, 0);
}

Object.assign(readers, { data, item, toArray });
