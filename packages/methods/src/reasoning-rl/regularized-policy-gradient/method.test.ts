import {
  data,
  grad,
  item,
  log,
  logSoftmax,
  mul,
  random,
  softmax,
  sum,
  type Tensor,
  tensor,
} from "@prior-art/tensor";
import type { PolicyBatch } from "@prior-art/toolkit/lm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { auditGradients, DIVERGENCES, PENALTY_NAMES } from "./audit.ts";
import { playBandit } from "./bandit.ts";
import { type Divergence, exactObjective, rpg, rpgLoss, rpgWeight, withinRange } from "./method.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];
const close = (values: readonly number[], digits = 6) => values.map((v) => expect.closeTo(v, digits));
const double = (...values: number[]): Tensor => tensor(new Float64Array(values));
const logs = (...values: number[]): Tensor => double(...values.map(Math.log));

/** π = (.8, .2), π_old = (.5, .5), R = (1, 0): ratios 1.6 and .4. */
const known = {
  logProbabilities: logs(0.8, 0.2),
  oldLogProbabilities: logs(0.5, 0.5),
  advantages: double(1, 0),
};

describe("weights of the policy gradient", () => {
  test.each([
    ["fkl", [1.7, 0.1]],
    ["rkl", [1.364799, -0.003348]],
    ["ufkl", [1.54, 0.06]],
    ["urkl", [1.524799, 0.036652]],
  ] as const)("%s by hand", async (divergence, expected) => {
    expect(await numbers(rpgWeight(known, { divergence, beta: 0.1 }))).toEqual(close([...expected]));
  });

  test("on-policy the unnormalized ones are the reward, the others are off by β", async () => {
    const still = { ...known, oldLogProbabilities: known.logProbabilities };
    const at = async (divergence: Divergence) => numbers(rpgWeight(still, { divergence, beta: 0.1 }));
    expect(await at("ufkl")).toEqual(close([1, 0]));
    expect(await at("urkl")).toEqual(close([1, 0]));
    expect(await at("fkl")).toEqual(close([1.1, 0.1]));
    expect(await at("rkl")).toEqual(close([0.9, -0.1]));
  });

  test("β = 0 leaves the importance-weighted policy gradient, whatever the divergence and style", async () => {
    for (const divergence of DIVERGENCES) {
      expect(await numbers(rpgWeight(known, { divergence, beta: 0 }))).toEqual(close([1.6, 0]));
      for (const style of ["differentiable", "reinforce"] as const) {
        const gradient = grad((logProbabilities: Tensor) =>
          sum(rpgLoss({ ...known, logProbabilities }, { divergence, beta: 0, style })),
        );
        expect(await numbers(gradient(known.logProbabilities))).toEqual(close([-1.6, 0]));
      }
    }
  });

  test("a mass of Z scales the unnormalized losses only", async () => {
    for (const divergence of DIVERGENCES) {
      const ratio = (await numbers(rpgWeight(known, { divergence, beta: 0.1, mass: 3 }))).map(
        async (v, i) => v / (await numbers(rpgWeight(known, { divergence, beta: 0.1 })))[i]!,
      );
      const scale = divergence.startsWith("u") ? 3 : 1;
      expect(await Promise.all(ratio)).toEqual(close([scale, scale]));
    }
  });
});

