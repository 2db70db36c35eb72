import { randomStream } from "../stats/random.ts";

/** Sizes below 1 are shares of the whole, others are counts; `train` defaults to what the others leave. */
export interface SplitSizes {
  readonly train?: number;
  readonly validation?: number;
  readonly test: number;
  readonly seed: number;
}

/** Indices of the examples in each part; the parts do not overlap. */
export interface Split {
  readonly train: Int32Array;
  readonly validation: Int32Array;
  readonly test: Int32Array;
}

/**
 * Splits `count` examples at random.
 *
 * @throws RangeError when the sizes are negative or exceed the whole.
 */
export function trainTestSplit(count: number, sizes: SplitSizes): Split {
  const { train, validation, test } = resolveSizes(count, sizes);
  const order = randomStream(sizes.seed, "split").permutation(count);
  return {
    test: order.slice(0, test),
    validation: order.slice(test, test + validation),
    train: order.slice(test + validation, test + validation + train),
  };
}

/**
 * Splits at random so that every part has the classes in the proportions of the whole, up to rounding.
 *
 * @param labels class index of each example, `[examples]`
 */
export function stratifiedSplit(labels: Int32Array, sizes: SplitSizes): Split {
  const { train, validation, test } = resolveSizes(labels.length, sizes);
  const random = randomStream(sizes.seed, "stratified-split");
  const remaining = new Map<number, number[]>();
  for (const index of random.permutation(labels.length)) {
    const label = labels[index]!;
    if (!remaining.has(label)) remaining.set(label, []);
    remaining.get(label)!.push(index);
  }
  const classes = [...remaining.keys()].sort((a, b) => a - b).map((label) => remaining.get(label)!);
  const draw = (size: number): Int32Array => {
    const quotas = apportion(
      classes.map((members) => members.length),
      size,
    );
    const chosen = Int32Array.from(classes.flatMap((members, i) => members.splice(0, quotas[i]!)));
    return random.permutation(chosen.length).map((position) => chosen[position]!);
  };
  return { test: draw(test), validation: draw(validation), train: draw(train) };
}

/** Shares `size` out in proportion to `counts` by largest remainder, so that the total is exact. */
function apportion(counts: readonly number[], size: number): number[] {
  const total = counts.reduce((a, b) => a + b, 0);
  if (total === 0) return counts.map(() => 0);
  const exact = counts.map((count) => (count * size) / total);
  const quotas = exact.map(Math.floor);
  const byRemainder = exact.map((value, i) => ({ i, remainder: value - quotas[i]! }));
  byRemainder.sort((a, b) => b.remainder - a.remainder || a.i - b.i);
  const missing = size - quotas.reduce((a, b) => a + b, 0);
  for (const { i } of byRemainder.slice(0, missing)) quotas[i]!++;
  return quotas;
}

function resolveSizes(count: number, sizes: SplitSizes) {
  const toCount = (name: string, size: number) => {
    const resolved = size < 1 ? Math.round(size * count) : size;
    if (!(size >= 0) || !Number.isInteger(resolved)) {
      throw new RangeError(`split: ${name} must be a share below 1 or a whole number, got ${size}`);
    }
    return resolved;
  };
  const test = toCount("test", sizes.test);
  const validation = toCount("validation", sizes.validation ?? 0);
  const train = sizes.train === undefined ? count - test - validation : toCount("train", sizes.train);
  if (train < 0 || train + validation + test > count) {
    throw new RangeError(
      `split: ${Math.max(train, 0)} + ${validation} + ${test} examples wanted, there are ${count}`,
    );
  }
  return { train, validation, test };
}
