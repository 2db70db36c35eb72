import {
  add,
  data,
  expandDims,
  grad,
  item,
  logSoftmax,
  mul,
  neg,
  slice,
  softmax,
  sub,
  sum,
  type Tensor,
  tensor,
  valueAndGrad,
  zeros,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";

import { randomStream } from "../stats/index.ts";
import {
  clippedSurrogate,
  dpo,
  groupAdvantages,
  grpo,
  ipo,
  leaveOneOutAdvantages,
  likelihoodRegularizer,
  type PolicyBatch,
  type PreferenceBatch,
  pick,
  prefersFirst,
  reinforce,
  sequenceKlPenalty,
} from "./index.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];
const close = (values: readonly number[], digits = 5) => values.map((v) => expect.closeTo(v, digits));

describe("advantages", () => {
  const rewards = tensor([1, 0, 0, 1, 1, 1]);

  test("by hand, prompt by prompt", async () => {
    expect(await numbers(leaveOneOutAdvantages(rewards, 3))).toEqual(close([1, -0.5, -0.5, 0, 0, 0]));
    const deviation = Math.sqrt(2 / 9);
    expect(await numbers(groupAdvantages(rewards, 3, { epsilon: 0 }))).toEqual([
      ...close([2 / 3 / deviation, -1 / 3 / deviation, -1 / 3 / deviation]),
      Number.NaN,
      Number.NaN,
      Number.NaN,
    ]);
    expect((await numbers(groupAdvantages(rewards, 3))).slice(3)).toEqual([0, 0, 0]);
    expect(await numbers(groupAdvantages(rewards, 3, { normalize: false }))).toEqual(
      close([2 / 3, -1 / 3, -1 / 3, 0, 0, 0]),
    );
  });

  test("groups that don't fit are refused", () => {
    expect(() => leaveOneOutAdvantages(rewards, 1)).toThrow(/none to compare/);
    expect(() => groupAdvantages(rewards, 4)).toThrow(/groups of 4/);
  });

  test("clipping lets nothing through beyond the range on the side that the advantage pushes to", async () => {
    const ratios = [0.5, 1.1, 2];
    const clipped = (advantage: number) => {
      const f = (logp: Tensor) =>
        sum(
          clippedSurrogate(logp, zeros([3]), tensor([advantage, advantage, advantage]), {
            low: 0.2,
            high: 0.3,
          }),
        );
      return valueAndGrad(f)(tensor(ratios.map(Math.log)));
    };
    const [up, upward] = clipped(1);
    expect(await item(up)).toBeCloseTo(0.5 + 1.1 + 1.3, 5);
    expect(await numbers(upward)).toEqual(close([0.5, 1.1, 0]));
    const [down, downward] = clipped(-1);
    expect(await item(down)).toBeCloseTo(-0.8 - 1.1 - 2, 5);
    expect(await numbers(downward)).toEqual(close([0, -1.1, -2]));
  });
});

describe("policy objectives on a policy of one token", () => {
  const logits = tensor([0.3, -0.2, 0.5, 0]);
  const referenceLogits = tensor([0, 0.4, 0, -0.3]);
  const gold = tensor([1, 0, 0.5, 0.2]);
  const beta = 0.3;

  /** Each of the four tokens as completions; `repeats` tells how often. */
  const batchOf = (now: Tensor, repeats: readonly number[], group: number): PolicyBatch => {
    const drawn = tensor(
      repeats.flatMap((n, token) => new Array<number>(n).fill(token)),
      { dtype: "int32" },
    );
    const rows = (t: Tensor) => {
      const wide = mul(zeros([drawn.size, 4]), 0);
      return add(wide, logSoftmax(t));
    };
    const each = (t: Tensor) => expandDims(pick(rows(t), drawn), -1);
    return {
      logProbabilities: each(now),
      logits: add(zeros([drawn.size, 1, 4]), now),
      oldLogProbabilities: each(logits),
      oldLogits: add(zeros([drawn.size, 1, 4]), logits),
      referenceLogProbabilities: each(referenceLogits),
      mask: add(zeros([drawn.size, 1]), 1),
      rewards: pick(add(zeros([drawn.size, 4]), gold), drawn),
      group,
    };
  };
  test("REINFORCE's expected gradient is that of E[r] − β KL", async () => {
    const objective = (now: Tensor): Tensor => {
      const logRatio = sub(logSoftmax(now), logSoftmax(referenceLogits));
      return neg(sum(mul(softmax(now), sub(gold, mul(beta, logRatio)))));
    };
    const exact = await numbers(grad(objective)(logits));
    // The expectation: every token's own gradient, weighted by its probability.
    const loss = (now: Tensor): Tensor => {
      const total = [0, 1, 2, 3].map((token) => {
        const repeats = [0, 1, 2, 3].map((t) => (t === token ? 1 : 0));
        const one = reinforce({ klCoefficient: beta, baseline: "none" })(batchOf(now, repeats, 1));
        return mul(one, slice(softmax(logits), token));
      });
      return total.reduce((a, b) => add(a, b));
    };
    expect(await numbers(grad(loss)(logits))).toEqual(close(exact));
  });

  test("leaving one out and subtracting the mean by hand", async () => {
    const at = async (baseline: "leaveOneOut" | "mean") =>
      item(reinforce({ baseline })(batchOf(logits, [1, 1, 0, 0], 2)));
    const logp = await numbers(logSoftmax(logits));
    expect(await at("leaveOneOut")).toBeCloseTo(-(logp[0]! - logp[1]!) / 2, 5);
    expect(await at("mean")).toBeCloseTo(-(0.5 * logp[0]! - 0.5 * logp[1]!) / 2, 5);
  });

  test("GRPO on the drawing policy: value and gradient by hand, with and without its penalty", async () => {
    const loss = (klCoefficient: number) => (now: Tensor) =>
      grpo({ klCoefficient, epsilon: 0 })(batchOf(now, [1, 1, 0, 0], 2));
    // Standardized advantages of (1, 0) are ±1; the ratios are 1.
    const [value, gradient] = valueAndGrad(loss(0))(logits);
    expect(await item(value)).toBeCloseTo(0, 6);
    expect(await numbers(gradient)).toEqual(close([-0.5, 0.5, 0, 0]));
    const [logp, ref] = await Promise.all([logits, referenceLogits].map((t) => numbers(logSoftmax(t))));
    const k3 = [0, 1].map((i) => Math.exp(ref![i]! - logp![i]!) - 1 - (ref![i]! - logp![i]!));
    expect(await item(loss(0.2)(logits))).toBeCloseTo((0.2 * (k3[0]! + k3[1]!)) / 2, 6);
  });
});

describe("preferences", () => {
  const pair = (chosen: Tensor, rejected: Tensor): PreferenceBatch => {
    const side = (logProbabilities: Tensor, reference: number[][], mask: number[][]) => ({
      logProbabilities,
      referenceLogProbabilities: tensor(reference),
      mask: tensor(mask),
    });
    return {
      chosen: side(chosen, [[0, -1.1, -0.4, -0.2]], [[0, 1, 1, 1]]),
      rejected: side(rejected, [[0, -0.6, -0.9, -5]], [[0, 1, 1, 0]]),
    };
  };
  const chosen = tensor([[9, -1, -0.5, -0.1]]);
  const rejected = tensor([[9, -0.7, -0.5, -3]]);
  // Log-ratios: 0.1 − 0.1 + 0.1 = 0.1 and −0.1 + 0.4 = 0.3, so the margin is −0.2.
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

  test("DPO's loss and gradient by hand, smoothed too", async () => {
    const beta = 0.5;
    const loss = (c: Tensor, r: Tensor) => sum(dpo({ beta })(pair(c, r)));
    expect(await item(loss(chosen, rejected))).toBeCloseTo(-Math.log(sigmoid(-0.1)), 6);
    const weight = beta * sigmoid(0.1);
    expect(await numbers(grad(loss)(chosen, rejected))).toEqual(close([0, -weight, -weight, -weight]));
    const byRejected = grad((r: Tensor) => loss(chosen, r))(rejected);
    expect(await numbers(byRejected)).toEqual(close([0, weight, weight, 0]));
    const smooth = await item(sum(dpo({ beta, smoothing: 0.1 })(pair(chosen, rejected))));
    expect(smooth).toBeCloseTo(-0.9 * Math.log(sigmoid(-0.1)) - 0.1 * Math.log(sigmoid(0.1)), 6);
  });

  test("means over tokens, weights on tokens, and IPO by hand", async () => {
    const value = async (loss: ReturnType<typeof dpo>) => item(sum(loss(pair(chosen, rejected))));
    const perToken = 0.1 / 3 - 0.3 / 2;
    expect(await value(dpo({ beta: 1, perToken: true }))).toBeCloseTo(-Math.log(sigmoid(perToken)), 6);
    const last = () => tensor([[0, 0, 1, 0]]);
    expect(await value(dpo({ beta: 1, tokenWeights: last }))).toBeCloseTo(-Math.log(sigmoid(-0.1 - 0.4)), 6);
    expect(await value(ipo({ beta: 0.5 }))).toBeCloseTo((-0.2 - 1) ** 2, 5);
  });

  test("regularizers by hand", async () => {
    const side = pair(chosen, rejected).chosen;
    expect(await item(sequenceKlPenalty(2)(side))).toBeCloseTo(0.2, 6);
    expect(await item(likelihoodRegularizer(2)(side))).toBeCloseTo(3.2, 6);
  });

  test("preferences follow Bradley and Terry; temperature 0 has none of their noise", () => {
    const share = (a: number, b: number, temperature?: number) => {
      const stream = randomStream(1);
      return (
        Array.from({ length: 5000 }, () => prefersFirst(a, b, stream, temperature)).filter(Boolean).length /
        5000
      );
    };
    expect(Math.abs(share(1, 0) - sigmoid(1))).toBeLessThan(0.03);
    expect(Math.abs(share(1, 0, 0.5) - sigmoid(2))).toBeLessThan(0.03);
    expect(share(0.1, 0, 0)).toBe(1);
    expect(Math.abs(share(0, 0, 0) - 0.5)).toBeLessThan(0.03);
  });

  test("settings out of range are refused", () => {
    expect(() => dpo({ beta: 0 })).toThrow(RangeError);
    expect(() => dpo({ smoothing: 0.5 })).toThrow(RangeError);
    expect(() => ipo({ beta: -1 })).toThrow(RangeError);
  });
});
