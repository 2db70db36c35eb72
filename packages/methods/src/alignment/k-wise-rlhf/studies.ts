import { type Matrix, norm } from "@prior-art/toolkit/linalg";
import { mean, type RandomStream, randomStream } from "@prior-art/toolkit/stats";
import {
  comparisonCovariance,
  fitRewards,
  pessimisticValue,
  type Ranking,
  type Split,
  samplePlackettLuce,
  sandwichCovariance,
} from "./method.ts";

/** Numbers of comparisons. */
export const SIZES = Array.from({ length: 8 }, (_, i) => 100 * 2 ** i);
export const DIMENSIONS = [4, 8, 16];
export const ALTERNATIVES = [2, 3, 5, 9];

const unitVector = (d: number, stream: RandomStream): Float64Array => {
  const x = Float64Array.from({ length: d }, () => stream.normal());
  const size = norm(x);
  return x.map((v) => v / size);
};

function drawRankings(
  theta: Float64Array,
  count: number,
  alternatives: number,
  stream: RandomStream,
): Ranking[] {
  return Array.from({ length: count }, () => {
    const features = Array.from({ length: alternatives }, () => theta.map(() => stream.normal()));
    const rewards = features.map((phi) => phi.reduce((sum, x, a) => sum + x * theta[a]!, 0));
    return { features: samplePlackettLuce(rewards, stream).map((i) => features[i]!) };
  });
}

const squaredNormIn = (x: Float64Array, m: Matrix): number => {
  let sum = 0;
  for (let a = 0; a < x.length; a++)
    for (let b = 0; b < x.length; b++) sum += x[a]! * m.values[a * x.length + b]! * x[b]!;
  return sum;
};

/** Root mean square of `‖θ̂ − θ‖` in the norm of Σ_D, for pairs of Gaussian features. */
function errorOf(d: number, n: number, repetitions: number, stream: RandomStream): number {
  const squares = Array.from({ length: repetitions }, () => {
    const theta = unitVector(d, stream);
    const rankings = drawRankings(theta, n, 2, stream);
    const fitted = fitRewards(rankings);
    return squaredNormIn(
      fitted.map((x, a) => x - theta[a]!),
      comparisonCovariance(rankings),
    );
  });
  return Math.sqrt(mean(squares));
}

/** Errors by number of comparisons, at eight dimensions, and squared errors by dimension, at 1,600 comparisons. */
export function convergence(seed: number, repetitions: number) {
  const stream = randomStream(seed, "convergence");
  return {
    errors: SIZES.map((n) => errorOf(8, n, repetitions, stream)),
    squaresByDimension: DIMENSIONS.map((d) => errorOf(d, 1600, repetitions, stream) ** 2),
  };
}

const ARMS = [1, 0.5, 0, -0.5];
const oneHot = (arm: number): number[] => ARMS.map((_, i) => (i === arm ? 1 : 0));

/**
 * A bandit of four arms: many comparisons among the first three, a single one of the first with the last. Suboptimality of the
 * arm that is best by the estimate, and of the one that is best by the pessimistic value; means over repetitions, by number.
 */
export function partialCoverage(seed: number, repetitions: number) {
  const stream = randomStream(seed, "partial coverage");
  const wins = (first: number, second: number, count: number): number => {
    const p = 1 / (1 + Math.exp(ARMS[second]! - ARMS[first]!));
    let won = 0;
    for (let i = 0; i < count; i++) won += stream.uniform() < p ? 1 : 0;
    return won;
  };
  const reference = [1 / 3, 1 / 3, 1 / 3, 0];
  const once = (n: number): readonly [greedy: number, pessimistic: number] => {
    const rankings: Ranking[] = [];
    const compare = (first: number, second: number, count: number): void => {
      const won = wins(first, second, count);
      for (const [better, worse, times] of [
        [first, second, won],
        [second, first, count - won],
      ] as const)
        if (times > 0) rankings.push({ features: [oneHot(better), oneHot(worse)], count: times });
    };
    for (const [first, second] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const)
      compare(first, second, Math.floor(n / 3));
    compare(0, 3, 1);
    const theta = fitRewards(rankings, { bound: 3 });
    const options = {
      theta,
      covariance: comparisonCovariance(rankings),
      regularization: 1 / n,
      radius: 3 * Math.sqrt((4 + 3) / n),
      reference,
    };
    const best = (value: (arm: number) => number): number =>
      ARMS.reduce((top, _, arm) => (value(arm) > value(top) ? arm : top), 0);
    const loss = (arm: number): number => ARMS[0]! - ARMS[arm]!;
    return [loss(best((arm) => theta[arm]!)), loss(best((arm) => pessimisticValue(oneHot(arm), options)))];
  };
  const results = SIZES.map((n) => Array.from({ length: repetitions }, () => once(n)));
  return {
    greedy: results.map((all) => mean(all.map(([g]) => g))),
    pessimistic: results.map((all) => mean(all.map(([, p]) => p))),
  };
}

/** Mean squared errors of the two ways to use rankings, by K, and what the asymptotic covariances predict. */
export function efficiency(seed: number, repetitions: number) {
  const stream = randomStream(seed, "efficiency");
  const d = 4;
  const trace = (m: Matrix): number =>
    Array.from({ length: d }, (_, a) => m.values[a * d + a]!).reduce((x, y) => x + y, 0);
  const rows = ALTERNATIVES.map((alternatives) => {
    const sums = { full: 0, pairs: 0, fullPredicted: 0, pairsPredicted: 0, gap: 0 };
    for (let i = 0; i < repetitions; i++) {
      const theta = unitVector(d, stream);
      const rankings = drawRankings(theta, 400, alternatives, stream);
      const fit = (split: Split): Float64Array => fitRewards(rankings, { split });
      const [full, pairs] = [fit("full"), fit("pairs")];
      const square = (x: Float64Array): number => x.reduce((sum, v, a) => sum + (v - theta[a]!) ** 2, 0);
      sums.full += square(full) / repetitions;
      sums.pairs += square(pairs) / repetitions;
      sums.fullPredicted += trace(sandwichCovariance(rankings, theta, "full")) / repetitions;
      sums.pairsPredicted += trace(sandwichCovariance(rankings, theta, "pairs")) / repetitions;
      sums.gap = Math.max(sums.gap, ...full.map((x, a) => Math.abs(x - pairs[a]!)));
    }
    return sums;
  });
  return {
    fullError: rows.map((r) => r.full),
    pairsError: rows.map((r) => r.pairs),
    fullPredicted: rows.map((r) => r.fullPredicted),
    pairsPredicted: rows.map((r) => r.pairsPredicted),
    /** Largest difference of the two estimates at K = 2. */
    gapAtTwo: rows[0]!.gap,
  };
}
