import {
  backup,
  expectedReturn,
  frozenLake,
  garnet,
  gridWorld,
  valueIteration,
} from "@prior-art/toolkit/mdp";
import { randomStream } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import {
  evaluate,
  greedyPolicy,
  policyValues,
  sampledPolicyIteration,
  sampledSoftPolicyIteration,
  sampledValueIteration,
  synchronousQLearning,
} from "./classics.ts";
import { sampledModel } from "./family.ts";
import stackedPolicyMirrorDescent from "./stacked-policy-mirror-descent/contender.ts";

test("sampled backups are right on average, and counted", () => {
  const mdp = garnet({ states: 6, actions: 3, branching: 3, seed: 1 });
  const values = Float64Array.from({ length: 6 }, (_, s) => s);
  const model = sampledModel(mdp, 20_000, randomStream(0));
  const total = new Float64Array(18);
  while (model.left > 0)
    model.sweep(values).forEach((value, row) => {
      total[row]! += value / 20_000;
    });
  backup(mdp, values).forEach((exact, row) => {
    expect(Math.abs(total[row]! - exact)).toBeLessThan(0.05);
  });
  expect(() => model.sweep(values)).toThrow(/no sweep/);
});

/** Without chance, every sample is exact. */
const certain = gridWorld(["S..", ".#.", "..G"], { stepReward: -0.05, discount: 0.9 });

describe("classics on an MDP without chance find the optimum", () => {
  test.each([
    ["value iteration", sampledValueIteration({ average: 2 })],
    ["policy iteration", sampledPolicyIteration({ sweeps: 20, rate: 1 })],
    ["soft policy iteration", sampledSoftPolicyIteration({ sweeps: 5, rate: 0.5, temperature: 0.001 })],
    ["Q-learning", synchronousQLearning({ decay: 0.01 })],
    [
      "StaQ",
      stackedPolicyMirrorDescent.stackedPolicyMirrorDescent!.planner({
        eta: 0.03,
        tau: 0.003,
        memory: 50,
        sweeps: 5,
        rate: 0.5,
      }),
    ],
  ])("%s", (_, planner) => {
    const model = sampledModel(certain, 200, randomStream(0));
    const best = expectedReturn(certain, valueIteration(certain).policy);
    expect(expectedReturn(certain, planner(model))).toBeCloseTo(best, 10);
    expect(model.left).toBe(0);
  });
});

test("temporal differences at rate 1/2 halve the error of a one-step evaluation", () => {
  const mdp = { ...frozenLake({ size: 4 }), discount: 0 };
  const model = sampledModel(mdp, 1, randomStream(0));
  const q = evaluate(model, greedyPolicy(mdp.reward, 4), new Float64Array(64), { sweeps: 5, rate: 0.5 });
  q.forEach((value, row) => {
    expect(value).toBeCloseTo(mdp.reward[row]! / 2, 12);
  });
});

test("a policy's values are means, plus entropy at a temperature", () => {
  const q = Float64Array.of(1, 3);
  expect(policyValues(Float64Array.of(0.5, 0.5), q, 2)[0]).toBe(2);
  expect(policyValues(Float64Array.of(0.5, 0.5), q, 2, 0.1)[0]).toBeCloseTo(2 + 0.1 * Math.LN2, 12);
});
