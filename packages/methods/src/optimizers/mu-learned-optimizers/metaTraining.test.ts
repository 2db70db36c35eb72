import {
  add,
  evaluate,
  greater,
  mean,
  mul,
  random,
  slice,
  square,
  sub,
  sum,
  type Tensor,
  take,
  tensor,
  treeLeaves,
  zeros,
} from "@prior-art/tensor";
import { crossEntropy, type MlpParams } from "@prior-art/toolkit/nn";
import { ravel } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { numbers } from "../testing/doubles.ts";
import { accumulatedNoise } from "./metaTraining.ts";
import { metaTrain, muParametrize, persistentGradient, smallFcLopt } from "./method.ts";
import { FIRST_RATES, searchRate } from "./rateSearch.ts";
import { narrowOptimizers } from "./shippedOptimizers.ts";
import { finalLoss, meanLoss, trainingLosses } from "./training.ts";

const close = (values: readonly number[], digits = 4) => values.map((v) => expect.closeTo(v, digits));
const draw = (seed: number, ...shape: number[]): Tensor => random.normal(random.key(seed), shape);

const lopt = smallFcLopt({ hidden: 8 });
const phi = lopt.init(random.key(1));

describe("meta-training", () => {
  test("at the start, the persistent gradient is that of antithetic evolution strategies", async () => {
    const epsilon = tensor([
      [0.1, 0],
      [0, -0.2],
    ]);
    const gradient = persistentGradient(epsilon, tensor([3, 1]), tensor([1, 2]), 0.5);
    // ½ Σ ε (L⁺ - L⁻) / 2σ² = ½ (0.1·2, -0.2·-1) / 0.5.
    expect(await numbers(gradient)).toEqual(close([0.2, 0.2]));
  });

  test("its mean on a quadratic is the true gradient", async () => {
    const [pairs, sigma] = [20_000, 0.1];
    const at = tensor([1, -2, 0.5]);
    const loss = (p: Tensor): Tensor => sum(mul(tensor([1, 2, 3]), square(p)), -1);
    const epsilon = mul(sigma, draw(30, pairs, 3));
    const estimate = persistentGradient(epsilon, loss(add(at, epsilon)), loss(sub(at, epsilon)), sigma);
    const gap = await numbers(sub(estimate, tensor([2, -8, 3])));
    // The standard error of an entry is at most 0.09.
    for (const v of gap) expect(Math.abs(v)).toBeLessThan(0.3);
  });

  test("makes an optimizer that trains better than the random one it starts from, alike for alike keys", async () => {
    // Three clusters of points.
    const labels = tensor(Int32Array.from({ length: 128 }, (_, i) => i % 3));
    const inputs = add(draw(40, 128, 6), mul(1.5, take(draw(41, 3, 6), labels)));
    await evaluate(inputs);
    const model = muParametrize({ inputs: 6, width: 4, depth: 1, outputs: 3 }, "sp");
    const task = {
      init: model.init,
      loss: (p: MlpParams, rows: Tensor) =>
        crossEntropy(model.apply(p, take(inputs, rows)), take(labels, rows)),
      examples: 128,
      batchSize: 16,
    };
    const options = {
      tasks: [task],
      optimizer: smallFcLopt({ hidden: 4 }),
      metaSteps: 60,
      pairs: 6,
      truncation: 10,
      horizon: 50,
      metaLearningRate: 0.03,
    };
    const keys = random.split(random.key(7), 2);
    const { losses, phi: trained } = await metaTrain(options, keys);
    expect(losses).toHaveLength(2);
    const average = (values: readonly number[]): number => values.reduce((a, b) => a + b) / values.length;
    for (const row of losses) expect(average(row.slice(-10))).toBeLessThan(0.9 * average(row.slice(0, 10)));
    expect(treeLeaves(trained).every((t) => t.shape[0] === 2)).toBe(true);
    const again = await metaTrain({ ...options, metaSteps: 3 }, keys);
    expect((await metaTrain({ ...options, metaSteps: 3 }, keys)).losses).toEqual(again.losses);
  });

  test("starts a training afresh after its horizon, and goes on with it until then", async () => {
    const task = { init: () => zeros([1]), loss: (p: Tensor) => sum(p), examples: 1, batchSize: 1 };
    const options = {
      tasks: [task],
      optimizer: lopt,
      metaSteps: 4,
      pairs: 1,
      sigma: 1e-7,
      metaLearningRate: 1e-9,
    };
    const { losses } = await metaTrain(
      { ...options, truncation: 5, horizon: 10 },
      random.split(random.key(3), 1),
    );
    const [first, second, third, fourth] = losses[0]!;
    expect(Math.abs(second! - first!)).toBeGreaterThan(1e-4);
    expect(third).toBeCloseTo(first!, 6);
    expect(fourth).toBeCloseTo(second!, 6);
  });

  test("counts losses above the cap, and those that are not finite, as the cap", async () => {
    const of = async (value: number, cap?: number) => {
      const loss = (p: Tensor): Tensor => add(sum(p), value);
      const task = { init: () => zeros([1]), loss, examples: 1, batchSize: 1 };
      const options = { tasks: [task], optimizer: lopt, metaSteps: 2, pairs: 2, truncation: 2, horizon: 4 };
      const { losses, phi: after } = await metaTrain(
        cap === undefined ? options : { ...options, cap },
        random.split(random.key(3), 1),
      );
      expect((await numbers(ravel(after))).every(Number.isFinite)).toBe(true);
      return losses[0]!;
    };
    const cap = 3 * Math.log(10);
    expect(await of(100)).toEqual(close([cap, cap]));
    expect(await of(Number.NaN)).toEqual(close([cap, cap]));
    expect(await of(Number.NEGATIVE_INFINITY)).toEqual(close([cap, cap]));
    expect(await of(100, 20)).toEqual(close([20, 20]));
    expect(await of(3)).toEqual(close([3, 3], 1));
  });

  test("shares the pairs among tasks, whose networks may differ in shape", async () => {
    const taskOf = (value: number, width: number) => ({
      init: () => zeros([width]),
      loss: (p: Tensor): Tensor => add(mean(p), value),
      examples: 1,
      batchSize: 1,
    });
    const train = async (tasks: ReturnType<typeof taskOf>[]) => {
      const options = { tasks, optimizer: lopt, metaSteps: 3, pairs: 4, truncation: 2, horizon: 4 };
      return metaTrain(options, random.split(random.key(3), 1));
    };
    const both = await train([taskOf(1, 2), taskOf(3, 5)]);
    expect(both.losses[0]).toEqual(close([2, 2, 2], 1));
    const first = await train([taskOf(1, 2)]);
    expect(await numbers(ravel(both.phi))).not.toEqual(await numbers(ravel(first.phi)));
  });

  test("follows every task's gradient", async () => {
    const task = (slope: number) => ({
      init: () => zeros([2]),
      loss: (p: Tensor): Tensor => add(mul(slope, mean(p)), 1),
      examples: 1,
      batchSize: 1,
    });
    const train = async (tasks: ReturnType<typeof task>[]) => {
      const options = { tasks, optimizer: lopt, metaSteps: 1, pairs: 2, truncation: 4, horizon: 8 };
      return numbers(ravel((await metaTrain(options, random.split(random.key(3), 1))).phi));
    };
    const unmoved = await train([task(0), task(0)]);
    expect(await train([task(1), task(0)])).not.toEqual(unmoved);
    expect(await train([task(0), task(1)])).not.toEqual(unmoved);
  });

  test("a training's noise adds up until it is over", async () => {
    const xi = tensor([
      [1, 2],
      [3, 4],
    ]);
    const next = accumulatedNoise(
      xi,
      greater(tensor([1, -1]), 0),
      tensor([
        [10, 20],
        [30, 40],
      ]),
    );
    expect(await numbers(next)).toEqual([10, 20, 33, 44]);
  });

  test("refuses what makes no sense", async () => {
    const options = {
      tasks: [{ init: () => zeros([1]), loss: (p: Tensor) => sum(p), examples: 1, batchSize: 1 }],
      optimizer: lopt,
      metaSteps: 1,
    };
    const keys = random.split(random.key(0), 1);
    for (const bad of [
      { metaSteps: 0 },
      { pairs: 1.5 },
      { tasks: [] },
      { tasks: [...options.tasks, ...options.tasks], pairs: 3 },
      { truncation: 30, horizon: 200 },
      { sigma: 0 },
      { metaLearningRate: -1 },
    ])
      await expect(metaTrain({ ...options, ...bad }, keys)).rejects.toThrow(RangeError);
  });
});

