import { isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { showShape, sizeOf } from "../shape.ts";
import { apply, type Primitive, type Tensor } from "../tensor.ts";
import { backward, forward } from "../transforms/backward.ts";
import { cast, equal } from "./compare.ts";
import { type Padding, resolvePadding } from "./conv.ts";
import { mul, reciprocal } from "./elementwise.ts";
import { identity } from "./identity.ts";
import { max, mean } from "./reduce.ts";
import { broadcastTo, reshape } from "./shape.ts";
import { type WindowGeometry, windowCounts, windows } from "./windows.ts";

const onnxWindows = ({ kernel, strides, padding }: WindowGeometry) => ({
  kernel_shape: kernel,
  strides,
  pads: [...padding.map((p) => p[0]), ...padding.map((p) => p[1])],
});

const pooledShape = (x: Tensor, g: WindowGeometry): number[] => [
  ...x.shape.slice(0, 2),
  ...windowCounts(x.shape.slice(2), g),
];

/** Windows that tile the input exactly. */
const tiles = (x: Tensor, g: WindowGeometry): boolean =>
  g.kernel.every(
    (k, i) => k === g.strides[i] && g.padding[i]!.every((p) => p === 0) && x.shape[i + 2]! % k === 0,
  );

/** The largest element of each window by other primitives, whose rules then give its derivatives. */
const maxOverWindows = (x: Tensor, g: WindowGeometry): Tensor =>
  max(windows(x, g, 0, Number.NEGATIVE_INFINITY), 0);

/** 1 over the number of equals where an element is its window's largest, else 0. */
function tileWinners(x: Tensor, y: Tensor, g: WindowGeometry): { mask: Tensor; share: Tensor } {
  const mask = cast(equal(x, upsample(y, g.kernel)), x.dtype);
  return { mask, share: reciprocal(mul(apply(avgPoolPrimitive, [mask], g), sizeOf(g.kernel))) };
}

const maxPoolPrimitive: Primitive<WindowGeometry> = {
  name: "maxPool",
  infer: ([x], g) => [{ shape: pooledShape(x!, g), dtype: x!.dtype }],
  vjp: ({ inputs: [x], outputs: [y], attrs: g }, cts) => {
    if (!tiles(x!, g)) {
      const variable = identity(x!);
      return backward([maxOverWindows(variable, g)], cts, [variable]);
    }
    const { mask, share } = tileWinners(x!, y!, g);
    return [cts[0] && mul(mask, upsample(mul(cts[0], share), g.kernel))];
  },
  jvp: ({ inputs: [x], outputs: [y], attrs: g }, tangents) => {
    if (!tiles(x!, g)) {
      const variable = identity(x!);
      return forward([maxOverWindows(variable, g)], [variable], tangents);
    }
    const { mask, share } = tileWinners(x!, y!, g);
    const [t] = tangents;
    return [t && mul(mul(apply(avgPoolPrimitive, [mul(mask, t)], g), sizeOf(g.kernel)), share)];
  },
  batch: ([x], _, attrs, size) => [inOneBatch(x!, size, (all) => apply(maxPoolPrimitive, [all], attrs))],
  lower: (ctx, inputs, node) =>
    node.inputs[0]!.dtype === "float32"
      ? [ctx.emit("MaxPool", inputs, onnxWindows(node.attrs as WindowGeometry))]
      : undefined,
  expand: ([x], g) => [maxOverWindows(x!, g)],
};

/** Applies `f` to a stack of batches as to one batch. */
function inOneBatch(x: Tensor, size: number, f: (all: Tensor) => Tensor): Tensor {
  const [, n, ...rest] = x.shape;
  const out = f(reshape(x, [size * n!, ...rest]));
  return reshape(out, [size, n!, ...out.shape.slice(1)]);
}

const upsamplePrimitive: Primitive<{ factors: readonly number[] }> = {
  name: "upsample",
  infer: ([x], { factors }) => [
    { shape: x!.shape.map((n, i) => (i < 2 ? n : n * factors[i - 2]!)), dtype: x!.dtype },
  ],
  vjp: ({ attrs: { factors } }, [ct]) => [ct && mul(avgPoolOf(ct, factors), sizeOf(factors))],
  jvp: ({ attrs }, [t]) => [t && apply(upsamplePrimitive, [t], attrs)],
  batch: ([x], _, attrs, size) => [inOneBatch(x!, size, (all) => apply(upsamplePrimitive, [all], attrs))],
  lower: (ctx, inputs, node) => {
    if (node.inputs[0]!.dtype !== "float32") return undefined;
    const { factors } = node.attrs as { factors: readonly number[] };
    const scales = ctx.array(Float32Array.of(1, 1, ...factors), [factors.length + 2], "float32");
    const options = { mode: "nearest", nearest_mode: "floor", coordinate_transformation_mode: "asymmetric" };
    return [ctx.emit("Resize", [inputs[0]!, "", scales], options)];
  },
  expand: ([x], { factors }) => {
    const [n, channels, ...sizes] = x!.shape as [number, number, ...number[]];
    const spread = broadcastTo(reshape(x!, [n, channels, ...sizes.flatMap((s) => [s, 1])]), [
      n,
      channels,
      ...sizes.flatMap((s, i) => [s, factors[i]!]),
    ]);
    return [reshape(spread, [n, channels, ...sizes.map((s, i) => s * factors[i]!)])];
  },
};

const avgPoolOf = (x: Tensor, factors: readonly number[]): Tensor =>
  apply(avgPoolPrimitive, [x], {
    kernel: factors,
    strides: factors,
    dilations: factors.map(() => 1),
    padding: factors.map(() => [0, 0] as const),
  });

/** `x` `[batch, channels, …sizes]` with each element repeated `factors[i]` times along size `i`. */
export function upsample(x: Tensor, factors: readonly number[]): Tensor {
  if (
    !isFloat(x.dtype) ||
    factors.length !== x.rank - 2 ||
    factors.some((f) => !Number.isInteger(f) || f < 1)
  )
    throw new TensorError("upsample", `factors ${showShape(factors)} don't fit ${x.toString()}`);
  return apply(upsamplePrimitive, [x], { factors });
}

const avgPoolPrimitive: Primitive<WindowGeometry> = {
  name: "avgPool",
  infer: ([x], g) => [{ shape: pooledShape(x!, g), dtype: x!.dtype }],
  vjp: ({ inputs: [x], attrs }, cts) => {
    const variable = identity(x!);
    return backward([mean(windows(variable, attrs, 0), 0)], cts, [variable]);
  },
  jvp: ({ attrs }, [t]) => [t && apply(avgPoolPrimitive, [t], attrs)],
  batch: ([x], _, attrs, size) => [inOneBatch(x!, size, (all) => apply(avgPoolPrimitive, [all], attrs))],
  lower: (ctx, inputs, node) =>
    node.inputs[0]!.dtype === "float32"
      ? [
          ctx.emit("AveragePool", inputs, {
            ...onnxWindows(node.attrs as WindowGeometry),
            count_include_pad: 1,
          }),
        ]
      : undefined,
  expand: ([x], g) => [mean(windows(x!, g, 0), 0)],
};

export interface PoolOptions {
  /** The window's size, by default. */
  readonly stride?: number | readonly number[];
  readonly padding?: Padding;
}

function pool(
  primitive: Primitive<WindowGeometry>,
  x: Tensor,
  axes: number,
  window: number | readonly number[],
  options: PoolOptions,
): Tensor {
  if (x.rank !== axes + 2 || !isFloat(x.dtype))
    throw new TensorError(
      primitive.name,
      `takes floats [batch, channels, …] with ${axes} sizes, not ${x.toString()}`,
    );
  const kernel = typeof window === "number" ? new Array<number>(axes).fill(window) : window;
  const stride = options.stride ?? kernel;
  const strides = typeof stride === "number" ? new Array<number>(axes).fill(stride) : stride;
  const dilations = kernel.map(() => 1);
  const padding = resolvePadding(options.padding ?? "valid", x.shape.slice(2), kernel, strides, dilations);
  const geometry = { kernel, strides, dilations, padding };
  if (sizeOf(kernel) < 1 || windowCounts(x.shape.slice(2), geometry).some((n) => n < 1))
    throw new TensorError(
      primitive.name,
      `windows of ${showShape(kernel)} don't fit into ${showShape(x.shape)}`,
    );
  return apply(primitive, [x], geometry);
}

type Window = number | readonly number[];

/** Largest element of each window of `x` `[batch, channels, length]`; equals share the derivative. */
export const maxPool1d = (x: Tensor, window: Window, options: PoolOptions = {}): Tensor =>
  pool(maxPoolPrimitive, x, 1, window, options);
/** Largest element of each window of `x` `[batch, channels, height, width]`; equals share the derivative. */
export const maxPool2d = (x: Tensor, window: Window, options: PoolOptions = {}): Tensor =>
  pool(maxPoolPrimitive, x, 2, window, options);
/** Mean of each window of `x` `[batch, channels, length]`; padding counts as zeros. */
export const avgPool1d = (x: Tensor, window: Window, options: PoolOptions = {}): Tensor =>
  pool(avgPoolPrimitive, x, 1, window, options);
/** Mean of each window of `x` `[batch, channels, height, width]`; padding counts as zeros. */
export const avgPool2d = (x: Tensor, window: Window, options: PoolOptions = {}): Tensor =>
  pool(avgPoolPrimitive, x, 2, window, options);
