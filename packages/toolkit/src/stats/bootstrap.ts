import jstat from "jstat";
import { mean, quantileSorted } from "simple-statistics";
import { randomStream } from "./random.ts";
import { requireSample } from "./summary.ts";

export interface Interval {
  readonly low: number;
  readonly high: number;
}

export interface BootstrapOptions<T> {
  /** Default: the mean (only for numbers). */
  readonly statistic?: (sample: readonly T[]) => number;
  /** Coverage, default 0.95. */
  readonly confidence?: number;
  /** Bootstrap samples, default 10,000. */
  readonly resamples?: number;
  /** `bca` (default) corrects bias and skewness (Efron 1987); `percentile` does not. */
  readonly method?: "bca" | "percentile";
  /** Default 0. */
  readonly seed?: number;
}

/**
 * Bootstrap confidence interval of a statistic of independent observations.
 *
 * A sample of one observation has the interval (−∞, ∞): it says nothing about spread. BCa falls back to
 * percentiles where its correction is undefined (all resamples on one side of the estimate).
 *
 * @throws RangeError when the sample is empty or the confidence is not inside (0, 1).
 */
export function bootstrapInterval<T>(sample: readonly T[], options: BootstrapOptions<T> = {}): Interval {
  const { confidence = 0.95, resamples = 10_000, method = "bca", seed = 0 } = options;
  if (!(confidence > 0 && confidence < 1))
    throw new RangeError(`confidence ${confidence} is not inside (0, 1)`);
  const statistic = options.statistic ?? (mean as unknown as (sample: readonly T[]) => number);
  if (!options.statistic) requireSample("bootstrapInterval", sample as readonly number[]);
  if (sample.length === 0) throw new RangeError("bootstrapInterval: the sample is empty");
  if (sample.length === 1) return { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };

  const random = randomStream(seed, "bootstrap");
  const resample = new Array<T>(sample.length);
  const replicates = new Float64Array(resamples);
  for (let r = 0; r < resamples; r++) {
    for (let i = 0; i < sample.length; i++) resample[i] = sample[random.integer(sample.length)]!;
    replicates[r] = statistic(resample);
  }
  replicates.sort();
  const tail = (1 - confidence) / 2;
  const [low, high] = method === "bca" ? bcaLevels(sample, statistic, replicates, tail) : [tail, 1 - tail];
  return {
    low: quantileSorted(replicates as unknown as number[], low),
    high: quantileSorted(replicates as unknown as number[], high),
  };
}

/** Bootstrap interval of the mean of `first[i] − second[i]`, e.g. two methods run on the same seeds. */
export function pairedInterval(
  first: readonly number[],
  second: readonly number[],
  options: BootstrapOptions<number> = {},
): Interval {
  return bootstrapInterval(pairedDifferences(first, second), options);
}

export function pairedDifferences(first: readonly number[], second: readonly number[]): number[] {
  if (first.length !== second.length) {
    throw new RangeError(`paired samples differ in length: ${first.length} and ${second.length}`);
  }
  return first.map((value, i) => value - second[i]!);
}

/** Percentile levels after the bias correction z₀ and the acceleration a from the jackknife. */
function bcaLevels<T>(
  sample: readonly T[],
  statistic: (sample: readonly T[]) => number,
  replicates: Float64Array,
  tail: number,
): [number, number] {
  const estimate = statistic(sample);
  let below = 0;
  for (const value of replicates) below += value < estimate ? 1 : value === estimate ? 0.5 : 0;
  const share = below / replicates.length;
  if (share <= 0 || share >= 1) return [tail, 1 - tail];
  const bias = jstat.jStat.normal.inv(share, 0, 1);
  const jackknife = sample.map((_, i) => statistic(sample.filter((_, j) => j !== i)));
  const center = mean(jackknife);
  let squares = 0;
  let cubes = 0;
  for (const value of jackknife) {
    const deviation = center - value;
    squares += deviation ** 2;
    cubes += deviation ** 3;
  }
  const acceleration = squares > 0 ? cubes / (6 * squares ** 1.5) : 0;
  const level = (probability: number) => {
    const z = bias + jstat.jStat.normal.inv(probability, 0, 1);
    return jstat.jStat.normal.cdf(bias + z / (1 - acceleration * z), 0, 1);
  };
  return [level(tail), level(1 - tail)];
}
