import {
  add,
  grad,
  item,
  jit,
  mean,
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
  sgd,
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
  normalizeGradients,
  normLoss,
  positiveNegativeMomentum,
  ranger21,
  softplusDenominator,
  softplusOf,
  stableWeightDecay,
  unitNorm,
  warmupSteps,
} from "./method.ts";

/** Updates of a run of gradients at parameters that stay where they are. */
async function outputs<P, S>(
  transformation: GradientTransformation<P, S>,
  params: P,
  gradients: readonly P[],
): Promise<P[]> {
  let state = transformation.init(params);
  return gradients.map((g) => {
    const [updates, next] = transformation.update(g, state, params);
    state = next;
    return updates;
  });
}

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
    expect(warmupSteps({ totalSteps: 1000, beta2: 0.99 })).toBe(200);
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

describe("clipping and centralizing by units", () => {
  test("a matrix has a unit for each output, filters for each filter, a vector one", async () => {
    expect(await numbers(unitNorm(double([3, 1, 4, 1], [2, 2])))).toEqual(close([5, Math.SQRT2]));
    expect(await numbers(unitNorm(double([3, 4, 1, 1], [2, 1, 1, 2])))).toEqual(close([5, Math.SQRT2]));
    expect(await numbers(unitNorm(double([3, 4])))).toEqual(close([5]));
  });

  test("gradients within τ‖w_u‖ stay, longer ones are cut to it, and doing it twice changes nothing", async () => {
    const w = double([3, 0, 4, 2], [2, 2]);
    const g = double([0.03, 30, 0.03, 40], [2, 2]);
    const clipped = adaptiveGradientClipping<Tensor>().update(g, null, w)[0];
    expect(await numbers(clipped)).toEqual(close([0.03, 0.012, 0.03, 0.016]));
    expect(await gap(adaptiveGradientClipping<Tensor>().update(clipped, null, w)[0], clipped)).toBeLessThan(
      1e-15,
    );
    const none = adaptiveGradientClipping<Tensor>().update(double([3, 4]), null, double([0, 0]))[0];
    expect(await numbers(none)).toEqual(close([6e-6, 8e-6]));
  });

  test("centralized gradients have mean 0 for each unit; vectors stay", async () => {
    const tree = { matrix: gaussian(1, [4, 3]), filters: gaussian(2, [2, 3, 2, 2]), bias: gaussian(3, [3]) };
    const [centred] = centralize<typeof tree>().update(tree, null, tree);
    expect(await gap(mean(centred.matrix, 0), double([0, 0, 0]))).toBeLessThan(1e-15);
    expect(await gap(mean(centred.filters, [1, 2, 3]), double([0, 0]))).toBeLessThan(1e-15);
    expect(await gap(centred.bias, tree.bias)).toBe(0);
  });

  test("normalized gradients have an unbiased deviation of 1; tensors of two entries stay", async () => {
    const tree = [double([1, 2, 3, 6]), double([1, 5])];
    const [[long, short]] = normalizeGradients<Tensor[]>().update(tree, null, tree) as readonly [
      Tensor[],
      null,
    ];
    const deviation = Math.sqrt((4 + 1 + 0 + 9) / 3);
    expect(await numbers(long!)).toEqual(
      close(
        [1, 2, 3, 6].map((v) => v / deviation),
        6,
      ),
    );
    expect(await numbers(short!)).toEqual([1, 5]);
    expect(
      await numbers(normalizeGradients<Tensor>().update(double([0, 0, 0]), null, double([0, 0, 0]))[0]),
    ).toEqual([0, 0, 0]);
  });

  test("norm loss pulls units to norm 1, and leaves those of norm 1 alone", async () => {
    const optimizer: GradientTransformation<Tensor, unknown> = inOrder(
      normLoss({ rate: 0.01 }),
      scaleByLearningRate(1),
    );
    const after = async (w: Tensor) =>
      numbers(applyUpdates(w, (await outputs(optimizer, w, [zerosLike(w)]))[0]!));
    expect(await after(double([3, 4]))).toEqual(close([3 * 0.984, 4 * 0.984], 7));
    expect(await after(double([0.6, 0.8]))).toEqual(close([0.6, 0.8], 7));
    expect(await after(double([3, 0.6, 4, 0.8], [2, 2]))).toEqual(close([2.952, 0.6, 3.936, 0.8], 7));
    expect(await after(double([0, 0]))).toEqual([0, 0]);
  });
});

