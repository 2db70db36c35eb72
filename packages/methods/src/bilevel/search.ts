import { randomStream } from "@prior-art/toolkit/stats";
import type { BilevelProblem, HyperparameterSolver, SearchOptions, SearchResult, Step } from "./family.ts";
import { countWork, gradientScale, trainInner } from "./innerSolver.ts";

export interface SearchSettings {
  /** Gradient norm of the inner problem, relative to that at zero, at which a candidate counts as trained. Default 1e-4. */
  readonly tolerance?: number;
}

/**
 * Tries candidates in order, each trained from the solution of the one before, while the work lasts; one whose training the end
 * of the work cuts short does not count.
 */
export function tryAll(
  problem: BilevelProblem,
  candidates: (history: readonly Step[]) => Float64Array | undefined,
  { start, maxWork }: Pick<SearchOptions, "start" | "maxWork">,
  tolerance: number,
): SearchResult {
  const counted = countWork(problem);
  const history: Step[] = [];
  let x = new Float64Array(problem.parameters) as Float64Array;
  let best: Step | undefined;
  while (counted.work() < maxWork) {
    const lambda = candidates(history);
    if (!lambda) break;
    // The scale of the gradient is not charged for.
    const stop = tolerance * gradientScale(problem, lambda);
    const trained = trainInner(counted.problem, x, lambda, stop, maxWork - counted.work());
    if (!trained.finished) break;
    x = trained.x;
    const outer = problem.outer.value(x, lambda);
    const rejected = best !== undefined && !(outer < best.outer);
    history.push({ lambda, work: counted.work(), outer, rejected });
    if (!rejected) best = history.at(-1);
  }
  return { lambda: best?.lambda ?? start, history };
}

/**
 * A regular grid over the box, strongest penalty first (one value for all hyperparameters beyond three), then the points halfway
 * between, and so on while the work lasts. Solutions are warm-started along each grid.
 *
 * @param count Points of the first grid.
 */
export function gridSearch(count: number, { tolerance = 1e-4 }: SearchSettings = {}): HyperparameterSolver {
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

/** Independent uniform draws from the box. */
export function randomSearch({ tolerance = 1e-4 }: SearchSettings = {}): HyperparameterSolver {
  return (problem, options) => {
    const stream = randomStream(options.seed, "random search");
    return tryAll(
      problem,
      () => problem.lower.map((low, j) => low + (problem.upper[j]! - low) * stream.uniform()),
      options,
      tolerance,
    );
  };
}

/**
 * Golden-section search, the strongest method for one hyperparameter with one valley: along all axes at once beyond three
 * hyperparameters (they share a value), else along one after the other.
 */
export function goldenSearch({ tolerance = 1e-4 }: SearchSettings = {}): HyperparameterSolver {
  return (problem, options) => {
    const { lower, upper } = problem;
    const shared = lower.length > 3;
    const axes = shared ? 1 : lower.length;
    const ratio = (Math.sqrt(5) - 1) / 2;
    const current = lower.map((low, j) => (low + upper[j]!) / 2);
    let axis = 0;
    let low = 0;
    let high = 1;
    let left: number | undefined;
    let right: number | undefined;
    let waiting: "left" | "right" | undefined;
    const place = (t: number): Float64Array =>
      current.map((value, j) => (shared || j === axis ? lower[j]! + t * (upper[j]! - lower[j]!) : value));
    return tryAll(
      problem,
      (history) => {
        if (waiting === "left") left = history.at(-1)!.outer;
        if (waiting === "right") right = history.at(-1)!.outer;
        if (left !== undefined && right !== undefined) {
          if (left < right) {
            high = low + ratio * (high - low);
            right = left;
            left = undefined;
          } else {
            low = high - ratio * (high - low);
            left = right;
            right = undefined;
          }
          if (high - low < 1e-4) {
            current.set(place((low + high) / 2));
            if (axes === 1) return undefined;
            axis = (axis + 1) % axes;
            [low, high, left, right] = [0, 1, undefined, undefined];
          }
        }
        waiting = left === undefined ? "left" : "right";
        return place(waiting === "left" ? high - ratio * (high - low) : low + ratio * (high - low));
      },
      options,
      tolerance,
    );
  };
}
