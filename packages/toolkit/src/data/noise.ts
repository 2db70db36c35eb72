import { type RandomStream, randomStream } from "../stats/random.ts";

/** Labels of which some are wrong; `corrupted` holds the indices of those, in increasing order. */
export interface NoisyLabels {
  readonly labels: Int32Array;
  readonly corrupted: Int32Array;
}

function draw(random: RandomStream, weights: ArrayLike<number>): number {
  let total = 0;
  for (let c = 0; c < weights.length; c++) total += weights[c]!;
  let rest = random.uniform() * total;
  for (let c = 0; c < weights.length - 1; c++) {
    rest -= weights[c]!;
    if (rest < 0) return c;
  }
  return weights.length - 1;
}

const compared = (labels: Int32Array, noisy: Int32Array): NoisyLabels => ({
  labels: noisy,
  corrupted: Int32Array.from(labels.keys()).filter((i) => labels[i] !== noisy[i]),
});

/**
 * Asymmetric (class-conditional) noise: a label of class c becomes k with probability `transition[c][k]`.
 * @throws RangeError unless the matrix is square, its rows are distributions, and it has a row for each label.
 */
export function transitionNoise(
  labels: Int32Array,
  { transition, seed }: { readonly transition: readonly (readonly number[])[]; readonly seed: number },
): NoisyLabels {
  transition.forEach((row, c) => {
    const total = row.reduce((a, b) => a + b, 0);
    if (row.length !== transition.length || row.some((p) => !(p >= 0)) || Math.abs(total - 1) > 1e-9)
      throw new RangeError(`transitionNoise: row ${c} is no distribution over ${transition.length} classes`);
  });
  const random = randomStream(seed, "transition-noise");
  const noisy = labels.map((label, i) => {
    const row = transition[label];
    if (!row) throw new RangeError(`transitionNoise: label ${label} of example ${i} has no row`);
    return draw(random, row);
  });
  return compared(labels, noisy);
}

export interface InstanceNoise {
  /** Mean share of wrong labels, in [0, 1]. */
  readonly rate: number;
  /** Standard deviation of the examples' own rates around it, 0.1 by default. */
  readonly spread?: number;
  readonly classes: number;
  readonly seed: number;
}

/**
 * Instance-dependent noise (Xia et al., 2020, Algorithm 2): each example has a rate of its own, and its wrong class is drawn
 * from the softmax of random linear scores of its features, so that alike examples are confused alike.
 * @param features `[examples, width]`, best on a common scale
 * @throws RangeError when sizes don't fit, or the rate is not in [0, 1].
 */
export function instanceNoise(
  features: Float32Array,
  labels: Int32Array,
  { rate, spread = 0.1, classes, seed }: InstanceNoise,
): NoisyLabels {
  const width = features.length / labels.length;
  if (!Number.isInteger(width))
    throw new RangeError(`instanceNoise: ${features.length} features for ${labels.length} labels`);
  if (!(rate >= 0 && rate <= 1 && spread >= 0 && classes >= 2))
    throw new RangeError(
      `instanceNoise: needs a rate in [0, 1], spread ≥ 0 and two classes, got ${rate}, ${spread}, ${classes}`,
    );
  const random = randomStream(seed, "instance-noise");
  // One projection from features to the scores of all classes for each true class.
  const projections = Array.from({ length: classes }, () =>
    Float64Array.from({ length: width * classes }, () => random.normal()),
  );
  /** Normal around `rate`, drawn again until it lies in [0, 1]. */
  const ownRate = (): number => {
    for (;;) {
      const own = rate + spread * random.normal();
      if (own >= 0 && own <= 1) return own;
    }
  };
  const noisy = labels.map((label, i) => {
    const projection = projections[label]!;
    const scores = new Float64Array(classes);
    for (let j = 0; j < width; j++)
      for (let c = 0; c < classes; c++) scores[c]! += features[i * width + j]! * projection[j * classes + c]!;
    const largest = Math.max(...scores.filter((_, c) => c !== label));
    const weights = scores.map((score, c) => (c === label ? 0 : Math.exp(score - largest)));
    const own = spread === 0 ? rate : ownRate();
    const other = draw(random, weights);
    return random.uniform() < own ? other : label;
  });
  return compared(labels, noisy);
}
