import { add, data, grad, item, random, sum, type Tensor, tensor } from "@prior-art/tensor";
import { grpo, type PolicyBatch, predictive, tokenLogProbabilities } from "@prior-art/toolkit/lm";
import { describe, expect, test } from "vitest";
import { type LpRegTokens, lpReg, lpRegLoss, minPProxy, proxyAt, regularizedTokens } from "./method.ts";
import { playTwoRoutes } from "./twoRoutes.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];
const close = (values: readonly number[], digits = 6) => values.map((v) => expect.closeTo(v, digits));
const double = (...values: number[]): Tensor => tensor(new Float64Array(values));
const p = [0.5, 0.3, 0.15, 0.04, 0.01];
const logits = double(...p.map((x) => Math.log(x) + 2));

describe("the proxy", () => {
  test("drops what is below a share of the most probable, by hand", async () => {
    const { probabilities, mass } = minPProxy(logits, 0.1);
    expect(await numbers(probabilities)).toEqual(close([0.526316, 0.315789, 0.157895, 0, 0]));
    expect(await item(sum(mass))).toBeCloseTo(0.95, 12);
  });

  test("κ = 0 keeps all, κ = 1 the most probable only, others are refused", async () => {
    expect(await numbers(minPProxy(logits, 0).probabilities)).toEqual(close(p));
    expect(await numbers(minPProxy(logits, 1).probabilities)).toEqual(close([1, 0, 0, 0, 0]));
    expect(() => minPProxy(logits, 1.1)).toThrow(RangeError);
    expect(() => minPProxy(logits, -0.1)).toThrow(RangeError);
  });

  test("at drawn tokens is the same, without its table", async () => {
    const rows = add(tensor(new Float64Array(25), { shape: [5, 5] }), logits);
    const own = double(...p.map(Math.log));
    const direct = await numbers(minPProxy(logits, 0.1).logProbabilities);
    expect(await numbers(proxyAt(rows, own, 0.1))).toEqual(close(direct));
    expect(await numbers(proxyAt(rows, own, 0))).toEqual(close(p.map(Math.log)));
  });
});

/** Ten tokens; the first eight have negative advantages, −0.1 … −0.8 in log-probability, most probable first. */
const tokens = (change: Partial<LpRegTokens> = {}): LpRegTokens => {
  const logp = double(-0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8, -0.9, -1);
  return {
    logProbabilities: logp,
    oldLogProbabilities: logp,
    proxyLogProbabilities: add(logp, 0.05),
    advantages: double(-1, -1, -1, -1, -1, -1, -1, -1, 1, -1),
    mask: double(1, 1, 1, 1, 1, 1, 1, 1, 1, 0),
    ...change,
  };
};
const chosen = async (t: LpRegTokens, share: number): Promise<number[]> =>
  (await numbers(regularizedTokens(t, share))).flatMap((v, i) => (v ? [i] : []));

