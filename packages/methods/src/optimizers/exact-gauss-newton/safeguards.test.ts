import {
  add,
  div,
  grad,
  item,
  jit,
  matmul,
  mul,
  random,
  reshape,
  sub,
  sum,
  type Tensor,
  tanh,
  tensor,
} from "@prior-art/tensor";
import { dropout } from "@prior-art/toolkit/nn";
import { applyUpdates, type Objective } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { double, gaussian } from "../testing/doubles.ts";
import { type ExactGaussNewtonOptions, exactGaussNewton, trustRatio } from "./method.ts";
import { outputLoss } from "./outputLoss.ts";
import { type Net, net, objectiveOf, regression, x } from "./testing/net.ts";

describe("the line search", () => {
  const lossOf = objectiveOf("squaredError").loss;

  test("never lets the batch's loss rise, where the same step without it does", async () => {
    const far = { first: mul(3, net.first), second: net.second };
    const objective = objectiveOf("squaredError");
    for (const [lineSearch, falls] of [
      [false, false],
      [true, true],
    ] as const) {
      const optimizer = exactGaussNewton<Net>({ damping: 1e-3, learningRate: 8, lineSearch });
      const [updates] = optimizer.step(objective, optimizer.init(far), far);
      const after = await item(lossOf(applyUpdates(far, updates)));
      expect(after < (await item(lossOf(far)))).toBe(falls);
    }
  });

  test("takes the first of 1, ½, ¼, … that satisfies Armijo's condition", async () => {
    const predictCurve = (w: Tensor): Tensor => reshape(add(mul(w, mul(w, w)), mul(-4, w)), [1, 1]);
    const targets = double([0], [1, 1]);
    const loss = (w: Tensor): Tensor => outputLoss("squaredError", predictCurve(w), targets);
    const optimizer = exactGaussNewton<Tensor>({ damping: 1e-6, learningRate: 1, lineSearch: true });
    const w = double([1.25]);
    const [update] = optimizer.step(
      { loss, outputs: { predict: predictCurve, targets, kind: "squaredError" } },
      optimizer.init(w),
      w,
    );
    const r = 1.25 ** 3 - 5;
    const j = 3 * 1.25 ** 2 - 4;
    const direction = (-j * r) / (j * j + 1e-6);
    const lossAt = (v: number): number => 0.5 * (v ** 3 - 4 * v) ** 2;
    let rate = 1;
    while (lossAt(1.25 + rate * direction) > lossAt(1.25) + 1e-4 * rate * j * r * direction) rate /= 2;
    expect(rate).toBeLessThan(1);
    expect(await item(update)).toBeCloseTo(rate * direction, 9);
  });

  test("stays where no length helps", async () => {
    const predictAway = (w: Tensor): Tensor => reshape(w, [1, 1]);
    const targets = double([0], [1, 1]);
    const optimizer = exactGaussNewton<Tensor>({ lineSearch: { sufficientDecrease: 5 } });
    const w = double([1]);
    const objective: Objective<Tensor> = {
      loss: (v) => outputLoss("squaredError", predictAway(v), targets),
      outputs: { predict: predictAway, targets, kind: "squaredError" },
    };
    expect(await item(optimizer.step(objective, optimizer.init(w), w)[0])).toBe(0);
  });

  test("works with dropout and under jit: one draw for all tries", async () => {
    const key = random.key(5);
    const noisy = (p: Net): Tensor =>
      matmul(dropout(random.fold(key, 1), tanh(matmul(x, p.first)), 0.5), p.second);
    const objective: Objective<Net> = {
      loss: (p) => outputLoss("squaredError", noisy(p), regression),
      outputs: { predict: noisy, targets: regression, kind: "squaredError" },
    };
    const optimizer = exactGaussNewton<Net>({ damping: 0.1, lineSearch: true, momentum: 0.9 });
    const step = jit((p: Net) => optimizer.step(objective, optimizer.init(p), p));
    const [updates, , before] = await step(net);
    expect(await item(objective.loss(applyUpdates(net, updates)))).toBeLessThan(await item(before));
    await step.release();
  });
});

