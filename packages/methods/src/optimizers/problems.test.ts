import { data, linalg, matmul, type Tensor, transpose } from "@prior-art/tensor";
import { markovSource, markovSourceFrom } from "@prior-art/toolkit/lm";
import { randomStream } from "@prior-art/toolkit/stats";
import { expect, test } from "vitest";
import { lossOfSource, problems } from "./problems.ts";

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

test("on long texts, a source's own loss is its entropy rate", () => {
  const source = markovSource({ vocabulary: 6, order: 2, concentration: 0.3, seed: 0 });
  const texts = source.sample(40, 2000, randomStream(1, "texts"));
  expect(lossOfSource(source, texts, 2000)).toBeCloseTo(source.entropyRate, 2);
});

test("an untrained transformer is far above the source; losses are those above it", async () => {
  const { params, score } = await problems.transformer.prepare(0);
  const { validationLoss, testLoss } = await score(params);
  const source = markovSource({ vocabulary: 6, order: 2, concentration: 0.3, seed: 0 });
  for (const loss of [validationLoss, testLoss])
    expect(Math.abs(loss - (Math.log(6) - source.entropyRate))).toBeLessThan(0.1);
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
