import {
  add,
  data,
  item,
  jit,
  max,
  mul,
  random,
  scalar,
  square,
  sub,
  type Tensor,
  tensor,
} from "@prior-art/tensor";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomStream } from "../stats/index.ts";
import {
  classifierFreeGuidance,
  cleanFrom,
  cosineSchedule,
  type DenoiserNetwork,
  ddim,
  ddimStep,
  ddimTrajectory,
  ddpmSchedule,
  denoisingLoss,
  diffuse,
  flowSchedule,
  type Guidance,
  gaussianMixture,
  heun,
  intervalGuidance,
  karrasSchedule,
  type Level,
  type LevelNumbers,
  levelOf,
  levelTable,
  noiseIn,
  outputFrom,
  type Prediction,
  pathOf,
  predictionTarget,
  startingNoise,
  unconditional,
} from "./index.ts";

const double = (rows: readonly (readonly number[])[]): Tensor =>
  tensor(Float64Array.from(rows.flat()), { shape: [rows.length, rows[0]!.length] });
const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];
const furthest = (a: Tensor, b: Tensor): Promise<number> => item(max(square(sub(a, b)))).then(Math.sqrt);

describe("schedules", () => {
  test("the DDPM schedule ends where Ho et al.'s does, and starts with β = 1e-4", () => {
    const { level } = ddpmSchedule();
    expect(level(1).signal ** 2).toBeCloseTo(4.0358e-5, 8);
    expect(level(1 / 1000).signal ** 2).toBeCloseTo(1 - 1e-4, 12);
    expect(level(0)).toEqual({ signal: 1, noise: 0 });
  });

  test("the cosine schedule keeps half of the variance near the middle and nothing at the end", () => {
    const { level } = cosineSchedule();
    expect(level(0.5).signal ** 2).toBeCloseTo(0.4938, 4);
    expect(level(1).signal).toBeLessThan(1e-7);
  });

  test("Karras' levels run from σ max over their ρ-th roots to σ min", () => {
    const schedule = karrasSchedule({ range: [0.01, 50], rho: 7 });
    expect(schedule.level(1).noise).toBeCloseTo(50, 10);
    expect(schedule.level(0.5).noise).toBeCloseTo(((0.01 ** (1 / 7) + 50 ** (1 / 7)) / 2) ** 7, 10);
    expect(schedule.level(0).noise).toBe(0);
  });

  test("a path goes from noise to clean data", () => {
    expect([...pathOf(flowSchedule(), 4).noise]).toEqual([1, 0.75, 0.5, 0.25, 0]);
    expect([...pathOf(flowSchedule(), 2, 0.5).signal]).toEqual([0.5, 0.75, 1]);
    expect(() => pathOf(flowSchedule(), 0)).toThrow(RangeError);
    expect(() => flowSchedule().level(1.5)).toThrow(RangeError);
  });

  test("training draws from the levels of growing noise, without the clean end", async () => {
    const { noise } = levelTable(flowSchedule(), 4);
    expect(await numbers(noise)).toEqual([0.25, 0.5, 0.75, 1]);
  });
});

describe("predictions", () => {
  const kinds: readonly Prediction[] = ["noise", "clean", "velocity", "flow"];
  test.each(kinds)("clean data come back from the right %s, at any level", async (kind) => {
    await fc.assert(
      fc.asyncProperty(
        fc.double({ min: 0.1, max: 2, noNaN: true }),
        fc.double({ min: 0.1, max: 2, noNaN: true }),
        async (signal, noise) => {
          const level = levelOf({ signal, noise }, "float64");
          const [clean, epsilon] = [double([[1, -2]]), double([[0.5, 3]])];
          const x = diffuse(clean, epsilon, level);
          const target = predictionTarget(kind, clean, epsilon, level);
          expect(await furthest(cleanFrom(kind, target, x, level), clean)).toBeLessThan(1e-9);
          expect(await furthest(outputFrom(kind, clean, x, level), target)).toBeLessThan(1e-9);
        },
      ),
      { numRuns: 20 },
    );
  });
});

/** Two classes; the second has two components of different shapes. */
const mixture = gaussianMixture([
  { mean: [1, 0], deviation: 0.3, weight: 2, label: 0 },
  { mean: [-1, 1], deviation: [0.2, 0.6], label: 1 },
  { mean: [0, -2], deviation: 0.5, label: 1 },
]);

