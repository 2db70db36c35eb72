import { item, mean, random, tensor } from "@prior-art/tensor";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type TransformerParams, transformer } from "../nn/index.ts";
import { adam, fit } from "../optim/index.ts";
import { randomStream } from "../stats/index.ts";
import {
  additionTask,
  bracketTask,
  dirichlet,
  encodeExamples,
  expectedReward,
  gibbsPolicy,
  lossOn,
  markovSource,
  markovSourceFrom,
  mazeTask,
  modularSumTask,
  sequenceEntropy,
  sequenceKl,
  sequences,
  sortingTask,
  stateVisits,
  tokenPolicy,
  tokenProcess,
  verifyCompletions,
} from "./index.ts";

describe("Dirichlet draws", () => {
  test("have the right mean and variance, for small and large concentrations", () => {
    for (const concentration of [0.2, 1, 5]) {
      const stream = randomStream(3, "dirichlet");
      const n = 20_000;
      let [first, second] = [0, 0];
      for (let i = 0; i < n; i++) {
        const x = dirichlet(stream, 4, concentration)[0]!;
        first += x / n;
        second += (x * x) / n;
      }
      const variance = (0.25 * 0.75) / (4 * concentration + 1);
      expect(first).toBeCloseTo(0.25, 1.7);
      expect((second - first ** 2) / variance).toBeGreaterThan(0.95);
      expect((second - first ** 2) / variance).toBeLessThan(1.05);
    }
    expect(dirichlet(randomStream(0), 3, 1e-6).reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    expect(() => dirichlet(randomStream(0), 3, 0)).toThrow(RangeError);
  });
});

describe("Markov sources", () => {
  test("a two-state chain has the long-run shares and the entropy rate of the textbook", () => {
    const source = markovSourceFrom(Float64Array.of(0.9, 0.1, 0.4, 0.6), 2);
    expect([...source.stationary]).toEqual([expect.closeTo(0.8, 10), expect.closeTo(0.2, 10)]);
    const h = (p: number) => -p * Math.log(p) - (1 - p) * Math.log(1 - p);
    expect(source.entropyRate).toBeCloseTo(0.8 * h(0.1) + 0.2 * h(0.4), 10);
  });

  test("second-order samples follow the transitions, from the first token on", () => {
    const source = markovSource({ vocabulary: 3, order: 2, seed: 1 });
    const [count, length] = [4000, 6];
    const tokens = source.sample(count, length, randomStream(2));
    const seen = new Float64Array(27);
    for (let i = 0; i < count; i++)
      for (let t = 2; t < length; t++) {
        const [a, b, c] = [-2, -1, 0].map((k) => tokens[i * length + t + k]!) as [number, number, number];
        seen[9 * a + 3 * b + c]!++;
      }
    for (let context = 0; context < 9; context++) {
      const row = seen.subarray(3 * context, 3 * context + 3);
      const total = row.reduce((x, y) => x + y, 0);
      expect(Math.abs(total / (count * 4) - source.stationary[context]!)).toBeLessThan(0.02);
      row.forEach((n, v) => {
        const p = source.transitions[3 * context + v]!;
        expect(Math.abs(n / total - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / total) + 1e-9);
      });
    }
  });

  test("rows that are no distributions are refused", () => {
    expect(() => markovSourceFrom(Float64Array.of(1, 0, 0.5, 0.5), 2)).toThrow(/row 0/);
    expect(() => markovSourceFrom(Float64Array.of(0.5, 0.5, 0.5), 2)).toThrow(RangeError);
    expect(() => markovSource({ vocabulary: 3, order: 0, seed: 0 })).toThrow(RangeError);
  });

  test("a transformer learns a source to within a few hundredths of its entropy rate, and no further", async () => {
    const source = markovSource({ vocabulary: 5, seed: 4 });
    const model = transformer({ vocabulary: 5, context: 12, width: 16, heads: 2, layers: 1 });
    const data = (count: number, seed: number) => ({
      tokens: tensor(source.sample(count, 12, randomStream(seed)), { shape: [count, 12] }),
      // The first token has no context.
      mask: tensor(
        Float32Array.from({ length: count * 12 }, (_, i) => (i % 12 === 0 ? 0 : 1)),
        {
          shape: [count, 12],
        },
      ),
    });
    const loss = lossOn(model);
    let params: TransformerParams | undefined;
    for await (const progress of fit({
      loss,
      optimizer: adam<TransformerParams>({ learningRate: 1e-2 }),
      params: model.init(random.key(0)),
      data: data(1024, 1),
      batchSize: 64,
      epochs: 10,
      key: random.key(1),
    }))
      params = progress.params;
    const held = await item(mean(loss(params!, data(2000, 2))));
    expect(held - source.entropyRate).toBeLessThan(0.05);
    expect(held - source.entropyRate).toBeGreaterThan(-0.02);
  });
});

describe("token processes", () => {
  interface State {
    readonly position: number;
    readonly last: number;
  }
  const process = tokenProcess<State>({
    vocabulary: 3,
    start: { position: 0, last: 0 },
    key: ({ position, last }) => `${position}/${last}`,
    step: ({ position, last }, token) => ({
      next: token === 2 || position === 3 ? null : { position: position + 1, last: token },
      reward: (token === last ? 1 : 0) + 0.3 * token,
    }),
  });
  const reference = tokenPolicy(process, ({ last }) => (last === 0 ? [0.5, 0.3, 0.2] : [0.1, 0.6, 0.3]));
  const beta = 0.7;
  const gibbs = gibbsPolicy(process, reference, beta);

  test("the Gibbs policy is the reference tilted by exp(reward / β), sequence by sequence", () => {
    const all = [...sequences(process, reference)];
    expect(all.reduce((s, { probability }) => s + probability, 0)).toBeCloseTo(1, 12);
    const weights = all.map(({ probability, reward }) => probability * Math.exp(reward / beta));
    const total = weights.reduce((a, b) => a + b, 0);
    const tilted = [...sequences(process, gibbs.policy)];
    tilted.forEach(({ tokens, probability }, i) => {
      expect(tokens).toEqual(all[i]!.tokens);
      expect(probability).toBeCloseTo(weights[i]! / total, 12);
    });
    expect(gibbs.values[0]).toBeCloseTo(beta * Math.log(total), 12);
  });

  test("expectations agree with enumeration, and the Gibbs policy's value is its objective", () => {
    const all = [...sequences(process, gibbs.policy)];
    const prior = [...sequences(process, reference)];
    const average = (f: (i: number) => number) =>
      all.reduce((s, { probability }, i) => s + probability * f(i), 0);
    const reward = expectedReward(process, gibbs.policy);
    const kl = sequenceKl(process, gibbs.policy, reference);
    expect(reward).toBeCloseTo(
      average((i) => all[i]!.reward),
      12,
    );
    expect(kl).toBeCloseTo(
      average((i) => Math.log(all[i]!.probability / prior[i]!.probability)),
      12,
    );
    expect(sequenceEntropy(process, gibbs.policy)).toBeCloseTo(
      average((i) => -Math.log(all[i]!.probability)),
      12,
    );
    expect(reward - beta * kl).toBeCloseTo(gibbs.values[0]!, 12);
    expect(stateVisits(process, reference)[0]).toBe(1);
  });

  test("no other policy has a better objective", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), (seed) => {
        const stream = randomStream(seed);
        const other = tokenPolicy(process, () => dirichlet(stream, 3, 1));
        const value = expectedReward(process, other) - beta * sequenceKl(process, other, reference);
        expect(value).toBeLessThanOrEqual(gibbs.values[0]! + 1e-12);
      }),
      { numRuns: 50 },
    );
  });

  test("sequences without bound and rows that are no distribution are refused", () => {
    expect(() =>
      tokenProcess({ vocabulary: 1, start: 0, key: String, step: () => ({ next: 0, reward: 0 }) }),
    ).toThrow(/positions/);
    expect(() => tokenPolicy(process, () => [0.5, 0.6, 0])).toThrow(/no distribution/);
    expect(() => gibbsPolicy(process, reference, 0)).toThrow(RangeError);
  });
});

