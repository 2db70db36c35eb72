import { randomStream } from "../stats/random.ts";

/** The order in which epoch `epoch` visits `count` examples; every epoch of every seed has its own. */
export function epochOrder(
  count: number,
  options: { readonly seed: number; readonly epoch: number },
): Int32Array {
  return randomStream(options.seed, `epoch ${options.epoch}`).permutation(count);
}

export interface BatchOptions {
  readonly batchSize: number;
  readonly seed: number;
  readonly epoch: number;
  /** Leave out a last batch that is not full (default false), so that all batches have one shape. */
  readonly dropLast?: boolean;
}

/** One epoch of shuffled mini-batches, each the indices of its examples `[batchSize]`. */
export function* batches(count: number, options: BatchOptions): Generator<Int32Array, void, void> {
  const { batchSize, dropLast = false } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new RangeError(`batches: batchSize must be a whole number of at least 1, got ${batchSize}`);
  }
  const order = epochOrder(count, options);
  const end = dropLast ? count - (count % batchSize) : count;
  for (let start = 0; start < end; start += batchSize)
    yield order.slice(start, Math.min(start + batchSize, end));
}
