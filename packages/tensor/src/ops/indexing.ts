import type { DType } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { normalizeAxis, range, sameShape, showShape } from "../shape.ts";
import { apply, applyAll, concreteValue, type Primitive, type Tensor } from "../tensor.ts";
import { stackOf } from "./broadcast.ts";
import { cast, equal, less, lessEqual, where } from "./compare.ts";
import { arange, zerosLike } from "./create.ts";
import { add } from "./elementwise.ts";
import { expandDims, moveAxis, reshape, transpose } from "./shape.ts";
import { clip } from "./special.ts";

interface AxisAttrs {
  readonly axis: number;
}

/** Indices that are safe to read with: see `take` for what out-of-range ones mean. */
function safeIndices(op: string, indices: Tensor, n: number): Tensor {
  if (indices.dtype !== "int32")
    throw new TensorError(op, `indices are int32, not ${indices.dtype}${showShape(indices.shape)}`);
  if (n === 0 && indices.size > 0) throw new TensorError(op, "can't index an empty axis");
  const known = concreteValue(indices);
  if (known?.every((i) => i >= -n && i < n)) return indices;
  return clip(indices, -n, n - 1);
}

const gatherPrimitive: Primitive<AxisAttrs> = {
  name: "take",
  infer: ([x, indices], { axis }) => [
    { shape: [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)], dtype: x!.dtype },
  ],
  vjp: ({ inputs: [x, indices], attrs: { axis } }, [ct]) => {
    if (!ct) return [undefined];
    const count = indices!.rank;
    const front = [...range(count, axis), ...range(axis), ...range(ct.rank - axis - count, axis + count)];
    const updates = transpose(ct, front);
    const base = zerosLike(moveAxis(x!, axis, 0));
    return [moveAxis(apply(scatterPrimitive, [base, indices!, updates], null), 0, axis)];
  },
  jvp: ({ inputs: [, indices], attrs }, [t]) => [t && apply(gatherPrimitive, [t, indices!], attrs)],
  batch: ([x, indices], [xBatched, indicesBatched], { axis }, size) => {
    if (!indicesBatched) return [apply(gatherPrimitive, [x!, indices!], { axis: axis + 1 })];
    if (!xBatched) {
      const out = apply(gatherPrimitive, [x!, indices!], { axis });
      return [moveAxis(out, axis, 0)];
    }
    const n = x!.shape[axis + 1]!;
    const rows = moveAxis(x!, axis + 1, 1);
    const flat = reshape(rows, [size * n, ...rows.shape.slice(2)]);
    const out = apply(gatherPrimitive, [flat, offsetIndices(indices!, n)], { axis: 0 });
    const count = indices!.rank - 1;
    const rest = range(out.rank - 1 - count, 1 + count);
    return [transpose(out, [0, ...rest.slice(0, axis), ...range(count, 1), ...rest.slice(axis)])];
  },
  lower: (ctx, inputs, node) => [ctx.emit("Gather", inputs, { axis: (node.attrs as AxisAttrs).axis })],
};

/** Row numbers in a stack of `size` tables of `n` rows, from row numbers in each; `indices` is `[size, …]`. */
function offsetIndices(indices: Tensor, n: number): Tensor {
  const size = indices.shape[0]!;
  const positive = where(less(indices, 0), add(indices, n), indices);
  const offsets = arange(0, size * n, Math.max(n, 1));
  return add(positive, reshape(offsets, [size, ...new Array<number>(indices.rank - 1).fill(1)]));
}

/** `base[indices] += updates` along the first axis; `updates` is `[...indices, ...base.shape.slice(1)]`. */
const scatterPrimitive: Primitive<null> = {
  name: "scatterAdd",
  infer: ([base]) => [base!],
  vjp: ({ inputs: [, indices] }, [ct], needed) => [
    ct,
    undefined,
    ct && needed[2] ? apply(gatherPrimitive, [ct, indices!], { axis: 0 }) : undefined,
  ],
  jvp: ({ inputs: [base, indices, updates] }, [tBase, , tUpdates]) => [
    tBase || tUpdates
      ? apply(scatterPrimitive, [tBase ?? zerosLike(base!), indices!, tUpdates ?? zerosLike(updates!)], null)
      : undefined,
  ],
  batch: (inputs, batched, _, size) => {
    const [base, indices, updates] = inputs.map((t, i) => stackOf(t, batched[i]!, size));
    const n = base!.shape[1]!;
    const flat = reshape(base!, [size * n, ...base!.shape.slice(2)]);
    const out = apply(scatterPrimitive, [flat, offsetIndices(indices!, n), updates!], null);
    return [reshape(out, base!.shape)];
  },
  lower: (ctx, [base, indices, updates], node) => {
    const [, at] = node.inputs;
    const index = ctx.reshape(ctx.toInt64(indices!), [...at!.shape, 1]);
    return [ctx.emit("ScatterND", [base!, index, updates!], { reduction: "add" })];
  },
};

