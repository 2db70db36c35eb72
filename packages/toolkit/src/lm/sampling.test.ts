import {
  add,
  concat,
  data,
  expandDims,
  item,
  jit,
  logSoftmax,
  mul,
  random,
  softmax,
  sub,
  sum,
  type Tensor,
  take,
  tensor,
  treeMap,
  zeros,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { transformer } from "../nn/index.ts";
import {
  completionLengths,
  decoder,
  filterLogits,
  klEstimate,
  pick,
  predictive,
  sampleCompletions,
  sequenceLogProbability,
  sequenceMean,
  softmaxEntropy,
  softmaxKl,
  type TokenModel,
  tokenLogProbabilities,
} from "./index.ts";

const V = 4;
const model = transformer({ vocabulary: V, context: 6, width: 8, heads: 2, layers: 2 });
/** Far enough from uniform to tell tokens apart. */
const params = treeMap(
  (t) => add(t, mul(0.4, random.normal(random.fold(random.key(5), t.size), t.shape))),
  model.init(random.key(0)),
);
const int = (rows: number[][]): Tensor => tensor(rows, { dtype: "int32" });
const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];

/** A chain whose next token depends on the last one. */
const chain = (logits: Tensor): TokenModel<Tensor> => ({
  start: (batch) => zeros([batch]),
  next: (tokens, _, state) => [take(logits, tokens), state],
});

