import {
  add,
  grad,
  item,
  jit,
  mul,
  random,
  scalar,
  type Tensor,
  tensor,
  treeMap,
  vmap,
  zerosLike,
} from "@prior-art/tensor";
import { type CnnParams, cnn, crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import {
  adamw,
  applyUpdates,
  clipByGlobalNorm,
  type GradientTransformation,
  masked,
  requireFinite,
  scaleByLearningRate,
  setToZero,
  skipNonFinite,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { expectChangesRefused, expectRatesRefused } from "../testing/contract.ts";
import { close, double, gap, gaussian, numbers } from "../testing/doubles.ts";
import { descent, inOrder } from "../testing/paths.ts";
import contenders from "./contender.ts";
import {
  adaptiveGradientClipping,
  type Components,
  centralize,
  exploreExploitSchedule,
  exponentialMomentum,
  lookahead,
  NONE,
  normLoss,
  PUBLISHED,
  positiveNegativeMomentum,
  ranger21,
  softplusDenominator,
  stableWeightDecay,
  warmupSteps,
} from "./method.ts";

const model = mlp({ sizes: [5, 8, 3], dtype: "float64" });
const x = gaussian(5, [24, 5]);
const labels = tensor(Int32Array.from({ length: 24 }, (_, i) => i % 3));
const start = model.init(random.key(1));
const loss = (p: MlpParams): Tensor => crossEntropy(model.apply(p, x), labels);
const slope = (p: MlpParams): MlpParams => grad(loss)(p);

describe("the schedule", () => {
  const rates = (options: Parameters<typeof exploreExploitSchedule>[0], steps: readonly number[]) => {
    const schedule = exploreExploitSchedule(options);
    return Promise.all(
      steps.map(async (t) => item(add(scalar(0, "float64"), schedule(scalar(t - 1, "float64"))))),
    );
  };

  test("warms up over 2/(1 - β₂) steps, or 22% of short trainings", () => {
    expect([10_000, 5000, 4000, 1000].map((totalSteps) => warmupSteps({ totalSteps }))).toEqual([
      2000, 2000, 880, 220,
    ]);
    expect([4445, 4444].map((totalSteps) => warmupSteps({ totalSteps }))).toEqual([2000, 977]);
    expect(warmupSteps({ totalSteps: 1000, beta2: 0.99 })).toBe(200);
    expect(warmupSteps({ totalSteps: 3 })).toBe(1);
  });

  test("has half the rate half-way up, holds it to 72%, and ends at the final rate", async () => {
    const found = await rates(
      { learningRate: 0.01, totalSteps: 10_000 },
      [1, 1000, 2000, 5000, 7200, 8600, 10_000],
    );
    expect(found).toEqual(close([5e-6, 0.005, 0.01, 0.01, 0.01, (0.01 + 3e-5) / 2, 3e-5]));
  });

  test("never rises towards its end, even when the rate is below the final one", async () => {
    expect(await rates({ learningRate: 1e-5, totalSteps: 100 }, [50, 90, 100])).toEqual(
      close([1e-5, 1e-5, 1e-5], 12),
    );
  });
});

describe("Ranger21", () => {
  const ends = async (...options: readonly Partial<Parameters<typeof ranger21>[0]>[]) =>
    Promise.all(
      options.map(async (o) => {
        const optimizer = ranger21<MlpParams>({ learningRate: 0.02, totalSteps: 12, ...o });
        return (await descent(optimizer, start, 12, slope))[12]!;
      }),
    );

  test("with the published parts is the chain of these, at their defaults", async () => {
    const learningRate = 0.02;
    const chained: GradientTransformation<MlpParams, unknown> = inOrder(
      adaptiveGradientClipping({ threshold: 0.01, floor: 1e-3 }),
      centralize(),
      stableWeightDecay(
        softplusDenominator(positiveNegativeMomentum<MlpParams>({ beta1: 0.9, beta0: 1 }), {
          beta2: 0.999,
          eps: 1e-8,
          amsMax: true,
          softplus: null,
        }),
        { rate: 1e-4 },
      ),
      normLoss({ rate: 1e-4, eps: 1e-8 }),
      scaleByLearningRate(exploreExploitSchedule({ learningRate, totalSteps: 12 })),
      lookahead({ period: 5, share: 0.5 }),
    );
    const [ours] = await ends({ components: PUBLISHED });
    expect(await gap(ours, (await descent(chained, start, 12, slope))[12])).toBeLessThan(1e-12);
  });

  test("a schedule of one's own replaces the rate, with and without the explore–exploit one", async () => {
    const schedule = () => 0.02;
    const [plain, constant, other] = await ends(
      { components: { schedule: false } },
      { learningRate: 0.5, schedule, components: { schedule: false } },
      { learningRate: 0.5, schedule },
    );
    expect(await gap(constant, plain)).toBeLessThan(1e-14);
    expect(await gap(other, plain)).toBeLessThan(1e-14);
  });

  test("the mask keeps tensors from decay and norm loss", async () => {
    const large = { weightDecay: 0.1, normLossRate: 0.1 };
    const [none, off, half, on] = await ends(
      { ...large, mask: () => false },
      { weightDecay: 0, normLossRate: 0 },
      { ...large, mask: ({ rank }) => rank > 1 },
      large,
    );
    expect(await gap(none, off)).toBeLessThan(1e-14);
    expect(await gap(half, off)).toBeGreaterThan(1e-4);
    expect(await gap(half, on)).toBeGreaterThan(1e-4);
  });

  test("with all parts off is AdamW", async () => {
    const ours = ranger21<MlpParams>({
      learningRate: 0.02,
      totalSteps: 50,
      components: NONE,
      weightDecay: 0.1,
    });
    const plain = adamw<MlpParams>({ learningRate: 0.02, weightDecay: 0.1 });
    const [a, b] = [await descent(ours, start, 20, slope), await descent(plain, start, 20, slope)];
    expect(await gap(a[20], b[20])).toBeLessThan(1e-12);
  });

  test("two steps follow the paper's order, worked out by hand", async () => {
    const [eta, b1, b2, eps, lambda, lambdaN] = [0.1, 0.9, 0.999, 1e-8, 1e-4, 1e-4];
    const w0 = [
      [0.5, -1],
      [2, 0.3],
      [-0.7, 1.1],
    ];
    const gradients = [
      [
        [3, 0.001],
        [-2, 0.002],
        [1, -0.004],
      ],
      [
        [-1, 0.003],
        [0.5, 0.001],
        [2, 0.002],
      ],
    ];
    const column = (m: readonly (readonly number[])[], j: number) => m.map((row) => row[j]!);
    const norm = (v: readonly number[]) => Math.hypot(...v);
    let w = w0.map((row) => [...row]);
    const zero = () => w0.map(() => [0, 0]);
    let [recent, older, v, top] = [zero(), zero(), zero(), zero()];
    gradients.forEach((raw, i) => {
      const t = i + 1;
      let g = raw.map((row) => [...row]);
      for (const j of [0, 1]) {
        const [limit, length] = [0.01 * Math.max(norm(column(w, j)), 1e-3), norm(column(g, j))];
        const factor = length > limit ? limit / Math.max(length, 1e-6) : 1;
        g = g.map((row) => row.map((value, k) => (k === j ? value * factor : value)));
      }
      for (const j of [0, 1]) {
        const average = column(g, j).reduce((a, b) => a + b, 0) / 3;
        g = g.map((row) => row.map((value, k) => (k === j ? value - average : value)));
      }
      const all = g.flat();
      const centre = all.reduce((a, b) => a + b, 0) / 6;
      const deviation = Math.sqrt(all.reduce((total, value) => total + (value - centre) ** 2, 0) / 5);
      g = g.map((row) => row.map((value) => value / (deviation + 1e-8)));
      const each = (f: (r: number, c: number) => number) => w0.map((row, r) => row.map((_, c) => f(r, c)));
      const moved = each((r, c) => b1 ** 2 * older[r]![c]! + (1 - b1 ** 2) * g[r]![c]!);
      const m = each((r, c) => (2 * moved[r]![c]! - recent[r]![c]!) / Math.sqrt(5) / (1 - b1 ** t));
      [older, recent] = [recent, moved];
      v = each((r, c) => b2 * v[r]![c]! + (1 - b2) * g[r]![c]! ** 2);
      top = each((r, c) => Math.max(top[r]![c]!, v[r]![c]!));
      const corrected = each((r, c) => top[r]![c]! / (1 - b2 ** t));
      const average = corrected.flat().reduce((a, b) => a + b, 0) / 6;
      const softplus = (value: number) => (50 * value > 20 ? value : Math.log(1 + Math.exp(50 * value)) / 50);
      const decayed = each((r, c) => w[r]![c]! * (1 - (eta * lambda) / Math.sqrt(average)));
      const pulled = each(
        (r, c) => decayed[r]![c]! * (1 - eta * 2 * lambdaN * (1 - 1 / (norm(column(decayed, c)) + eps))),
      );
      w = each((r, c) => pulled[r]![c]! - (eta * m[r]![c]!) / softplus(Math.sqrt(corrected[r]![c]!) + eps));
    });
    const optimizer = ranger21<Tensor>({
      learningRate: eta,
      totalSteps: 10,
      components: { schedule: false },
    });
    let params = double(w0.flat(), [3, 2]);
    let state = optimizer.init(params);
    for (const g of gradients) {
      const [updates, next] = optimizer.update(double(g.flat(), [3, 2]), state, params);
      params = add(params, updates);
      state = next;
    }
    // Decay and norm loss are added here and multiplied there: they differ by less than η²λλ_n.
    expect(await numbers(params)).toEqual(close(w.flat(), 8));
  });

  test("every part changes the path", async () => {
    const run = async (components: Partial<Components>) =>
      (
        await descent(
          ranger21<MlpParams>({
            learningRate: 0.05,
            totalSteps: 12,
            components,
            weightDecay: 0.01,
            normLossRate: 0.01,
          }),
          start,
          12,
          slope,
        )
      )[12]!;
    const full = await run({});
    for (const name of Object.keys(NONE))
      expect(await gap(await run({ [name]: false }), full), name).toBeGreaterThan(1e-7);
  });

  test("trains perceptrons and convolutional nets, and chains with clipping, masks and the skipping of non-finite gradients", async () => {
    const net = cnn({ image: [1, 8, 8], classes: 3, filters: [4, 4], dtype: "float64" });
    const images = gaussian(7, [12, 1, 8, 8]);
    const target = tensor(Int32Array.from({ length: 12 }, (_, i) => i % 3));
    const lossOf = (p: CnnParams) => crossEntropy(net.apply(p, images), target);
    const optimizer: GradientTransformation<CnnParams, unknown> = skipNonFinite(
      inOrder(
        clipByGlobalNorm(1),
        ranger21({ learningRate: 0.01, totalSteps: 40 }),
        masked(setToZero<Tensor[]>(), ({ rank }) => rank === 1),
      ),
    );
    const first = net.init(random.key(3));
    const trained = (await descent(optimizer, first, 40, (p) => grad(lossOf)(p)))[40]!;
    expect(await item(lossOf(trained))).toBeLessThan(0.7 * (await item(lossOf(first))));
    expect(await gap(trained.head.bias, first.head.bias)).toBe(0);
    const broken = treeMap((t) => mul(t, Number.NaN), first);
    const [updates] = optimizer.update(broken, optimizer.init(first), first);
    expect(await gap(updates, treeMap(zerosLike, first))).toBe(0);
    await expect(requireFinite("step", broken)).rejects.toThrow(/holds a NaN/);
  });

  test("a sweep of rates under vmap gives the numbers of single runs", async () => {
    const run = (rate: Tensor): Tensor => {
      const optimizer = ranger21<MlpParams>({ learningRate: rate, totalSteps: 4 });
      let params = start;
      let state = optimizer.init(params);
      for (let i = 0; i < 4; i++) {
        const [updates, next] = optimizer.update(slope(params), state, params);
        params = applyUpdates(params, updates);
        state = next;
      }
      return loss(params);
    };
    const rates = [0.01, 0.1];
    const all = await numbers(await jit(vmap(run))(double(rates)));
    for (const [i, rate] of rates.entries())
      expect(all[i]).toBeCloseTo(await item(await jit(run)(scalar(rate, "float64"))), 10);
  });

  test("the contender trains", async () => {
    for (const { optimizer } of Object.values(contenders)) {
      const made = (await optimizer<MlpParams>(
        { learningRate: 0.03 },
        { steps: 40 },
      )) as GradientTransformation<MlpParams, unknown>;
      const trained = (await descent(made, start, 40, slope))[40]!;
      expect(await item(loss(trained))).toBeLessThan(0.8 * (await item(loss(start))));
    }
  });
});

describe("bad input", () => {
  test("numbers that make no sense are refused", () => {
    expectRatesRefused(
      (learningRate) => ranger21({ learningRate, totalSteps: 10 }),
      /ranger21: the learning rate must be positive/,
    );
    expect(() => ranger21({ learningRate: 0.1, totalSteps: 0 })).toThrow(/totalSteps/);
    expect(() => ranger21({ learningRate: 0.1, totalSteps: 10, betas: [1, 0.9] })).toThrow(/β₁/);
    expect(() => ranger21({ learningRate: 0.1, totalSteps: 10, weightDecay: -1 })).toThrow(RangeError);
    expect(() => adaptiveGradientClipping({ threshold: 0 })).toThrow(RangeError);
    expect(() => lookahead({ period: 1.5 })).toThrow(RangeError);
    expect(() => lookahead({ share: 0 })).toThrow(RangeError);
    expect(() => normLoss({ rate: -1 })).toThrow(RangeError);
    expect(() => softplusDenominator(exponentialMomentum(), { softplus: 0 })).toThrow(RangeError);
    expect(() => positiveNegativeMomentum({ beta0: -1 })).toThrow(/β₀/);
    expect(() => exploreExploitSchedule({ learningRate: 1, totalSteps: 10, warmdownStart: 1 })).toThrow(
      RangeError,
    );
  });

  test("parameters whose structure changed between steps are refused", () => {
    expectChangesRefused(ranger21<Record<string, Tensor>>({ learningRate: 0.1, totalSteps: 10 }), {
      state: /don't fit the parameters/,
      shapes: /don't fit the parameters/,
    });
  });
});