describe("the search for the meta-learning rate", () => {
  const parabola = (best: number) => async (rate: number) => Math.abs(Math.log(rate / best));

  test("ends when the best rate lies between two others, whichever way that is", async () => {
    expect(await searchRate(parabola(0.03))).toMatchObject({ best: 0.03, rates: FIRST_RATES });
    const up = await searchRate(parabola(0.24));
    expect(up.rates).toEqual([0.015, 0.03, 0.06, 0.12, 0.24, 0.48]);
    expect(up.best).toBe(0.24);
    const down = await searchRate(parabola(0.00375));
    expect(down.best).toBe(0.00375);
    expect(down.rates[0]).toBe(0.00375 / 2);
    expect(down.losses[1]).toBe(0);
  });

  test("gives up when eight rates were not enough", async () => {
    await expect(searchRate(async (rate) => rate)).rejects.toThrow(/8 were tried/);
  });

  test("chose the shipped rates between worse ones, in both parametrizations", async () => {
    for (const parametrization of ["mup", "sp"] as const) {
      expect(await narrowOptimizers[parametrization].isStored()).toBe(true);
      const { search, rate } = await narrowOptimizers[parametrization].load();
      const [rates, losses] = [await numbers(search.rates), await numbers(search.losses)];
      const best = losses.indexOf(Math.min(...losses));
      expect(await numbers(rate)).toEqual([rates[best]]);
      expect(best).toBeGreaterThan(0);
      expect(best).toBeLessThan(rates.length - 1);
    }
  });
});

