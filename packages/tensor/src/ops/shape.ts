import { TensorError } from "../errors.ts";
import {
  broadcastShapes,
  checkShape,
  normalizeAxis,
  range,
  type Shape,
  sameShape,
  showShape,
  sizeOf,
} from "../shape.ts";
import { apply, type Primitive, type Tensor } from "../tensor.ts";
import { stackOf, unbroadcast } from "./broadcast.ts";
import { full, lift, zeros, zerosLike } from "./create.ts";
import { add } from "./elementwise.ts";

/** Rules of an operation that is linear in its one operand, given its transpose. */
function linear<A>(
  name: string,
  infer: (x: Tensor, attrs: A) => Shape,
  rules: {
    transpose(ct: Tensor, x: Tensor, attrs: A): Tensor;
    batch(x: Tensor, attrs: A): Tensor;
    lower: NonNullable<Primitive<A>["lower"]>;
  },
): Primitive<A> {
  const primitive: Primitive<A> = {
    name,
    infer: ([x], attrs) => [{ shape: infer(x!, attrs), dtype: x!.dtype }],
    vjp: ({ inputs: [x], attrs }, [ct]) => [ct && rules.transpose(ct, x!, attrs)],
    jvp: ({ attrs }, [t]) => [t && apply(primitive, [t], attrs)],
    batch: ([x], _, attrs) => [rules.batch(x!, attrs)],
    lower: rules.lower,
  };
  return primitive;
}

const reshapePrimitive = linear<{ shape: Shape }>("reshape", (_, { shape }) => shape, {
  transpose: (ct, x) => reshape(ct, x.shape),
  batch: (x, { shape }) => reshape(x, [x.shape[0]!, ...shape]),
  lower: (ctx, inputs, node) => [ctx.reshape(inputs[0]!, node.outputs[0]!.shape)],
});

/** The same elements, in order, in another shape; one size may be -1, to be worked out. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = shape.filter((n) => n !== -1);
  checkShape("reshape", known);
  let target = shape;
  if (known.length === shape.length - 1) {
    const rest = sizeOf(known);
    target = shape.map((n) => (n === -1 ? (rest === 0 ? 0 : x.size / rest) : n));
  }
  if (target.some((n) => !Number.isInteger(n) || n < 0) || sizeOf(target) !== x.size)
    throw new TensorError("reshape", `${showShape(x.shape)} can't become ${showShape(shape)}`);
  if (sameShape(target, x.shape)) return x;
  const source = x.node.primitive === reshapePrimitive ? x.node.inputs[0]! : x;
  return sameShape(target, source.shape) ? source : apply(reshapePrimitive, [source], { shape: [...target] });
}

export const transposePrimitive = linear<{ axes: readonly number[] }>(
  "transpose",
  (x, { axes }) => axes.map((a) => x.shape[a]!),
  {
    transpose: (ct, _, { axes }) => transpose(ct, inversePermutation(axes)),
    batch: (x, { axes }) => transpose(x, [0, ...axes.map((a) => a + 1)]),
    lower: (ctx, inputs, node) => [
      ctx.emit("Transpose", inputs, { perm: (node.attrs as { axes: readonly number[] }).axes }),
    ],
  },
);

function inversePermutation(axes: readonly number[]): number[] {
  const inverse = new Array<number>(axes.length);
  axes.forEach((a, i) => {
    inverse[a] = i;
  });
  return inverse;
}

/** Axes in another order: axis `i` of the result is axis `axes[i]` of `x`; reversed by default. */
export function transpose(x: Tensor, axes?: readonly number[]): Tensor {
  const order = (axes ?? range(x.rank).reverse()).map((a) => normalizeAxis("transpose", a, x.rank));
  if (order.length !== x.rank || new Set(order).size !== x.rank)
    throw new TensorError(
      "transpose",
      `axes ${showShape(order)} don't permute those of ${showShape(x.shape)}`,
    );
  if (order.every((a, i) => a === i)) return x;
  if (x.node.primitive === transposePrimitive) {
    const inner = (x.node.attrs as { axes: readonly number[] }).axes;
    return transpose(
      x.node.inputs[0]!,
      order.map((a) => inner[a]!),
    );
  }
  return apply(transposePrimitive, [x], { axes: order });
}

