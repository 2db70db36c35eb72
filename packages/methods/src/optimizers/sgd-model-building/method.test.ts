import {
  add,
  div,
  exp,
  item,
  jit,
  mul,
  random,
  scalar,
  sqrt,
  sub,
  sum,
  type Tensor,
  tensor,
  treeMap,
  vmap,
} from "@prior-art/tensor";
import { crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import {
  type AnyOptimizer,
  applyUpdates,
  asClosure,
  type ClosureOptimizer,
  chainClosure,
  clipByGlobalNorm,
  cosineDecay,
  type GradientTransformation,
  masked,
  scale,
  scaleByLearningRate,
  setToZero,
  sgd,
  skipNonFinite,
  trainSteps,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { expectRatesRefused } from "../testing/contract.ts";
import { close, double, norm, numbers } from "../testing/doubles.ts";
import { inOrder } from "../testing/paths.ts";
import contenders from "./contender.ts";
import { modelStep, shortenedTrials, smb, stochasticLineSearch } from "./method.ts";

/** Steps on one loss each; parameters and states before and after. */
async function path<P, S>(
  optimizer: ClosureOptimizer<P, S>,
  start: P,
  losses: readonly ((params: P) => Tensor)[],
): Promise<{ params: P; state: S; loss: number }[]> {
  const out = [{ params: start, state: optimizer.init(start), loss: Number.NaN }];
  for (const loss of losses) {
    const step = jit((p: P, s: S) => {
      const [updates, next, value] = optimizer.step({ loss }, s, p);
      return [applyUpdates(p, updates), next, value] as const;
    });
    const { params, state } = out.at(-1)!;
    const [after, next, value] = await step(params, state);
    out.push({ params: after, state: next, loss: await item(value) });
    await step.release();
  }
  return out;
}

const repeat = <T>(value: T, times: number): T[] => new Array<T>(times).fill(value);
const bowl = (curvatures: readonly number[]) => (x: Tensor) =>
  mul(0.5, sum(mul(double(curvatures), mul(x, x))));

describe("the model step", () => {
  test("of a linear loss is η times the trial step", async () => {
    const g = double([1, -2, 3]);
    expect(await numbers(modelStep(mul(-0.5, g), g, g))).toEqual(close([-0.495, 0.99, -1.485], 12));
    expect(await item(modelStep(double([-2]), double([1]), double([1]), 0.5))).toBeCloseTo(-1, 12);
  });

  test("of a parabola has the values worked out by hand", async () => {
    const f = bowl([4]);
    for (const [alpha, expected] of [
      [0.5, -0.399194],
      [1, -0.443946],
    ] as const) {
      const [, after] = await path(smb<Tensor>({ learningRate: alpha }), double([1]), [f]);
      expect((await item(after!.params)) - 1).toBeCloseTo(expected, 6);
      expect(await item(after!.state.tookTrial)).toBe(0);
    }
  });

  test("turns the direction where curvatures differ", async () => {
    const f = bowl([1, 10]);
    const [, after] = await path(smb<Tensor>({ learningRate: 0.5 }), double([1, 1]), [f]);
    expect((await numbers(after!.params)).map((v) => v - 1)).toEqual([
      expect.closeTo(-0.247728, 6),
      expect.closeTo(-0.44507, 6),
    ]);
    expect(after!.loss).toBeCloseTo(5.5, 12);
    expect(await item(f(after!.params))).toBeCloseTo(1.822692, 6);
    expect(await item(after!.state.trialLoss)).toBeCloseTo(80.125, 12);
  });

  test("is the paper's formula, is a descent direction, and is no longer than the trial, in 10,000 random draws", async () => {
    const [draws, size, eta] = [10_000, 4, 0.99];
    const key = random.keys(random.key(1), 4);
    const spread = (k: Tensor) => exp(mul(3, random.normal(k, [draws, 1], { dtype: "float64" })));
    const g = random.normal(key[0]!, [draws, size], { dtype: "float64" });
    const y = mul(spread(key[2]!), random.normal(key[1]!, [draws, size], { dtype: "float64" }));
    const s = mul(g, mul(-1, spread(key[3]!)));
    const ours = vmap((a: Tensor, b: Tensor, c: Tensor) => modelStep(a, b, c, eta))(s, g, add(g, y));
    const [gs, ys, ss, found] = (await Promise.all([g, y, s, ours].map(numbers))) as [
      number[],
      number[],
      number[],
      number[],
    ];
    const dot = (a: number[], b: number[]) => a.reduce((total, v, i) => total + v * b[i]!, 0);
    for (let i = 0; i < draws; i++) {
      const [gi, yi, si, ni] = [gs, ys, ss, found].map((all) => all.slice(i * size, (i + 1) * size)) as [
        number[],
        number[],
        number[],
        number[],
      ];
      expect(dot(gi, ni)).toBeLessThan(0);
      expect(dot(ni, ni)).toBeLessThanOrEqual(dot(si, si) * (1 + 1e-9));
      if (i % 50 !== 0) continue;
      const sigma =
        0.5 *
        (Math.sqrt(dot(si, si)) * (Math.sqrt(dot(yi, yi)) + Math.sqrt(dot(gi, gi)) / eta) - dot(yi, si));
      const lead = dot(yi, si) + 2 * sigma;
      const theta = lead ** 2 - dot(si, si) * dot(yi, yi);
      const cg = -dot(si, si) / (2 * sigma);
      const cy = (cg / theta) * (-lead * dot(si, gi) + dot(si, si) * dot(yi, gi));
      const cs = (cg / theta) * (-lead * dot(yi, gi) + dot(yi, yi) * dot(si, gi));
      const plain = gi.map((v, j) => cg * v + cy * yi[j]! + cs * si[j]!);
      expect(ni).toEqual(plain.map((v) => expect.closeTo(v, 5)));
    }
  });

  test("of a group without gradient is zero, not NaN", async () => {
    const zero = double([0, 0]);
    expect(await numbers(modelStep(zero, zero, double([1, 2])))).toEqual([
      expect.closeTo(0, 20),
      expect.closeTo(0, 20),
    ]);
  });
});

describe("SMB", () => {
  test("equals SGD while the trials pass the Armijo test", async () => {
    const f = bowl([1, 2, 3]);
    const [ours, plain] = await Promise.all([
      path(smb<Tensor>({ learningRate: 0.1 }), double([1, -2, 3]), repeat(f, 8)),
      path(asClosure(sgd<Tensor>({ learningRate: 0.1 })), double([1, -2, 3]), repeat(f, 8)),
    ]);
    expect(await numbers(ours[8]!.params)).toEqual(await numbers(plain[8]!.params));
    expect(await item(ours[8]!.state.evaluations)).toBeCloseTo((8 * 4) / 3, 12);
    expect(await item(ours[8]!.state.tookTrial)).toBe(1);
  });

  test("the test asks for c times the promised decrease, over all groups together", async () => {
    // f = x² falls from 1 to (1 - 2α)²; the promise is 4α: for α = .85 it falls by .51, which is .15 of it.
    const f = (x: Tensor) => sum(mul(x, x));
    const took = async (c: number) =>
      await item((await path(smb<Tensor>({ learningRate: 0.85, c }), double([1]), [f]))[1]!.state.tookTrial);
    expect([await took(0.14), await took(0.16)]).toEqual([1, 0]);
  });

  test("a stationary point accepts its trial", async () => {
    const [, after] = await path(smb<Tensor>(), double([0, 0]), [bowl([1, 1])]);
    expect([await item(after!.state.tookTrial), await numbers(after!.params)]).toEqual([1, [0, 0]]);
  });

  test("so does a gradient below 1e-8, even if the trial is worse", async () => {
    const [, after] = await path(smb<Tensor>({ learningRate: 1 }), double([1e-9]), [bowl([4])]);
    expect(await item(after!.params)).toBeCloseTo(-3e-9, 15);
  });

  test("groups have models of their own; one group for all couples them", async () => {
    const start = { a: double([1]), b: double([1]) };
    const f = (p: typeof start) => add(bowl([4])(p.a), bowl([40])(p.b));
    const step = async (groups?: () => string) => {
      const [, after] = await path(
        smb<typeof start>({ learningRate: 0.5, ...(groups && { groups }) }),
        start,
        [f],
      );
      return [await item(after!.params.a), await item(after!.params.b)];
    };
    const alone = modelStep(double([-2]), double([4]), double([-4]));
    expect((await step())[0]! - 1).toBeCloseTo(await item(alone), 12);
    const joint = modelStep(double([-2, -20]), double([4, 40]), double([-4, -760]));
    expect((await step(() => "all")).map((v) => v - 1)).toEqual(close(await numbers(joint), 12));
  });

  test("evaluations count a gradient a step, a third for a passed test, and a gradient for a model", async () => {
    const [, after] = await path(smb<Tensor>({ learningRate: 0.5 }), double([1]), [bowl([4])]);
    expect(await item(after!.state.evaluations)).toBeCloseTo(2, 12);
  });

  test("auto-scheduling shortens the trial after an epoch of failures and lengthens it after one of successes", async () => {
    const schedule = { stepsPerEpoch: 3, factor: 0.5, largest: 20 };
    const rates = async (curvature: number, alpha: number) =>
      Promise.all(
        (
          await path(
            smb<Tensor>({ learningRate: alpha, autoSchedule: schedule }),
            double([1]),
            repeat(bowl([curvature]), 7),
          )
        ).map(({ state }) => item(state.learningRate)),
      );
    expect(await rates(1000, 8)).toEqual([8, 8, 8, 4, 4, 4, 2, 2]);
    expect(await rates(0.001, 8)).toEqual([8, 8, 8, 16, 16, 16, 16, 16]);
  });
});

describe("SMBi", () => {
  test("a failed trial moves nothing, and the next batch's curvature shapes a step for the earlier gradient", async () => {
    const [first, second] = [bowl([4, 1]), bowl([1, 9])];
    const alpha = 0.6;
    const steps = await path(smb<Tensor>({ learningRate: alpha, independentBatch: true }), double([1, 1]), [
      first,
      second,
      second,
    ]);
    expect(await numbers(steps[1]!.params)).toEqual([1, 1]);
    // The model: s and y of the second batch, the target gradient (4, 1) of the first.
    const dot = (a: number[], b: number[]) => a.reduce((t, v, i) => t + v * b[i]!, 0);
    const [g, wanted] = [
      [1, 9],
      [4, 1],
    ];
    const s = g.map((v) => -alpha * v);
    const y = [s[0]! * 1, s[1]! * 9];
    const sigma = 0.5 * (Math.hypot(...s) * (Math.hypot(...y) + Math.hypot(...g) / 0.99) - dot(y, s));
    const lead = dot(y, s) + 2 * sigma;
    const theta = lead ** 2 - dot(s, s) * dot(y, y);
    const cg = -dot(s, s) / (2 * sigma);
    const cy = (cg / theta) * (-lead * dot(s, wanted) + dot(s, s) * dot(y, wanted));
    const cs = (cg / theta) * (-lead * dot(y, wanted) + dot(y, y) * dot(s, wanted));
    const expected = wanted.map((v, j) => 1 + cg * v + cy * y[j]! + cs * s[j]!);
    expect(await numbers(steps[2]!.params)).toEqual(expected.map((v) => expect.closeTo(v, 10)));
    expect(await Promise.all(steps.slice(1).map(({ state }) => item(state.tookTrial)))).toEqual([1, 0, 1]);
  });

  test("its schedule bears half as many model steps as SMB's: one in 40", async () => {
    const rateAfter = async (failures: readonly number[]) => {
      const optimizer = smb<Tensor>({
        learningRate: 1,
        independentBatch: true,
        autoSchedule: { stepsPerEpoch: 40 },
      });
      const batches = Array.from({ length: 40 }, (_, i) => bowl([failures.includes(i) ? 1000 : 1e-3]));
      return item((await path(optimizer, double([1]), batches)).at(-1)!.state.learningRate);
    };
    expect(await rateAfter([0])).toBeCloseTo(1 / 0.9, 12);
    expect(await rateAfter([0, 10])).toBeCloseTo(0.9, 12);
  });
});

describe("shortened trials", () => {
  test("keep the direction and take the best of the lengths", async () => {
    const f = bowl([1, 10]);
    const [, after] = await path(shortenedTrials<Tensor>({ learningRate: 0.5 }), double([1, 1]), [f]);
    // Trial (-.5, -5): half of it leads to (.75, -1.5), f = 11.5; a tenth to (.95, .5), f = 1.7.
    expect(await numbers(after!.params)).toEqual(close([0.95, 0.5], 12));
    expect(await item(after!.state.evaluations)).toBeCloseTo(2, 12);
  });
});

describe("stochastic line search", () => {
  test("backs off until the loss falls enough, and counts its tries", async () => {
    // f = ½ 4x²: a length a passes if 2(1-4a)² ≤ 2 - .1·16a, that is a ≤ .45; 1, .5, .25 are tried.
    const search = stochasticLineSearch<Tensor>({ learningRate: 1, backtrack: 0.5 });
    const [, after] = await path(search, double([1]), [bowl([4])]);
    expect(await item(after!.params)).toBeCloseTo(0, 12);
    expect(await item(after!.state.learningRate)).toBeCloseTo(0.25, 12);
    expect(await item(after!.state.evaluations)).toBeCloseTo(2, 12);
  });

  test("grows back by the factor an epoch, up to the largest", async () => {
    const search = stochasticLineSearch<Tensor>({
      learningRate: 1,
      growth: 2,
      stepsPerEpoch: 2,
      largest: 1.5,
    });
    const steps = await path(search, double([1]), repeat(bowl([0.01]), 4));
    expect(await Promise.all(steps.slice(1).map(({ state }) => item(state.learningRate)))).toEqual(
      close([1, Math.SQRT2, 1.5, 1.5], 12),
    );
  });

  test("gives up after so many tries and takes a tiny step", async () => {
    const kink = (x: Tensor) => add(sum(sqrt(mul(x, x))), div(1e-9, sum(mul(x, x))));
    const [, after] = await path(stochasticLineSearch<Tensor>({ tries: 1, learningRate: 9 }), double([1]), [
      kink,
    ]);
    expect(await item(after!.params)).toBeCloseTo(1 - 1e-6, 8);
  });
});

const model = mlp({ sizes: [5, 8, 3] });
const x = random.normal(random.key(5), [24, 5]);
const labels = tensor(Int32Array.from({ length: 24 }, (_, i) => i % 3));
const start = model.init(random.key(1));
const objective = (p: MlpParams) => crossEntropy(model.apply(p, x), labels);

describe("in company", () => {
  test("SMB chains with clipping, schedules, masks and the skipping of non-finite updates", async () => {
    const still = ({ rank }: Tensor): boolean => rank === 1;
    const rest: GradientTransformation<MlpParams, unknown> = skipNonFinite(
      inOrder(
        clipByGlobalNorm(0.01),
        scaleByLearningRate(cosineDecay(-1, 10)),
        masked(setToZero<Tensor[]>(), still),
      ),
    );
    const steps = await path(
      chainClosure(smb<MlpParams>({ learningRate: 5 }), rest),
      start,
      repeat(objective, 4),
    );
    expect(await norm(treeMap(sub, steps[0]!.params, steps[1]!.params))).toBeLessThan(0.01 + 1e-6);
    expect(await numbers(steps[4]!.params.layers[0]!.bias!)).toEqual(await numbers(start.layers[0]!.bias!));
    expect(steps[4]!.loss).toBeLessThan(steps[1]!.loss);
  });

  test("a NaN loss leaves the parameters alone under skipNonFinite", async () => {
    const broken = (p: MlpParams) => mul(objective(p), Number.NaN);
    const guarded = chainClosure(smb<MlpParams>(), skipNonFinite(scale<MlpParams>(1)));
    const steps = await path(guarded, start, [broken, objective]);
    expect(await numbers(steps[1]!.params.layers[0]!.weight)).toEqual(await numbers(start.layers[0]!.weight));
    expect(await item(steps[1]!.state[1].skipped)).toBe(1);
    expect(Number.isFinite(steps[2]!.loss)).toBe(true);
  });

  test("all variants train a net in a compiled loop, and a sweep of rates gives the numbers of single runs", async () => {
    const makes: ((rate: Tensor) => AnyOptimizer<MlpParams, unknown>)[] = [
      (learningRate) => smb({ learningRate, autoSchedule: { stepsPerEpoch: 4 } }),
      (learningRate) => smb({ learningRate, independentBatch: true }),
      (learningRate) => shortenedTrials({ learningRate }),
      (learningRate) => stochasticLineSearch({ learningRate, stepsPerEpoch: 4 }),
    ];
    const indices = tensor(
      Int32Array.from({ length: 30 * 12 }, (_, i) => (i * 7) % 24),
      { shape: [30, 12] },
    );
    for (const make of makes) {
      const run = (rate: Tensor): Tensor => {
        const optimizer = make(rate);
        const train = trainSteps({
          loss: (p: MlpParams, batch: { x: Tensor; labels: Tensor }) =>
            crossEntropy(model.apply(p, batch.x), batch.labels),
          optimizer,
        });
        const [trained] = train(
          start,
          optimizer.init(start),
          { x, labels },
          indices,
          random.split(random.key(0), 30),
        );
        return objective(trained);
      };
      const rates = [0.05, 0.5, 3];
      const all = await numbers(await jit(vmap(run))(tensor(rates)));
      const before = await item(objective(start));
      for (const [i, rate] of rates.entries()) {
        expect(all[i]).toBeCloseTo(await item(await jit(run)(scalar(rate))), 3);
        expect(all[i]).toBeLessThan(before);
      }
    }
  });

  test("the contenders train", async () => {
    for (const { optimizer, space } of Object.values(contenders)) {
      const candidate = Object.fromEntries(
        Object.entries(space!).map(([name, values]) => [name, values.at(-1)!]),
      );
      const made = asClosure(await optimizer<MlpParams>(candidate, { steps: 20 }));
      const steps = await path(made, start, repeat(objective, 20));
      expect(steps[20]!.loss).toBeLessThan(steps[1]!.loss * 0.8);
    }
  });
});

describe("bad input", () => {
  test("numbers that make no sense are refused", () => {
    expectRatesRefused((learningRate) => smb({ learningRate }), /smb: the learning rate must be positive/);
    expect(() => smb({ learningRate: Number.POSITIVE_INFINITY })).toThrow(RangeError);
    expect(() => smb({ eta: 1 })).toThrow(/eta must lie between 0 and 1/);
    expect(() => smb({ c: -0.1 })).toThrow(RangeError);
    expect(() => smb({ autoSchedule: { factor: 1 } })).toThrow(/autoSchedule/);
    expect(() => shortenedTrials({}, [2])).toThrow(RangeError);
    expectRatesRefused((learningRate) => stochasticLineSearch({ learningRate }));
    expect(() => stochasticLineSearch({ backtrack: 1 })).toThrow(RangeError);
    expect(() => modelStep(double([1]), double([1]), double([1, 2]))).toThrow(/shapes differ/);
    expect(() => modelStep(double([1]), double([1]), double([1]), 0)).toThrow(RangeError);
  });

  test("SMBi refuses parameters whose structure changed between steps", () => {
    const optimizer = smb<Tensor[]>({ independentBatch: true });
    const state = optimizer.init([double([1, 2])]);
    const loss = (p: Tensor[]) => p.map((t) => sum(mul(t, t))).reduce((a, b) => add(a, b));
    expect(() => optimizer.step({ loss }, state, [double([1, 2]), double([3])])).toThrow(/don't fit/);
    expect(() => optimizer.step({ loss }, state, [double([1, 2, 3])])).toThrow(/don't fit/);
  });
});