describe("Gaussian mixtures", () => {
  const points = [
    [0.3, -0.4],
    [-1.2, 2],
    [4, -3],
  ];

  test.each([
    ["all classes", null],
    ["a class each", [0, 1, 1]],
  ])("the score is the slope of the log-density: %s", async (_, classes) => {
    const level = levelOf({ signal: 0.8, noise: 0.7 }, "float64");
    const labels = classes && tensor(Int32Array.from(classes));
    const score = await numbers(mixture.score(double(points), level, labels));
    const h = 1e-5;
    for (let d = 0; d < 2; d++) {
      const shifted = (by: number) =>
        numbers(
          mixture.logDensity(
            double(points.map((p) => p.map((v, i) => (i === d ? v + by : v)))),
            level,
            labels,
          ),
        );
      const [up, down] = [await shifted(h), await shifted(-h)];
      points.forEach((_, i) => {
        expect(score[2 * i + d]).toBeCloseTo((up[i]! - down[i]!) / (2 * h), 6);
      });
    }
  });

  test("the density of one noisy Gaussian is the textbook's", async () => {
    const one = gaussianMixture([{ mean: [2], deviation: 3 }]);
    const variance = 0.5 ** 2 * 9 + 0.4 ** 2;
    const [value] = await numbers(
      one.logDensity(double([[1.7]]), levelOf({ signal: 0.5, noise: 0.4 }, "float64")),
    );
    expect(value).toBeCloseTo(-((1.7 - 1) ** 2) / (2 * variance) - Math.log(2 * Math.PI * variance) / 2, 12);
  });

  test("levels may differ by example", async () => {
    const levels = { signal: double([[0.9], [0.5], [0.1]]), noise: double([[0.3], [0.8], [1]]) };
    const together = await numbers(mixture.denoise(double(points), levels, null));
    for (const [i, [signal, noise]] of [
      [0.9, 0.3],
      [0.5, 0.8],
      [0.1, 1],
    ].entries()) {
      const alone = await numbers(
        mixture.denoise(double([points[i]!]), levelOf({ signal: signal!, noise: noise! }, "float64"), null),
      );
      alone.forEach((v, d) => {
        expect(together[2 * i + d]).toBeCloseTo(v, 12);
      });
    }
  });

  test("samples have the components' shares and classes", () => {
    const { values, labels } = mixture.sample(4000, randomStream(0));
    expect(labels.filter((label) => label === 0).length / 4000).toBeCloseTo(0.5, 1);
    const only = mixture.sample(1000, randomStream(1), 0);
    expect(only.labels.every((label) => label === 0)).toBe(true);
    expect(only.values.reduce((sum, v, i) => sum + (i % 2 === 0 ? v : 0), 0) / 1000).toBeCloseTo(1, 1);
    expect(values.length).toBe(8000);
  });

  test("components that don't fit are refused", () => {
    expect(() => gaussianMixture([])).toThrow(RangeError);
    expect(() => gaussianMixture([{ mean: [0], deviation: [1, 2] }])).toThrow(/dimensions/);
    expect(() => gaussianMixture([{ mean: [0], deviation: -1 }])).toThrow(RangeError);
    expect(() => mixture.sample(1, randomStream(0), 7)).toThrow(/label 7/);
  });
});