/** Axis `from` moved to position `to`. */
export function moveAxis(x: Tensor, from: number, to: number): Tensor {
  const source = normalizeAxis("moveAxis", from, x.rank);
  const order = range(x.rank).filter((a) => a !== source);
  order.splice(normalizeAxis("moveAxis", to, x.rank), 0, source);
  return transpose(x, order);
}

/** The last two axes swapped. */
export function matrixTranspose(x: Tensor): Tensor {
  if (x.rank < 2) throw new TensorError("matrixTranspose", `${showShape(x.shape)} is not a matrix`);
  return transpose(x, [...range(x.rank - 2), x.rank - 1, x.rank - 2]);
}

export const broadcastToPrimitive: Primitive<{ shape: Shape }> = linear<{ shape: Shape }>(
  "broadcastTo",
  (_, { shape }) => shape,
  {
    transpose: (ct, x) => unbroadcast(ct, x.shape),
    batch: (x, { shape }) => {
      const [size, ...rest] = x.shape;
      const padding = new Array<number>(shape.length - rest.length).fill(1);
      return broadcastTo(reshape(x, [size!, ...padding, ...rest]), [size!, ...shape]);
    },
    lower: (ctx, inputs, node) => [ctx.emit("Expand", [inputs[0]!, ctx.ints(node.outputs[0]!.shape)])],
  },
);

/** `x` repeated to `shape` by NumPy's broadcasting rules. */
export function broadcastTo(x: Tensor | number | boolean, shape: Shape): Tensor {
  const t = lift("broadcastTo", x, "float32");
  checkShape("broadcastTo", shape);
  if (!sameShape(broadcastShapes("broadcastTo", t.shape, shape), shape))
    throw new TensorError("broadcastTo", `${showShape(t.shape)} does not broadcast to ${showShape(shape)}`);
  if (sameShape(t.shape, shape)) return t;
  const source = t.node.primitive === broadcastToPrimitive && t.rank === shape.length ? t.node.inputs[0]! : t;
  return apply(broadcastToPrimitive, [source], { shape: [...shape] });
}

interface SliceAttrs {
  readonly start: readonly number[];
  readonly end: readonly number[];
  readonly step: readonly number[];
}

const stepsBetween = (start: number, end: number, step: number): number =>
  Math.max(0, Math.ceil((end - start) / step));

const slicePrimitive: Primitive<SliceAttrs> = linear<SliceAttrs>(
  "slice",
  (_, { start, end, step }) => start.map((s, i) => stepsBetween(s, end[i]!, step[i]!)),
  {
    transpose: (ct, x, { start, step }) => {
      const flipped = flip(
        ct,
        range(ct.rank).filter((i) => step[i]! < 0),
      );
      const low = start.map((s, i) => (step[i]! < 0 ? s + (ct.shape[i]! - 1) * step[i]! : s));
      const interior = step.map((s) => Math.abs(s) - 1);
      const spread = dilate(flipped, interior);
      return pad(
        spread,
        low.map((l, i) => [
          ct.shape[i] === 0 ? 0 : l,
          x.shape[i]! - spread.shape[i]! - (ct.shape[i] === 0 ? 0 : l),
        ]),
      );
    },
    batch: (x, { start, end, step }) =>
      apply(slicePrimitive, [x], { start: [0, ...start], end: [x.shape[0]!, ...end], step: [1, ...step] }),
    lower: (ctx, inputs, node) => {
      const { start, end, step } = node.attrs as SliceAttrs;
      const shape = node.inputs[0]!.shape;
      const axes = range(start.length).filter((i) => start[i] !== 0 || end[i] !== shape[i] || step[i] !== 1);
      const pick = (values: readonly number[]) => ctx.ints(axes.map((i) => values[i]!));
      // An end before index 0 is written as a number that no clamping turns back into a valid index.
      const ends = end.map((e) => (e < 0 ? -(2 ** 31) : e));
      return [ctx.emit("Slice", [inputs[0]!, pick(start), pick(ends), ctx.ints(axes), pick(step)])];
    },
  },
);

/** One axis of `slice`: an index range with a step, as in NumPy; a lone number keeps that one index. */
export type SliceSpec = number | null | readonly [start?: number | null, end?: number | null, step?: number];

