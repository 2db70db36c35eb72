import { data, random, softmax, type Tensor, take, tensor, zeros } from "@prior-art/tensor";
import {
  expectedReward,
  gibbsPolicy,
  sampleCompletions,
  sequences,
  type TokenModel,
  tokenPolicy,
  tokenProcess,
} from "@prior-art/toolkit/lm";
import { randomStream } from "@prior-art/toolkit/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  chainPolicy,
  chainRows,
  countReward,
  drawWord,
  END,
  lengthReward,
  readWord,
  wordProcess,
} from "../chainLanguage.ts";
import { exactRealignment, LAMBDAS } from "./exact.ts";
import { combinedLogits, deraLogits, realign, realignPolicy, realignSequenceExact } from "./method.ts";

const soft = (logits: ArrayLike<number>): number[] => {
  const weights = Array.from(logits, Math.exp);
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / total);
};
const close = (values: ArrayLike<number>, digits = 6) => Array.from(values, (v) => expect.closeTo(v, digits));
const logits = fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 4, maxLength: 4 });

describe("mixing logits", () => {
  const [h, aligned] = [
    [0, 1, 2],
    [2, 1, -1],
  ];

  test("known values between and beyond the two models", () => {
    expect(soft(deraLogits(h, aligned, 0.5))).toEqual(close([0.383652, 0.383652, 0.232697]));
    expect(soft(deraLogits(h, aligned, 2))).toEqual(close([0.95227, 0.047411, 0.000319]));
  });

  test("λ = 0 and λ = 1 are the two models, and equal models stay what they are", () => {
    expect([...deraLogits(h, aligned, 0)]).toEqual(h);
    expect([...deraLogits(h, aligned, 1)]).toEqual(aligned);
    expect([...deraLogits(h, h, 3.7)]).toEqual(h);
  });

  test("constants added to either change nothing; two realignments in a row multiply their λ", () => {
    fc.assert(
      fc.property(logits, logits, fc.double({ min: -2, max: 3, noNaN: true }), (a, b, lambda) => {
        const shifted = deraLogits(
          a.map((x) => x + 3),
          b.map((x) => x - 2),
          lambda,
        );
        expect(soft(shifted)).toEqual(close(soft(deraLogits(a, b, lambda))));
        const twice = deraLogits(a, deraLogits(a, b, lambda), 1.5);
        expect([...twice]).toEqual(close(deraLogits(a, b, 1.5 * lambda)));
      }),
    );
  });

  test("what either model rules out stays out", () => {
    const no = Number.NEGATIVE_INFINITY;
    for (const lambda of [0, 0.5, 1, 2])
      expect([...deraLogits([0, no, 1], [no, 2, 1], lambda)]).toEqual([no, no, 1]);
  });

  test("several aligned models add their differences", () => {
    const both = combinedLogits(h, [
      { aligned, lambda: 0.5 },
      { aligned: [0, 0, 5], lambda: 2 },
    ]);
    expect([...both]).toEqual(close([0 + 1 + 0, 1 + 0 - 2, 2 - 1.5 + 6]));
    expect(() => deraLogits(h, [1], 1)).toThrow(/don't fit/);
    expect(() => deraLogits(h, aligned, Number.NaN)).toThrow(RangeError);
  });
});

describe("on sequences", () => {
  /** Two binary tokens, reward 1 for 1 twice. */
  const process = tokenProcess<string>({
    vocabulary: 2,
    start: "",
    key: (s) => s,
    step: (s, token) =>
      s.length === 1 ? { next: null, reward: s + token === "11" ? 1 : 0 } : { next: s + token, reward: 0 },
  });
  const uniform = tokenPolicy(process, () => [0.5, 0.5]);
  const optimum = (beta: number) => gibbsPolicy(process, uniform, beta).policy;
  const probabilities = (policy: Float64Array) =>
    [...sequences(process, policy)].map((s) => s.probability).reverse();

  test("mixing whole sequences is exact, mixing tokens is close: two binary tokens by hand", () => {
    const target = probabilities(optimum(0.25));
    expect([...target].sort()).toEqual(close([0.017362, 0.017362, 0.017362, 0.947915]));
    const exact = realignSequenceExact(probabilities(uniform), probabilities(optimum(0.5)), 2);
    expect([...exact]).toEqual(close(target));
    const tokens = probabilities(realignPolicy(uniform, optimum(0.5), 2, 2));
    const byName = new Map(
      [...sequences(process, realignPolicy(uniform, optimum(0.5), 2, 2))].map((s) => [
        s.tokens.join(""),
        s.probability,
      ]),
    );
    expect(["00", "01", "10", "11"].map((name) => byName.get(name))).toEqual(
      close([0.02689, 0.02689, 0.017019, 0.929201], 5),
    );
    expect(tokens.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
  });

  test("for sequences of one token mixing tokens is exact", () => {
    const one = tokenProcess<number>({
      vocabulary: 4,
      start: 0,
      key: String,
      step: (_, token) => ({ next: null, reward: [0.3, -1, 0.8, 0.1][token]! }),
    });
    const reference = tokenPolicy(one, () => [0.1, 0.2, 0.3, 0.4]);
    for (const lambda of [0.5, 2, 3]) {
      const mixed = realignPolicy(reference, gibbsPolicy(one, reference, 0.7).policy, 4, lambda);
      expect([...mixed]).toEqual(close(gibbsPolicy(one, reference, 0.7 / lambda).policy));
    }
  });

  test("words: rewards, and what is drawn, follow the process", () => {
    expect(lengthReward({ letters: 4, countA: 0 })).toBe(1);
    expect(lengthReward({ letters: 7, countA: 0 })).toBe(0);
    expect(countReward({ letters: 8, countA: 6 })).toBeCloseTo(0.6, 12);
    expect(readWord([0, 2, 0, END, END])).toEqual({ letters: 3, countA: 2 });
    const words = wordProcess(lengthReward);
    const reference = chainPolicy(words, chainRows(3));
    const stream = randomStream(1, "words");
    const rewards = Array.from({ length: 4000 }, () =>
      lengthReward(readWord(drawWord(chainRows(3), stream))),
    );
    const average = rewards.reduce((a, b) => a + b, 0) / 4000;
    expect(Math.abs(average - expectedReward(words, reference))).toBeLessThan(0.04);
  });

  test("λ = 1 is the aligned model and λ = 0 the reference, in every curve", () => {
    const { dera, retrained } = exactRealignment(1_000_000, countReward);
    for (const lambda of [0, 1]) {
      const i = LAMBDAS.indexOf(lambda);
      expect(dera.reward[i]).toBeCloseTo(retrained.reward[i]!, 10);
      expect(dera.kl[i]).toBeCloseTo(retrained.kl[i]!, 10);
    }
  });
});

describe("sampling", () => {
  /** A model whose next token depends on the last one. */
  const chain = (table: number[][]): TokenModel<Tensor> => ({
    start: (batch) => zeros([batch]),
    next: (tokens, _, state) => [take(tensor(table), tokens), state],
  });
  const no = Number.NEGATIVE_INFINITY;
  const [reference, aligned] = [
    [
      [0, 1, no],
      [1, 0, 0.5],
      [0, 0, 0],
    ],
    [
      [2, 0, 1],
      [no, 0, 1],
      [0, 1, 0],
    ],
  ];

  test("gives the mixed models' logits at every prefix, a λ in the graph too", async () => {
    for (const lambda of [1.7, tensor(1.7)]) {
      const mixed = realign(chain(reference), chain(aligned), lambda);
      const [logits] = mixed.next(tensor(Int32Array.of(0, 1, 2)), tensor(0), mixed.start(3, 2));
      const rows = [...(await data(softmax(logits)))];
      const expected = [0, 1, 2].flatMap((s) => soft(deraLogits(reference[s]!, aligned[s]!, 1.7)));
      expect(rows).toEqual(close(expected, 5));
    }
    expect(() => realign(chain(reference), chain(aligned), Number.NaN)).toThrow(RangeError);
  });

  test("never draws what one of the models rules out", async () => {
    const { tokens } = sampleCompletions(
      realign(chain(reference), chain(aligned), 2),
      random.key(0),
      tensor(new Int32Array(200), { shape: [200, 1] }),
      { length: 4 },
    );
    const drawn = [...(await data(tokens))];
    for (let i = 0; i < drawn.length - 1; i++) {
      if (i % 4 === 3) continue;
      expect([drawn[i] === 0 && drawn[i + 1] === 2, drawn[i] === 1 && drawn[i + 1] === 0]).toEqual([
        false,
        false,
      ]);
    }
  });
});
