import { type DType, isFloat, isNumeric, toTypedArray } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import type { LowerContext } from "../onnx/lower.ts";
import {
  normalizeAxes,
  normalizeAxis,
  range,
  reducedShape,
  type Shape,
  showShape,
  sizeOf,
} from "../shape.ts";
import { apply, type Primitive, type Tensor } from "../tensor.ts";
import { cast, equal, isFinite, where } from "./compare.ts";
import { add, div, exp, log, mul, sqrt, sub } from "./elementwise.ts";
import { identity } from "./identity.ts";
import { broadcastTo, concat, flip, reshape, slice, transpose } from "./shape.ts";

interface ReduceAttrs {
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

/** A reduced value in a shape that broadcasts against what was reduced. */
const spread = (y: Tensor, x: Tensor, axes: readonly number[]): Tensor =>
  reshape(y, reducedShape(x.shape, axes, true));

const shifted = ({ axes, keepDims }: ReduceAttrs): ReduceAttrs => ({
  axes: axes.map((a) => a + 1),
  keepDims,
});

function reducePrimitive(
  name: string,
  onnx: string,
  rules: Pick<Primitive<ReduceAttrs>, "vjp" | "jvp" | "lower">,
): Primitive<ReduceAttrs> {
  const primitive: Primitive<ReduceAttrs> = {
    name,
    infer: ([x], { axes, keepDims }) => [{ shape: reducedShape(x!.shape, axes, keepDims), dtype: x!.dtype }],
    batch: ([x], _, attrs) => [apply(primitive, [x!], shifted(attrs))],
    lower: (ctx, inputs, node) => {
      const { axes, keepDims } = node.attrs as ReduceAttrs;
      return [ctx.emit(onnx, [inputs[0]!, ctx.ints(axes)], { keepdims: keepDims ? 1 : 0 })];
    },
    ...rules,
  };
  return primitive;
}

/** The sum over leading axes as a product with a row of ones, for which the runtime's kernel is several times faster. */
function lowerLeadingSum(ctx: LowerContext, input: string, shape: Shape, out: Tensor, count: number): string {
  const rows = sizeOf(shape.slice(0, count));
  const matrix = ctx.reshape(input, [rows, sizeOf(shape.slice(count))]);
  const unit = ctx.array(toTypedArray(out.dtype, new Array<number>(rows).fill(1)), [1, rows], out.dtype);
  return ctx.reshape(ctx.emit("MatMul", [unit, matrix]), out.shape);
}

const sumPrimitive = reducePrimitive("sum", "ReduceSum", {
  lower: (ctx, inputs, node) => {
    const { axes, keepDims } = node.attrs as ReduceAttrs;
    const [x] = node.inputs as [Tensor];
    const isSummed = (axis: number): boolean => axes.includes(axis);
    const leading = range(x.rank).findIndex((axis) => !isSummed(axis));
    const trailing = range(x.rank)
      .reverse()
      .findIndex((axis) => !isSummed(axis));
    // Trailing axes first, which the runtime sums fast, and then the leading ones.
    if (leading > 0 && leading + trailing === axes.length && x.size > 0 && isFloat(x.dtype)) {
      const last = axes.slice(leading);
      const rest = x.shape.slice(0, x.rank - trailing);
      const partial =
        trailing === 0 ? inputs[0]! : ctx.emit("ReduceSum", [inputs[0]!, ctx.ints(last)], { keepdims: 0 });
      return [lowerLeadingSum(ctx, partial, rest, node.outputs[0]!, leading)];
    }
    return [ctx.emit("ReduceSum", [inputs[0]!, ctx.ints(axes)], { keepdims: keepDims ? 1 : 0 })];
  },
  vjp: ({ inputs: [x], attrs }, [ct]) => [ct && broadcastTo(spread(ct, x!, attrs.axes), x!.shape)],
  jvp: ({ attrs }, [t]) => [t && apply(sumPrimitive, [t], attrs)],
});

/** Extremes share the derivative among ties. */
function extremePrimitive(name: string, onnx: string): Primitive<ReduceAttrs> {
  const winners = (x: Tensor, y: Tensor, axes: readonly number[]): Tensor => {
    const hit = cast(equal(x, spread(y, x, axes)), x.dtype);
    return div(hit, sum(hit, axes, true));
  };
  return reducePrimitive(name, onnx, {
    vjp: ({ inputs: [x], outputs: [y], attrs: { axes } }, [ct]) => [
      ct && mul(winners(x!, y!, axes), spread(ct, x!, axes)),
    ],
    jvp: ({ inputs: [x], outputs: [y], attrs: { axes, keepDims } }, [t]) => [
      t && sum(mul(winners(x!, y!, axes), t), axes, keepDims),
    ],
  });
}

const maxPrimitive = extremePrimitive("max", "ReduceMax");
const minPrimitive = extremePrimitive("min", "ReduceMin");

function reduce(
  primitive: Primitive<ReduceAttrs>,
  x: Tensor,
  axes: number | readonly number[] | undefined,
  keepDims: boolean,
): Tensor {
  if (!isNumeric(x.dtype))
    throw new TensorError(primitive.name, `takes numbers, not ${x.dtype}${showShape(x.shape)}`);
  const list = normalizeAxes(primitive.name, axes, x.rank);
  if (list.length === 0) return x;
  if (primitive !== sumPrimitive && list.some((a) => x.shape[a] === 0))
    throw new TensorError(primitive.name, `nothing to reduce in shape ${showShape(x.shape)}`);
  if (list.every((a) => x.shape[a] === 1)) return reshape(x, reducedShape(x.shape, list, keepDims));
  return apply(primitive, [x], { axes: list, keepDims });
}

type Axes = number | readonly number[];

/** Sum over `axes` (all by default). */
export const sum = (x: Tensor, axes?: Axes, keepDims = false): Tensor =>
  reduce(sumPrimitive, x, axes, keepDims);
/** Largest element over `axes`; ties share the derivative. */
export const max = (x: Tensor, axes?: Axes, keepDims = false): Tensor =>
  reduce(maxPrimitive, x, axes, keepDims);
/** Smallest element over `axes`; ties share the derivative. */
export const min = (x: Tensor, axes?: Axes, keepDims = false): Tensor =>
  reduce(minPrimitive, x, axes, keepDims);

const countOver = (shape: Shape, axes: readonly number[]): number => sizeOf(axes.map((a) => shape[a]!));

/** Mean over `axes` (all by default). */
export function mean(x: Tensor, axes?: Axes, keepDims = false): Tensor {
  const list = normalizeAxes("mean", axes, x.rank);
  return mul(sum(x, list, keepDims), 1 / countOver(x.shape, list));
}

/** Variance over `axes`, divided by `n - ddof`. */
export function variance(x: Tensor, axes?: Axes, { keepDims = false, ddof = 0 } = {}): Tensor {
  const list = normalizeAxes("variance", axes, x.rank);
  const centred = sub(x, mean(x, list, true));
  return div(sum(mul(centred, centred), list, keepDims), countOver(x.shape, list) - ddof);
}

/** Standard deviation over `axes`, of the variance divided by `n - ddof`. */
export const std = (x: Tensor, axes?: Axes, options: { keepDims?: boolean; ddof?: number } = {}): Tensor =>
  sqrt(variance(x, axes, options));

/** Whether any element over `axes` is true. */
export const any = (x: Tensor, axes?: Axes, keepDims = false): Tensor =>
  cast(max(cast(x, "int32"), axes, keepDims), "bool");
/** Whether all elements over `axes` are true. */
export const all = (x: Tensor, axes?: Axes, keepDims = false): Tensor =>
  cast(min(cast(x, "int32"), axes, keepDims), "bool");

/** `log Σ exp(x)` over `axes`, without overflow; `-∞` where all elements are. */
export function logSumExp(x: Tensor, axes?: Axes, keepDims = false): Tensor {
  const list = normalizeAxes("logSumExp", axes, x.rank);
  const top = identity(max(x, list, true), { differentiable: false });
  const shift = where(isFinite(top), top, 0);
  const total = add(log(sum(exp(sub(x, shift)), list, true)), shift);
  return keepDims ? total : reshape(total, reducedShape(x.shape, list, false));
}

/**
 * Product over `axes`. Its derivative is the product of the others, computed without dividing, so zeros are safe.
 */
export function prod(x: Tensor, axes?: Axes, keepDims = false): Tensor {
  const list = normalizeAxes("prod", axes, x.rank);
  if (list.length === 0) return x;
  const rest = range(x.rank).filter((a) => !list.includes(a));
  const front = rest.map((a) => x.shape[a]!);
  const n = countOver(x.shape, list);
  // Halving keeps every rule that of mul; log n nodes instead of a primitive of its own.
  let factors = reshape(transpose(x, [...rest, ...list]), [...front, n]);
  if (n === 0) throw new TensorError("prod", `nothing to reduce in shape ${showShape(x.shape)}`);
  const lead = front.map(() => null);
  for (let m = n; m > 1; m = Math.ceil(m / 2)) {
    const k = Math.floor(m / 2);
    const product = mul(slice(factors, ...lead, [0, k]), slice(factors, ...lead, [k, 2 * k]));
    factors = m % 2 === 1 ? concat([product, slice(factors, ...lead, [m - 1, m])], front.length) : product;
  }
  return reshape(factors, reducedShape(x.shape, list, keepDims));
}

interface ArgAttrs {
  readonly axis: number;
}

function argPrimitive(name: string, onnx: string): Primitive<ArgAttrs> {
  const primitive: Primitive<ArgAttrs> = {
    name,
    infer: ([x], { axis }) => [{ shape: reducedShape(x!.shape, [axis], false), dtype: "int32" as DType }],
    batch: ([x], _, { axis }) => [apply(primitive, [x!], { axis: axis + 1 })],
    lower: (ctx, inputs, node) => [
      ctx.cast(ctx.emit(onnx, inputs, { axis: (node.attrs as ArgAttrs).axis, keepdims: 0 }), "int32"),
    ],
  };
  return primitive;
}

const argmaxPrimitive = argPrimitive("argmax", "ArgMax");
const argminPrimitive = argPrimitive("argmin", "ArgMin");

function arg(primitive: Primitive<ArgAttrs>, x: Tensor, axis: number): Tensor {
  if (!isNumeric(x.dtype))
    throw new TensorError(primitive.name, `takes numbers, not ${x.dtype}${showShape(x.shape)}`);
  const at = normalizeAxis(primitive.name, axis, x.rank);
  if (x.shape[at] === 0)
    throw new TensorError(primitive.name, `axis ${at} of ${showShape(x.shape)} is empty`);
  return apply(primitive, [x], { axis: at });
}

/** Index of the first largest element along `axis`, int32. */
export const argmax = (x: Tensor, axis = -1): Tensor => arg(argmaxPrimitive, x, axis);
/** Index of the first smallest element along `axis`, int32. */
export const argmin = (x: Tensor, axis = -1): Tensor => arg(argminPrimitive, x, axis);

const cumSumPrimitive: Primitive<ArgAttrs> = {
  name: "cumSum",
  infer: ([x]) => [x!],
  vjp: ({ attrs: { axis } }, [ct]) => [ct && flip(cumSum(flip(ct, axis), axis), axis)],
  jvp: ({ attrs: { axis } }, [t]) => [t && cumSum(t, axis)],
  batch: ([x], _, { axis }) => [cumSum(x!, axis + 1)],
  lower: (ctx, inputs, node) => [
    ctx.emit("CumSum", [inputs[0]!, ctx.scalarInt((node.attrs as ArgAttrs).axis)]),
  ],
};

/** Running sum along `axis`. */
export function cumSum(x: Tensor, axis = 0): Tensor {
  if (!isNumeric(x.dtype))
    throw new TensorError("cumSum", `takes numbers, not ${x.dtype}${showShape(x.shape)}`);
  return apply(cumSumPrimitive, [x], { axis: normalizeAxis("cumSum", axis, x.rank) });
}

/** Euclidean norm over `axes`; its derivative at 0 is 0. */
export function norm(x: Tensor, axes?: Axes, keepDims = false): Tensor {
  if (!isFloat(x.dtype)) throw new TensorError("norm", `takes floats, not ${x.dtype}${showShape(x.shape)}`);
  const squared = sum(mul(x, x), axes, keepDims);
  const zero = equal(squared, 0);
  return where(zero, 0, sqrt(where(zero, 1, squared)));
}