/**
 * Elements of index ranges, one spec an axis (`null` or missing: all). A number selects one index and drops its axis;
 * negative numbers count from the end; ranges are clamped to the axis.
 * @example slice(x, [1, 3], null, [null, null, -1])
 */
export function slice(x: Tensor, ...specs: SliceSpec[]): Tensor {
  if (specs.length > x.rank)
    throw new TensorError("slice", `${specs.length} ranges for a tensor of shape ${showShape(x.shape)}`);
  const start: number[] = [];
  const end: number[] = [];
  const step: number[] = [];
  const dropped: number[] = [];
  x.shape.forEach((n, axis) => {
    const spec = specs[axis] ?? null;
    if (typeof spec === "number") {
      const at = spec < 0 ? spec + n : spec;
      if (!Number.isInteger(at) || at < 0 || at >= n)
        throw new TensorError(
          "slice",
          `index ${spec} is outside axis ${axis} of shape ${showShape(x.shape)}`,
        );
      start.push(at);
      end.push(at + 1);
      step.push(1);
      dropped.push(axis);
      return;
    }
    const [from, to, by = 1] = spec ?? [];
    if (!Number.isInteger(by) || by === 0)
      throw new TensorError("slice", `a step is a whole number, not ${by}`);
    const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));
    const wrap = (value: number): number => (value < 0 ? value + n : value);
    start.push(by > 0 ? clamp(wrap(from ?? 0), 0, n) : clamp(from == null ? n - 1 : wrap(from), -1, n - 1));
    end.push(by > 0 ? clamp(wrap(to ?? n), 0, n) : to == null ? -1 : clamp(wrap(to), -1, n - 1));
    step.push(by);
    // An empty range has one form, since the runtime reads an index before the first as one from the end.
    if (stepsBetween(start[axis]!, end[axis]!, by) === 0) [start[axis], end[axis], step[axis]] = [0, 0, 1];
  });
  const whole = start.every((s, i) => s === 0 && end[i] === x.shape[i] && step[i] === 1);
  const part = whole ? x : apply(slicePrimitive, [x], { start, end, step });
  return dropped.length === 0
    ? part
    : reshape(
        part,
        part.shape.filter((_, i) => !dropped.includes(i)),
      );
}

/** Element order reversed along `axes` (all by default). */
export function flip(x: Tensor, axes?: number | readonly number[]): Tensor {
  const list = (axes === undefined ? range(x.rank) : typeof axes === "number" ? [axes] : axes).map((a) =>
    normalizeAxis("flip", a, x.rank),
  );
  if (list.length === 0) return x;
  return slice(x, ...range(x.rank).map((i): SliceSpec => (list.includes(i) ? [null, null, -1] : null)));
}

interface PadAttrs {
  readonly pads: readonly (readonly [number, number])[];
  readonly value: number;
}

const padPrimitive: Primitive<PadAttrs> = {
  name: "pad",
  infer: ([x], { pads }) => [
    { shape: x!.shape.map((n, i) => n + pads[i]![0] + pads[i]![1]), dtype: x!.dtype },
  ],
  vjp: ({ inputs: [x], attrs: { pads } }, [ct]) => [
    ct && slice(ct, ...pads.map(([before], i): SliceSpec => [before, before + x!.shape[i]!])),
  ],
  jvp: ({ attrs: { pads } }, [t]) => [t && pad(t, pads)],
  batch: ([x], _, { pads, value }) => [apply(padPrimitive, [x!], { pads: [[0, 0], ...pads], value })],
  lower: (ctx, inputs, node) => {
    const { pads, value } = node.attrs as PadAttrs;
    const widths = ctx.ints([...pads.map((p) => p[0]), ...pads.map((p) => p[1])]);
    return [ctx.emit("Pad", [inputs[0]!, widths, ctx.scalar(value, node.outputs[0]!.dtype)])];
  },
};

