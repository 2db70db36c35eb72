import {
  data,
  item,
  jit,
  max,
  mean,
  mul,
  random,
  square,
  sub,
  type Tensor,
  tensor,
  treeMap,
} from "@prior-art/tensor";
import { expect, test } from "vitest";
import { adam, cosineDecay, fit } from "../optim/index.ts";
import { randomStream } from "../stats/index.ts";
import {
  consistencyFunction,
  consistencyLoss,
  consistencySample,
  cosineSchedule,
  DIGIT_CLASSES,
  DIGIT_PIXELS,
  ddim,
  denoiserMlp,
  denoiserOf,
  denoisingLoss,
  digitDenoiser,
  digitImages,
  digitQuality,
  drawNoisy,
  gaussianMixture,
  karrasSchedule,
  levelOf,
  maximumMeanDiscrepancy,
  pathOf,
  startingNoise,
  viewDigits,
} from "./index.ts";

const mixture = gaussianMixture([
  { mean: [1, 1], deviation: 0.2, label: 0 },
  { mean: [-1, 1], deviation: 0.2, label: 1 },
  { mean: [0, -1], deviation: 0.3, label: 2 },
]);
const sample = (count: number, seed: number) => {
  const { values, labels } = mixture.sample(count, randomStream(seed));
  return { x: tensor(values, { shape: [count, 2] }), labels: tensor(labels), values };
};

test("a trained network comes close to the ideal denoiser, with and without classes", async () => {
  const schedule = cosineSchedule();
  const network = denoiserMlp({ dimensions: 2, classes: 3, width: 48, depth: 2, dataDeviation: 1 });
  const { x, labels } = sample(2048, 0);
  const progress = fit({
    loss: denoisingLoss(network, { schedule, dropLabel: 0.3 }),
    optimizer: adam<ReturnType<typeof network.init>>({ learningRate: cosineDecay(5e-3, 80 * 16) }),
    params: network.init(random.key(0)),
    data: { x, labels },
    batchSize: 128,
    epochs: 80,
    epochsPerRun: 80,
    key: random.key(1),
  });
  let params = network.init(random.key(0));
  for await (const report of progress) params = report.params;
  const fresh = sample(1000, 1);
  const { level, noisy } = drawNoisy(schedule, fresh.x, random.key(2));
  for (const classes of [fresh.labels, null]) {
    const ideal = mixture.denoise(noisy, level, classes);
    const learned = denoiserOf(network, params)(noisy, level, classes);
    // The clean data themselves spread by about 1; noise at hand, by up to 1.
    expect(await item(mean(square(sub(learned, ideal))))).toBeLessThan(0.02);
  }
});

test("a consistency function leaves clean data alone", async () => {
  const network = denoiserMlp({ dimensions: 2, classes: 3, width: 8, depth: 1 });
  const params = treeMap((t) => mul(random.normal(random.key(5), t.shape), 0.3), network.init(random.key(0)));
  const f = consistencyFunction(network, params, { minNoise: 0.01 });
  const { x, labels } = sample(5, 3);
  const close = await item(max(square(sub(f(x, levelOf({ signal: 1, noise: 0.01 }), labels), x))));
  expect(close).toBeLessThan(1e-12);
  const far = await item(max(square(sub(f(x, levelOf({ signal: 1, noise: 2 }), labels), x))));
  expect(far).toBeGreaterThan(1e-3);
});

test("a model distilled from the ideal denoiser jumps from noise to data", async () => {
  const network = denoiserMlp({ dimensions: 2, width: 48, depth: 2, dataDeviation: 1 });
  const options = { dataDeviation: 1, minNoise: 0.02 };
  const path = pathOf(karrasSchedule({ range: [0.02, 5] }), 16);
  const loss = consistencyLoss(network, { ...options, path, teacher: mixture.denoise });
  type P = ReturnType<typeof network.init>;
  const optimizer = adam<P>({ learningRate: cosineDecay(3e-3, 1500) });
  const start = network.init(random.key(0));
  const { x, labels, values } = sample(1024, 0);
  // The parameters themselves, without a lag, as in improved consistency training.
  const progress = fit({
    loss: (params: P, batch: { x: Tensor; labels: Tensor }, key) => loss(params, params, batch, key),
    optimizer,
    params: start,
    data: { x, labels },
    batchSize: 128,
    epochs: 190,
    epochsPerRun: 190,
    key: random.key(1),
  });
  let params = start;
  for await (const report of progress) params = report.params;
  const jump = consistencyFunction(network, params, options);
  const noise = startingNoise(random.key(3), [1000, 2], path);
  const wanted = { values, dimensions: 2 };
  const two = { signal: Float64Array.of(1, 1, 1), noise: Float64Array.of(5, 0.8, 0) };
  for (const way of [{ signal: Float64Array.of(1, 1), noise: Float64Array.of(5, 0) }, two]) {
    const samples = consistencySample(jump, {
      path: way,
      start: noise,
      labels: null,
      key: random.key(4),
      minNoise: 0.02,
    });
    expect(
      maximumMeanDiscrepancy(wanted, { values: await data(samples), dimensions: 2 }, { width: 0.5 }),
    ).toBeLessThan(0.02);
  }
  expect(() => consistencyLoss(network, { path: pathOf(cosineSchedule(), 4) })).toThrow(/signal at 1/);
});

test("the pretrained denoiser draws digits that the classifier takes for what they should be", async () => {
  const { values, labels, count } = await digitImages();
  expect(Math.min(...values)).toBe(-1);
  expect(Math.max(...values)).toBe(1);
  const real = await viewDigits(tensor(values, { shape: [count, DIGIT_PIXELS] }), tensor(labels));
  expect(real.accuracy).toBeGreaterThan(0.99);

  const denoiser = await digitDenoiser();
  const path = pathOf(cosineSchedule(), 20);
  const wanted = tensor(Int32Array.from({ length: 200 }, (_, i) => i % DIGIT_CLASSES));
  const draw = jit((start: Tensor) => ddim({ denoiser, path, start, labels: wanted, key: random.key(1) }));
  const images = await draw(startingNoise(random.key(0), [200, DIGIT_PIXELS], path));
  const quality = await digitQuality(images, wanted);
  expect(quality.accuracy).toBeGreaterThan(0.9);
  expect(quality.contrast).toBeLessThan(0.8);
  // Real digits are as good as digits get.
  const perfect = await digitQuality(tensor(values, { shape: [count, DIGIT_PIXELS] }), tensor(labels));
  expect(perfect).toMatchObject({ precision: 1, recall: 1, overshoot: 0 });
  expect(perfect.frechet).toBeLessThan(1e-6);
  expect(perfect.contrast).toBeCloseTo(0.748, 3);
});
