import {
  add,
  data,
  item,
  mul,
  random,
  sub,
  sum,
  type Tensor,
  tensor,
  treeLeaves,
  treeMap,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { type TransformerParams, transformer } from "../nn/index.ts";
import { adam } from "../optim/index.ts";
import { randomStream } from "../stats/index.ts";
import {
  dpo,
  fineTune,
  fullFineTuning,
  grpo,
  type LoraFactors,
  likelihoodRegularizer,
  lora,
  modularSumTask,
  sequenceLogProbability,
  tokenLogProbabilities,
  trainPolicy,
  trainPreferences,
  verifyCompletions,
} from "./index.ts";

const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];

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