describe("a training's final loss", () => {
  const steps = (value: number): number[] => [
    ...new Array<number>(30).fill(5),
    ...new Array<number>(20).fill(value),
  ];

  test("is the geometric mean over trainings, of the last 20 steps", () => {
    expect(finalLoss([steps(1), steps(4)])).toBeCloseTo(2, 10);
  });

  test("counts no step as more than the cap, and what is not finite as the cap", () => {
    expect(finalLoss([steps(4705)])).toBeCloseTo(3 * Math.log(10), 10);
    expect(finalLoss([steps(Number.NaN)], 100)).toBeCloseTo(100, 10);
    expect(meanLoss([1, Number.POSITIVE_INFINITY, 3], 5)).toBe(3);
  });

  test("trainings side by side are those that each key gives alone", async () => {
    const labels = tensor(Int32Array.from({ length: 64 }, (_, i) => i % 3));
    const inputs = draw(40, 64, 6);
    const model = muParametrize({ inputs: 6, width: 4, depth: 2, outputs: 3 }, "mup");
    const task = {
      init: model.init,
      loss: (p: MlpParams, rows: Tensor) =>
        crossEntropy(model.apply(p, take(inputs, rows)), take(labels, rows)),
      examples: 64,
      batchSize: 16,
    };
    const keys = random.split(random.key(9), 2);
    const optimizer = lopt.toOptimizer<MlpParams>(phi, { scale: model.updateScale });
    const together = await trainingLosses(task, optimizer, 5, keys);
    const [second] = await trainingLosses(task, optimizer, 5, slice(keys, [1, 2]));
    expect(together[1]).toEqual(close(second!));
    expect(together[0]).not.toEqual(close(second!));
  });
});
