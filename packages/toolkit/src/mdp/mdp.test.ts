import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomStream } from "../stats/random.ts";
import {
  advantage,
  chain,
  defineMDP,
  deterministicPolicy,
  expectedReturn,
  frozenLake,
  garnet,
  gridWorld,
  type MDP,
  occupancyMeasure,
  policyEntropy,
  policyEvaluation,
  policyIteration,
  riverSwim,
  sampleTrajectory,
  softmaxPolicy,
  softValueIteration,
  uniformPolicy,
  valueIteration,
} from "./index.ts";

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const gap = (a: Float64Array, b: Float64Array): number =>
  a.reduce((largest, x, i) => Math.max(largest, Math.abs(x - b[i]!)), 0);

/** One state, three actions: everything has a closed form. */
const bandit: MDP = defineMDP({
  states: 1,
  actions: 3,
  transition: Float64Array.of(1, 1, 1),
  reward: Float64Array.of(0.2, 1, -0.5),
  discount: 0.8,
  initial: Float64Array.of(1),
});

const randomMDP = (seed: number): MDP => garnet({ states: 12, actions: 3, branching: 4, seed });
const randomPolicy = (mdp: MDP, seed: number) => {
  const random = randomStream(seed, "policy");
  return softmaxPolicy(
    Float64Array.from({ length: mdp.states * mdp.actions }, () => 3 * random.uniform()),
    mdp.actions,
  );
};

describe("closed forms", () => {
  test("one state: V = max r/(1 − γ), and τ log Σ exp(r/τ)/(1 − γ) with entropy", () => {
    expect(valueIteration(bandit).values[0]).toBeCloseTo(5, 9);
    const temperature = 0.4;
    const soft = softValueIteration(bandit, { temperature, tolerance: 1e-12 });
    const sum = [0.2, 1, -0.5].reduce((s, r) => s + Math.exp(r / temperature), 0);
    expect(soft.values[0]).toBeCloseTo((temperature * Math.log(sum)) / 0.2, 9);
    expect(soft.policy[1]).toBeCloseTo(Math.exp(1 / temperature) / sum, 12);
  });

  test("a corridor's optimal values are powers of the discount", () => {
    const { values } = valueIteration(gridWorld(["S..G"], { discount: 0.9 }));
    expect(gap(values, Float64Array.of(0.81, 0.9, 1, 0))).toBeLessThan(1e-9);
  });

  test("the deterministic chain earns 10 for ever at its end", () => {
    const { values } = policyIteration(chain({ slip: 0, discount: 0.9 }));
    expect(values[4]).toBeCloseTo(100, 9);
    expect(values[0]).toBeCloseTo(100 * 0.9 ** 4, 9);
  });
});

describe("known values", () => {
  test("FrozenLake 4×4 and 8×8 from the start at γ = 0.99", () => {
    expect(valueIteration(frozenLake()).values[0]).toBeCloseTo(0.5420259, 6);
    expect(valueIteration(frozenLake({ size: 8 })).values[0]).toBeCloseTo(0.4146404, 6);
  });

  test("FrozenLake 4×4 is crossed with probability 14/17 at best", () => {
    expect(policyIteration(frozenLake({ discount: 1 - 1e-7 })).values[0]).toBeCloseTo(14 / 17, 4);
  });

  test("RiverSwim: swimming on is optimal, drifting left from the start earns 0.005 for ever", () => {
    const mdp = riverSwim();
    const { policy } = policyIteration(mdp);
    expect(gap(policy, deterministicPolicy(mdp, [1, 1, 1, 1, 1, 1]))).toBe(0);
    const drift = policyEvaluation(mdp, deterministicPolicy(mdp, [0, 0, 0, 0, 0, 0]));
    expect(drift.values[0]).toBeCloseTo(0.5, 9);
  });
});

