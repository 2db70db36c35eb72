import {
  add,
  div,
  grad,
  item,
  jit,
  matmul,
  mul,
  random,
  relu,
  scalar,
  scan,
  sqrt,
  sub,
  sum,
  type Tensor,
  TensorError,
  tensor,
  treeMap,
  valueAndGrad,
  vmap,
} from "@prior-art/tensor";
import { crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import {
  adam,
  clipByGlobalNorm,
  cosineDecay,
  type GradientTransformation,
  masked,
  momentum,
  requireFinite,
  scale,
  sgd,
  skipNonFinite,
  trainSteps,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { expectRatesRefused } from "../testing/contract.ts";
import { close, double, gap, gaussian, norm, numbers } from "../testing/doubles.ts";
import { descent, inOrder } from "../testing/paths.ts";
import contenders from "./contender.ts";
import { type LawnOptions, lawn, retract, tangentProject } from "./method.ts";

const everything = () => true;

const model = mlp({ sizes: [5, 7, 3], dtype: "float64" });
const x = gaussian(5, [12, 5]);
const labels = tensor(Int32Array.from({ length: 12 }, (_, i) => i % 3));
const start = model.init(random.key(1));
const lossGradient = (params: MlpParams): MlpParams =>
  grad((p: MlpParams) => crossEntropy(model.apply(p, x), labels))(params);

describe("projection and retraction", () => {
  const w = double([3, 4]);

  test("a gradient loses its part along the weights", async () => {
    const once = tangentProject(double([1, 0]), w);
    expect(await numbers(once)).toEqual(close([0.64, -0.48], 12));
    expect(await item(sum(mul(once, w)))).toBeCloseTo(0, 14);
    expect(await gap(tangentProject(once, w), once)).toBeLessThan(1e-15);
  });

  test("retraction keeps the direction and sets the norm", async () => {
    expect(await numbers(retract(w, 10))).toEqual(close([6, 8], 12));
  });

  test("a zero tensor has no direction and stays as it is", async () => {
    const zero = double([0, 0]);
    expect(await numbers(tangentProject(double([1, 2]), zero))).toEqual([1, 2]);
    expect(await numbers(retract(zero, 3))).toEqual([0, 0]);
  });
});

describe("the constrained phase", () => {
  test("one step of SGD-LAWN, by hand", async () => {
    const optimizer = lawn(sgd<Tensor>({ learningRate: 0.5 }), { freeSteps: 0, constrain: everything });
    const [, after] = await descent(optimizer, double([3, 4]), 1, () => double([1, 0]));
    expect(await numbers(after!)).toEqual(close([2.671465, 4.226497], 6));
  });

  test("Adam's two first steps follow the algorithm, with both projections", async () => {
    const [rate, b1, b2, eps] = [0.3, 0.9, 0.999, 1e-8];
    let w = [3, 4];
    const gradients = [
      [1, 0],
      [0.5, 2],
    ];
    let [m, v] = [
      [0, 0],
      [0, 0],
    ];
    const dot = (a: number[], b: number[]) => a.reduce((total, value, i) => total + value * b[i]!, 0);
    const project = (g: number[], at: number[]) =>
      g.map((value, i) => value - (dot(g, at) / dot(at, at)) * at[i]!);
    gradients.forEach((raw, i) => {
      const g = project(raw, w);
      m = m.map((value, j) => b1 * value + (1 - b1) * g[j]!);
      v = v.map((value, j) => b2 * value + (1 - b2) * g[j]! ** 2);
      const d = m.map(
        (value, j) => value / (1 - b1 ** (i + 1)) / (Math.sqrt(v[j]! / (1 - b2 ** (i + 1))) + eps),
      );
      const moved = w.map((value, j) => value - rate * project(d, w)[j]!);
      w = moved.map((value) => (5 * value) / Math.hypot(...moved));
    });
    const optimizer = lawn(adam<Tensor>({ learningRate: rate }), { freeSteps: 0, constrain: everything });
    const steps = await descent(optimizer, double([3, 4]), 2, (_, i) => double(gradients[i]!));
    expect(await gap(steps[2], double(w))).toBeLessThan(1e-12);
  });

  test("norms of weight tensors stay what they were at the switch, for any base; biases move on", async () => {
    const bases: GradientTransformation<MlpParams, unknown>[] = [
      adam({ learningRate: 0.1 }),
      momentum({ learningRate: 0.3 }),
      inOrder(clipByGlobalNorm(0.1), adam({ learningRate: 0.05 })),
    ];
    for (const base of bases) {
      const steps = await descent(lawn(base, { freeSteps: 3 }), start, 12, lossGradient);
      for (const layer of [0, 1]) {
        const norms = await Promise.all(steps.map((p) => norm(p.layers[layer]!.weight)));
        expect(Math.abs(norms[3]! - norms[0]!)).toBeGreaterThan(1e-3);
        for (const length of norms.slice(4)) expect(Math.abs(length / norms[3]! - 1)).toBeLessThan(1e-12);
        const biases = await Promise.all(steps.map((p) => norm(p.layers[layer]!.bias!)));
        expect(Math.abs(biases[12]! - biases[3]!)).toBeGreaterThan(1e-3);
      }
    }
  });

  test("each tensor is projected and rescaled by itself", async () => {
    const [a, b] = [double([3, 4], [1, 2]), double([1, 0], [1, 2])];
    const [ga, gb] = [double([1, 0], [1, 2]), double([-3, 2], [1, 2])];
    // Both gradients together are orthogonal to both tensors together, but neither is to its own.
    expect(await item(add(sum(mul(a, ga)), sum(mul(b, gb))))).toBe(0);
    const rate = 0.5;
    const optimizer = lawn(sgd<Tensor[]>({ learningRate: rate }), { freeSteps: 0 });
    const [, after] = await descent(optimizer, [a, b], 1, () => [ga, gb]);
    expect(await numbers(after![0]!)).toEqual(close([2.671465, 4.226497], 6));
    expect(await numbers(after![1]!)).toEqual(close([Math.SQRT1_2, -Math.SQRT1_2], 12));
    // Adam's first step has the signs of the projected gradient, (1, -1), whose tangent part is (1.12, -0.84).
    const signs = lawn(adam<Tensor[]>({ learningRate: rate, eps: 1e-30 }), { freeSteps: 0 });
    const [, turned] = await descent(signs, [a, b], 1, () => [ga, gb]);
    const length = Math.hypot(2.44, 4.42);
    expect(await numbers(turned![0]!)).toEqual(close([(5 * 2.44) / length, (5 * 4.42) / length], 12));
  });

  test("in float32 the norms hold to 1e-6 over hundreds of compiled steps", async () => {
    const small = mlp({ sizes: [5, 7, 3] });
    const params = small.init(random.key(1));
    const optimizer = lawn(adam<MlpParams>({ learningRate: 0.03 }), { freeSteps: 0 });
    const x32 = random.normal(random.key(5), [12, 5]);
    const train = jit(
      trainSteps({
        loss: (p: MlpParams, batch: { x: Tensor; labels: Tensor }) =>
          crossEntropy(small.apply(p, batch.x), batch.labels),
        optimizer,
      }),
    );
    const indices = tensor(
      Int32Array.from({ length: 400 * 12 }, (_, i) => i % 12),
      { shape: [400, 12] },
    );
    const [trained] = await train(
      params,
      optimizer.init(params),
      { x: x32, labels },
      indices,
      random.split(random.key(0), 400),
    );
    for (const layer of [0, 1]) {
      const [before, after] = [params, trained].map((p) => p.layers[layer]!.weight);
      const c = await norm(before!);
      expect(Math.abs((await norm(after!)) - c)).toBeLessThan(1e-6 * c);
    }
    await train.release();
  });

  test("the scale multiplies the norms, and halving them divides a bias-free ReLU net's logits by 2^L", async () => {
    const weights = [0, 1, 2].map((i) => gaussian(i, [6, 6]));
    const logits = (ws: readonly Tensor[]) =>
      ws.reduce((h, w, i) => (i < 2 ? relu(matmul(h, w)) : matmul(h, w)), gaussian(9, [4, 6]));
    const none = (ws: Tensor[]) => ws.map((w) => mul(w, 0));
    const halved = lawn(sgd<Tensor[]>({ learningRate: 1 }), { freeSteps: 0, scale: 0.5 });
    const [, after] = await descent(halved, weights, 1, none);
    expect(await gap(logits(after!), mul(logits(weights), 1 / 8))).toBeLessThan(1e-12);
  });

  test("projecting the gradient changes nothing for a loss that doesn't see the scale", async () => {
    const w = double([1, -2, 0.5]);
    const loss = (p: Tensor) => sum(mul(div(p, sqrt(sum(mul(p, p)))), double([0.3, 1, -2])));
    const [, g] = valueAndGrad(loss)(w);
    expect(await gap(tangentProject(g, w), g)).toBeLessThan(1e-15);
  });
});

describe("the two phases", () => {
  test("E_free = ∞ is the base optimizer bit for bit", async () => {
    const bases: GradientTransformation<MlpParams, unknown>[] = [
      adam({ learningRate: 0.1 }),
      momentum({ learningRate: 0.1 }),
    ];
    for (const base of bases) {
      const plain = await descent(base, start, 6, lossGradient);
      const never = lawn(base, { freeSteps: Number.POSITIVE_INFINITY });
      const wrapped = await descent(never, start, 6, lossGradient);
      expect(await gap(plain[6], wrapped[6])).toBe(0);
    }
  });

  test("the state starts anew at the switch, or goes on when asked to", async () => {
    const gradients = (_: Tensor, i: number) => double(i < 2 ? [5, 5] : [1, 0]);
    const base = momentum<Tensor>({ learningRate: 0.1 });
    const anew = lawn(base, { freeSteps: 2, warmupSteps: 0, constrain: everything });
    const kept = lawn(base, { freeSteps: 2, warmupSteps: 0, constrain: everything, resetState: false });
    const [a, b] = [
      await descent(anew, double([3, 4]), 3, gradients),
      await descent(kept, double([3, 4]), 3, gradients),
    ];
    const fresh = lawn(base, { freeSteps: 0, constrain: everything });
    const alone = await descent(fresh, a[2]!, 1, () => double([1, 0]));
    expect(await gap(a[3], alone[1])).toBeLessThan(1e-14);
    expect(await gap(a[3], b[3])).toBeGreaterThan(1e-3);
  });

  /** What each step of SGD with rate 1 on gradients of 1 adds, times -1. */
  const strides = async (options: LawnOptions, steps: number): Promise<number[]> => {
    const optimizer = lawn(sgd<Tensor>({ learningRate: 1 }), { constrain: () => false, ...options });
    const walked = await descent(optimizer, double([0]), steps, () => double([1]));
    const at = await Promise.all(walked.map((p) => item(p)));
    return at.slice(1).map((value, i) => at[i]! - value);
  };

  test("both phases warm up, in as many steps each as the options say", async () => {
    expect(await strides({ freeSteps: 4, warmupSteps: 2 }, 8)).toEqual([0.5, 1, 1, 1, 0.5, 1, 1, 1]);
    expect(await strides({ freeSteps: 3, warmupSteps: { free: 0, constrained: 4 } }, 8)).toEqual([
      1, 1, 1, 0.25, 0.5, 0.75, 1, 1,
    ]);
    const inGraph = { free: double([2]), constrained: double([4]) };
    expect(await strides({ freeSteps: 3, warmupSteps: inGraph }, 6)).toEqual([0.5, 1, 1, 0.25, 0.5, 0.75]);
  });

  test("a free phase shorter than the warm-up ends within it", async () => {
    expect(await strides({ freeSteps: 1, warmupSteps: 4 }, 6)).toEqual([0.25, 0.25, 0.5, 0.75, 1, 1]);
  });

  test("by default the free phase is all warm-up, and the constrained one's takes as many steps", async () => {
    expect(await strides({ freeSteps: 4 }, 10)).toEqual([0.25, 0.5, 0.75, 1, 0.25, 0.5, 0.75, 1, 1, 1]);
    expect(await strides({ freeSteps: scalar(2, "float64") }, 5)).toEqual([0.5, 1, 0.5, 1, 1]);
    const never = scalar(Number.POSITIVE_INFINITY, "float64");
    for (const freeSteps of [0, Number.POSITIVE_INFINITY, never])
      expect(await strides({ freeSteps }, 3)).toEqual([1, 1, 1]);
  });

  test("a warm-up also holds back the steps on the sphere and the biases", async () => {
    const base = () => sgd<Tensor>({ learningRate: 0.5 });
    const options = { freeSteps: 0, constrain: everything };
    const gradient = () => double([1, 0]);
    const warm = await descent(lawn(base(), { ...options, warmupSteps: 5 }), double([3, 4]), 1, gradient);
    const slow = await descent(
      lawn(sgd<Tensor>({ learningRate: 0.1 }), options),
      double([3, 4]),
      1,
      gradient,
    );
    expect(await gap(warm[1], slow[1])).toBeLessThan(1e-14);
    const layers = (optimizer: GradientTransformation<MlpParams, unknown>) =>
      descent(optimizer, start, 1, lossGradient);
    const [a, b] = [
      await layers(lawn(sgd({ learningRate: 0.5 }), { freeSteps: 0, warmupSteps: 5 })),
      await layers(lawn(sgd({ learningRate: 0.1 }), { freeSteps: 0 })),
    ];
    expect(await gap(a[1], b[1])).toBeLessThan(1e-14);
  });

  test("a schedule multiplies the warmed-up updates and doesn't start anew at the switch", async () => {
    const schedule = (step: Tensor) => sub(1, mul(0.25, step));
    expect(await strides({ freeSteps: 2, warmupSteps: 2, schedule }, 4)).toEqual([0.5, 0.75, 0.25, 0.25]);
  });

  test("the norms kept are those of the switch, for a fraction of a step from the next one on", async () => {
    for (const [freeSteps, at] of [
      [2, 2],
      [1.5, 2],
    ] as const) {
      const optimizer = lawn(sgd<Tensor>({ learningRate: 1 }), {
        freeSteps,
        warmupSteps: 0,
        constrain: everything,
      });
      const steps = await descent(optimizer, double([3, 4]), 5, () => double([-1, 1]));
      expect(await numbers(steps[at]!)).toEqual([5, 2]);
      const norms = await Promise.all(steps.map(norm));
      for (const length of norms.slice(at)) expect(length).toBeCloseTo(Math.sqrt(29), 12);
    }
  });

  test("a tensor that is zero at the switch is not constrained", async () => {
    const optimizer = lawn(sgd<Tensor>({ learningRate: 1 }), { freeSteps: 0, constrain: everything });
    const steps = await descent(optimizer, double([0, 0]), 2, () => double([1, -2]));
    expect(await numbers(steps[2]!)).toEqual([-2, 4]);
  });

  test("tensors are chosen by path", async () => {
    const optimizer = lawn(sgd<MlpParams>({ learningRate: 0.5 }), {
      freeSteps: 0,
      constrain: (name) => name === "layers[1].weight",
    });
    const steps = await descent(optimizer, start, 3, lossGradient);
    const normAt = (i: number, layer: number) => norm(steps[i]!.layers[layer]!.weight);
    expect(await normAt(3, 1)).toBeCloseTo(await normAt(0, 1), 12);
    expect(Math.abs((await normAt(3, 0)) - (await normAt(0, 0)))).toBeGreaterThan(1e-3);
  });
});

describe("in company", () => {
  test("LAWN chains with clipping, masks and the skipping of non-finite gradients, on any tree", async () => {
    const params = {
      a: [double([1, 2, 3, 4], [2, 2])],
      b: { c: double([1, 1, 1, 1, 1, 1, 1, 1], [2, 2, 2]), d: double([1]) },
    };
    const optimizer: GradientTransformation<typeof params, unknown> = skipNonFinite(
      inOrder(
        clipByGlobalNorm(1),
        lawn(
          masked(adam<Tensor[]>({ learningRate: cosineDecay(0.1, 10) }), (t) => t.rank < 3),
          { freeSteps: 1 },
        ),
      ),
    );
    const gradient = (p: typeof params, i: number) => treeMap((t) => mul(t, i === 2 ? Number.NaN : 0.3), p);
    const steps = await descent(optimizer, params, 5, gradient);
    expect(await gap(steps[2], steps[3])).toBe(0);
    expect(await norm(steps[5]!.b.c)).toBeCloseTo(await norm(steps[1]!.b.c), 12);
    await expect(requireFinite("step", gradient(steps[5]!, 2))).rejects.toThrow(/a\[0\] holds a NaN/);
  });

  test("a sweep of E_free and rates under vmap gives the numbers of single runs", async () => {
    const run = (rate: Tensor, freeSteps: Tensor): Tensor => {
      const optimizer = lawn(adam<Tensor>({ learningRate: rate }), { freeSteps, constrain: everything });
      const w = tensor([3, 4]);
      return scan(
        ({ p, s }, target: Tensor) => {
          const [u, next] = optimizer.update(sub(p, target), s, p);
          return [{ p: add(p, u), s: next }, null];
        },
        { p: w, s: optimizer.init(w) },
        random.normal(random.key(3), [6, 2]),
      )[0].p;
    };
    const [rates, frees] = [
      [0.1, 0.2, 0.3],
      [0, 2, 9],
    ];
    const all = await jit(vmap(run))(tensor(rates), tensor(frees));
    const single = await Promise.all(rates.map((r, i) => numbers(run(scalar(r), scalar(frees[i]!)))));
    expect(await numbers(all)).toEqual(single.flat().map((v) => expect.closeTo(v, 5)));
  });

  test("the contenders train", async () => {
    const small = model.init(random.key(2));
    const before = await item(crossEntropy(model.apply(small, x), labels));
    for (const { optimizer } of Object.values(contenders)) {
      const made = (await optimizer<MlpParams>(
        { learningRate: 0.02, freeShare: 0.16 },
        { steps: 40 },
      )) as GradientTransformation<MlpParams, unknown>;
      const trained = (await descent(made, small, 40, lossGradient))[40]!;
      expect(await item(crossEntropy(model.apply(trained, x), labels))).toBeLessThan(before - 0.1);
    }
  });
});

describe("bad input", () => {
  test("phases and scales that make no sense are refused", () => {
    const base = scale<Tensor>(-1);
    expect(() => lawn(base, { freeSteps: -1 })).toThrow(RangeError);
    expect(() => lawn(base, { freeSteps: Number.NaN })).toThrow(RangeError);
    for (const wrong of [-1, Number.NaN, Number.POSITIVE_INFINITY, { free: 0, constrained: -1 }])
      expect(() => lawn(base, { freeSteps: 1, warmupSteps: wrong })).toThrow(RangeError);
    expect(() => lawn(base, { freeSteps: 1, scale: 0 })).toThrow(RangeError);
    expectRatesRefused((learningRate) => lawn(adam<Tensor>({ learningRate }), { freeSteps: 1 }));
  });

  test("parameters whose structure changed between steps are refused by name", () => {
    const optimizer = lawn(adam<Tensor[]>({ learningRate: 0.1 }), { freeSteps: 0 });
    const state = optimizer.init([double([1, 2])]);
    const grown = [double([1, 2]), double([3])];
    expect(() => optimizer.update(grown, state, grown)).toThrow(/lawn: .*another number of tensors/);
    expect(() => optimizer.update([double([1])], state, [double([1, 2])])).toThrow(TensorError);
  });
});