/**
 * Slices of `x` along `axis` at int32 `indices`: `[…before, …indices.shape, …after]`. Negative indices count from the
 * end; anything further out is clamped to the first or last slice, in values and derivatives alike.
 */
export function take(x: Tensor, indices: Tensor, axis = 0): Tensor {
  const at = normalizeAxis("take", axis, x.rank);
  if (x.dtype === "key" && at !== 0) throw new TensorError("take", "keys are taken along axis 0");
  return apply(gatherPrimitive, [x, safeIndices("take", indices, x.shape[at]!)], { axis: at });
}

/** `take` for indices that are known to be in range. */
export const takeInRange = (x: Tensor, indices: Tensor, axis: number): Tensor =>
  apply(gatherPrimitive, [x, indices], { axis: normalizeAxis("take", axis, x.rank) });

/**
 * `base` with `updates` added to its slices at int32 `indices` along the first axis; equal indices add up. Indices
 * out of range are clamped as in `take`.
 * @param updates `[...indices.shape, ...base.shape.slice(1)]`
 */
export function scatterAdd(base: Tensor, indices: Tensor, updates: Tensor): Tensor {
  if (base.rank === 0) throw new TensorError("scatterAdd", "a tensor without axes has no slices");
  if (!sameShape(updates.shape, [...indices.shape, ...base.shape.slice(1)]) || updates.dtype !== base.dtype)
    throw new TensorError(
      "scatterAdd",
      `updates ${updates.toString()} don't fit indices ${showShape(indices.shape)} into ${base.toString()}`,
    );
  return apply(scatterPrimitive, [base, safeIndices("scatterAdd", indices, base.shape[0]!), updates], null);
}

const alongPrimitive: Primitive<AxisAttrs> = {
  name: "takeAlongAxis",
  infer: ([x, indices]) => [{ shape: indices!.shape, dtype: x!.dtype }],
  vjp: ({ inputs: [x, indices], attrs }, [ct]) => [
    ct && apply(scatterAlongPrimitive, [zerosLike(x!), indices!, ct], attrs),
  ],
  jvp: ({ inputs: [, indices], attrs }, [t]) => [t && apply(alongPrimitive, [t, indices!], attrs)],
  batch: (inputs, batched, { axis }, size) => [
    apply(
      alongPrimitive,
      inputs.map((t, i) => stackOf(t, batched[i]!, size)),
      {
        axis: axis + 1,
      },
    ),
  ],
  lower: (ctx, inputs, node) => [
    ctx.emit("GatherElements", inputs, { axis: (node.attrs as AxisAttrs).axis }),
  ],
};

const scatterAlongPrimitive: Primitive<AxisAttrs> = {
  name: "scatterAddAlongAxis",
  infer: ([base]) => [base!],
  vjp: ({ inputs: [, indices], attrs }, [ct], needed) => [
    ct,
    undefined,
    ct && needed[2] ? apply(alongPrimitive, [ct, indices!], attrs) : undefined,
  ],
  jvp: ({ inputs: [base, indices, updates], attrs }, [tBase, , tUpdates]) => [
    tBase || tUpdates
      ? apply(
          scatterAlongPrimitive,
          [tBase ?? zerosLike(base!), indices!, tUpdates ?? zerosLike(updates!)],
          attrs,
        )
      : undefined,
  ],
  batch: (inputs, batched, { axis }, size) => [
    apply(
      scatterAlongPrimitive,
      inputs.map((t, i) => stackOf(t, batched[i]!, size)),
      {
        axis: axis + 1,
      },
    ),
  ],
  lower: (ctx, inputs, node) => [
    ctx.emit("ScatterElements", inputs, { axis: (node.attrs as AxisAttrs).axis, reduction: "add" }),
  ],
};

