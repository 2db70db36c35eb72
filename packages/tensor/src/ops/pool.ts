import { isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { range, showShape, sizeOf } from "../shape.ts";
import { apply, type Maybe, type Primitive, type Tensor } from "../tensor.ts";
import { backward, forward } from "../transforms/backward.ts";
import { type Padding, resolvePadding } from "./conv.ts";
import { identity } from "./identity.ts";
import { max, mean } from "./reduce.ts";
import { reshape } from "./shape.ts";
import { type WindowGeometry, windowCounts, windows } from "./windows.ts";

/** Windows that tile the input exactly are a reshape, which is cheaper than slices. */
const tiles = (x: Tensor, g: WindowGeometry): boolean =>
  g.kernel.every(
    (k, i) =>
      k === g.strides[i] &&
      g.padding[i]!.every((p) => p === 0) &&
      x.shape[i + 2]! % k === 0 &&
      g.dilations[i] === 1,
  );

/** Reduces each window of `x` `[batch, channels, …sizes]`. */
function overWindows(
  x: Tensor,
  geometry: WindowGeometry,
  padValue: number,
  reduce: (t: Tensor, axes: readonly number[]) => Tensor,
): Tensor {
  const { kernel } = geometry;
  if (!tiles(x, geometry)) return reduce(windows(x, geometry, 0, padValue), [0]);
  const sizes = x.shape.slice(2).flatMap((n, i) => [n / kernel[i]!, kernel[i]!]);
  return reduce(
    reshape(x, [...x.shape.slice(0, 2), ...sizes]),
    range(kernel.length).map((i) => 3 + 2 * i),
  );
}

function poolPrimitive(
  name: string,
  onnx: string,
  compose: (x: Tensor, g: WindowGeometry) => Tensor,
): Primitive<WindowGeometry> {
  const differentiate = (
    x: Tensor,
    g: WindowGeometry,
    use: (y: Tensor, v: Tensor) => Maybe<Tensor>[],
  ): Maybe<Tensor>[] => {
    const v = identity(x);
    return use(compose(v, g), v);
  };
  const primitive: Primitive<WindowGeometry> = {
    name,
    infer: ([x], g) => [
      { shape: [...x!.shape.slice(0, 2), ...windowCounts(x!.shape.slice(2), g)], dtype: x!.dtype },
    ],
    vjp: ({ inputs: [x], attrs }, cts) => differentiate(x!, attrs, (y, v) => backward([y], cts, [v])),
    jvp: ({ inputs: [x], attrs }, tangents) =>
      differentiate(x!, attrs, (y, v) => forward([y], [v], tangents)),
    batch: ([x], _, attrs, size) => {
      const [, n, ...rest] = x!.shape;
      const out = apply(primitive, [reshape(x!, [size * n!, ...rest])], attrs);
      return [reshape(out, [size, n!, ...out.shape.slice(1)])];
    },
    lower: (ctx, inputs, node) => {
      if (node.inputs[0]!.dtype !== "float32") return undefined;
      const { kernel, strides, padding } = node.attrs as WindowGeometry;
      return [
        ctx.emit(onnx, inputs, {
          kernel_shape: kernel,
          strides,
          pads: [...padding.map((p) => p[0]), ...padding.map((p) => p[1])],
          ...(onnx === "AveragePool" ? { count_include_pad: 1 } : {}),
        }),
      ];
    },
    expand: ([x], g) => [compose(x!, g)],
  };
  return primitive;
}

const maxPoolPrimitive = poolPrimitive("maxPool", "MaxPool", (x, g) =>
  overWindows(x, g, Number.NEGATIVE_INFINITY, (t, axes) => max(t, axes)),
);
const avgPoolPrimitive = poolPrimitive("avgPool", "AveragePool", (x, g) =>
  overWindows(x, g, 0, (t, axes) => mean(t, axes)),
);

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

/** Largest element of each window of `x` `[batch, channels, length]`; ties share the derivative. */
export const maxPool1d = (x: Tensor, window: Window, options: PoolOptions = {}): Tensor =>
  pool(maxPoolPrimitive, x, 1, window, options);
/** Largest element of each window of `x` `[batch, channels, height, width]`; ties share the derivative. */
export const maxPool2d = (x: Tensor, window: Window, options: PoolOptions = {}): Tensor =>
  pool(maxPoolPrimitive, x, 2, window, options);
/** Mean of each window of `x` `[batch, channels, length]`; padding counts as zeros. */
export const avgPool1d = (x: Tensor, window: Window, options: PoolOptions = {}): Tensor =>
  pool(avgPoolPrimitive, x, 1, window, options);
/** Mean of each window of `x` `[batch, channels, height, width]`; padding counts as zeros. */
export const avgPool2d = (x: Tensor, window: Window, options: PoolOptions = {}): Tensor =>
  pool(avgPoolPrimitive, x, 2, window, options);