describe("losses", () => {
  test("the unnormalized penalties are not negative, and 0 only at w = 1", async () => {
    await fc.assert(
      fc.asyncProperty(fc.double({ min: -3, max: 3, noNaN: true }), async (logW) => {
        const tokens = {
          logProbabilities: double(logW),
          oldLogProbabilities: double(0),
          advantages: double(0),
        };
        for (const divergence of ["ufkl", "urkl"] as const) {
          const penalty = await item(sum(rpgLoss(tokens, { divergence, beta: 1, style: "differentiable" })));
          expect(penalty).toBeGreaterThanOrEqual(-1e-12);
          if (Math.abs(logW) > 1e-3) expect(penalty).toBeGreaterThan(0);
        }
      }),
      { numRuns: 20 },
    );
  });

  test("have the gradients of their objectives for random policies, references of their own included", async () => {
    const { rpgError, styleDifference, k1Norm, penaltyErrors } = await auditGradients(3, 20);
    expect(rpgError).toBeLessThan(1e-10);
    expect(styleDifference).toBeLessThan(1e-10);
    expect(k1Norm).toBeLessThan(1e-12);
    const errors = Object.fromEntries(PENALTY_NAMES.map((name, i) => [name, penaltyErrors[i]!]));
    expect(errors["k2 on-policy"]![1]).toBeLessThan(1e-10);
    expect(errors["k3 on-policy"]![0]).toBeLessThan(1e-10);
    expect(errors["w · k3"]![1]).toBeLessThan(1e-10);
    expect(errors["stopped w · k3"]![0]).toBeLessThan(1e-10);
    expect(Math.min(...errors["k3 off-policy (GRPO)"]!)).toBeGreaterThan(0.1);
  });

  test("with π_old of a mass of 2.5 the unnormalized losses have their objectives' gradients too", async () => {
    const [theta, old, rewards] = [1, 2, 3].map((i) =>
      random.normal(random.key(i), [5], { dtype: "float64" }),
    ) as [Tensor, Tensor, Tensor];
    const mass = 2.5;
    const masses = (await numbers(softmax(old))).map((p) => mass * p);
    for (const divergence of ["ufkl", "urkl"] as const) {
      const loss = (logits: Tensor) => {
        const tokens = {
          logProbabilities: logSoftmax(logits),
          oldLogProbabilities: logs(...masses),
          advantages: rewards,
        };
        return sum(
          mul(softmax(old), rpgLoss(tokens, { divergence, beta: 0.4, style: "differentiable", mass })),
        );
      };
      const { gradient, value } = exactObjective(
        await numbers(softmax(theta)),
        masses,
        await numbers(rewards),
        divergence,
        0.4,
      );
      expect(await numbers(grad(loss)(theta))).toEqual(close([...gradient].map((g) => -g)));
      expect(await item(loss(theta))).toBeCloseTo(-value, 8);
    }
  });

  test("a clip belongs to the REINFORCE style", () => {
    expect(() => rpgLoss(known, { divergence: "urkl", style: "differentiable", clip: {} })).toThrow(
      RangeError,
    );
  });
});

describe("the exact objective", () => {
  test("has the gradient of its finite differences", () => {
    const logits = [0.3, -0.5, 1.1];
    const rewards = [1, 0, -0.5];
    const reference = [0.2, 0.7, 0.4];
    const soft = (x: readonly number[]) => {
      const weights = x.map(Math.exp);
      const total = weights.reduce((a, b) => a + b);
      return weights.map((w) => w / total);
    };
    for (const divergence of DIVERGENCES) {
      const value = (x: readonly number[]) =>
        exactObjective(soft(x), reference, rewards, divergence, 0.6).value;
      const { gradient } = exactObjective(soft(logits), reference, rewards, divergence, 0.6);
      logits.forEach((_, i) => {
        const moved = (h: number) => value(logits.map((x, k) => (k === i ? x + h : x)));
        expect(gradient[i]).toBeCloseTo((moved(1e-5) - moved(-1e-5)) / 2e-5, 7);
      });
    }
    expect(() => exactObjective([1, 0], [0.5, 0.5], [0, 0], "fkl", 1)).toThrow(/positive/);
    expect(() => exactObjective([1], [0.5, 0.5], [0, 0], "fkl", 1)).toThrow(/length/);
  });
});