/** One element of `x` along `axis` for each of `indices`, whose other sizes are those of `x`. Clamped as in `take`. */
export function takeAlongAxis(x: Tensor, indices: Tensor, axis = -1): Tensor {
  const at = normalizeAxis("takeAlongAxis", axis, x.rank);
  if (indices.rank !== x.rank || indices.shape.some((n, i) => i !== at && n !== x.shape[i]))
    throw new TensorError(
      "takeAlongAxis",
      `indices ${showShape(indices.shape)} don't fit ${showShape(x.shape)}`,
    );
  return apply(alongPrimitive, [x, safeIndices("takeAlongAxis", indices, x.shape[at]!)], { axis: at });
}

/** `[…indices, classes]` with 1 at each index, else 0; an index out of range gives a row of zeros. */
export function oneHot(indices: Tensor, classes: number, dtype: DType = "float32"): Tensor {
  if (indices.dtype !== "int32") throw new TensorError("oneHot", `indices are int32, not ${indices.dtype}`);
  return cast(equal(expandDims(indices, -1), arange(classes)), dtype);
}

interface TopKAttrs extends AxisAttrs {
  readonly k: number;
  readonly largest: boolean;
}

const topKPrimitive: Primitive<TopKAttrs> = {
  name: "topK",
  infer: ([x], { axis, k }) => {
    const shape = x!.shape.map((n, i) => (i === axis ? k : n));
    return [
      { shape, dtype: x!.dtype },
      { shape, dtype: "int32" },
    ];
  },
  vjp: ({ inputs: [x], outputs: [, indices], attrs: { axis } }, [ct]) => [
    ct && apply(scatterAlongPrimitive, [zerosLike(x!), indices!, ct], { axis }),
  ],
  jvp: ({ outputs: [, indices], attrs: { axis } }, [t]) => [
    t && apply(alongPrimitive, [t, indices!], { axis }),
    undefined,
  ],
  batch: ([x], _, attrs) => applyAll(topKPrimitive, [x!], { ...attrs, axis: attrs.axis + 1 }),
  lower: (ctx, inputs, node) => {
    const { axis, k, largest } = node.attrs as TopKAttrs;
    const [values, indices] = ctx.emitAll("TopK", [inputs[0]!, ctx.ints([k])], 2, {
      axis,
      largest: largest ? 1 : 0,
    });
    return [values!, ctx.cast(indices!, "int32")];
  },
};

/** The `k` largest (or smallest) elements along `axis`, in order, and their int32 indices; equal ones by index. */
export function topK(x: Tensor, k: number, axis = -1, largest = true): { values: Tensor; indices: Tensor } {
  const at = normalizeAxis("topK", axis, x.rank);
  if (!Number.isInteger(k) || k < 0 || k > x.shape[at]!)
    throw new TensorError("topK", `k = ${k} elements of axis ${at} in ${showShape(x.shape)}`);
  const [values, indices] = applyAll(topKPrimitive, [x], { axis: at, k, largest });
  return { values: values!, indices: indices! };
}

/** Elements in ascending (or descending) order along `axis`. */
export const sort = (x: Tensor, axis = -1, descending = false): Tensor =>
  topK(x, x.shape[normalizeAxis("sort", axis, x.rank)]!, axis, descending).values;
/** Indices that sort `x` along `axis`, int32; equal elements keep their order. */
export const argsort = (x: Tensor, axis = -1, descending = false): Tensor =>
  topK(x, x.shape[normalizeAxis("argsort", axis, x.rank)]!, axis, descending).indices;

const matrixMask = (x: Tensor, keep: (row: Tensor, column: Tensor) => Tensor): Tensor => {
  if (x.rank < 2) throw new TensorError("tril/triu", `${showShape(x.shape)} is not a matrix`);
  const rows = expandDims(arange(x.shape.at(-2)!), -1);
  return where(keep(rows, arange(x.shape.at(-1)!)), x, x.dtype === "bool" ? false : 0);
};
/** The lower triangle of matrices, up to `offset` above the diagonal; zeros elsewhere. */
export const tril = (x: Tensor, offset = 0): Tensor =>
  matrixMask(x, (row, column) => lessEqual(column, add(row, offset)));
/** The upper triangle of matrices, from `offset` above the diagonal; zeros elsewhere. */
export const triu = (x: Tensor, offset = 0): Tensor =>
  matrixMask(x, (row, column) => lessEqual(add(row, offset), column));
