import type { HyperparameterSolver } from "../family.ts";
import { type SearchSettings, tryAll } from "../search.ts";

/**
 * A regular grid over the box, strongest penalty first (one value for all hyperparameters beyond three), then the points halfway
 * between, and so on while the work lasts. Solutions are warm-started along each grid.
 *
 * @param count Points of the first grid.
 */
export function refinedGridSearch(
  count: number,
  { tolerance = 1e-4 }: SearchSettings = {},
): HyperparameterSolver {
  return (problem, options) => {
    const { lower, upper } = problem;
    const axes = lower.length > 3 ? 1 : lower.length;
    let perAxis = Math.max(2, Math.floor(count ** (1 / axes)));
    let isFirst = true;
    let k = 0;
    const next = (): Float64Array => {
      if (k === perAxis ** axes) {
        perAxis = 2 * perAxis - 1;
        isFirst = false;
        k = 0;
      }
      // Each axis back and forth, so that neighbours follow each other.
      const places: number[] = [];
      for (let axis = 0, rest = k; axis < axes; axis++) {
        const place = rest % perAxis;
        rest = Math.floor(rest / perAxis);
        places.push(rest % 2 === 0 ? perAxis - 1 - place : place);
      }
      k++;
      // Of a finer grid, every second place of each axis has been tried.
      if (!isFirst && places.every((place) => place % 2 === 0)) return next();
      return lower.map(
        (low, j) => low + ((upper[j]! - low) * places[lower.length > 3 ? 0 : j]!) / (perAxis - 1),
      );
    };
    return tryAll(problem, next, options, tolerance);
  };
}
