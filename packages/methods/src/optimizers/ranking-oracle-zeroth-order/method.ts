import { matmul, reshape, type Tensor, TensorError, tensor } from "@prior-art/tensor";
import { randomStream } from "@prior-art/toolkit/stats";

import { type Ranking, rankWeights, requireRanking, requireSizes } from "./ranking.ts";

export { type RankedDescentOptions, type RankedDescentState, rankedDescent } from "./rankedDescent.ts";
export { type DagStats, dagStats, type Ranking, rankWeights } from "./ranking.ts";

/** Someone who can't say how good a point is, but which of some points are best: a person, a noisy simulator. */
export type RankingOracle = (
  points: readonly Float64Array[],
  /** How many positions to return. */
  k: number,
) => Ranking | Promise<Ranking>;

/** The oracle of a function to be minimized. A point whose value is NaN comes last. */
export const rankingOracle =
  (f: (x: Float64Array) => number): RankingOracle =>
  (points, k) => {
    const worst = (v: number): number => (Number.isNaN(v) ? Number.POSITIVE_INFINITY : v);
    const values = points.map((x) => worst(f(x)));
    const order = values
      .map((_, i) => i)
      .sort((i, j) => (values[i]! === values[j]! ? i - j : values[i]! - values[j]!));
    return order.slice(0, k);
  };

/**
 * The ranking-based gradient estimate: the mean of `ξⱼ - ξᵢ` over all pairs of which the ranking says that i is better
 * than j. Its expected direction is the gradient's; its size is the same everywhere.
 * @param directions `ξ`, standard normal, `[m, d]`; the ranked points were `x + μξᵢ`.
 * @param ranking The best `k` of them, the best first.
 * @returns `[d]`
 * @throws RangeError when the ranking is none of different directions. @throws TensorError when there is no matrix of them.
 */
export function rankGradient(directions: Tensor, ranking: Ranking): Tensor {
  const [m, d] = directions.shape;
  if (directions.rank !== 2 || m === undefined || d === undefined)
    throw new TensorError(
      "rankGradient",
      `directions must be [points, dimensions], got ${directions.toString()}`,
    );
  const weights = tensor(rankWeights(ranking, m), { shape: [1, m], dtype: directions.dtype });
  return reshape(matmul(weights, directions), [d]);
}

export interface LineSearch {
  /** Step lengths tried, `η, ηγ, …, ηγ^(steps-1)`. */
  readonly steps: number;
  /** γ, 0.5 by default as in the authors' code. */
  readonly gamma?: number;
}

export interface ZoRankSgdOptions {
  readonly oracle: RankingOracle;
  readonly start: ArrayLike<number>;
  /** Points a question. */
  readonly m: number;
  /** Positions an answer; `m` by default. */
  readonly k?: number;
  /** μ, the distance of the points asked about. */
  readonly mu: number;
  /** η, a number or by step (from 0). */
  readonly stepSize: number | ((step: number) => number);
  /**
   * The oracle also chooses the step's length, from those tried and from staying. After a round that stayed, the next
   * estimate is averaged with those since the last move.
   */
  readonly lineSearch?: LineSearch;
  readonly seed: number;
}

export interface ZoRankSgdStep {
  readonly x: Float64Array;
  /** Points shown to the oracle so far. */
  readonly queries: number;
}

const along = (x: Float64Array, direction: ArrayLike<number>, length: number): Float64Array =>
  x.map((v, i) => v + length * direction[i]!);

/**
 * ZO-RankSGD, step by step and without end: asks about `m` points around `x`, and moves against the estimated gradient.
 * Leave the loop to stop.
 * @throws RangeError when sizes, distances or lengths are not positive, or the oracle answers with something else than `k`
 *   different points.
 * @example
 * for await (const { x, queries } of zoRankSgdSteps({ oracle: askPerson, start, m: 6, k: 3, mu: 0.1, stepSize: 0.5, seed: 0 }))
 *   if (queries > 100) break;
 */
export async function* zoRankSgdSteps({
  oracle,
  start,
  m,
  k = m,
  mu,
  stepSize,
  lineSearch,
  seed,
}: ZoRankSgdOptions): AsyncGenerator<ZoRankSgdStep, never> {
  const op = "zoRankSgd";
  requireSizes(op, m, k);
  const { steps = 0, gamma = 0.5 } = lineSearch ?? {};
  if (!(mu > 0)) throw new RangeError(`${op}: mu must be positive, got ${mu}`);
  if (typeof stepSize === "number" && !(stepSize > 0 && Number.isFinite(stepSize)))
    throw new RangeError(`${op}: the step size must be positive and finite, got ${stepSize}`);
  if (lineSearch && !(Number.isInteger(steps) && steps >= 1 && gamma > 0 && gamma < 1))
    throw new RangeError(`${op}: a line search has at least one step and gamma between 0 and 1`);
  const random = randomStream(seed, "zo-rank-sgd");
  let x: Float64Array = Float64Array.from(start);
  let queries = 0;
  const ask = async (points: readonly Float64Array[], count: number): Promise<Ranking> => {
    queries += points.length;
    const ranking = await oracle(points, count);
    requireRanking(op, ranking, points.length, count);
    return ranking;
  };
  /** Sum and number of the estimates since the last move. */
  let gathered: Float64Array = new Float64Array(x.length);
  let rounds = 0;
  for (let step = 0; ; step++) {
    const directions = Array.from({ length: m }, () => Float64Array.from(x, () => random.normal()));
    const weights = rankWeights(
      await ask(
        directions.map((direction) => along(x, direction, mu)),
        k,
      ),
      m,
    );
    directions.forEach((direction, i) => {
      gathered = along(gathered, direction, weights[i]!);
    });
    rounds += 1;
    const length = -(typeof stepSize === "number" ? stepSize : stepSize(step)) / rounds;
    let moved = true;
    if (lineSearch) {
      const tried = Array.from({ length: steps }, (_, l) => along(x, gathered, length * gamma ** l));
      const best = (await ask([...tried, x], 1))[0]!;
      moved = best < steps;
      if (moved) x = tried[best]!;
    } else x = along(x, gathered, length);
    if (moved) [gathered, rounds] = [new Float64Array(x.length), 0];
    yield { x, queries };
  }
}

export interface ZoRankSgdResult extends ZoRankSgdStep {
  /** After each step. */
  readonly history: readonly ZoRankSgdStep[];
}

/**
 * ZO-RankSGD until `budget` points have been shown to the oracle: the last step is the one that reaches it.
 * @throws RangeError as `zoRankSgdSteps` does, or when the budget is not positive.
 */
export async function zoRankSgd({
  budget,
  ...options
}: ZoRankSgdOptions & { readonly budget: number }): Promise<ZoRankSgdResult> {
  if (!(budget > 0)) throw new RangeError(`zoRankSgd: the budget must be positive, got ${budget}`);
  const history: ZoRankSgdStep[] = [];
  for await (const step of zoRankSgdSteps(options)) {
    history.push(step);
    if (step.queries >= budget) break;
  }
  return { ...history.at(-1)!, history };
}
