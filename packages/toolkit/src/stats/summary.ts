import { mean, quantileSorted, sampleStandardDeviation } from "simple-statistics";

export { mean, quantile, sampleRankCorrelation as spearman } from "simple-statistics";

export interface Summary {
  readonly count: number;
  readonly mean: number;
  /** Sample standard deviation (n − 1); NaN for a single value. */
  readonly std: number;
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/**
 * Describes a sample.
 *
 * @throws RangeError when the sample is empty or holds a NaN: a diverged run must be left out by name.
 */
export function summarize(values: readonly number[]): Summary {
  requireSample("summarize", values);
  const sorted = [...values].sort((a, b) => a - b);
  return {
    count: sorted.length,
    mean: mean(sorted),
    std: sorted.length > 1 ? sampleStandardDeviation(sorted) : Number.NaN,
    min: sorted[0]!,
    median: quantileSorted(sorted, 0.5),
    max: sorted.at(-1)!,
  };
}

/** Ranks from 1, ties sharing their mean rank. */
export function ranks(values: readonly number[]): number[] {
  requireSample("ranks", values);
  const order = values.map((_, i) => i).sort((i, j) => values[i]! - values[j]!);
  const result = new Array<number>(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end + 1 < order.length && values[order[end + 1]!] === values[order[start]!]) end++;
    for (let k = start; k <= end; k++) result[order[k]!] = (start + end) / 2 + 1;
    start = end + 1;
  }
  return result;
}

export function requireSample(operation: string, values: readonly number[]): void {
  if (values.length === 0) throw new RangeError(`${operation}: the sample is empty`);
  const bad = values.findIndex(Number.isNaN);
  if (bad >= 0) throw new RangeError(`${operation}: value ${bad} of ${values.length} is NaN`);
}