describe("samplers", () => {
  const gaussian = gaussianMixture([{ mean: [0.5, -1], deviation: [0.4, 1.5] }]);
  const problem = (path: ReturnType<typeof pathOf>, count = 64) => ({
    denoiser: gaussian.denoise,
    path,
    start: mul(random.normal(random.key(1), [count, 2], { dtype: "float64" }), path.noise[0]!),
    labels: null,
    key: random.key(2),
  });
  /** The ODE carries each point along the quantiles of the Gaussian. */
  const exact = (start: Tensor, { signal, noise }: ReturnType<typeof pathOf>): Tensor => {
    const [mu, s] = [double([[0.5, -1]]), double([[0.4, 1.5]])];
    const spread = [0.4, 1.5].map((d) => Math.sqrt((signal[0]! * d) ** 2 + noise[0]! ** 2));
    return add(mu, mul(mul(sub(start, mul(signal[0]!, mu)), s), double([spread.map((v) => 1 / v)])));
  };

  test.each([
    ["ddpm", ddpmSchedule()],
    ["cosine", cosineSchedule()],
    ["flow", flowSchedule()],
    ["karras", karrasSchedule()],
  ])("DDIM with the exact score carries noise to the Gaussian's quantiles: %s", async (_, schedule) => {
    const path = pathOf(schedule, 400);
    const p = problem(path);
    const error = await furthest(
      await jit((start: Tensor) => ddim({ ...p, start }))(p.start),
      exact(p.start, path),
    );
    expect(error).toBeLessThan(0.06);
  });

  test("twice the steps leave half of DDIM's error and a quarter of Heun's", async () => {
    const schedule = karrasSchedule({ range: [0.002, 10] });
    const errorOf = async (sampler: typeof heun, steps: number): Promise<number> => {
      const path = pathOf(schedule, steps);
      const p = problem(path);
      return furthest(sampler(p), exact(p.start, path));
    };
    const order = async (sampler: typeof heun): Promise<number> =>
      Math.log2((await errorOf(sampler, 40)) / (await errorOf(sampler, 80)));
    expect(await order(ddim)).toBeCloseTo(1, 0);
    expect(await order(heun)).toBeGreaterThan(1.7);
    expect(await errorOf(heun, 40)).toBeLessThan(await errorOf(ddim, 80));
  });

  test("ancestral sampling reaches the Gaussian's moments", async () => {
    const path = pathOf(cosineSchedule(), 400);
    const x = await numbers(ddim(problem(path, 4000), { eta: 1 }));
    for (const [d, mu, s] of [
      [0, 0.5, 0.4],
      [1, -1, 1.5],
    ] as const) {
      const values = x.filter((_, i) => i % 2 === d);
      const average = values.reduce((a, b) => a + b, 0) / values.length;
      const deviation = Math.sqrt(values.reduce((a, b) => a + (b - average) ** 2, 0) / values.length);
      expect(Math.abs(average - mu)).toBeLessThan(0.08);
      expect(deviation / s).toBeCloseTo(1, 1);
    }
  });

  test("the variance of an ancestral step is DDPM's posterior variance β̃", async () => {
    const { level } = ddpmSchedule();
    const [from, to] = [level(0.5), level(0.499)];
    const beta = 1 - (from.signal / to.signal) ** 2;
    const at = (numbers: LevelNumbers) => levelOf(numbers, "float64");
    const { variance } = ddimStep(double([[1]]), double([[0]]), at(from), at(to), 1);
    expect(await item(variance)).toBeCloseTo((to.noise ** 2 / from.noise ** 2) * beta, 6);
  });

  test("a trajectory starts at the noise and ends at the samples", async () => {
    const p = problem(pathOf(flowSchedule(), 5), 3);
    const states = await numbers(ddimTrajectory(p));
    expect(states).toHaveLength(6 * 6);
    expect(states.slice(0, 6)).toEqual(await numbers(p.start));
    expect(states.slice(-6)).toEqual(await numbers(ddim(p)));
  });

  test("impossible paths are refused", () => {
    const p = problem(pathOf(flowSchedule(), 5), 3);
    expect(() => heun(p)).toThrow(/some signal/);
    const path = { signal: Float64Array.of(0.5, 1), noise: Float64Array.of(0.5, 0.1) };
    expect(() => ddim({ ...p, path })).toThrow(/no noise at its end/);
  });
});

