import { dirichlet } from "@prior-art/toolkit/lm";
import {
  expectedReturn,
  garnet,
  occupancyMeasure,
  softmaxPolicy,
  uniformPolicy,
  valueIteration,
} from "@prior-art/toolkit/mdp";
import { randomStream } from "@prior-art/toolkit/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bestTrueReturn, hackableGrid } from "./gridHack.ts";
import { actionKl, chi2, hackingBound, kl, orpo, proxyStatistics } from "./method.ts";

const base = [0.4, 0.3, 0.2, 0.1];
const reward = [1, 0, 2, -3];
const proxy = [1, 0.5, 1.5, 0];

describe("divergences and statistics", () => {
  test("known values", () => {
    expect(chi2([0.5, 0.5], [0.25, 0.75])).toBeCloseTo(1 / 3, 12);
    expect(chi2(base, base)).toBeCloseTo(0, 12);
    const other = [0.1, 0.1, 0.3, 0.5];
    expect(chi2(other, base)).toBeCloseTo(2.008333, 6);
    expect(kl(other, base)).toBeCloseTo(0.677868, 6);
    expect(chi2(other, base)).toBeGreaterThan(Math.exp(kl(other, base)) - 1);
    expect(chi2([1, 0], [0, 1])).toBe(Number.POSITIVE_INFINITY);
    const { correlation, sigma, sigmaProxy, lambda } = proxyStatistics(base, reward, proxy);
    expect(sigma).toBeCloseTo(1.360147, 6);
    expect(sigmaProxy).toBeCloseTo(0.45, 6);
    expect(correlation).toBeCloseTo(0.939441, 6);
    expect(lambda).toBeCloseTo(0.15422, 5);
    const { improvement, bound } = hackingBound(other, base, reward, proxy);
    expect(improvement).toBeCloseTo(-0.955779, 6);
    expect(bound).toBeCloseTo(-1.108351, 6);
  });

  test("the bound holds for any policy and reward, and is an equality for a proxy that is affine in the reward", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), (seed) => {
        const stream = randomStream(seed);
        const [p, q] = [dirichlet(stream, 5, 1), dirichlet(stream, 5, 1)];
        const r = p.map(() => stream.normal());
        const close = r.map((x) => x + 0.7 * stream.normal());
        if (proxyStatistics(q, r, close).correlation > 0.01) {
          const { improvement, bound } = hackingBound(p, q, r, close);
          expect(improvement).toBeGreaterThanOrEqual(bound - 1e-9);
        }
        const affine = hackingBound(
          p,
          q,
          r,
          r.map((x) => 3 * x - 1),
        );
        expect(affine.improvement).toBeCloseTo(affine.bound, 4);
      }),
      { numRuns: 100 },
    );
  });

  test("what makes no correlated proxy is refused", () => {
    expect(() =>
      hackingBound(
        base,
        base,
        reward,
        reward.map((x) => -x),
      ),
    ).toThrow(/correlated proxy/);
    expect(() => proxyStatistics(base, [1, 1, 1, 1], proxy)).toThrow(/constant/);
    expect(() => chi2([1], base)).toThrow(RangeError);
    expect(() => kl([1], base)).toThrow(RangeError);
  });
});

describe("regularized policies", () => {
  const mdp = garnet({ states: 6, actions: 3, branching: 3, discount: 0.9, rewards: [-1, 1], seed: 3 });
  const start = softmaxPolicy(
    Float64Array.from({ length: 18 }, (_, i) => Math.sin(i)),
    3,
  );
  const value = (mu: Float64Array): number => mu.reduce((sum, m, i) => sum + m * mdp.reward[i]!, 0);

  test("occupancies add up to 1 and flow; returns are those of the values", () => {
    const { occupancy, policy } = orpo(mdp, start, { lambda: 0.1 });
    expect(occupancy.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 10);
    expect(value(occupancy)).toBeCloseTo((1 - mdp.discount) * expectedReturn(mdp, policy), 10);
  });

  test("no penalty finds the proxy's optimum, a huge one stays at the base policy", () => {
    const best = value(occupancyMeasure(mdp, valueIteration(mdp).policy));
    expect(value(orpo(mdp, start, { lambda: 0, iterations: 2000, learningRate: 0.5 }).occupancy)).toBeCloseTo(
      best,
      3,
    );
    for (const divergence of ["sqrtChi2", "chi2", "kl"] as const) {
      const { policy } = orpo(mdp, start, { lambda: 1e4, divergence });
      expect([...policy]).toEqual(Array.from(start, (p) => expect.closeTo(p, 2)));
    }
    expect(value(actionKl(mdp, start, 1e-3).occupancy)).toBeCloseTo(best, 2);
    expect([...actionKl(mdp, start, 1e5).policy]).toEqual(Array.from(start, (p) => expect.closeTo(p, 3)));
  });

  test("each is the best for its own objective: nothing nearby is better, nor what the others found", () => {
    const lambda = 0.2;
    const penalties = {
      sqrtChi2: (mu: Float64Array, nu: Float64Array) => Math.sqrt(Math.max(0, chi2(mu, nu))),
      chi2,
      kl,
    };
    const divergences = ["sqrtChi2", "chi2", "kl"] as const;
    const baseMu = occupancyMeasure(mdp, start);
    const stream = randomStream(1);
    const made = divergences.map((divergence) =>
      orpo(mdp, start, { lambda, divergence, iterations: 3000, learningRate: 0.2 }),
    );
    divergences.forEach((divergence, k) => {
      const objective = (mu: Float64Array): number => value(mu) - lambda * penalties[divergence](mu, baseMu);
      const { occupancy, policy } = made[k]!;
      expect(objective(occupancy)).toBeGreaterThan(objective(baseMu) + 1e-3);
      const nearby = Array.from({ length: 40 }, () =>
        occupancyMeasure(
          mdp,
          softmaxPolicy(
            policy.map((p) => Math.log(p) + 0.3 * stream.normal()),
            3,
          ),
        ),
      );
      for (const rival of [...nearby, ...made.map((m) => m.occupancy)])
        expect(objective(occupancy)).toBeGreaterThanOrEqual(objective(rival) - 1e-6);
    });
  });

  test("weights out of range are refused", () => {
    expect(() => orpo(mdp, start, { lambda: -1 })).toThrow(RangeError);
    expect(() => actionKl(mdp, start, 0)).toThrow(RangeError);
  });
});

test("the grid: the base policy is better than chance and worse than the best", () => {
  const grid = hackableGrid(1_000_000);
  const { proxyMdp, trueReward, baseOccupancy } = grid;
  const value = (mu: Float64Array): number => mu.reduce((sum, m, i) => sum + m * trueReward[i]!, 0);
  expect(value(baseOccupancy)).toBeGreaterThan(value(occupancyMeasure(proxyMdp, uniformPolicy(proxyMdp))));
  expect(value(baseOccupancy)).toBeLessThan(bestTrueReturn(grid));
  expect(trueReward[24 * 5]).toBe(-1);
  expect(proxyMdp.reward[24 * 5]).toBe(2);
});
