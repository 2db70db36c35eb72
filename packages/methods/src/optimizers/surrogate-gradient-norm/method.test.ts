import {
  add,
  grad,
  item,
  jit,
  matmul,
  mean,
  mul,
  random,
  square,
  sub,
  sum,
  type Tensor,
  tanh,
  tensor,
  toArray,
  treeMap,
  vmap,
} from "@prior-art/tensor";
import {
  adam,
  applyUpdates,
  chain,
  chainClosure,
  clipByGlobalNorm,
  globalNorm,
  type Objective,
  ravel,
  sgd,
  skipNonFinite,
  trainSteps,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { close, double, gaussian, numbers } from "../testing/doubles.ts";
import { gradientAscentDesigns, ignite, normalizedScore, surrogateSharpness } from "./method.ts";

type Net = { readonly first: Tensor; readonly second: Tensor };
const net: Net = { first: gaussian(1, [3, 6]), second: gaussian(2, [6, 1]) };
const x = gaussian(3, [8, 3]);
const y = gaussian(4, [8, 1]);
const apply = ({ first, second }: Net, inputs: Tensor): Tensor => matmul(tanh(matmul(inputs, first)), second);
const predict = (p: Net): Tensor => apply(p, x);
const meanPrediction = (p: Net): Tensor => mean(predict(p));
const squaredError = (p: Net): Tensor => mean(square(sub(predict(p), y)));
const objective: Objective<Net> = {
  loss: squaredError,
  outputs: { predict, targets: y, kind: "squaredError" },
};

describe("sharpness", () => {
  test("of a linear surrogate is the norm of the mean input, constant: there is nothing to gain", async () => {
    const h = (w: Tensor): Tensor => mean(matmul(x, w));
    const { norm, normGradient } = surrogateSharpness(h, gaussian(5, [3, 1]));
    expect(await item(norm)).toBeCloseTo(await item(globalNorm(mean(x, 0))), 10);
    expect(await item(globalNorm(normGradient))).toBeLessThan(1e-12);
  });

  test("of ½(φx)² at φ = 2, x = 1 is 2, and grows by 1", async () => {
    const { gradient, norm, normGradient } = surrogateSharpness(
      (phi: Tensor) => mul(0.5, square(phi)),
      double([2]),
    );
    expect([await item(gradient), await item(norm), await item(normGradient)]).toEqual(close([2, 2, 1]));
  });

  test("the finite difference comes as close to the exact gradient of the norm as its radius is small", async () => {
    const exact = grad((p: Net) => globalNorm(grad(meanPrediction)(p)))(net);
    const gapAt = async (radius: number): Promise<number> => {
      const { normGradient } = surrogateSharpness(meanPrediction, net, radius);
      return item(globalNorm(treeMap(sub, normGradient, exact)));
    };
    const [coarse, fine] = [await gapAt(1e-2), await gapAt(1e-3)];
    expect(fine / coarse).toBeGreaterThan(0.07);
    expect(fine / coarse).toBeLessThan(0.14);
    expect(await gapAt(1e-6)).toBeLessThan(1e-5 * (await item(globalNorm(exact))));
  });

  test("is the largest change of the mean prediction within the radius, up to the curvature", async () => {
    const { gradient, norm } = surrogateSharpness(meanPrediction, net);
    const rho = 1e-3;
    const nu = await item(norm);
    const changeAlong = async (direction: Net): Promise<number> => {
      const length = rho / (await item(globalNorm(direction)));
      const moved = treeMap((p, d) => add(p, mul(length, d)), net, direction);
      return Math.abs(await item(sub(meanPrediction(moved), meanPrediction(net))));
    };
    expect(await changeAlong(gradient)).toBeCloseTo(rho * nu, 6);
    for (let seed = 10; seed < 15; seed++)
      expect(
        await changeAlong({ first: gaussian(seed, [3, 6]), second: gaussian(seed + 50, [6, 1]) }),
      ).toBeLessThan(rho * nu + 10 * rho ** 2);
  });

  test("where the mean prediction does not depend on the parameters is 0, without NaN", async () => {
    const { norm, normGradient } = surrogateSharpness((p: Tensor) => mul(0, sum(p)), double([1, 2]));
    expect(await item(norm)).toBe(0);
    expect(await numbers(normGradient)).toEqual([0, 0]);
  });
});

describe("IGNITE", () => {
  const base = () => sgd<Net>({ learningRate: 0.1 });

  test("adds λρ∇‖∇h‖ to the gradient, with λ of before the step", async () => {
    const optimizer = ignite({ rho: 0.2, fdRadius: 0.05, lambda0: 3, dualRate: 0.7, epsilon: 0.01 }, base());
    const [updates, state, loss] = optimizer.step(objective, optimizer.init(net), net);
    const { norm, normGradient } = surrogateSharpness(meanPrediction, net, 0.05);
    const expected = treeMap((a, q) => mul(-0.1, add(a, mul(0.6, q))), grad(squaredError)(net), normGradient);
    expect(await numbers(ravel(updates))).toEqual(close(await numbers(ravel(expected))));
    expect(await item(loss)).toBeCloseTo(await item(squaredError(net)), 12);
    const sharpness = 0.2 * (await item(norm));
    expect(await item(state.sharpness)).toBeCloseTo(sharpness, 10);
    expect(await item(state.lambda)).toBeCloseTo(3 + 0.7 * (sharpness - 0.01), 10);
  });

  test("without λ and its rate is the optimizer itself", async () => {
    const optimizer = ignite({ lambda0: 0, dualRate: 0 }, adam<Net>({ learningRate: 0.01 }));
    const plain = adam<Net>({ learningRate: 0.01 });
    let [a, b] = [net, net];
    let [s, t] = [optimizer.init(net), plain.init(net)];
    for (let i = 0; i < 4; i++) {
      const [u, next] = optimizer.step(objective, s, a);
      const [v, after] = plain.update(grad(squaredError)(b), t, b);
      [a, s, b, t] = [applyUpdates(a, u), next, applyUpdates(b, v), after];
    }
    expect(await numbers(ravel(a))).toEqual(await numbers(ravel(b)));
  });

  test("a slack constraint drives λ to 0, where it stays", async () => {
    const optimizer = ignite({ lambda0: 0.5, dualRate: 0.2, epsilon: 100 }, base());
    let [params, state] = [net, optimizer.init(net)];
    for (let i = 0; i < 3; i++) {
      const [updates, next] = optimizer.step(objective, state, params);
      [params, state] = [applyUpdates(params, updates), next];
      expect(await item(state.lambda)).toBe(0);
    }
  });

  test("IGNITE-2 keeps λ", async () => {
    const optimizer = ignite({ lambda0: 0.5, dualRate: 10, adaptive: false }, base());
    expect(await item(optimizer.step(objective, optimizer.init(net), net)[1].lambda)).toBe(0.5);
  });

  test("trains a surrogate to less sharpness than the optimizer alone", async () => {
    const after = async (dualRate: number): Promise<number> => {
      const optimizer = ignite(
        { rho: 0.05, epsilon: 0.02, lambda0: 0, dualRate },
        adam<Net>({ learningRate: 0.02 }),
      );
      const train = trainSteps({
        loss: (p: Net, b: { x: Tensor; y: Tensor }) => mean(square(sub(apply(p, b.x), b.y))),
        outputs: (b: { x: Tensor; y: Tensor }) => ({
          predict: (p: Net) => apply(p, b.x),
          targets: b.y,
          kind: "squaredError" as const,
        }),
        optimizer,
      });
      const rows = tensor(
        Int32Array.from({ length: 800 }, (_, i) => i % 8),
        { shape: [100, 8] },
      );
      const run = jit(
        (p: Net) => train(p, optimizer.init(p), { x, y }, rows, random.split(random.key(0), 100))[0],
      );
      const trained = await run(net);
      await run.release();
      return item(surrogateSharpness(meanPrediction, trained).norm);
    };
    expect(await after(100)).toBeLessThan(0.8 * (await after(0)));
  });

  test("a sweep of rates under vmap gives the numbers of single runs", async () => {
    const run = (dualRate: Tensor): Tensor => {
      const optimizer = ignite({ dualRate, lambda0: mul(2, dualRate) }, base());
      return ravel(optimizer.step(objective, optimizer.init(net), net)[0]);
    };
    const together = (await toArray(await jit(vmap(run))(double([0.1, 2])))) as number[][];
    for (const [i, rate] of [0.1, 2].entries())
      expect(together[i]).toEqual(close(await numbers(run(double([rate], [])))));
  });

  test("chains with clipping, before and after the optimizer", async () => {
    const options = { lambda0: 50 };
    const before = ignite(options, chain(clipByGlobalNorm<Net>(0.3), sgd<Net>({ learningRate: 1 })));
    const after = chainClosure(ignite(options, sgd<Net>({ learningRate: 1 })), clipByGlobalNorm(0.3));
    expect(await item(globalNorm(before.step(objective, before.init(net), net)[0]))).toBeCloseTo(0.3, 9);
    expect(await item(globalNorm(after.step(objective, after.init(net), net)[0]))).toBeCloseTo(0.3, 9);
  });

  test("around skipNonFinite, numbers that are not finite change neither parameters nor λ", async () => {
    const optimizer = ignite({ lambda0: 0.5, dualRate: 1 }, skipNonFinite(adam<Net>({ learningRate: 0.1 })));
    const broken: Objective<Net> = {
      loss: squaredError,
      outputs: { ...objective.outputs!, predict: (p) => mul(predict(p), Number.NaN) },
    };
    const [updates, state] = optimizer.step(broken, optimizer.init(net), net);
    expect(await item(globalNorm(updates))).toBe(0);
    expect(await item(state.lambda)).toBe(0.5);
    expect(await item(state.inner.skipped)).toBe(1);
  });

  test("says so when the parameters changed between steps, or outputs are missing", () => {
    const optimizer = ignite({}, adam<Net>({ learningRate: 0.1 }));
    const other = { first: gaussian(1, [3, 9]), second: gaussian(2, [9, 1]) };
    expect(() => optimizer.step(objective, optimizer.init(other), net)).toThrow(/don't fit|broadcast/);
    expect(() => optimizer.step({ loss: squaredError }, optimizer.init(net), net)).toThrow(/outputs/);
  });

  test("refuses constants that make no sense", () => {
    for (const bad of [
      { rho: 0 },
      { fdRadius: -1 },
      { fdRadius: Number.NaN },
      { lambda0: -1 },
      { dualRate: -1 },
      { epsilon: Number.NaN },
    ])
      expect(() => ignite(bad, base())).toThrow(RangeError);
    expect(() => sgd({ learningRate: 0 })).toThrow(RangeError);
  });
});

describe("gradient ascent on a surrogate", () => {
  const surrogate = (designs: Tensor): Tensor => mul(-0.5, sum(square(sub(designs, double([1, -2]))), -1));

  test("moves each design by rate · ∇g, on its own", async () => {
    const starts = double([0, 0, 3, 1], [2, 2]);
    const { designs, path } = gradientAscentDesigns({ surrogate, starts, steps: 2, rate: 0.1 });
    const at = (start: number, goal: number): number => goal + 0.81 * (start - goal);
    expect(await numbers(designs)).toEqual(close([at(0, 1), at(0, -2), at(3, 1), at(1, -2)]));
    expect(path.shape).toEqual([2, 2, 2]);
    expect((await numbers(path)).slice(0, 4)).toEqual([0, 0, 3, 1]);
  });

  test("has the rate 0.05·√d by default, and keeps designs in a box", async () => {
    const starts = double([0, 0], [1, 2]);
    const { designs } = gradientAscentDesigns({ surrogate, starts, steps: 1 });
    expect(await numbers(designs)).toEqual(close([0.05 * Math.SQRT2, -0.1 * Math.SQRT2]));
    const bounds = { low: double([-1, -0.5]), high: double([0.4, 1]) };
    const boxed = gradientAscentDesigns({ surrogate, starts, steps: 200, bounds });
    expect(await numbers(boxed.designs)).toEqual(close([0.4, -0.5]));
  });

  test("refuses what makes no sense", () => {
    const starts = gaussian(1, [2, 2]);
    expect(() => gradientAscentDesigns({ surrogate, starts, steps: 1, rate: 0 })).toThrow(RangeError);
    expect(() => gradientAscentDesigns({ surrogate, starts, steps: 1.5 })).toThrow(RangeError);
    expect(() => gradientAscentDesigns({ surrogate, starts: double([1]), steps: 1 })).toThrow(
      /designs, dimensions/,
    );
    expect(() => normalizedScore(1, 2, 2)).toThrow(RangeError);
    expect(normalizedScore(3, 1, 5)).toBe(0.5);
  });
});
