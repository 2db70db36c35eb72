import { matrix, norm } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  comparisonCovariance,
  fitRewards,
  pessimisticValue,
  type Ranking,
  rankingLogLikelihood,
  rankingScore,
  type Split,
  samplePlackettLuce,
  sandwichCovariance,
} from "./method.ts";

const close = (values: ArrayLike<number>, digits = 9) => Array.from(values, (v) => expect.closeTo(v, digits));
const unit = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];
const order = (...arms: number[]): Ranking => ({ features: arms.map((i) => unit[i]!) });
const ORDERS = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
];
const gaussianRankings = (count: number, alternatives: number, d: number, seed: number): Ranking[] => {
  const stream = randomStream(seed, "rankings");
  return Array.from({ length: count }, () => ({
    features: Array.from({ length: alternatives }, () => Array.from({ length: d }, () => stream.normal())),
  }));
};

describe("likelihoods", () => {
  test("Plackett and Luce's by hand; the six orders of three add up to 1", () => {
    const r = [1, 0, -1];
    const p = ORDERS.map((o) => Math.exp(rankingLogLikelihood([order(...o)], r)));
    expect(p[0]).toBeCloseTo(0.665241 * 0.731059, 5);
    expect(p.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    const top = ORDERS.map((o) => Math.exp(rankingLogLikelihood([order(...o)], r, "top")));
    expect(top[0]).toBeCloseTo(0.665241, 6);
    expect(top[1]).toBeCloseTo(0.665241, 6);
  });

  test("the score at equal rewards is what was best less the averages it was chosen from", () => {
    expect([...rankingScore([order(0, 1, 2)], [0, 0, 0])]).toEqual(close([2 / 3, 1 / 6, -5 / 6]));
  });

  test("of pairs agree: full, split and top are one for K = 2; constants on all rewards change nothing", () => {
    const pair = [{ features: [[1, 2], [0, -1]] }]; // biome-ignore format: two alternatives
    const values = (["full", "pairs", "top"] as const).map((split) =>
      rankingLogLikelihood(pair, [0.3, 0.2], split),
    );
    expect(values).toEqual(
      close([-Math.log1p(Math.exp(-0.9)), -Math.log1p(Math.exp(-0.9)), -Math.log1p(Math.exp(-0.9))]),
    );
    for (const split of ["full", "pairs", "top"] as const)
      expect(rankingLogLikelihood([order(2, 0, 1)], [1, 2, 3], split)).toBeCloseTo(
        rankingLogLikelihood([order(2, 0, 1)], [6, 7, 8], split),
        10,
      );
  });

  test("the score is the derivative of the likelihood", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1e6 }),
        fc.constantFrom<Split>("full", "pairs", "top"),
        (seed, split) => {
          const rankings = gaussianRankings(3, 4, 2, seed);
          const at = [0.4, -0.7];
          const score = rankingScore(rankings, at, split);
          for (const a of [0, 1]) {
            const value = (h: number) =>
              rankingLogLikelihood(
                rankings,
                at.map((x, i) => (i === a ? x + h : x)),
                split,
              );
            expect(score[a]).toBeCloseTo((value(1e-5) - value(-1e-5)) / 2e-5, 5);
          }
        },
      ),
      { numRuns: 20 },
    );
  });
});

