import { type ConvOptions, conv2d, type Tensor } from "@prior-art/tensor";
import { addBias, type ConvParams, type FilterOptions, initFilters } from "./filters.ts";

/** @throws RangeError when groups don't divide channels and filters. */
export const init = (key: Tensor, options: FilterOptions): ConvParams => initFilters(key, 2, options);

/**
 * Cross-correlation with the filters, plus bias: `[batch, channels, height, width] → [batch, filters, height′, width′]`; no
 * padding and stride 1 by default.
 * @throws TensorError when channels don't fit, or the kernel is larger than the padded input.
 */
export const apply = ({ weight, bias }: ConvParams, x: Tensor, options: ConvOptions = {}): Tensor =>
  addBias(conv2d(x, weight, options), bias);