describe("adaptive damping", () => {
  test("the trust ratio is 1 for linear least squares", async () => {
    const a = gaussian(11, [10, 3]);
    const target = gaussian(12, [10, 1]);
    const loss = (w: Tensor): Tensor => outputLoss("squaredError", matmul(a, w), target);
    const start = gaussian(13, [3, 1]);
    const d = gaussian(14, [3, 1]);
    const curvature = div(sum(mul(matmul(a, d), matmul(a, d))), 10);
    const slope = sum(mul(grad(loss)(start), d));
    const rate = tensor(0.3, { dtype: "float64" });
    const ratio = trustRatio({
      loss: loss(start),
      after: loss(add(start, mul(0.3, d))),
      rate,
      slope,
      curvature,
    });
    expect(await item(ratio)).toBeCloseTo(1, 9);
  });

  test("a good model halves λ, a bad one raises it by half, and λ stays in its range", async () => {
    const a = gaussian(11, [10, 3]);
    const target = gaussian(12, [10, 1]);
    const linear: Objective<Tensor> = {
      loss: (w) => outputLoss("squaredError", matmul(a, w), target),
      outputs: { predict: (w) => matmul(a, w), targets: target, kind: "squaredError" },
    };
    const start = gaussian(13, [3, 1]);
    const after = async (options: ExactGaussNewtonOptions, objective = linear, at = start) => {
      const optimizer = exactGaussNewton<Tensor>({ damping: 0.2, ...options });
      return item(optimizer.step(objective, optimizer.init(at), at)[1].damping);
    };
    expect(await after({ adaptiveDamping: true })).toBeCloseTo(0.1, 12);
    expect(await after({ adaptiveDamping: { range: [0.15, 1] } })).toBeCloseTo(0.15, 12);
    expect(await after({})).toBeCloseTo(0.2, 12);
    const curve = (w: Tensor): Tensor => reshape(tanh(mul(4, w)), [1, 1]);
    const zero = double([0], [1, 1]);
    const saturated: Objective<Tensor> = {
      loss: (w) => outputLoss("squaredError", curve(w), zero),
      outputs: { predict: curve, targets: zero, kind: "squaredError" },
    };
    expect(await after({ damping: 1e-4, adaptiveDamping: true }, saturated, double([0.6]))).toBeCloseTo(
      1.5e-4,
      12,
    );
  });
});

describe("the line search with momentum", () => {
  /** One weight on a line with its target at 0, after a step from 4 whose momentum points down. */
  const line = (at: number): Objective<Tensor> => {
    const predictOne = (w: Tensor): Tensor => reshape(sub(w, at), [1, 1]);
    const targets = double([0], [1, 1]);
    return {
      loss: (w) => outputLoss("squaredError", predictOne(w), targets),
      outputs: { predict: predictOne, targets, kind: "squaredError" },
    };
  };

  test("takes the batch's own direction where the average of past ones ascends, and the average without a search", async () => {
    // From 4 towards 0: d = -4/(1 + λ). On the next batch, whose target is 5, the average points away from it.
    const damping = 1e-6;
    const at = double([4]);
    const second = async (lineSearch: boolean, target: number): Promise<number> => {
      const optimizer = exactGaussNewton<Tensor>({ damping, momentum: 0.9, lineSearch });
      const [, state] = optimizer.step(line(0), optimizer.init(at), at);
      return item(optimizer.step(line(target), state, at)[0]);
    };
    const averaged = (own: number): number => (0.9 * 0.1 * -4 + 0.1 * own) / (1 - 0.81);
    expect(await second(true, 5)).toBeCloseTo(1, 4);
    expect(await second(false, 5)).toBeCloseTo(averaged(1), 4);
    // Where it descends, the search follows the average too.
    expect(await second(true, 0)).toBeCloseTo(averaged(-4), 4);
  });
});

describe("the thresholds of adaptive damping", () => {
  // A straight output has the trust ratio 1; a curved one any that is wanted.
  const dampingAfter = async (ratio: number): Promise<number> => {
    // f(w) = w + c·w² from 0 with target 1: d = 1/(1 + λ) =: d, and L(d) - L(0) = ½(d + cd² - 1)² - ½.
    const damping = 0.5;
    const d = 1 / (1 + damping);
    const predicted = d - 0.5 * d * d;
    const after = Math.sqrt(1 - 2 * ratio * predicted);
    const c = (1 - after - d) / (d * d);
    const curve = (w: Tensor): Tensor => reshape(add(w, mul(c, mul(w, w))), [1, 1]);
    const targets = double([1], [1, 1]);
    const optimizer = exactGaussNewton<Tensor>({ damping, adaptiveDamping: true });
    const start = double([0]);
    const [update, state] = optimizer.step(
      {
        loss: (w) => outputLoss("squaredError", curve(w), targets),
        outputs: { predict: curve, targets, kind: "squaredError" },
      },
      optimizer.init(start),
      start,
    );
    expect(await item(update)).toBeCloseTo(d, 12);
    return (await item(state.damping)) / damping;
  };

  test.each([
    [-1, 1.5],
    [0.24, 1.5],
    [0.26, 1],
    [0.5, 1],
    [0.74, 1],
    [0.76, 0.5],
    [1, 0.5],
  ])("a trust ratio of %d multiplies λ by %d", async (ratio, factor) => {
    expect(await dampingAfter(ratio)).toBeCloseTo(factor, 9);
  });

  test("λ falls to its floor on small batches, whose loss the model predicts at any damping", async () => {
    const optimizer = exactGaussNewton<Tensor>({
      learningRate: 1.9,
      adaptiveDamping: { range: [1e-3, 10] },
    });
    // Fewer residuals than weights, another batch each step: always a trust ratio of 1, whatever the other batches lose.
    let w = gaussian(30, [8, 1]);
    let state = optimizer.init(w);
    for (let i = 0; i < 12; i++) {
      const [a, target] = [gaussian(40 + i, [3, 8]), gaussian(60 + i, [3, 1])];
      const [update, next] = optimizer.step(
        {
          loss: (v) => outputLoss("squaredError", matmul(a, v), target),
          outputs: { predict: (v) => matmul(a, v), targets: target, kind: "squaredError" },
        },
        state,
        w,
      );
      [w, state] = [applyUpdates(w, update), next];
    }
    expect(await item(state.damping)).toBeCloseTo(1e-3, 12);
  });
});
