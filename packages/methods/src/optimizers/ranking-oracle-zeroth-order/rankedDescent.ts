import {
  add,
  arange,
  argsort,
  cast,
  expandDims,
  isFinite as finite,
  greater,
  less,
  max,
  mod,
  mul,
  neg,
  reshape,
  scalar,
  slice,
  sub,
  sum,
  type Tensor,
  take,
  tensor,
  treeLeaves,
  treeMap,
  vmap,
  where,
} from "@prior-art/tensor";
import { type ClosureOptimizer, type LearningRate, requireLearningRate } from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";
import { dagStats } from "./ranking.ts";

export interface RankedDescentOptions {
  /** η. */
  readonly learningRate: LearningRate;
  /** Points compared a step, 15 by default. */
  readonly m?: number;
  /** Of which the best `k` are told in order; `m` by default. */
  readonly k?: number;
  /** μ, the distance of the points, 0.01 by default. */
  readonly mu?: number;
  /** Of the directions. */
  readonly seed?: number;
}

export interface RankedDescentState {
  readonly step: Tensor;
  /** Where this step's directions start in the table of random numbers, int32. */
  readonly position: Tensor;
}

/** Positions run through all of 0 … 2²⁰ - 1 before they repeat (a linear congruential generator within int32). */
const POSITIONS = 2 ** 20;
const advance = (position: Tensor): Tensor => mod(add(mul(1597, position), 51749), POSITIONS);

/**
 * Normal numbers that all steps of a compiled loop, which can't draw new ones, take their directions from: each direction
 * starts at a place of its own (the shared noise table of Salimans et al., 2017).
 */
interface NoiseTable {
  readonly numbers: Tensor;
  /** First place of each direction, before the position is added, int32 `[m]`. */
  readonly places: Tensor;
}

function noiseTable(seed: number, m: number, parameters: number): NoiseTable {
  const random = randomStream(seed, "directions");
  const size = Math.max(2 ** 18, 2 * parameters);
  return {
    numbers: tensor(Float32Array.from({ length: size }, () => random.normal())),
    places: tensor(Int32Array.from({ length: m }, () => random.integer(size))),
  };
}

/** Directions like the parameters, each leaf `[m, …]`. */
function directionsAt<P>({ numbers, places }: NoiseTable, position: Tensor, params: P): P {
  const [size, m] = [numbers.size, places.size];
  const count = treeLeaves(params).reduce((total, p) => total + p.size, 0);
  const starts = mod(add(places, position), size);
  const rows = take(numbers, mod(add(expandDims(starts, -1), arange(count)), size));
  let at = 0;
  return treeMap((p) => {
    at += p.size;
    return reshape(cast(slice(rows, null, [at - p.size, at]), p.dtype), [m, ...p.shape]);
  }, params);
}

/**
 * Weights `[m]` of the points of losses `[m]` in the estimator, in a graph (see `rankWeights`). Losses that are not finite
 * count as worst; when all are, there is nothing to learn and the weights are 0.
 */
export function lossWeights(losses: Tensor, k: number): Tensor {
  const m = losses.shape[0]!;
  const known = finite(losses);
  const ranks = cast(argsort(argsort(where(known, losses, Number.POSITIVE_INFINITY))), losses.dtype);
  const weights = where(less(ranks, k), sub(mul(2, ranks), m - 1), k);
  const useful = greater(max(cast(known, "int32")), 0);
  return where(useful, mul(1 / dagStats(m, k).edges, weights), 0);
}

/**
 * ZO-RankSGD on the parameters of a model: each step ranks the batch's losses at `m` perturbed parameters, which costs `m`
 * evaluations and no gradient, and uses nothing of them but their order.
 * @throws RangeError when the rate or μ is not positive, or not `m ≥ 2` and `1 ≤ k ≤ m`.
 * @example
 * const optimizer = chainClosure(rankedDescent({ learningRate: 0.01, m: 15 }), clipByGlobalNorm(1));
 */
export function rankedDescent<P>({
  learningRate,
  m = 15,
  k = m,
  mu = 0.01,
  seed = 0,
}: RankedDescentOptions): ClosureOptimizer<P, RankedDescentState> {
  requireLearningRate("rankedDescent", learningRate);
  dagStats(m, k);
  if (!(mu > 0)) throw new RangeError(`rankedDescent: mu must be positive, got ${mu}`);
  let table: NoiseTable | undefined;
  const tableFor = (params: P): NoiseTable => {
    const count = treeLeaves(params).reduce((total, p) => total + p.size, 0);
    if (!table || table.numbers.size < 2 * count) table = noiseTable(seed, m, count);
    return table;
  };
  return {
    init: (params) => ({
      step: scalar(0, treeLeaves(params)[0]?.dtype ?? "float32"),
      position: scalar(0, "int32"),
    }),
    step(objective, { step, position }, params) {
      const directions = directionsAt(tableFor(params), position, params);
      const losses = vmap((direction: P) =>
        objective.loss(treeMap((p, xi) => add(p, mul(mu, xi)), params, direction)),
      )(directions);
      const weights = lossWeights(losses, k);
      const rate = typeof learningRate === "function" ? learningRate(step) : learningRate;
      const updates = treeMap((xi) => {
        const weighted = mul(reshape(weights, [m, ...xi.shape.slice(1).map(() => 1)]), xi);
        return mul(neg(sum(weighted, 0)), rate);
      }, directions);
      return [updates, { step: add(step, 1), position: advance(position) }, objective.loss(params)];
    },
  };
}
