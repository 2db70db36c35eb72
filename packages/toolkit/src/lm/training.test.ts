import {
  add,
  data,
  expandDims,
  grad,
  item,
  logSoftmax,
  mul,
  neg,
  random,
  slice,
  softmax,
  sub,
  sum,
  type Tensor,
  tensor,
  treeLeaves,
  treeMap,
  valueAndGrad,
  zeros,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { type TransformerParams, transformer } from "../nn/index.ts";
import { adam } from "../optim/index.ts";
import { randomStream } from "../stats/index.ts";
import {
  type Adapter,
  clippedSurrogate,
  denseWeights,
  dpo,
  fineTune,
  fullFineTuning,
  groupAdvantages,
  grpo,
  ipo,
  type LoraFactors,
  leaveOneOutAdvantages,
  likelihoodRegularizer,
  lora,
  loraScale,
  matrixAdapter,
  modularSumTask,
  type PolicyBatch,
  type PreferenceBatch,
  pick,
  prefersFirst,
  reinforce,
  sequenceKlPenalty,
  sequenceLogProbability,
  tokenLogProbabilities,
  trainPolicy,
  trainPreferences,
  verifyCompletions,
} from "./index.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];
const close = (values: readonly number[], digits = 5) => values.map((v) => expect.closeTo(v, digits));

describe("adapters", () => {
  const model = transformer({ vocabulary: 5, context: 4, width: 8, heads: 2, layers: 2 });
  const base = model.init(random.key(0));
  const tokens = tensor([[0, 1, 2, 3]], { dtype: "int32" });

  test("LoRA starts at the base model and adds scale · a b to dense weights only", async () => {
    const adapter = lora<TransformerParams>({ rank: 2, alpha: 6 });
    const factors = adapter.init(random.key(1), base);
    expect(Object.keys(factors).length).toBe(8);
    expect(await numbers(model.apply(adapter.merge(base, factors), tokens))).toEqual(
      await numbers(model.apply(base, tokens)),
    );
    const moved = treeMap((t) => add(t, 0.5), factors);
    const merged = adapter.merge(base, moved);
    const path = "blocks[1].expand.weight";
    const { a, b } = (moved as Record<string, LoraFactors>)[path]!;
    const [product, before, after] = await Promise.all(
      [
        sum(mul(slice(a, 3), slice(b, null, 7))),
        base.blocks[1]!.expand.weight,
        merged.blocks[1]!.expand.weight,
      ].map(numbers),
    );
    const at = 3 * 32 + 7;
    expect(after![at]! - before![at]!).toBeCloseTo(3 * product![0]!, 5);
    expect(merged.tokens.table).toBe(base.tokens.table);
    expect(merged.blocks[0]!.expand.bias).toBe(base.blocks[0]!.expand.bias);
  });

  test("at the start only b gets a gradient, and it is scale · aᵀ G", async () => {
    const adapter = lora<TransformerParams>({ rank: 2, alpha: 4 });
    const factors = adapter.init(random.key(1), base);
    const loss = (p: TransformerParams) => sum(mul(model.apply(p, tokens), 0.1));
    const full = grad(loss)(base).blocks[0]!.contract.weight;
    const own = grad((f: typeof factors) => loss(adapter.merge(base, f)))(factors) as Record<
      string,
      LoraFactors
    >;
    const { a, b } = own["blocks[0].contract.weight"]!;
    expect((await numbers(a)).every((v) => v === 0)).toBe(true);
    const factor = (factors as Record<string, LoraFactors>)["blocks[0].contract.weight"]!.a;
    const expected = sum(mul(slice(factor, null, 1), slice(full, null, 3)));
    expect((await numbers(b))[8 + 3]).toBeCloseTo(2 * (await item(expected)), 5);
  });

  test("scales, targets and full fine-tuning", () => {
    expect(loraScale({ rank: 4, alpha: 8 })).toBe(2);
    expect(loraScale({ rank: 4, alpha: 8, scaling: "root" })).toBe(4);
    const attentionOnly = lora<TransformerParams>({
      rank: 1,
      targets: (path, weight) => denseWeights(path, weight) && path.includes("attention."),
    });
    expect(Object.keys(attentionOnly.init(random.key(0), base)).length).toBe(4);
    const all: Adapter<TransformerParams, TransformerParams> = fullFineTuning();
    expect(all.merge(base, all.init(random.key(0), base))).toBe(base);
    expect(() => lora({ rank: 0 })).toThrow(RangeError);
    expect(() => lora({ rank: 1, targets: () => false }).init(random.key(0), base)).toThrow(/target/);
  });

  test("a reparametrization of one's own gets each weight's path, and a key of its own in training", async () => {
    const noisy = matrixAdapter<TransformerParams, { s: Tensor }>({
      targets: (path) => path.endsWith("contract.weight"),
      init: () => ({ s: tensor(1) }),
      merge: (weight, { s }, key, path) => {
        expect(path).toMatch(/^blocks\[[01]\]/);
        return key ? add(weight, random.normal(key, weight.shape)) : mul(weight, s);
      },
    });
    const factors = noisy.init(random.key(0), base);
    const still = noisy.merge(base, factors);
    expect(await numbers(still.blocks[0]!.contract.weight)).toEqual(
      await numbers(base.blocks[0]!.contract.weight),
    );
    const stirred = noisy.merge(base, factors, random.key(1));
    const [first, second] = await Promise.all(
      [0, 1].map((i) => numbers(sub(stirred.blocks[i]!.contract.weight, base.blocks[i]!.contract.weight))),
    );
    expect(first).not.toEqual(second);
  });
});

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

describe("training on texts and on pairs", () => {
  const model = transformer({ vocabulary: 4, context: 5, width: 16, heads: 2, layers: 1 });
  /** Embeddings as small as at the start would cap the logits. */
  const base = treeMap(
    (t) => add(t, mul(0.3, random.normal(random.fold(random.key(8), t.size), t.shape))),
    model.init(random.key(3)),
  );
  const repeated = (token: number, count: number) => ({
    tokens: tensor(new Int32Array(5 * count).fill(token), { shape: [count, 5] }),
    mask: tensor(
      Float32Array.from({ length: 5 * count }, (_, i) => (i % 5 === 0 ? 0 : 1)),
      { shape: [count, 5] },
    ),
  });
  const likelihood = async (params: TransformerParams, token: number): Promise<number> => {
    const { tokens, mask } = repeated(token, 1);
    const logp = tokenLogProbabilities(model.apply(params, tokens), tokens);
    return item(sum(sequenceLogProbability(logp, mask)));
  };
  const options = {
    model,
    base,
    adapter: lora<TransformerParams>({ rank: 2 }),
    optimizer: adam<Readonly<Record<string, LoraFactors>>>({ learningRate: 1e-2 }),
    steps: 60,
    batchSize: 4,
    key: random.key(4),
  };

  test("fine-tuning an adapter learns the texts, reports its losses, and leaves the base alone", async () => {
    const before = await numbers(base.blocks[0]!.expand.weight);
    const { params, losses } = await fineTune({ ...options, data: repeated(1, 8) });
    const each = await numbers(losses);
    expect(each[0]).toBeCloseTo(-(await likelihood(base, 1)) / 4, 4);
    expect(each.at(-1)).toBeLessThan(0.2);
    expect(await likelihood(params, 1)).toBeGreaterThan(-1);
    expect(await numbers(base.blocks[0]!.expand.weight)).toEqual(before);
    expect(params.tokens.table).toBe(base.tokens.table);
  });

  test("a penalty pulls: infinitely strong, nothing is learned", async () => {
    const { params } = await fineTune({
      ...options,
      adapter: fullFineTuning<TransformerParams>(),
      optimizer: adam<TransformerParams>({ learningRate: 1e-3 }),
      penalty: (_, weights) => {
        const d = sub(weights.blocks[0]!.expand.weight, base.blocks[0]!.expand.weight);
        return mul(1e6, sum(mul(d, d)));
      },
      data: repeated(1, 8),
    });
    const moved = await numbers(sub(params.blocks[0]!.expand.weight, base.blocks[0]!.expand.weight));
    const free = await numbers(sub(params.blocks[0]!.contract.weight, base.blocks[0]!.contract.weight));
    expect(Math.max(...moved.map(Math.abs))).toBeLessThan(0.2 * Math.max(...free.map(Math.abs)));
  });

  test("DPO starts at log 2, raises the chosen texts over the rejected ones, and a regularizer keeps them likely", async () => {
    const pairs = { ...options, loss: dpo({ beta: 1 }), chosen: repeated(1, 8), rejected: repeated(2, 8) };
    const { params, losses } = await trainPreferences(pairs);
    expect((await numbers(losses))[0]).toBeCloseTo(Math.LN2, 5);
    const rise = async (p: TransformerParams, token: number) =>
      (await likelihood(p, token)) - (await likelihood(base, token));
    expect((await rise(params, 1)) - (await rise(params, 2))).toBeGreaterThan(3);
    const kept = await trainPreferences({ ...pairs, regularizer: likelihoodRegularizer(1) });
    expect(await rise(kept.params, 1)).toBeGreaterThan(await rise(params, 1));
  });

  test("what doesn't fit is refused", async () => {
    await expect(fineTune({ ...options, steps: 0, data: repeated(1, 8) })).rejects.toThrow(/steps/);
    const pairs = { ...options, loss: dpo(), chosen: repeated(1, 8), rejected: repeated(2, 4) };
    await expect(trainPreferences(pairs)).rejects.toThrow(/pair up/);
  });
});

describe("training a policy", () => {
  const task = modularSumTask({ modulus: 3, terms: 2 });
  const model = transformer({
    vocabulary: task.tokenizer.vocabulary,
    context: 5,
    width: 32,
    heads: 2,
    layers: 1,
  });

  const train = async (rounds: number, seed: number) => {
    const stream = randomStream(seed, "prompts");
    const results = [];
    for await (const round of trainPolicy({
      model,
      params: model.init(random.key(seed)),
      objective: grpo({ klCoefficient: 0 }),
      optimizer: adam<TransformerParams>({ learningRate: 3e-3 }),
      prompts: () =>
        Int32Array.from(
          Array.from({ length: 16 }, () => [...task.tokenizer.encode(task.generate(stream).prompt)]).flat(),
        ),
      promptLength: 3,
      promptsPerRound: 16,
      group: 8,
      length: 5,
      end: task.tokenizer.id(task.end),
      rewards: ({ tokens, length }) => verifyCompletions(task, tokens, length),
      rounds,
      epochs: 2,
      minibatches: 2,
      key: random.key(seed),
    }))
      results.push(round);
    return results;
  };

  test("teaches a transformer sums modulo 3 from rewards alone, and repeats itself", async () => {
    const rounds = await train(80, 0);
    expect(rounds[0]!.reward).toBeLessThan(0.2);
    expect(rounds[0]!.kl).toBeCloseTo(0, 6);
    expect(rounds[0]!.entropy).toBeGreaterThan(1.3);
    expect(rounds.at(-1)!.reward).toBeGreaterThan(0.6);
    const again = await train(3, 0);
    expect(again[2]!.reward).toBe(rounds[2]!.reward);
    const [a, b] = await Promise.all(
      [rounds[2]!, again[2]!].map(({ params }) => numbers(treeLeaves(params)[3]!)),
    );
    expect(b).toEqual(a);
  });

  test("counts that don't fit are refused", async () => {
    await expect(train(0, 0)).rejects.toThrow(/rounds/);
  });
});