/** `x` with zeros (or `value`) put `[before, after]` each axis. */
export function pad(
  x: Tensor,
  pads: readonly (readonly [number, number])[],
  value: number | boolean = 0,
): Tensor {
  if (pads.length !== x.rank || pads.flat().some((n) => !Number.isInteger(n) || n < 0))
    throw new TensorError("pad", `pads ${JSON.stringify(pads)} don't fit shape ${showShape(x.shape)}`);
  if (pads.every(([before, after]) => before === 0 && after === 0)) return x;
  if (x.size === 0)
    return full(
      x.shape.map((n, i) => n + pads[i]![0] + pads[i]![1]),
      value,
      x.dtype,
    );
  return apply(padPrimitive, [x], { pads, value: Number(value) });
}

interface Piece {
  readonly source: Tensor;
  readonly axis: number;
  readonly from: number;
  readonly to: number;
}

/** What a tensor holds besides zeros, when it is padded along one axis. */
function pieceOf(t: Tensor): Piece | undefined {
  if (t.node.primitive !== padPrimitive) return undefined;
  const { pads, value } = t.node.attrs as PadAttrs;
  const axes = range(pads.length).filter((i) => pads[i]![0] + pads[i]![1] > 0);
  const axis = axes[0];
  if (axis === undefined || axes.length > 1 || value !== 0) return undefined;
  const [before, after] = pads[axis]!;
  return { source: t.node.inputs[0]!, axis, from: before, to: t.shape[axis]! - after };
}

/**
 * A sum in which terms that fill different stretches of one axis are joined instead of padded and added, as the
 * cotangents of a tensor's slices are.
 */
export function sumOfPieces(terms: readonly Tensor[]): Tensor {
  const pieces = terms.map(pieceOf);
  const axis = pieces.find((p) => p !== undefined)?.axis;
  const inOrder = pieces
    .flatMap((piece, term) => (piece?.axis === axis && piece !== undefined ? [{ piece, term }] : []))
    .sort((a, b) => a.piece.from - b.piece.from);
  const fitting: typeof inOrder = [];
  for (const next of inOrder) if (next.piece.from >= (fitting.at(-1)?.piece.to ?? 0)) fitting.push(next);
  if (fitting.length < 2) return terms.reduce((total, t) => add(total, t));
  const joined = joinPieces(
    fitting.map((f) => f.piece),
    axis!,
    terms[0]!,
  );
  const rest = terms.filter((_, i) => !fitting.some((f) => f.term === i));
  return rest.reduce((total, t) => add(total, t), joined);
}

function joinPieces(pieces: readonly Piece[], axis: number, like: Tensor): Tensor {
  const gap = (size: number): Tensor[] =>
    size === 0
      ? []
      : [
          zeros(
            like.shape.map((n, i) => (i === axis ? size : n)),
            like.dtype,
          ),
        ];
  let at = 0;
  const parts = pieces.flatMap(({ source, from, to }) => {
    const before = gap(from - at);
    at = to;
    return [...before, source];
  });
  return concat([...parts, ...gap(like.shape[axis]! - at)], axis);
}

/** Zeros put between neighbours: `interior[i]` of them along axis `i`. */
export function dilate(x: Tensor, interior: readonly number[]): Tensor {
  return interior.reduce((t, gap, axis) => {
    const n = t.shape[axis]!;
    if (gap === 0 || n <= 1) return t;
    const before = t.shape.slice(0, axis);
    const after = t.shape.slice(axis + 1);
    const column = reshape(t, [...before, n, 1, ...after]);
    const padded = pad(
      column,
      range(column.rank).map((i) => (i === axis + 1 ? [0, gap] : [0, 0])),
    );
    return slice(reshape(padded, [...before, n * (gap + 1), ...after]), ...before.map(() => null), [
      0,
      n * (gap + 1) - gap,
    ]);
  }, x);
}

const concatPrimitive: Primitive<{ axis: number }> = {
  name: "concat",
  infer: (inputs, { axis }) => {
    const shape = [...inputs[0]!.shape];
    shape[axis] = inputs.reduce((total, t) => total + t.shape[axis]!, 0);
    return [{ shape, dtype: inputs[0]!.dtype }];
  },
  vjp: ({ inputs, attrs: { axis } }, [ct], needed) => {
    let at = 0;
    return inputs.map((t, i) => {
      const from = at;
      at += t.shape[axis]!;
      return ct && needed[i] ? slice(ct, ...range(axis).map(() => null), [from, at]) : undefined;
    });
  },
  jvp: ({ inputs, attrs: { axis } }, tangents) => [
    tangents.some(Boolean)
      ? concat(
          inputs.map((t, i) => tangents[i] ?? zerosLike(t)),
          axis,
        )
      : undefined,
  ],
  batch: (inputs, batched, { axis }, size) => [
    concat(
      inputs.map((t, i) => stackOf(t, batched[i]!, size)),
      axis + 1,
    ),
  ],
  lower: (ctx, inputs, node) => [ctx.emit("Concat", inputs, { axis: (node.attrs as { axis: number }).axis })],
};