describe("positive–negative momentum", () => {
  test("takes turns with two buffers", async () => {
    const gradients = [1, 2, 3, 4].map((g) => double([g]));
    const found = await outputs(positiveNegativeMomentum<Tensor>({ beta1: 0.5 }), double([0]), gradients);
    const [a1, b1] = [0.75, 1.5];
    const a2 = 0.25 * a1 + 0.75 * 3;
    const b2 = 0.25 * b1 + 0.75 * 4;
    const expected = [2 * a1, 2 * b1 - a1, 2 * a2 - b1, 2 * b2 - a2].map(
      (m, t) => m / Math.sqrt(5) / (1 - 0.5 ** (t + 1)),
    );
    expect((await Promise.all(found.map(numbers))).flat()).toEqual(close(expected));
  });

  test("with β₀ = 0 and no noise factor is momentum on every other step", async () => {
    const gradients = [1, 2, 3, 4, 5, 6].map((g) => double([g]));
    const ours = await outputs(
      positiveNegativeMomentum<Tensor>({ beta1: 0.9, beta0: 0, noiseNorm: false }),
      double([0]),
      gradients,
    );
    const even = await outputs(exponentialMomentum<Tensor>({ beta1: 0.81 }), double([0]), [
      gradients[1]!,
      gradients[3]!,
      gradients[5]!,
    ]);
    // On even steps the corrections agree as well: 1 - .9² = 1 - .81.
    for (const [i, t] of [1, 3, 5].entries()) expect(await gap(ours[t], even[i])).toBeLessThan(1e-12);
  });

  test("turns a constant gradient g into g/√5", async () => {
    const found = await outputs(
      positiveNegativeMomentum<Tensor>(),
      double([0]),
      new Array<Tensor>(160).fill(double([3])),
    );
    expect(await item(found[159]!)).toBeCloseTo(3 / Math.sqrt(5), 6);
  });
});

describe("the denominator", () => {
  test("softplus has its value at 0 and is the identity for large arguments", async () => {
    expect(await numbers(softplusOf(double([0, 0.5, 1000, 0.1])))).toEqual(
      close([Math.log(2) / 50, 0.5, 1000, Math.log(1 + Math.exp(5)) / 50]),
    );
  });

  test("uses the largest second moment so far, corrected by the step", async () => {
    const gradients = [4, 0, 0].map((g) => double([g]));
    const momentum = exponentialMomentum<Tensor>({ beta1: 0 });
    const make = (amsMax: boolean) =>
      softplusDenominator(momentum, { beta2: 0.5, amsMax, softplus: null, eps: 0 });
    const squares = async (amsMax: boolean) => {
      const transformation = make(amsMax);
      let state = transformation.init(double([0]));
      const out: number[] = [];
      for (const g of gradients) {
        state = transformation.update(g, state, double([0]))[1];
        out.push(await item(state.meanSquare));
      }
      return out;
    };
    expect(await squares(true)).toEqual(close([8 / 0.5, 8 / 0.75, 8 / 0.875]));
    expect(await squares(false)).toEqual(close([8 / 0.5, 4 / 0.75, 2 / 0.875]));
  });

  test("stable decay is divided by the root of the mean second moment over all tensors, and waits while that is 0", async () => {
    const params = { a: double([1, 1, 1]), b: double([10]) };
    const make = (stable: boolean) =>
      stableWeightDecay(
        softplusDenominator(exponentialMomentum<typeof params>({ beta1: 0 }), { beta2: 0, softplus: null }),
        {
          rate: 0.1,
          stable,
          mask: (t) => t.size === 1,
        },
      );
    const g = { a: double([2, 2, 2]), b: double([6]) };
    const [updates] = make(true).update(g, make(true).init(params), params);
    // v̂ = (4, 4, 4, 36): mean 12.
    expect(await item(updates.b)).toBeCloseTo(1 + (0.1 * 10) / Math.sqrt(12), 7);
    expect(await numbers(updates.a)).toEqual(close([1, 1, 1], 7));
    const none = treeMap(zerosLike, g);
    expect(await item(make(true).update(none, make(true).init(params), params)[0].b)).toBe(0);
    expect(await item(make(false).update(none, make(false).init(params), params)[0].b)).toBeCloseTo(1, 12);
  });
});

describe("lookahead", () => {
  test("with k = 1 and α = 1 is the base optimizer", async () => {
    const base = sgd<Tensor>({ learningRate: 0.1 });
    const around: GradientTransformation<Tensor, unknown> = inOrder(base, lookahead({ period: 1, share: 1 }));
    const [a, b] = [
      await descent(base, double([1, 2]), 7, (p) => p),
      await descent(around, double([1, 2]), 7, (p) => p),
    ];
    expect(await gap(a[7], b[7])).toBeLessThan(1e-14);
  });

  test("goes half-way back every k steps", async () => {
    const around: GradientTransformation<Tensor, unknown> = inOrder(
      sgd({ learningRate: 1 }),
      lookahead({ period: 3, share: 0.5 }),
    );
    const steps = await descent(around, double([0]), 7, (p) => add(mul(p, 0), -1));
    expect((await Promise.all(steps.map(numbers))).flat()).toEqual(close([0, 1, 2, 1.5, 2.5, 3.5, 3, 4]));
  });
});

describe("Ranger21", () => {
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