describe("log-probabilities", () => {
  test("of all completions of a prompt sum to 1, and each is the product of its steps' softmaxes", async () => {
    const all: number[][] = [];
    for (let a = 0; a < V; a++)
      for (let b = 0; b < V; b++) for (let c = 0; c < V; c++) all.push([2, a, b, c]);
    const logits = model.apply(params, int(all));
    const each = tokenLogProbabilities(logits, int(all));
    const mask = concat([zeros([all.length, 1]), add(zeros([all.length, 3]), 1)], 1);
    const total = await numbers(sequenceLogProbability(each, mask));
    expect(total.reduce((s, l) => s + Math.exp(l), 0)).toBeCloseTo(1, 5);

    const byHand = async (tokens: number[]): Promise<number> => {
      let probability = 1;
      for (let t = 1; t < tokens.length; t++) {
        const next = await numbers(softmax(model.apply(params, int([tokens.slice(0, t)]))));
        probability *= next[(t - 1) * V + tokens[t]!]!;
      }
      return probability;
    };
    for (const i of [0, 17, 63]) expect(Math.exp(total[i]!)).toBeCloseTo(await byHand(all[i]!), 5);
  });

  test("predictive logits line up with the tokens they are for", async () => {
    const tokens = int([[1, 3, 0, 2]]);
    const logits = model.apply(params, tokens);
    const aligned = pick(logSoftmax(predictive(logits)), tokens);
    const [first, ...rest] = await numbers(aligned);
    expect(first).toBeCloseTo(-Math.log(V), 6);
    const [zero, ...direct] = await numbers(tokenLogProbabilities(logits, tokens));
    expect(zero).toBe(0);
    rest.forEach((value, i) => {
      expect(value).toBeCloseTo(direct[i]!, 5);
    });
    expect(() => tokenLogProbabilities(logits, int([[1, 2]]))).toThrow(/don't fit/);
  });

  test("entropy and KL of known distributions", async () => {
    const p = tensor([Math.log(0.5), Math.log(0.25), Math.log(0.25)]);
    expect(await item(softmaxEntropy(p))).toBeCloseTo(1.5 * Math.LN2, 6);
    expect(await item(softmaxEntropy(add(p, 7)))).toBeCloseTo(1.5 * Math.LN2, 5);
    expect(await item(softmaxKl(p, zeros([3])))).toBeCloseTo(Math.log(3) - 1.5 * Math.LN2, 6);
    expect(await item(softmaxKl(p, p))).toBeCloseTo(0, 7);
  });

  test("k1, k2 and k3 at a ratio of 2, and k1 and k3 unbiased in expectation", async () => {
    const at = async (kind: "k1" | "k2" | "k3") => item(klEstimate(kind, tensor(0), tensor(Math.LN2)));
    expect(await at("k1")).toBeCloseTo(-Math.LN2, 6);
    expect(await at("k2")).toBeCloseTo(Math.LN2 ** 2 / 2, 6);
    expect(await at("k3")).toBeCloseTo(0.306853, 6);
    const [p, q] = [tensor([0, 1, 2]), tensor([0.5, -0.3, 1])];
    for (const kind of ["k1", "k3"] as const) {
      const estimates = klEstimate(kind, logSoftmax(p), logSoftmax(q));
      expect(await item(sub(sum(mul(softmax(p), estimates)), softmaxKl(p, q)))).toBeCloseTo(0, 6);
    }
  });

  test("a long sequence weighs no more than a short one in the sequence mean", async () => {
    const values = tensor([
      [1, 1, 1, 1],
      [3, 0, 0, 0],
    ]);
    const mask = tensor([
      [1, 1, 1, 1],
      [1, 0, 0, 0],
    ]);
    expect(await item(sequenceMean(values, mask))).toBeCloseTo(2, 6);
  });
});

describe("sampling", () => {
  test("gives each completion's log-probability under the model, prompts of unequal lengths included", async () => {
    const lengths = tensor(Int32Array.of(1, 3, 2));
    const prompts = int([
      [1, 0, 0],
      [2, 3, 1],
      [0, 2, 0],
    ]);
    const sample = jit((p: typeof params, key: Tensor) =>
      sampleCompletions(decoder(model, p), key, prompts, { length: 6, promptLengths: lengths }),
    );
    const { tokens, logProbabilities, mask } = await sample(params, random.key(3));
    const drawn = await numbers(tokens);
    expect([drawn[0], drawn.slice(6, 9), drawn.slice(12, 14)]).toEqual([1, [2, 3, 1], [0, 2]]);
    expect(await numbers(mask)).toEqual([0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1]);
    const direct = await numbers(mul(tokenLogProbabilities(model.apply(params, tokens), tokens), mask));
    (await numbers(logProbabilities)).forEach((value, i) => {
      expect(value).toBeCloseTo(direct[i]!, 4);
    });
    await sample.release();
  });

  test("follows a known chain's probabilities", async () => {
    const rows = [
      [0.1, 0.2, 0.7],
      [0.6, 0.4, 0],
      [0.3, 0.3, 0.4],
    ];
    const logits = tensor(rows.map((row) => row.map((p) => Math.log(Math.max(p, 1e-30)))));
    const batch = 4000;
    const tokens = await numbers(
      sampleCompletions(chain(logits), random.key(1), zeros([batch, 1], "int32"), { length: 3 }).tokens,
    );
    const counts = new Float64Array(9);
    for (let i = 0; i < batch; i++) counts[3 * tokens[3 * i + 1]! + tokens[3 * i + 2]!]! += 1 / batch;
    // Five standard errors.
    counts.forEach((share, i) => {
      const p = rows[0]![Math.floor(i / 3)]! * rows[Math.floor(i / 3)]![i % 3]!;
      expect(Math.abs(share - p)).toBeLessThanOrEqual(5 * Math.sqrt((p * (1 - p)) / batch) + 1e-9);
    });
  });

  test("stops at the end mark, and fills up with it", async () => {
    const logits = tensor([
      [0, 0, 0],
      [-50, -50, 50],
      [50, -50, -50],
    ]);
    const completions = sampleCompletions(chain(logits), random.key(0), int([[1], [2]]), {
      length: 5,
      end: 2,
    });
    const tokens = await numbers(completions.tokens);
    expect(tokens.slice(0, 5)).toEqual([1, 2, 2, 2, 2]);
    expect((await numbers(completions.mask)).slice(0, 5)).toEqual([0, 1, 0, 0, 0]);
    expect((await numbers(completionLengths(completions)))[0]).toBe(1);
    // An end mark in the prompt doesn't end anything.
    expect(tokens[6]).toBe(0);
  });

  test("greedy decoding takes the most probable token whatever the key", async () => {
    const run = async (seed: number) =>
      numbers(
        sampleCompletions(decoder(model, params), random.key(seed), int([[1]]), { length: 6, greedy: true })
          .tokens,
      );
    const tokens = await run(0);
    expect(await run(1)).toEqual(tokens);
    const next = await numbers(model.apply(params, int([tokens.slice(0, 5)])));
    for (let t = 0; t < 5; t++) {
      const row = next.slice(t * V, (t + 1) * V);
      expect(tokens[t + 1]).toBe(row.indexOf(Math.max(...row)));
    }
  });

  test("refuses prompts that don't fit", () => {
    expect(() =>
      sampleCompletions(decoder(model, params), random.key(0), int([[1, 2, 3]]), { length: 2 }),
    ).toThrow(/1 to 2/);
  });
});

describe("filters", () => {
  const logits = expandDims(tensor([0.4, 0.3, 0.2, 0.1].map(Math.log)), 0);
  const kept = async (options: Parameters<typeof filterLogits>[1]) =>
    (await numbers(softmax(filterLogits(logits, options)))).map((p) => Number(p.toFixed(4)));

  test("temperature, top-k, top-p and min-p by hand", async () => {
    expect(await kept({ topK: 2 })).toEqual([0.5714, 0.4286, 0, 0]);
    expect(await kept({ topP: 0.69 })).toEqual([0.5714, 0.4286, 0, 0]);
    expect(await kept({ topP: 0.71 })).toEqual([0.4444, 0.3333, 0.2222, 0]);
    expect(await kept({ topP: 0.01 })).toEqual([1, 0, 0, 0]);
    expect(await kept({ minP: 0.6 })).toEqual([0.5714, 0.4286, 0, 0]);
    const squares = [0.16, 0.09, 0.04, 0.01].map((p) => Number((p / 0.3).toFixed(4)));
    expect(await kept({ temperature: 0.5 })).toEqual(squares);
  });

  test("settings out of range are refused", () => {
    expect(() => filterLogits(logits, { temperature: 0 })).toThrow(RangeError);
    expect(() => filterLogits(logits, { topK: 0 })).toThrow(RangeError);
    expect(() => filterLogits(logits, { topP: 0 })).toThrow(RangeError);
    expect(() => filterLogits(logits, { minP: 2 })).toThrow(RangeError);
  });
});