describe("verifiable tasks", () => {
  const tasks = {
    addition: additionTask({ digits: 2 }),
    reversed: additionTask({ digits: 2, reversed: true }),
    modularSum: modularSumTask({ modulus: 7, terms: 4 }),
    sorting: sortingTask({ length: 5, letters: 4 }),
    brackets: bracketTask({ length: 6, pairs: 2, slack: 2 }),
    maze: mazeTask({ size: 4 }),
  };

  test.each(Object.entries(tasks))(
    "%s: its own answers verify after a round trip through tokens",
    (_, task) => {
      const stream = randomStream(0, "examples");
      const examples = Array.from({ length: 200 }, () => task.generate(stream));
      const { tokens, length, mask, count } = encodeExamples(task, examples);
      expect(verifyCompletions(task, tokens, length).every((r) => r === 1)).toBe(true);
      examples.forEach(({ answer }, i) => {
        const learned = mask.subarray(i * length, (i + 1) * length).reduce((a, b) => a + b, 0);
        expect(learned).toBe(answer.length + 1);
      });
      // Without an end mark nothing is an answer.
      const endless = tokens.map((t, i) => (i % length >= task.promptLength ? 0 : t));
      expect(verifyCompletions(task, endless, length).some((r) => r === 1)).toBe(false);
      expect(count).toBe(200);
    },
  );

  test("right and wrong answers by hand", () => {
    expect(tasks.addition.verify("07+95=", "102")).toBe(true);
    expect(tasks.addition.verify("07+95=", "0102")).toBe(false);
    expect(tasks.reversed.verify("07+95=", "201")).toBe(true);
    expect(tasks.modularSum.verify("3516=", "1")).toBe(true);
    expect(tasks.modularSum.verify("3516=", "2")).toBe(false);
    expect(tasks.sorting.verify("badca>", "aabcd")).toBe(true);
    expect(tasks.sorting.verify("badca>", "abcd")).toBe(false);
    expect(tasks.brackets.verify("(()[(|", ")])")).toBe(true);
    expect(tasks.brackets.verify("(()[(|", "()")).toBe(false);
    expect(tasks.brackets.verify("(()[(|", "[])])")).toBe(true);
    expect(tasks.brackets.verify("(()[(|", "[)])]")).toBe(false);
    expect(tasks.brackets.verify("(()[(|", "()()()()")).toBe(false);
    expect(tasks.maze.verify("S_##_#_#__#__#G_|", "DDRDR")).toBe(false);
    expect(tasks.maze.verify("S_____________G_|", "DDDRR")).toBe(true);
    expect(tasks.maze.verify("S_____________G_|", "RRDDD")).toBe(true);
    expect(tasks.maze.verify("S_____________G_|", "LRDDDRR")).toBe(false);
    expect(tasks.maze.verify("S_____________G_|", "x")).toBe(false);
  });

  test("settings out of range are refused", () => {
    expect(() => additionTask({ digits: 0 })).toThrow(RangeError);
    expect(() => modularSumTask({ modulus: 11, terms: 2 })).toThrow(RangeError);
    expect(() => sortingTask({ length: 0, letters: 3 })).toThrow(RangeError);
    expect(() => bracketTask({ length: 3, pairs: 4 })).toThrow(RangeError);
    expect(() => mazeTask({ size: 1 })).toThrow(RangeError);
  });
});
