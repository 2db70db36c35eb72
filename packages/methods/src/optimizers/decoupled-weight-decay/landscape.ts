import { linearSlope } from "@prior-art/toolkit/stats";

/** Numbers by row and column; test NLL by rate (or budget) and decay. */
export type Grid = readonly (readonly number[])[];

/** From this NLL on a network of ten classes has hardly learned: half of what guessing costs. */
const SATURATED = Math.log(10) / 2;

/** A decay that gains less than this share over the weakest one is no better than none. */
const LEAST_GAIN = 0.01;

/** Fewest points of a slope. */
const FEWEST_ROWS = 3;

/** Position of the smallest entry; NaN counts as worst. */
export const argmin = (values: readonly number[]): number =>
  values.reduce(
    (best, v, i) => (v < (values[best] ?? Number.NaN) || Number.isNaN(values[best]!) ? i : best),
    0,
  );

/**
 * Positions of the lowest NLL and of the lowest error on validation, of which the lower NLL among equals: with wrong labels
 * the two are far apart.
 */
export function bestCells(nll: readonly number[], error: readonly number[]): { nll: number; error: number } {
  return { nll: argmin(nll), error: argmin(error.map((e, i) => e + 1e-6 * nll[i]!)) };
}

export const meanGrid = (grids: readonly Grid[]): number[][] =>
  grids[0]!.map((row, i) => row.map((_, j) => grids.reduce((sum, g) => sum + g[i]![j]!, 0) / grids.length));

/**
 * Where a row of NLLs, by growing decay, has its minimum, in grid steps, between the points of the grid by a parabola
 * through three of them. NaN where the row doesn't say: the smallest entry lies at an end, is not at least 1% below that
 * of the weakest decay, or belongs to a network that hardly learned.
 */
export function optimum(row: readonly number[]): number {
  const i = argmin(row);
  const [left, here, right] = [row[i - 1], row[i]!, row[i + 1]];
  if (left === undefined || right === undefined) return Number.NaN;
  if (!(here < SATURATED && here <= (1 - LEAST_GAIN) * row[0]!)) return Number.NaN;
  const curvature = left - 2 * here + right;
  return curvature > 0 ? i + (left - right) / (2 * curvature) : i;
}

/**
 * How the best log decay moves with the log rate, over the rates at which the seeds' mean says where it lies: 0 on an
 * axis, -1 on the diagonal. NaN with fewer than three such rates.
 */
export function optimumSlope(
  { rates, decays }: { readonly rates: readonly number[]; readonly decays: readonly number[] },
  grids: readonly Grid[],
): number {
  const step = Math.log(decays[1]! / decays[0]!);
  const points = meanGrid(grids)
    .map((row, i) => [Math.log(rates[i]!), optimum(row) * step] as const)
    .filter(([, at]) => !Number.isNaN(at));
  if (points.length < FEWEST_ROWS) return Number.NaN;
  return linearSlope(
    points.map(([x]) => x),
    points.map(([, y]) => y),
  ).slope;
}

interface Entry {
  readonly row: number;
  readonly column: number;
  readonly value: number;
}

const average = (values: readonly number[]): number =>
  values.reduce((total, v) => total + v, 0) / values.length;

/**
 * What the least-squares sum of a row effect and a column effect leaves of each entry, cells may be missing: the means
 * of rows and columns are taken off in turns until there are none.
 */
function additiveResiduals(entries: readonly Entry[]): number[] {
  const left = entries.map(({ value }) => value);
  const size = 1 + Math.max(...entries.flatMap(({ row, column }) => [row, column]));
  for (let largest = Number.POSITIVE_INFINITY, sweep = 0; largest > 1e-10 && sweep < 1000; sweep++) {
    largest = 0;
    for (const axis of ["row", "column"] as const) {
      const [sums, counts] = [new Float64Array(size), new Float64Array(size)];
      for (const [i, entry] of entries.entries()) {
        sums[entry[axis]]! += left[i]!;
        counts[entry[axis]]! += 1;
      }
      for (const [i, entry] of entries.entries()) {
        const mean = sums[entry[axis]]! / counts[entry[axis]]!;
        left[i]! -= mean;
        largest = Math.max(largest, Math.abs(mean));
      }
    }
  }
  return left;
}

const sumOfSquares = (values: readonly number[]): number => values.reduce((total, v) => total + v * v, 0);

/**
 * Variance that no sum of a row effect and a column effect explains over the variance of all, each by its degrees of
 * freedom, so that it can be compared between sets of different sizes. NaN where too few entries are left.
 */
export function interactionShare(entries: readonly Entry[]): number {
  const count = (axis: "row" | "column"): number => new Set(entries.map((e) => e[axis])).size;
  const freedom = entries.length - count("row") - count("column") + 1;
  if (freedom <= 0) return Number.NaN;
  const centre = average(entries.map(({ value }) => value));
  const total = sumOfSquares(entries.map(({ value }) => value - centre));
  return total > 0 ? sumOfSquares(additiveResiduals(entries)) / freedom / (total / (entries.length - 1)) : 0;
}

/** Five indices around `centre`, as nearly as `length` allows. */
const around = (centre: number, length: number): number[] => {
  const first = Math.max(0, Math.min(centre - 2, length - 5));
  return Array.from({ length: Math.min(5, length) }, (_, i) => first + i);
};

/**
 * The seeds' mean interaction of rate and decay in log NLL: over the 5×5 cells around the best of the seeds' mean, less
 * those whose networks hardly learned.
 */
export function interactionAtOptimum(grids: readonly Grid[]): number {
  const surface = meanGrid(grids);
  const columns = surface[0]!.length;
  const best = argmin(surface.flat());
  const cells = around(Math.floor(best / columns), surface.length)
    .flatMap((row) => around(best % columns, columns).map((column) => ({ row, column })))
    .filter(({ row, column }) => surface[row]![column]! < SATURATED);
  return average(
    grids.map((grid) =>
      interactionShare(cells.map((c) => ({ ...c, value: Math.log(grid[c.row]![c.column]!) }))),
    ),
  );
}
