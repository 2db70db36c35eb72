import {
  dirichlet,
  expectedReward,
  gibbsPolicy,
  sequences,
  tokenPolicy,
  tokenProcess,
} from "@prior-art/toolkit/lm";
import { randomStream } from "@prior-art/toolkit/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  exactReturns,
  guidedBy,
  guidedPolicy,
  learnReturns,
  meanQFromDistribution,
  softQFromDistribution,
} from "./method.ts";

const close = (values: ArrayLike<number>, digits = 12) =>
  Array.from(values, (v) => expect.closeTo(v, digits));

describe("Q from the return's distribution", () => {
  test("a coin at η = 1 by hand", () => {
    expect(softQFromDistribution([0.5, 0.5], [0, 1], 1)).toBeCloseTo(0.620115, 6);
    expect(meanQFromDistribution([0.5, 0.5], [0, 1])).toBe(0.5);
  });

  test("large η gives the mean, small η the largest value that can happen, without overflow", () => {
    const [p, z] = [
      [0.2, 0.5, 0.3, 0],
      [-1, 0.5, 2, 9],
    ];
    expect(softQFromDistribution(p, z, 1e6)).toBeCloseTo(meanQFromDistribution(p, z), 5);
    expect(softQFromDistribution(p, z, 1e-4)).toBeCloseTo(2, 3);
  });

  test("is at least the mean, equal to it only without spread, and moves with a constant", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1e6 }),
        fc.double({ min: 0.05, max: 5, noNaN: true }),
        (seed, eta) => {
          const stream = randomStream(seed);
          const p = dirichlet(stream, 4, 1);
          const z = [0, 1, 2, 3].map(() => stream.normal());
          const soft = softQFromDistribution(p, z, eta);
          expect(soft).toBeGreaterThan(meanQFromDistribution(p, z));
          expect(
            softQFromDistribution(
              p,
              z.map((x) => x + 3),
              eta,
            ),
          ).toBeCloseTo(soft + 3, 9);
          expect(softQFromDistribution([0, 1], [5, 0.7], eta)).toBeCloseTo(0.7, 12);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("what makes no distribution is refused", () => {
    expect(() => softQFromDistribution([1], [0, 1], 1)).toThrow(RangeError);
    expect(() => softQFromDistribution([0, 0], [0, 1], 1)).toThrow(/no atom/);
    expect(() => softQFromDistribution([1, 0], [0, 1], 0)).toThrow(RangeError);
  });
});

test("guidance reweights the reference, whatever constant Q has, and leaves out what the reference forbids", () => {
  const policy = guidedPolicy([0.5, 0.5, 0], [1, 0, 900], 0.5);
  expect([...policy]).toEqual(close([Math.E ** 2 / (1 + Math.E ** 2), 1 / (1 + Math.E ** 2), 0]));
  expect([...guidedPolicy([0.5, 0.5, 0], [101, 100, 1000], 0.5)]).toEqual(close(policy, 9));
});

describe("on a tree", () => {
  const process = tokenProcess<string>({
    vocabulary: 3,
    start: "",
    key: (s) => s,
    step: (s, token) => ({
      next: s.length === 2 || token === 2 ? null : s + token,
      reward: token === 0 ? 0.5 : (s.length + token) % 2 ? 1 : 0,
    }),
  });
  const stream = randomStream(5, "reference");
  const reference = tokenPolicy(process, () => dirichlet(stream, 3, 1));
  const atoms = [0, 0.5, 1, 1.5, 2, 2.5, 3];
  const exact = exactReturns(process, reference, atoms);

  test("distributions of the reward to go are those of enumeration", () => {
    const first = [0, 1, 2].map((token) => {
      const all = [...sequences(process, reference)].filter(({ tokens }) => tokens[0] === token);
      return atoms.map((z) =>
        all
          .filter(({ reward }) => Math.abs(reward - z) < 1e-9)
          .reduce((sum, { probability }) => sum + probability / reference[token]!, 0),
      );
    });
    expect([...exact.probabilities.subarray(0, 3 * atoms.length)]).toEqual(close(first.flat()));
    expect(() => exactReturns(process, reference, [0, 1])).toThrow(/none of the atoms/);
  });

  test("guidance by the exact soft Q is the optimal policy of backward recursion; its root value that of trajectories", () => {
    for (const eta of [0.1, 0.5, 2]) {
      const { policy, values } = gibbsPolicy(process, reference, eta);
      expect([...guidedBy(process, reference, exact, eta)]).toEqual(close(policy));
      const z = [...sequences(process, reference)].reduce(
        (s, x) => s + x.probability * Math.exp(x.reward / eta),
        0,
      );
      expect(values[0]).toBeCloseTo(eta * Math.log(z), 10);
    }
    expect([...guidedBy(process, reference, exact, 0.1, "mean")]).not.toEqual(
      close(gibbsPolicy(process, reference, 0.1).policy, 4),
    );
  });

  test.each(["all", "switch"] as const)("learned distributions come to the exact ones, tail %s", (tail) => {
    const learned = learnReturns(process, reference, {
      atoms,
      eta: 1,
      rolloutsPerRound: 20_000,
      tail,
      stream: randomStream(1, "rollouts"),
    });
    const [a, b] = [learned, exact].map(({ probabilities }) => probabilities.subarray(0, 3 * atoms.length));
    Array.from(a!).forEach((p, i) => {
      expect(Math.abs(p - b![i]!)).toBeLessThan(0.04);
    });
    const guided = expectedReward(process, guidedBy(process, reference, learned, 0.5));
    expect(
      Math.abs(guided - expectedReward(process, gibbsPolicy(process, reference, 0.5).policy)),
    ).toBeLessThan(0.02);
  });
});
