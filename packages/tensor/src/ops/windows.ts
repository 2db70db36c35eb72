import { range, sizeOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { pad, type SliceSpec, slice, stack } from "./shape.ts";

/** Geometry of windows that slide over the trailing (spatial) axes; one entry an axis. */
export interface WindowGeometry {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** `[before, after]` each spatial axis. */
  readonly padding: readonly (readonly [number, number])[];
}

/** Sizes of the result: how many windows fit each axis. */
export const windowCounts = (sizes: readonly number[], g: WindowGeometry): number[] =>
  sizes.map((n, i) => {
    const reach = (g.kernel[i]! - 1) * g.dilations[i]! + 1;
    return Math.floor((n + g.padding[i]![0] + g.padding[i]![1] - reach) / g.strides[i]!) + 1;
  });

/** Padding of the trailing axes only. */
export function padSpatial(x: Tensor, padding: readonly (readonly [number, number])[], value = 0): Tensor {
  const lead = range(x.rank - padding.length).map((): [number, number] => [0, 0]);
  return pad(x, [...lead, ...padding], value);
}

/**
 * For each position in the kernel, in row-major order, the elements that all windows have there, stacked along `axis`:
 * `[…lead, …counts]` becomes `[…, positions, …]`.
 */
export function windows(x: Tensor, geometry: WindowGeometry, axis: number, padValue = 0): Tensor {
  const { kernel, strides, dilations, padding } = geometry;
  const spatial = kernel.length;
  const counts = windowCounts(x.shape.slice(-spatial), geometry);
  const padded = padSpatial(x, padding, padValue);
  const lead = range(x.rank - spatial).map((): SliceSpec => null);
  const positions = range(sizeOf(kernel)).map((flat) => {
    const offsets: number[] = [];
    let rest = flat;
    for (let i = spatial - 1; i >= 0; i--) {
      offsets[i] = (rest % kernel[i]!) * dilations[i]!;
      rest = Math.floor(rest / kernel[i]!);
    }
    return slice(
      padded,
      ...lead,
      ...offsets.map((o, i): SliceSpec => [o, o + (counts[i]! - 1) * strides[i]! + 1, strides[i]!]),
    );
  });
  return stack(positions, axis);
}
