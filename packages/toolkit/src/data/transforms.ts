import { randomStream } from "../stats/random.ts";

type Shape = readonly [examples: number, features: number];

/** Rows `indices` of a row-major `[examples, features]` array, as `[indices.length, features]`. */
export function selectRows(features: Float32Array, shape: Shape, indices: Int32Array): Float32Array {
  const width = shape[1];
  const selected = new Float32Array(indices.length * width);
  indices.forEach((index, row) => {
    if (index < 0 || index >= shape[0]) throw new RangeError(`selectRows: row ${index} of ${shape[0]}`);
    selected.set(features.subarray(index * width, (index + 1) * width), row * width);
  });
  return selected;
}

/** Entries `indices` of labels or targets. */
export function selectEntries<A extends Int32Array | Float32Array>(values: A, indices: Int32Array): A {
  const selected = new (values.constructor as new (length: number) => A)(indices.length);
  indices.forEach((index, i) => {
    if (index < 0 || index >= values.length)
      throw new RangeError(`selectEntries: entry ${index} of ${values.length}`);
    selected[i] = values[index]!;
  });
  return selected;
}

export interface Standardizer {
  /** `[features]` */
  readonly mean: Float64Array;
  /** Population standard deviation, 1 for a constant feature, `[features]`. */
  readonly std: Float64Array;
  /** (x − mean) / std for any array of the same features. */
  apply(features: Float32Array): Float32Array;
}

/**
 * Learns each feature's mean and spread from the training rows; apply it to those and to held-out rows.
 *
 * @throws RangeError without rows.
 */
export function standardize(training: Float32Array, shape: Shape): Standardizer {
  const [rows, width] = shape;
  if (rows < 1 || training.length !== rows * width) {
    throw new RangeError(`standardize: ${training.length} values are not [${rows}, ${width}]`);
  }
  const mean = new Float64Array(width);
  const std = new Float64Array(width);
  for (let i = 0; i < training.length; i++) mean[i % width]! += training[i]! / rows;
  for (let i = 0; i < training.length; i++) std[i % width]! += (training[i]! - mean[i % width]!) ** 2 / rows;
  for (let j = 0; j < width; j++) std[j] = Math.sqrt(std[j]!) || 1;
  return {
    mean,
    std,
    apply(features) {
      if (features.length % width) {
        throw new RangeError(`standardize: ${features.length} values do not have ${width} features a row`);
      }
      return features.map((value, i) => (value - mean[i % width]!) / std[i % width]!);
    },
  };
}

export interface LabelNoise {
  /** Share of the labels to corrupt, in [0, 1]; exactly round(rate · examples) change. */
  readonly rate: number;
  readonly classes: number;
  readonly seed: number;
  /** `symmetric` (default): any other class, uniformly. `pair`: the next class. */
  readonly kind?: "symmetric" | "pair";
}

/** Corrupts labels; `corrupted` holds the indices that changed, in increasing order. */
export function labelNoise(
  labels: Int32Array,
  { rate, classes, seed, kind = "symmetric" }: LabelNoise,
): { readonly labels: Int32Array; readonly corrupted: Int32Array } {
  if (!(rate >= 0 && rate <= 1)) throw new RangeError(`labelNoise: rate ${rate} is not in [0, 1]`);
  if (classes < 2) throw new RangeError(`labelNoise: ${classes} classes leave no other class`);
  const random = randomStream(seed, "label-noise");
  const corrupted = random
    .permutation(labels.length)
    .slice(0, Math.round(rate * labels.length))
    .sort();
  const noisy = labels.slice();
  for (const index of corrupted) {
    const shift = kind === "pair" ? 1 : 1 + random.integer(classes - 1);
    noisy[index] = (labels[index]! + shift) % classes;
  }
  return { labels: noisy, corrupted };
}
