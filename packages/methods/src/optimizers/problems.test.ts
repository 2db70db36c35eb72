import {
  data,
  item,
  linalg,
  matmul,
  type Tensor,
  tensor,
  transpose,
  treeMap,
  zerosLike,
} from "@prior-art/tensor";
import { markovSource, markovSourceFrom } from "@prior-art/toolkit/lm";
import { randomStream } from "@prior-art/toolkit/stats";
import { expect, test } from "vitest";
import { lossOfSource, nextTokenLoss, problems } from "./problems.ts";

test("a source's own loss is that of the contexts that it has seen, of its long run for the second token", () => {
  // Of two tokens: after "ab", "a" has these probabilities; the long run of each context is found by the source.
  const source = markovSourceFrom(new Float64Array([0.9, 0.1, 0.2, 0.8, 0.6, 0.4, 0.3, 0.7]), 2);
  const [aa, ab, ba, bb] = [...source.stationary] as [number, number, number, number];
  const texts = Int32Array.from([0, 1, 1, 0, 1, 0, 0, 0]);
  const own = [ab / (aa + ab), 0.8, 0.3, ba / (ba + bb), 0.6, 0.9];
  expect(lossOfSource(source, texts, 4)).toBeCloseTo(
    own.reduce((total, p) => total - Math.log(p), 0) / own.length,
    12,
  );
});

test("a model that is the source itself has the source's own loss", async () => {
  const source = markovSourceFrom(new Float64Array([0.9, 0.1, 0.2, 0.8, 0.6, 0.4, 0.3, 0.7]), 2);
  const [aa, ab, ba, bb] = [...source.stationary] as [number, number, number, number];
  const texts = Int32Array.from([0, 1, 1, 0, 1, 0, 0, 0]);
  const own = [ab / (aa + ab), 0.8, 0.3, ba / (ba + bb), 0.6, 0.9];
  // Both tokens' probabilities at each place that has a next token; of no matter at the last.
  const logits = [0, 1].flatMap((text) => [
    ...[0, 1, 2].flatMap((place) => {
      const [p, next] = [own[3 * text + place]!, texts[4 * text + place + 1]];
      return next === 0 ? [Math.log(p), Math.log(1 - p)] : [Math.log(1 - p), Math.log(p)];
    }),
    ...[5, -5],
  ]);
  const loss = nextTokenLoss(tensor(logits, { shape: [2, 4, 2] }), tensor(texts, { shape: [2, 4] }));
  expect(await item(loss)).toBeCloseTo(lossOfSource(source, texts, 4), 6);
});

test("on long texts, a source's own loss is its entropy rate", () => {
  const source = markovSource({ vocabulary: 6, order: 2, concentration: 0.3, seed: 0 });
  const texts = source.sample(40, 2000, randomStream(1, "texts"));
  expect(lossOfSource(source, texts, 2000)).toBeCloseTo(source.entropyRate, 2);
});

test("a transformer that knows nothing is above the source by what the source knows", async () => {
  const { params, score } = await problems.transformer.prepare(0);
  const { validationLoss, testLoss } = await score(treeMap(zerosLike, params));
  const source = markovSource({ vocabulary: 6, order: 2, concentration: 0.3, seed: 0 });
  for (const loss of [validationLoss, testLoss])
    expect(Math.abs(loss - (Math.log(6) - source.entropyRate))).toBeLessThan(0.04);
});

test("held-out targets of the regression have no noise: the least-squares solution is almost as good as the truth", async () => {
  const { train, score } = await problems.regression.prepare(0);
  const { x, y } = train as { x: Tensor; y: Tensor };
  const weights = linalg.solve(matmul(transpose(x), x), matmul(transpose(x), y));
  expect(weights.shape).toEqual([32, 1]);
  const { validationLoss, testLoss } = await score({ weights });
  // In the mean, half the noise's variance times inputs over examples: 4e-5; with noise it were 5e-3 and that.
  for (const loss of [validationLoss, testLoss]) {
    expect(loss).toBeGreaterThan(1e-5);
    expect(loss).toBeLessThan(1e-4);
  }
  expect((await data(weights)).every(Number.isFinite)).toBe(true);
});
