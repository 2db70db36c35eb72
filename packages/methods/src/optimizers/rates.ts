/**
 * What contenders are tuned over: methods of one scale share one list. Each contender has twelve candidates, its whole
 * grid: most have six rates with two values of something else, and some twelve rates.
 */

/** Of rules whose steps are about as large as their rate, such as Adam's. */
export const adamRates = [1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3] as const;

/** Of rules whose steps are a rate times a gradient. */
export const sgdRates = [0.01, 0.03, 0.1, 0.3, 1, 3] as const;

/** With one more rate above each, about half-way to the next. */
export const finer = (rates: readonly number[]): number[] =>
  rates.flatMap((rate) => [rate, Number((1.7 * rate).toPrecision(2))]);
