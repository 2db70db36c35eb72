import { add, item, mean, mul, type Tensor, treeMap, zerosLike } from "@prior-art/tensor";
import {
  applyUpdates,
  type GradientTransformation,
  scaleByLearningRate,
  sgd,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { close, double, gap, gaussian, numbers } from "../testing/doubles.ts";
import { descent, inOrder } from "../testing/paths.ts";
import {
  adaptiveGradientClipping,
  centralize,
  exponentialMomentum,
  lookahead,
  normalizeGradients,
  normLoss,
  positiveNegativeMomentum,
  softplusDenominator,
  softplusOf,
  stableWeightDecay,
  unitNorm,
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

  test("looks five steps ahead and comes half-way back by default", async () => {
    const around: GradientTransformation<Tensor, unknown> = inOrder(sgd({ learningRate: 1 }), lookahead());
    const steps = await descent(around, double([0]), 6, (p) => add(mul(p, 0), -1));
    expect((await Promise.all(steps.map(numbers))).flat()).toEqual(close([0, 1, 2, 3, 4, 2.5, 3.5]));
  });
});