/** Tensors joined along `axis`; their other sizes are equal. */
export function concat(tensors: readonly Tensor[], axis = 0): Tensor {
  const first = tensors[0];
  if (first === undefined) throw new TensorError("concat", "needs at least one tensor");
  const at = normalizeAxis("concat", axis, first.rank);
  for (const t of tensors) {
    if (
      t.dtype !== first.dtype ||
      t.rank !== first.rank ||
      t.shape.some((n, i) => i !== at && n !== first.shape[i])
    )
      throw new TensorError("concat", `${first.toString()} and ${t.toString()} differ beyond axis ${at}`);
  }
  return tensors.length === 1 ? first : apply(concatPrimitive, tensors, { axis: at });
}

/** `x` with an axis of size 1 put at `axis`. */
export function expandDims(x: Tensor, axis: number): Tensor {
  const at = normalizeAxis("expandDims", axis, x.rank + 1);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

/** `x` without its axes of size 1 (or without the given ones). */
export function squeeze(x: Tensor, axes?: number | readonly number[]): Tensor {
  const list =
    axes === undefined
      ? undefined
      : (typeof axes === "number" ? [axes] : axes).map((a) => normalizeAxis("squeeze", a, x.rank));
  if (list?.some((a) => x.shape[a] !== 1))
    throw new TensorError(
      "squeeze",
      `axes ${showShape(list)} of ${showShape(x.shape)} are not all of size 1`,
    );
  return reshape(
    x,
    x.shape.filter((n, i) => (list ? !list.includes(i) : n !== 1)),
  );
}

/** Tensors of one shape joined along a new axis. */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  return concat(
    tensors.map((t) => expandDims(t, axis)),
    axis,
  );
}

/** `x` cut along `axis` into equal parts (a number) or parts of given sizes. */
export function split(x: Tensor, parts: number | readonly number[], axis = 0): Tensor[] {
  const at = normalizeAxis("split", axis, x.rank);
  const n = x.shape[at]!;
  const sizes = typeof parts === "number" ? new Array<number>(parts).fill(n / parts) : parts;
  if (sizes.some((s) => !Number.isInteger(s) || s < 0) || sizes.reduce((a, b) => a + b, 0) !== n)
    throw new TensorError(
      "split",
      `axis ${at} of ${showShape(x.shape)} can't be cut into ${JSON.stringify(parts)}`,
    );
  let from = 0;
  return sizes.map((s) => {
    from += s;
    return slice(x, ...range(at).map(() => null), [from - s, from]);
  });
}

/** `x` repeated `repeats[i]` times along axis `i`. */
export function tile(x: Tensor, repeats: readonly number[]): Tensor {
  const rank = Math.max(x.rank, repeats.length);
  const shape = [...new Array<number>(rank - x.rank).fill(1), ...x.shape];
  const times = [...new Array<number>(rank - repeats.length).fill(1), ...repeats];
  const spread = broadcastTo(
    reshape(
      x,
      shape.flatMap((n) => [1, n]),
    ),
    shape.flatMap((n, i) => [times[i]!, n]),
  );
  return reshape(
    spread,
    shape.map((n, i) => n * times[i]!),
  );
}

/** Elements shifted by `shift` along `axis`, those pushed out coming back at the other end. */
export function roll(x: Tensor, shift: number, axis = 0): Tensor {
  const at = normalizeAxis("roll", axis, x.rank);
  const n = x.shape[at]!;
  const k = n === 0 ? 0 : ((shift % n) + n) % n;
  if (k === 0) return x;
  const all = range(at).map(() => null);
  return concat([slice(x, ...all, [n - k, n]), slice(x, ...all, [0, n - k])], at);
}
