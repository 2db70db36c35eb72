import { add, reshape, type Tensor } from "@prior-art/tensor";
import { type FloatDType, he, type Initializer, zeros } from "./initializers.ts";

export interface ConvParams {
  /** `[filters, channels / groups, …kernel]` */
  readonly weight: Tensor;
  /** `[filters]` */
  readonly bias: Tensor | null;
}

export interface FilterOptions {
  readonly channels: number;
  readonly filters: number;
  /** Size along every axis, or along each. */
  readonly kernel: number | readonly number[];
  /** 1 by default; `apply` takes the same number. */
  readonly groups?: number;
  /** Default true; it starts at 0. */
  readonly bias?: boolean;
  /** `he()` by default. */
  readonly weights?: Initializer;
  readonly dtype?: FloatDType;
}

/** Filters over `axes` spatial axes. @throws RangeError when groups don't divide channels and filters. */
export function initFilters(
  key: Tensor,
  axes: number,
  { channels, filters, kernel, groups = 1, bias = true, weights = he(), dtype = "float32" }: FilterOptions,
): ConvParams {
  if (channels % groups !== 0 || filters % groups !== 0)
    throw new RangeError(`${groups} groups don't divide ${channels} channels and ${filters} filters`);
  const sizes = typeof kernel === "number" ? new Array<number>(axes).fill(kernel) : kernel;
  if (sizes.length !== axes)
    throw new RangeError(`a kernel of ${axes} sizes is needed, got [${sizes.join(", ")}]`);
  return {
    weight: weights(key, [filters, channels / groups, ...sizes], dtype),
    bias: bias ? zeros(key, [filters], dtype) : null,
  };
}

/** `y` `[batch, filters, …]` with each filter's bias added. */
export const addBias = (y: Tensor, bias: Tensor | null): Tensor =>
  bias ? add(y, reshape(bias, [bias.size, ...new Array<number>(y.rank - 2).fill(1)])) : y;