describe("for any Garnet MDP and policy", () => {
  const seeds = fc.integer({ min: 0, max: 1_000_000 });

  test("value and policy iteration agree", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const mdp = randomMDP(seed);
        expect(gap(valueIteration(mdp).values, policyIteration(mdp).values)).toBeLessThan(1e-9);
      }),
      { numRuns: 20 },
    );
  });

  test("evaluation solves the regularized Bellman equation; plain advantages average to zero", () => {
    fc.assert(
      fc.property(seeds, fc.constantFrom(0, 0.1, 2), (seed, temperature) => {
        const mdp = randomMDP(seed);
        const policy = randomPolicy(mdp, seed);
        const evaluation = policyEvaluation(mdp, policy, { temperature });
        const entropy = policyEntropy(policy, 3);
        const centred = advantage(evaluation);
        for (let s = 0; s < mdp.states; s++) {
          const mean = dot(policy.subarray(3 * s, 3 * s + 3), centred.subarray(3 * s, 3 * s + 3));
          expect(mean + temperature * entropy[s]!).toBeCloseTo(0, 11);
        }
      }),
      { numRuns: 30 },
    );
  });

  test("occupancy is a distribution whose mean reward is (1 − γ) times the return", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const mdp = randomMDP(seed);
        const policy = randomPolicy(mdp, seed);
        const occupancy = occupancyMeasure(mdp, policy);
        expect(occupancy.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 11);
        expect(dot(occupancy, mdp.reward)).toBeCloseTo(0.1 * expectedReturn(mdp, policy), 11);
      }),
      { numRuns: 30 },
    );
  });

  test("the soft optimum is its own evaluation and no policy does better", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const mdp = randomMDP(seed);
        const soft = softValueIteration(mdp, { temperature: 0.3, tolerance: 1e-12 });
        expect(
          gap(policyEvaluation(mdp, soft.policy, { temperature: 0.3 }).values, soft.values),
        ).toBeLessThan(1e-10);
        const other = policyEvaluation(mdp, randomPolicy(mdp, seed), { temperature: 0.3 });
        expect(other.values.every((v, s) => v <= soft.values[s]! + 1e-10)).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  test("a small temperature approaches the plain optimum within τ log|A|/(1 − γ)", () => {
    const mdp = randomMDP(5);
    const soft = softValueIteration(mdp, { temperature: 1e-3 });
    expect(gap(soft.values, valueIteration(mdp).values)).toBeLessThan((1e-3 * Math.log(3)) / 0.1);
  });
});

describe("sampling", () => {
  test("the discounted reward of many trajectories averages to the exact return", () => {
    const mdp = randomMDP(1);
    const policy = uniformPolicy(mdp);
    const random = randomStream(0, "trajectories");
    let total = 0;
    for (let i = 0; i < 4000; i++)
      total += sampleTrajectory(mdp, policy, 80, random).rewards.reduce((sum, r, t) => sum + r * 0.9 ** t, 0);
    // The returns' standard deviation is below 2, so this is more than three standard errors.
    expect(Math.abs(total / 4000 - expectedReturn(mdp, policy))).toBeLessThan(0.1);
  });

  test("one seed gives one MDP and one trajectory", () => {
    expect(randomMDP(3)).toEqual(randomMDP(3));
    expect(randomMDP(3).reward).not.toEqual(randomMDP(4).reward);
    const mdp = randomMDP(3);
    const draw = () => sampleTrajectory(mdp, uniformPolicy(mdp), 20, randomStream(7));
    expect(draw()).toEqual(draw());
  });

  test("a Garnet's pairs have as many successors as it says", () => {
    const mdp = randomMDP(9);
    for (let row = 0; row < 36; row++)
      expect(mdp.transition.subarray(row * 12, row * 12 + 12).filter((p) => p > 0)).toHaveLength(4);
  });
});

test.each([
  ["a discount of one", { discount: 1 }, /discount 1 is not in/],
  ["a short reward table", { reward: new Float64Array(2) }, /reward has 2 entries instead of 3/],
  ["rows that leak", { transition: Float64Array.of(1, 0.5, 1) }, /state 0 by action 1 is not a probability/],
  ["a NaN reward", { reward: Float64Array.of(0, Number.NaN, 1) }, /reward is not finite/],
])("refuses %s", (_, change, message) => {
  expect(() => defineMDP({ ...bandit, ...change })).toThrow(message);
});

test("refuses impossible environments and policies", () => {
  expect(() => gridWorld(["S.", "G"])).toThrow(/equal length/);
  expect(() => gridWorld(["..G"])).toThrow(/no start/);
  expect(() => garnet({ states: 3, actions: 2, branching: 4, seed: 0 })).toThrow(/branching 4/);
  expect(() => deterministicPolicy(bandit, [3])).toThrow(/not one of 3 actions/);
  expect(() => policyEvaluation(bandit, new Float64Array(2))).toThrow(/2 entries instead of 1×3/);
  expect(() => softValueIteration(bandit, { temperature: 0 })).toThrow(/temperature must be positive/);
});
