import { type ConvOptions, conv1d, type Tensor } from "@prior-art/tensor";
import { addBias, type ConvParams, type FilterOptions, initFilters } from "./filters.ts";

/** @throws RangeError when groups don't divide channels and filters. */
export const init = (key: Tensor, options: FilterOptions): ConvParams => initFilters(key, 1, options);

/**
 * Cross-correlation with the filters, plus bias: `[batch, channels, length] → [batch, filters, length′]`; no
 * padding and stride 1 by default.
 * @throws TensorError when channels don't fit, or the kernel is larger than the padded input.
 */
export const apply = ({ weight, bias }: ConvParams, x: Tensor, options: ConvOptions = {}): Tensor =>
  addBias(conv1d(x, weight, options), bias);