describe("fitting", () => {
  test("the score vanishes at the fit, and counts weigh as repetitions", () => {
    const rankings = gaussianRankings(60, 4, 3, 1);
    for (const split of ["full", "pairs", "top"] as const) {
      const theta = fitRewards(rankings, { split });
      expect(norm(rankingScore(rankings, theta, split))).toBeLessThan(1e-5);
    }
    const [a, b] = [order(0, 1), order(1, 0)];
    const counted = fitRewards([{ ...a, count: 3 }, b]);
    expect([...counted]).toEqual(close(fitRewards([a, a, a, b]), 6));
    expect(counted[0]! - counted[1]!).toBeCloseTo(Math.log(3), 5);
  });

  test("a bound on the norm is kept, and binds where the data would go on for ever", () => {
    const separable = [order(0, 1), order(0, 2)];
    const theta = fitRewards(separable, { bound: 3 });
    expect(norm(theta)).toBeCloseTo(3, 4);
    expect(norm(fitRewards([order(0, 1), order(1, 0)], { bound: 3 }))).toBeLessThan(1e-6);
  });

  test("rewards come back from many rankings", () => {
    const stream = randomStream(2, "orders");
    const truth = [1, 0, -1];
    const rankings = Array.from({ length: 4000 }, () => order(...samplePlackettLuce(truth, stream)));
    const theta = fitRewards(rankings);
    expect(theta[0]! - theta[1]!).toBeCloseTo(1, 0.8);
    expect(theta[1]! - theta[2]!).toBeCloseTo(1, 0.8);
    const best = rankings.filter(({ features }) => features[0] === unit[0]).length / 4000;
    expect(Math.abs(best - 0.665241)).toBeLessThan(0.03);
  });

  test("what can't be fitted is refused", () => {
    expect(() => fitRewards([])).toThrow(RangeError);
    expect(() => fitRewards([{ features: [[1], [1, 2]] }])).toThrow(RangeError);
  });
});

describe("covariances", () => {
  test("of comparisons by hand", () => {
    const { values } = comparisonCovariance([{ features: [[1, 0], [0, 2]], count: 3 }]); // biome-ignore format: two alternatives
    expect([...values]).toEqual(close([1, -2, -2, 4]));
  });

  test("the sandwich is the inverse information for the full likelihood, and not smaller for pairs", () => {
    const stream = randomStream(5, "orders");
    const theta = [0.6, -0.3];
    const rankings = gaussianRankings(3000, 5, 2, 4).map(({ features }) => {
      const rewards = features.map((phi) => phi[0]! * theta[0]! + phi[1]! * theta[1]!);
      return { features: samplePlackettLuce(rewards, stream).map((i) => features[i]!) };
    });
    const [full, pairs, top] = (["full", "pairs", "top"] as const).map(
      (s) => sandwichCovariance(rankings, theta, s).values,
    );
    // The information by finite differences of the score.
    const slope = (a: number, b: number): number => {
      const at = (h: number) =>
        rankingScore(
          rankings,
          theta.map((x, i) => (i === b ? x + h : x)),
        )[a]!;
      return -(at(1e-4) - at(-1e-4)) / 2e-4;
    };
    const [h00, h01, h11] = [slope(0, 0), slope(0, 1), slope(1, 1)];
    const determinant = h00 * h11 - h01 * h01;
    expect(full![0]! / (h11 / determinant)).toBeCloseTo(1, 1);
    expect(full![3]! / (h00 / determinant)).toBeCloseTo(1, 1);
    for (const i of [0, 3]) {
      expect(pairs![i]!).toBeGreaterThan(full![i]!);
      expect(top![i]!).toBeGreaterThan(full![i]!);
    }
  });
});

describe("pessimism", () => {
  const options = {
    theta: [1, 0.5],
    covariance: matrix(2, 2, [1, 0, 0, 0]),
    regularization: 0.01,
    radius: 0.3,
    reference: [0, 0],
  };

  test("takes f/√λ off what was never compared, and nothing with f = 0", () => {
    expect(pessimisticValue([0, 1], options)).toBeCloseTo(0.5 - 0.3 / 0.1, 10);
    expect(pessimisticValue([1, 0], options)).toBeCloseTo(1 - 0.3 / Math.sqrt(1.01), 10);
    expect(pessimisticValue([0, 1], { ...options, radius: 0 })).toBeCloseTo(0.5, 12);
    expect(pessimisticValue([0, 1], { ...options, regularization: 1e12 })).toBeCloseTo(0.5, 5);
  });

  test("counts from the reference, and needs some regularization where data are missing", () => {
    expect(pessimisticValue([0.2, 0.3], { ...options, reference: [0.2, 0.3] })).toBe(0);
    expect(() => pessimisticValue([0, 1], { ...options, regularization: 0 })).toThrow(RangeError);
  });
});