describe("clipping", () => {
  const ratios = double(0.5, 1, 2, 9, 0.5, 1, 2, 9);
  const advantages = double(1, 1, 1, 1, -1, -1, -1, -1);

  test("the RPG style leaves a gradient inside the range only, whose harmful side depends on the advantage", async () => {
    const kept = await numbers(withinRange(ratios, advantages, { low: 0.2, high: 0.28, dual: 3 }));
    expect(kept.map(Boolean)).toEqual([true, true, false, false, false, true, true, false]);
    const tokens = {
      logProbabilities: log(ratios),
      oldLogProbabilities: double(0, 0, 0, 0, 0, 0, 0, 0),
      advantages,
    };
    const range = { low: 0.2, high: 0.28, dual: 3 };
    const weights = await numbers(rpgWeight(tokens, { divergence: "urkl", beta: 0.1, clip: range }));
    const free = await numbers(rpgWeight(tokens, { divergence: "urkl", beta: 0.1 }));
    expect(weights).toEqual(close(free.map((x, i) => (kept[i] ? x : 0))));
  });

  test("hard limits the ratio in the reward's part and in the divergence's", async () => {
    const clipped = await numbers(rpgWeight(known, { divergence: "urkl", beta: 0.1, clip: {} }));
    expect(clipped).toEqual(close([1.28 - 0.1 * 1.28 * Math.log(1.28), -0.1 * 0.8 * Math.log(0.8)]));
    const frozen = { ...known, referenceLogProbabilities: logs(0.25, 0.75) };
    const apart = await numbers(rpgWeight(frozen, { divergence: "urkl", beta: 0.1, clip: {} }));
    expect(apart[0]).toBeCloseTo(1.28 - 0.1 * 1.28 * Math.log((1.28 * 0.5) / 0.25), 6);
  });
});

describe("as an objective for completions", () => {
  const batch = (logProbabilities: Tensor): PolicyBatch => ({
    logProbabilities,
    logits: double(0),
    oldLogits: double(0),
    oldLogProbabilities: tensor([[0, -1, -2], [0, -0.5, -9]], { dtype: "float64" }), // biome-ignore format: a matrix
    referenceLogProbabilities: tensor([[0, -1.5, -1], [0, -1, -9]], { dtype: "float64" }), // biome-ignore format: a matrix
    mask: tensor([[0, 1, 1], [0, 1, 0]], { dtype: "float64" }), // biome-ignore format: a matrix
    rewards: double(1, 0),
    group: 2,
  });
  const now = tensor([[0, -1.2, -1.5], [0, -0.4, -3]], { dtype: "float64" }); // biome-ignore format: a matrix

  test("the loss is the mean over drawn tokens, to either reference", async () => {
    const options = {
      divergence: "urkl",
      style: "differentiable",
      beta: 0.2,
      advantages: "leaveOneOut",
    } as const;
    const token = (logp: number, old: number, ref: number, advantage: number) => {
      const w = Math.exp(logp - old);
      return -w * advantage + 0.2 * (w * (logp - ref) - w + Math.exp(ref - old));
    };
    const frozen = (token(-1.2, -1, -1.5, 1) + token(-1.5, -2, -1, 1) + token(-0.4, -0.5, -1, -1)) / 3;
    expect(await item(rpg({ ...options, reference: "frozen" })(batch(now)))).toBeCloseTo(frozen, 6);
    const old = (token(-1.2, -1, -1, 1) + token(-1.5, -2, -2, 1) + token(-0.4, -0.5, -0.5, -1)) / 3;
    expect(await item(rpg(options)(batch(now)))).toBeCloseTo(old, 6);
  });

  test("both styles have the same gradient on the policy that drew the completions", async () => {
    const gradient = async (style: "differentiable" | "reinforce") =>
      numbers(grad((x: Tensor) => rpg({ divergence: "urkl", beta: 0.2, style })(batch(x)))(now));
    // URKL's two styles agree sample by sample.
    expect(await gradient("differentiable")).toEqual(close(await gradient("reinforce")));
  });
});

test("the bandit improves its objective and knows the best one", async () => {
  const options = { method: "urklReinforce", beta: 1, learningRate: 4, rounds: 20, seed: 1_000_000 } as const;
  const { objective, regret, curve } = await playBandit(options);
  expect(curve.at(-1)).toBeGreaterThan(0.2);
  expect(regret).toBeGreaterThan(0);
  expect((await playBandit(options)).objective).toBe(objective);
});