describe("guidance", () => {
  const path = pathOf(cosineSchedule(), 20);
  const labels = tensor(Int32Array.from({ length: 8 }, (_, i) => i % 2));
  const start = startingNoise(random.key(0), [8, 2], path);
  const run = (guidance: Guidance<never> | Guidance<null>) =>
    numbers(
      ddim({
        denoiser: mixture.denoise,
        path,
        start,
        labels,
        guidance: guidance as Guidance<null>,
        key: random.key(1),
      }),
    );

  test("weight 1 is the conditional model, weight 0 the unconditional one", async () => {
    const close = (a: number[], b: number[]) =>
      a.forEach((v, i) => {
        expect(v).toBeCloseTo(b[i]!, 4);
      });
    const conditional = await numbers(
      ddim({ denoiser: mixture.denoise, path, start, labels, key: random.key(1) }),
    );
    close(await run(classifierFreeGuidance(1)), conditional);
    close(await run(classifierFreeGuidance(0)), await run(unconditional()));
    expect((await run(classifierFreeGuidance(3)))[0]).not.toBeCloseTo(conditional[0]!, 2);
  });

  test("combining noise predictions is combining clean data", async () => {
    const level = levelOf({ signal: 0.6, noise: 0.8 });
    const [a, b] = [mixture.denoise(start, level, labels), mixture.denoise(start, level, null)];
    const guided = add(b, mul(2.5, sub(a, b)));
    const [noiseA, noiseB] = [noiseIn(start, a, level), noiseIn(start, b, level)];
    const other = cleanFrom("noise", add(noiseB, mul(2.5, sub(noiseA, noiseB))), start, level);
    expect(await furthest(guided, other)).toBeLessThan(1e-4);
  });

  test("an interval that holds no level leaves the conditional model, one that holds all is plain guidance", async () => {
    const inside = await run(intervalGuidance(4, [0, Number.POSITIVE_INFINITY]));
    const plain = await run(classifierFreeGuidance(4));
    inside.forEach((v, i) => {
      expect(v).toBeCloseTo(plain[i]!, 4);
    });
    const outside = await run(intervalGuidance(4, [-2, -1]));
    const conditional = await run(classifierFreeGuidance(1));
    outside.forEach((v, i) => {
      expect(v).toBeCloseTo(conditional[i]!, 4);
    });
  });

  test("memory goes from step to step, also through both of Heun's evaluations", async () => {
    const counting: Guidance<Tensor> = {
      init: () => scalar(0),
      // Writes the number of calls so far into the sample.
      combine: ({ x }, count) => [add(mul(x, 0), count), add(count, 1)],
    };
    const problem = {
      denoiser: mixture.denoise,
      path,
      start,
      labels,
      guidance: counting,
      key: random.key(1),
    };
    expect((await numbers(ddim(problem)))[0]).toBeCloseTo(19, 4);
    const from = pathOf(cosineSchedule(), 20, 0.95);
    expect((await numbers(heun({ ...problem, path: from })))[0]).toBeCloseTo(38, 3);
  });
});

describe("losses", () => {
  /** The ideal denoiser as a network of some kind. */
  const ideal = (prediction: Prediction, offset = 0): DenoiserNetwork<null> => ({
    prediction,
    dimensions: 2,
    classes: 2,
    init: () => null,
    apply: (_, x, level, labels) => {
      const known = mixture.denoise(x, level, labels);
      return add(outputFrom(prediction, known, x, level), offset);
    },
  });
  const { values, labels } = mixture.sample(256, randomStream(3));
  const batch = { x: tensor(values, { shape: [256, 2] }), labels: tensor(labels) };
  const lossOf = (network: DenoiserNetwork<null>, weight?: (level: Level) => Tensor) =>
    item(
      denoisingLoss(network, { schedule: cosineSchedule(), dropLabel: 0, ...(weight && { weight }) })(
        null,
        batch,
        random.key(4),
      ),
    );

  test("a squared error in the noise is the one in the data times (α/σ)²", async () => {
    const inNoise = await lossOf(ideal("noise"), ({ noise }) => square(noise));
    const inData = await lossOf(ideal("clean"), ({ signal }) => square(signal));
    expect(inNoise / inData).toBeCloseTo(1, 3);
  });

  test("the ideal denoiser has less loss than a biased one", async () => {
    for (const kind of ["noise", "clean", "velocity", "flow"] as const) {
      const best = await lossOf(ideal(kind));
      expect(await lossOf(ideal(kind, 0.3))).toBeGreaterThan(best + 0.02);
      expect(await lossOf(ideal(kind, -0.3))).toBeGreaterThan(best + 0.02);
    }
  });
});

test("without any signal, the ideal denoiser returns the mixture's mean", async () => {
  const clean = mixture.denoise(double([[5, 5]]), levelOf({ signal: 0, noise: 1 }, "float64"), null);
  const [x, y] = await numbers(clean);
  expect(x).toBeCloseTo((2 * 1 - 1 + 0) / 4, 12);
  expect(y).toBeCloseTo((0 + 1 - 2) / 4, 12);
});