describe("which tokens are regularized", () => {
  test("the least probable share of those with negative advantages, padding left out", async () => {
    expect(await chosen(tokens(), 0.25)).toEqual([6, 7]);
    expect(await chosen(tokens(), 0.5)).toEqual([4, 5, 6, 7]);
    expect(await chosen(tokens(), 1)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test("none where the share comes to one token", async () => {
    expect(await chosen(tokens(), 0.2)).toEqual([]);
    expect(await chosen(tokens(), 0.01)).toEqual([]);
  });

  test("never a filtered one, nor one of an advantage that isn't negative", async () => {
    const filtered = double(-0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -1e4, -0.75, -0.9, -1);
    expect(await chosen(tokens({ proxyLogProbabilities: filtered }), 0.5)).toEqual([7]);
    expect(await chosen(tokens({ advantages: double(0, 0, 0, 0, 0, 0, 0, 0, 1, 1) }), 1)).toEqual([]);
  });
});

describe("the loss", () => {
  test("of a regularized token is −wA + β k₃, whose pull on the token is β (1 − e^d)", async () => {
    const gap = Math.LN2;
    const at = tokens({ proxyLogProbabilities: add(tokens().logProbabilities, gap) });
    const options = { share: 0.25, beta: 3 };
    const losses = await numbers(lpRegLoss(at, options));
    expect(losses.slice(5, 9)).toEqual(close([1, 1 + 3 * 0.306853, 1 + 3 * 0.306853, -1], 5));
    const gradient = await numbers(
      grad((logProbabilities: Tensor) => sum(lpRegLoss({ ...at, logProbabilities }, options)))(
        at.logProbabilities,
      ),
    );
    expect(gradient.slice(5, 9)).toEqual(close([1, 1 - 3, 1 - 3, -1], 5));
  });

  test("is not clipped where a token is regularized, and clipped elsewhere", async () => {
    const moved = tokens({ oldLogProbabilities: add(tokens().logProbabilities, Math.log(2)) });
    const losses = await numbers(lpRegLoss(moved, { share: 0.25, beta: 0 }));
    // Ratios of ½: the harmful side of a negative advantage is cut at 0.8.
    expect(losses.slice(5, 9)).toEqual(close([0.8, 0.5, 0.5, -0.5]));
  });

  const batchOf = (now: Tensor): PolicyBatch => {
    const drawn = random.randint(random.key(1), [6, 4], 0, 5);
    const old = random.normal(random.key(2), [6, 4, 5], { dtype: "float64" });
    const logProbabilities = tokenLogProbabilities(now, drawn);
    const oldLogProbabilities = tokenLogProbabilities(old, drawn);
    return {
      logProbabilities,
      logits: predictive(now),
      oldLogProbabilities,
      oldLogits: predictive(old),
      referenceLogProbabilities: oldLogProbabilities,
      mask: tensor(
        Float64Array.from({ length: 24 }, (_, i) => (i % 4 ? 1 : 0)),
        { shape: [6, 4] },
      ),
      rewards: double(1, 0, 0, 0, 1, 1),
      group: 3,
    };
  };
  const plain = grpo({
    klCoefficient: 0,
    clip: { low: 0.2, high: 0.28 },
    aggregation: "token",
    epsilon: 1e-6,
  });
  const start = random.normal(random.key(2), [6, 4, 5], { dtype: "float64" });

  test("without a filter the first step on a rollout is GRPO's, with one it isn't", async () => {
    const gradientOf = async (objective: typeof plain) =>
      numbers(grad((now: Tensor) => objective(batchOf(now)))(start));
    const expected = await gradientOf(plain);
    expect(await gradientOf(lpReg({ kappa: 0, share: 1, beta: 5 }))).toEqual(close(expected));
    expect(await gradientOf(lpReg({ beta: 0, share: 1 }))).toEqual(close(expected));
    const filtered = await gradientOf(lpReg({ kappa: 0.3, share: 1, beta: 5 }));
    expect(Math.max(...filtered.map((g, i) => Math.abs(g - expected[i]!)))).toBeGreaterThan(0.01);
  });

  test("groups of equal rewards move nothing", async () => {
    const gradient = grad((now: Tensor) =>
      lpReg({ share: 1, beta: 5, kappa: 0.3 })({ ...batchOf(now), rewards: double(1, 1, 1, 0, 0, 0) }),
    )(start);
    expect((await numbers(gradient)).every((g) => g === 0)).toBe(true);
  });
});

test("two routes: the start is the one described, and a seed repeats itself", async () => {
  const options = { objective: lpReg({ share: 0.6, beta: 5 }), updates: 1, seed: 1_000_000 };
  const still = await playTwoRoutes({ ...options, learningRate: 1e-9, rollouts: 1 });
  expect(still.spark).toBeCloseTo(0.05, 5);
  expect(still.success).toBeCloseTo(0.4 * 0.85 + 0.05 * 0.6 ** 3, 5);
  const run = { ...options, learningRate: 5, rollouts: 20 };
  expect(await playTwoRoutes(run)).toEqual(await playTwoRoutes(run));
});
