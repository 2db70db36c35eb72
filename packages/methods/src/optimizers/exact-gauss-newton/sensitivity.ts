/** Test errors of a grid: rows are step sizes, columns dampings. */
export type Errors = readonly (readonly number[])[];

/** The error of predicting the mean, in whose units errors are. */
const OF_THE_MEAN = 1;

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Worse than predicting the mean, or no number. */
const diverged = (error: number): boolean => !(error <= OF_THE_MEAN);

/** Natural log of the worst error over the best; diverged ones count as the mean's. */
export function logSpread(errors: readonly number[]): number {
  const capped = errors.map((error) => (diverged(error) ? OF_THE_MEAN : error));
  return Math.log(Math.max(...capped) / Math.min(...capped));
}

/** `logSpread` over the dampings, mean of the step sizes. */
export const dampingSpread = (grid: Errors): number => average(grid.map(logSpread));

/** `logSpread` over the step sizes, mean of the dampings. */
export const rateSpread = (grid: Errors): number =>
  average(grid[0]!.map((_, column) => logSpread(grid.map((row) => row[column]!))));

export const divergedShare = (grid: Errors): number => average(grid.flat().map((e) => (diverged(e) ? 1 : 0)));

/** Whole epochs, at least one, that fit the time which a rival takes for all of its `epochs`. */
export const affordableEpochs = (epochs: number, own: number, rival: number): number =>
  Math.min(epochs, Math.max(1, Math.floor((epochs * rival) / own)));
