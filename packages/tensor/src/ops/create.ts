import { allocate, type DType, dtypeOfArray, type TypedArray, toTypedArray } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { checkShape, type Shape, showShape } from "../shape.ts";
import { constant, type Nested, Tensor } from "../tensor.ts";
import { broadcastTo } from "./shape.ts";

/** Anything an operation takes as a tensor; a number takes the dtype of the operand beside it. */
export type TensorLike = Tensor | number | boolean;

export interface TensorOptions {
  readonly shape?: Shape;
  readonly dtype?: DType;
}

/**
 * A tensor from numbers, nested arrays, or a typed array (which fixes the dtype and is not copied: don't write to
 * it afterwards).
 * @throws TensorError when rows differ in length, or the values don't fill `shape`.
 * @example tensor([[1, 2], [3, 4]])            // float32[2, 2]
 * @example tensor(new Float64Array(6), { shape: [2, 3] })
 */
export function tensor(data: Nested | TypedArray, options: TensorOptions = {}): Tensor {
  if (options.shape) checkShape("tensor", options.shape);
  if (ArrayBuffer.isView(data)) {
    const stored = dtypeOfArray(data);
    if (stored === undefined)
      throw new TensorError("tensor", `no dtype is stored in a ${(data as object).constructor.name}`);
    const dtype = options.dtype ?? stored;
    const value = dtype === stored ? (data as TypedArray) : toTypedArray(dtype, data as TypedArray);
    return constant(value, options.shape ?? [value.length], dtype);
  }
  const shape: number[] = [];
  for (let level: Nested = data as Nested; Array.isArray(level); level = level[0]!) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const flat: (number | boolean)[] = [];
  const walk = (value: Nested, depth: number): void => {
    if (Array.isArray(value)) {
      if (value.length !== shape[depth])
        throw new TensorError(
          "tensor",
          `rows differ in length: ${value.length} where ${shape[depth] ?? 0} was expected`,
        );
      for (const v of value) walk(v, depth + 1);
    } else if (depth !== shape.length || (typeof value !== "number" && typeof value !== "boolean"))
      throw new TensorError("tensor", `expected numbers nested ${shape.length} deep, got ${String(value)}`);
    else flat.push(value);
  };
  walk(data as Nested, 0);
  const dtype = options.dtype ?? (typeof flat[0] === "boolean" ? "bool" : "float32");
  return constant(toTypedArray(dtype, flat), options.shape ?? shape, dtype);
}

/** A tensor without axes. */
export const scalar = (value: number | boolean, dtype?: DType): Tensor =>
  tensor(value, dtype ? { dtype } : {});

/** A tensor filled with one value. */
export function full(shape: Shape, value: number | boolean, dtype?: DType): Tensor {
  checkShape("full", shape);
  return broadcastTo(scalar(value, dtype), shape);
}

export const zeros = (shape: Shape, dtype: DType = "float32"): Tensor => full(shape, 0, dtype);
export const ones = (shape: Shape, dtype: DType = "float32"): Tensor => full(shape, 1, dtype);
export const zerosLike = (t: Tensor): Tensor => full(t.shape, 0, t.dtype);
export const onesLike = (t: Tensor): Tensor => full(t.shape, 1, t.dtype);

/** `start, start + step, …` up to, not including, `stop`. */
export function arange(start: number, stop?: number, step = 1, dtype: DType = "int32"): Tensor {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const n = Math.max(0, Math.ceil((to - from) / step));
  if (!Number.isFinite(n)) throw new TensorError("arange", `${from}, ${to}, ${step} is not a finite range`);
  const value = allocate(dtype, n);
  for (let i = 0; i < n; i++) value[i] = from + i * step;
  return constant(value, [n], dtype);
}

/** `count` evenly spaced numbers from `start` to `stop`, both included. */
export function linspace(start: number, stop: number, count: number, dtype: DType = "float32"): Tensor {
  const value = allocate(dtype, count);
  for (let i = 0; i < count; i++) value[i] = count === 1 ? start : start + ((stop - start) * i) / (count - 1);
  return constant(value, [count], dtype);
}

/** The identity matrix `[rows, columns]`. */
export function eye(rows: number, columns = rows, dtype: DType = "float32"): Tensor {
  const value = allocate(dtype, rows * columns);
  for (let i = 0; i < Math.min(rows, columns); i++) value[i * columns + i] = 1;
  return constant(value, [rows, columns], dtype);
}

/** An operand as a tensor; a number or boolean takes `dtype`. */
export function lift(op: string, value: TensorLike, dtype: DType): Tensor {
  if (value instanceof Tensor) return value;
  if (typeof value !== "number" && typeof value !== "boolean")
    throw new TensorError(op, `expected a tensor or a number, got ${describe(value)}`);
  if (dtype === "int32" && !Number.isInteger(Number(value)))
    throw new TensorError(
      op,
      `${value} is not a whole number, and the other operand is int32; cast it first`,
    );
  return scalar(value, dtype === "key" ? "float32" : dtype);
}

/** Operands of one dtype. */
export function liftAll(op: string, values: readonly TensorLike[], fallback: DType = "float32"): Tensor[] {
  const typed = values.find((v): v is Tensor => v instanceof Tensor);
  const allBooleans = values.every((v) => typeof v === "boolean");
  const dtype = typed?.dtype ?? (allBooleans ? "bool" : fallback);
  const tensors = values.map((v) => lift(op, v, dtype));
  const other = tensors.find((t) => t.dtype !== dtype);
  if (other !== undefined)
    throw new TensorError(
      op,
      `dtypes differ: ${tensors.map((t) => `${t.dtype}${showShape(t.shape)}`).join(" and ")}; cast one of them`,
    );
  return tensors;
}

const describe = (value: unknown): string =>
  value === null || value === undefined ? String(value) : `${typeof value} ${JSON.stringify(value) ?? ""}`;
