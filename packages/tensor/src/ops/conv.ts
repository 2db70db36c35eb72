import { allocate, type DType, isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { range, showShape, sizeOf } from "../shape.ts";
import { apply, constant, type Primitive, type Tensor } from "../tensor.ts";
import { add } from "./elementwise.ts";
import { matmul } from "./matmul.ts";
import { concat, dilate, flip, matrixTranspose, moveAxis, reshape, type SliceSpec, slice } from "./shape.ts";
import { type WindowGeometry, windowCounts, windows } from "./windows.ts";

interface ConvAttrs extends WindowGeometry {
  readonly groups: number;
}

/** `x` is `[batch, channels, …sizes]`, `w` `[filters, channels / groups, …kernel]`. */
const convPrimitive: Primitive<ConvAttrs> = {
  name: "conv",
  infer: ([x, w], attrs) => [
    { shape: [x!.shape[0]!, w!.shape[0]!, ...windowCounts(x!.shape.slice(2), attrs)], dtype: x!.dtype },
  ],
  vjp: ({ inputs: [x, w], attrs }, [ct], needed) => [
    ct && needed[0] ? inputGradient(ct, w!, x!.shape.slice(2), attrs) : undefined,
    ct && needed[1] ? filterGradient(ct, x!, attrs) : undefined,
  ],
  jvp: ({ inputs: [x, w], attrs }, [tx, tw]) => {
    const left = tx && apply(convPrimitive, [tx, w!], attrs);
    const right = tw && apply(convPrimitive, [x!, tw], attrs);
    return [left && right ? add(left, right) : (left ?? right)];
  },
  batch: ([x, w], [xBatched, wBatched], attrs, size) => {
    const { groups } = attrs;
    if (!wBatched) {
      const [, n, ...rest] = x!.shape;
      const out = apply(convPrimitive, [reshape(x!, [size * n!, ...rest]), w!], attrs);
      return [reshape(out, [size, n!, ...out.shape.slice(1)])];
    }
    const [, filters, ...kernel] = w!.shape;
    if (!xBatched) {
      // Every stack's filters become filters of one convolution, group by group.
      const grouped = moveAxis(reshape(w!, [size, groups, filters! / groups, ...kernel]), 0, 1);
      const out = apply(convPrimitive, [x!, reshape(grouped, [size * filters!, ...kernel])], attrs);
      const [n, , ...sizes] = out.shape;
      const parts = moveAxis(reshape(out, [n!, groups, size, filters! / groups, ...sizes]), 2, 0);
      return [reshape(parts, [size, n!, filters!, ...sizes])];
    }
    const [, n, channels, ...sizes] = x!.shape;
    const joined = reshape(moveAxis(x!, 0, 1), [n!, size * channels!, ...sizes]);
    const out = apply(convPrimitive, [joined, reshape(w!, [size * filters!, ...kernel])], {
      ...attrs,
      groups: groups * size,
    });
    return [moveAxis(reshape(out, [n!, size, filters!, ...out.shape.slice(2)]), 1, 0)];
  },
  lower: (ctx, inputs, node) => {
    if (node.inputs[0]!.dtype !== "float32") return undefined;
    const { kernel, strides, dilations, padding, groups } = node.attrs as ConvAttrs;
    return [
      ctx.emit("Conv", inputs, {
        kernel_shape: kernel,
        strides,
        dilations,
        pads: [...padding.map((p) => p[0]), ...padding.map((p) => p[1])],
        group: groups,
      }),
    ];
  },
  expand: ([x, w], attrs) => {
    const { groups } = attrs;
    const [n, channels] = x!.shape as [number, number];
    const counts = windowCounts(x!.shape.slice(2), attrs);
    const patches = reshape(windows(x!, attrs, 2), [
      n,
      groups,
      (channels / groups) * sizeOf(attrs.kernel),
      sizeOf(counts),
    ]);
    const filters = w!.shape[0]!;
    const rows = reshape(w!, [groups, filters / groups, (channels / groups) * sizeOf(attrs.kernel)]);
    return [reshape(matmul(rows, patches), [n, filters, ...counts])];
  },
};

/** `[filters, channels / groups, …]` to `[channels, filters / groups, …]`, group by group. */
function swapChannels(w: Tensor, groups: number): Tensor {
  const [filters, channels, ...kernel] = w.shape as [number, number, ...number[]];
  const grouped = reshape(w, [groups, filters / groups, channels, ...kernel]);
  return reshape(moveAxis(grouped, 2, 1), [groups * channels, filters / groups, ...kernel]);
}

/** The cotangent of a convolution's input of the given spatial sizes: a convolution of the spread-out cotangent. */
function inputGradient(ct: Tensor, w: Tensor, sizes: readonly number[], attrs: ConvAttrs): Tensor {
  const { kernel, strides, dilations, padding, groups } = attrs;
  const spread = dilate(ct, [0, 0, ...strides.map((s) => s - 1)]);
  const before = kernel.map((k, i) => (k - 1) * dilations[i]! - padding[i]![0]);
  const after = sizes.map((n, i) => n + (kernel[i]! - 1) * dilations[i]! - before[i]! - spread.shape[i + 2]!);
  const cut = (n: number): number => Math.max(0, -n);
  const cropped = slice(
    spread,
    null,
    null,
    ...before.map((b, i): SliceSpec => [cut(b), spread.shape[i + 2]! - cut(after[i]!)]),
  );
  const flipped = flip(swapChannels(w, groups), range(kernel.length, 2));
  return apply(convPrimitive, [cropped, flipped], {
    kernel,
    strides: kernel.map(() => 1),
    dilations,
    padding: before.map((b, i) => [Math.max(0, b), Math.max(0, after[i]!)] as const),
    groups,
  });
}

/** The cotangent of a convolution's filters. */
function filterGradient(ct: Tensor, x: Tensor, attrs: ConvAttrs): Tensor {
  return attrs.groups === 1 ? filtersByConvolution(ct, x, attrs) : filtersByPatches(ct, x, attrs);
}

/** As a convolution in which batch and channels change places, and so do strides and dilations. */
function filtersByConvolution(
  ct: Tensor,
  x: Tensor,
  { kernel, strides, dilations, padding }: ConvAttrs,
): Tensor {
  const counts = ct.shape.slice(2);
  // What the last window doesn't reach of the input takes no part.
  const after = kernel.map((k, i) => {
    const used = (counts[i]! - 1) * strides[i]! + (k - 1) * dilations[i]! + 1;
    return used - x.shape[i + 2]! - padding[i]![0];
  });
  const cropped = slice(
    x,
    null,
    null,
    ...after.map((a, i): SliceSpec => [0, x.shape[i + 2]! + Math.min(0, a)]),
  );
  const swapped = apply(convPrimitive, [moveAxis(cropped, 1, 0), moveAxis(ct, 1, 0)], {
    kernel: counts,
    strides: dilations,
    dilations: strides,
    padding: padding.map(([before], i) => [before, Math.max(0, after[i]!)] as const),
    groups: 1,
  });
  return moveAxis(swapped, 1, 0);
}

/** As one matrix product a group with the input's patches. */
function filtersByPatches(ct: Tensor, x: Tensor, attrs: ConvAttrs): Tensor {
  const { kernel, groups } = attrs;
  const [n, filters, ...counts] = ct.shape as [number, number, ...number[]];
  const channels = x.shape[1]!;
  const positions = n * sizeOf(counts);
  // Channels first, so that the patches come out as a matrix without another transposition.
  const patches = windows(moveAxis(x, 1, 0), attrs, 1);
  const columns = reshape(patches, [groups, (channels / groups) * sizeOf(kernel), positions]);
  const rows = reshape(moveAxis(ct, 1, 0), [groups, filters / groups, positions]);
  return reshape(matmul(rows, matrixTranspose(columns)), [filters, channels / groups, ...kernel]);
}

/**
 * Whether a convolution is cheaper as matrix products over whole planes: the runtime handles images one by one, and few
 * pixels don't fill its kernels. Selecting pixels costs `pixels / filters` of the products that follow.
 */
const hasSmallPlanes = (x: Tensor, w: Tensor, groups: number): boolean => {
  const pixels = sizeOf(x.shape.slice(2));
  return groups === 1 && pixels <= 36 && pixels <= w.shape[0]!;
};

/** A constant 0/1 matrix `[pixels, windows]` with the pixel that each window has at one position of the kernel. */
function selection(
  sizes: readonly number[],
  position: readonly number[],
  g: WindowGeometry,
  dtype: DType,
): Tensor {
  const counts = windowCounts(sizes, g);
  const value = allocate(dtype, sizeOf(sizes) * sizeOf(counts));
  for (let window = 0; window < sizeOf(counts); window++) {
    let rest = window;
    let pixel = 0;
    let step = 1;
    let inside = true;
    for (let i = sizes.length - 1; i >= 0; i--) {
      const at = (rest % counts[i]!) * g.strides[i]! + position[i]! * g.dilations[i]! - g.padding[i]![0];
      rest = Math.floor(rest / counts[i]!);
      inside &&= at >= 0 && at < sizes[i]!;
      pixel += at * step;
      step *= sizes[i]!;
    }
    if (inside) value[pixel * sizeOf(counts) + window] = 1;
  }
  return constant(value, [sizeOf(sizes), sizeOf(counts)], dtype);
}

/** Pixels selected by products with constants, then all filters of all images in one product. */
function convBySelection(x: Tensor, w: Tensor, geometry: WindowGeometry): Tensor {
  const [n, channels, ...sizes] = x.shape as [number, number, ...number[]];
  const [filters, , ...kernel] = w.shape as [number, number, ...number[]];
  const counts = windowCounts(sizes, geometry);
  const planes = reshape(moveAxis(x, 1, 0), [channels * n, sizeOf(sizes)]);
  const positions = range(sizeOf(kernel)).map((flat) => {
    const position: number[] = [];
    for (let i = kernel.length - 1, rest = flat; i >= 0; i--) {
      position[i] = rest % kernel[i]!;
      rest = Math.floor(rest / kernel[i]!);
    }
    const selected = matmul(planes, selection(sizes, position, geometry, x.dtype));
    return reshape(selected, [channels, 1, n * sizeOf(counts)]);
  });
  const columns = reshape(concat(positions, 1), [channels * positions.length, n * sizeOf(counts)]);
  const product = matmul(reshape(w, [filters, channels * positions.length]), columns);
  return moveAxis(reshape(product, [filters, n, ...counts]), 1, 0);
}

/** `"valid"`: none; `"same"`: sizes stay (for stride 1); or zeros at both ends, per axis. */
export type Padding = "valid" | "same" | number | readonly (number | readonly [number, number])[];

export interface ConvOptions {
  readonly stride?: number | readonly number[];
  readonly padding?: Padding;
  readonly dilation?: number | readonly number[];
  /** Channels and filters are split into this many independent groups. */
  readonly groups?: number;
}

const perAxis = (value: number | readonly number[], axes: number): readonly number[] =>
  typeof value === "number" ? new Array<number>(axes).fill(value) : value;

/** Padding of each axis as `[before, after]`. */
export function resolvePadding(
  padding: Padding,
  sizes: readonly number[],
  kernel: readonly number[],
  strides: readonly number[],
  dilations: readonly number[],
): (readonly [number, number])[] {
  if (padding === "valid") return kernel.map(() => [0, 0] as const);
  if (padding === "same")
    return kernel.map((k, i) => {
      const reach = (k - 1) * dilations[i]! + 1;
      const total = Math.max(0, (Math.ceil(sizes[i]! / strides[i]!) - 1) * strides[i]! + reach - sizes[i]!);
      return [Math.floor(total / 2), Math.ceil(total / 2)] as const;
    });
  if (typeof padding === "number") return kernel.map(() => [padding, padding] as const);
  return padding.map((p) => (typeof p === "number" ? ([p, p] as const) : p));
}

function checkConv(op: string, x: Tensor, w: Tensor, axes: number): void {
  if (x.rank !== axes + 2 || w.rank !== axes + 2 || x.dtype !== w.dtype || !isFloat(x.dtype))
    throw new TensorError(
      op,
      `takes floats [batch, channels, …] and [filters, channels, …] with ${axes} sizes each, not ${x.toString()} and ${w.toString()}`,
    );
}

function conv(op: string, x: Tensor, w: Tensor, axes: number, options: ConvOptions): Tensor {
  checkConv(op, x, w, axes);
  const { groups = 1 } = options;
  const kernel = w.shape.slice(2);
  const strides = perAxis(options.stride ?? 1, axes);
  const dilations = perAxis(options.dilation ?? 1, axes);
  if (x.shape[1] !== w.shape[1]! * groups || w.shape[0]! % groups !== 0)
    throw new TensorError(
      op,
      `channels don't fit: ${showShape(x.shape)}, filters ${showShape(w.shape)}, ${groups} groups`,
    );
  const padding = resolvePadding(options.padding ?? "valid", x.shape.slice(2), kernel, strides, dilations);
  const attrs = { kernel, strides, dilations, padding, groups };
  if (windowCounts(x.shape.slice(2), attrs).some((n) => n < 1))
    throw new TensorError(op, `a kernel of ${showShape(kernel)} doesn't fit into ${showShape(x.shape)}`);
  return hasSmallPlanes(x, w, groups) ? convBySelection(x, w, attrs) : apply(convPrimitive, [x, w], attrs);
}

/** Cross-correlation of `x` `[batch, channels, length]` with `w` `[filters, channels / groups, kernel]`. */
export const conv1d = (x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor =>
  conv("conv1d", x, w, 1, options);
/** Cross-correlation of `x` `[batch, channels, height, width]` with `w` `[filters, channels / groups, …kernel]`. */
export const conv2d = (x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor =>
  conv("conv2d", x, w, 2, options);

export interface ConvTransposeOptions extends ConvOptions {
  readonly padding?: Exclude<Padding, "same">;
  /** Rows or columns added at the far end, where the stride leaves the size open. */
  readonly outputPadding?: number | readonly number[];
}

function convTranspose(
  op: string,
  x: Tensor,
  w: Tensor,
  axes: number,
  options: ConvTransposeOptions,
): Tensor {
  checkConv(op, x, w, axes);
  const { groups = 1 } = options;
  if (x.shape[1] !== w.shape[0] || w.shape[0]! % groups !== 0)
    throw new TensorError(
      op,
      `channels don't fit: ${showShape(x.shape)}, filters ${showShape(w.shape)}, ${groups} groups`,
    );
  const kernel = w.shape.slice(2);
  const strides = perAxis(options.stride ?? 1, axes);
  const dilations = perAxis(options.dilation ?? 1, axes);
  const extra = perAxis(options.outputPadding ?? 0, axes);
  const padding = resolvePadding(options.padding ?? "valid", [], kernel, strides, dilations);
  const sizes = kernel.map(
    (k, i) =>
      (x.shape[i + 2]! - 1) * strides[i]! -
      padding[i]![0] -
      padding[i]![1] +
      (k - 1) * dilations[i]! +
      1 +
      extra[i]!,
  );
  if (sizes.some((n) => n < 1)) throw new TensorError(op, `padding leaves nothing of ${showShape(x.shape)}`);
  return inputGradient(x, w, sizes, { kernel, strides, dilations, padding, groups });
}

/** The transpose of `conv1d`: `x` `[batch, channels, length]`, `w` `[channels, filters / groups, kernel]`. */
export const convTranspose1d = (x: Tensor, w: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convTranspose("convTranspose1d", x, w, 1, options);
/** The transpose of `conv2d`: `x` `[batch, channels, height, width]`, `w` `[channels, filters / groups, …kernel]`. */
export const convTranspose2d = (x: Tensor, w: Tensor, options: ConvTransposeOptions = {}): Tensor =>
  convTranspose("convTranspose2d", x, w, 2, options);
