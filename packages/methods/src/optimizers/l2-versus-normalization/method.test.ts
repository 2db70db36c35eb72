import { add, grad, item, matmul, mean, mul, relu, sub, sum, type Tensor, treeMap } from "@prior-art/tensor";
import {
  adam,
  addDecayedWeights,
  clipByGlobalNorm,
  cosineDecay,
  type GradientTransformation,
  masked,
  momentum,
  sgd,
  skipNonFinite,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { double, gap, gaussian, norm } from "../testing/doubles.ts";
import { descent, inOrder } from "../testing/paths.ts";
import { effectiveRateGap, unitNormSpread } from "./exact.ts";
import {
  effectiveLearningRate,
  equilibriumNorm,
  normalizedLinear,
  predictNorm,
  withUnitNorm,
} from "./method.ts";
import { coefficient, partialShare, spreadWithin } from "./regression.ts";
import { type CellResult, trainGrid } from "./sweep.ts";

/** A scale-invariant layer and a free one behind it, with a loss on 12 random examples. */
interface Net {
  readonly hidden: Tensor;
  readonly out: Tensor;
}
const [x, target] = [gaussian(1, [12, 5]), gaussian(2, [12, 2])];
const predict = ({ hidden, out }: Net): Tensor => matmul(relu(normalizedLinear(x, hidden, { eps: 0 })), out);
const loss = (net: Net): Tensor => {
  const error = sub(predict(net), target);
  return mean(mul(error, error));
};
const net: Net = { hidden: gaussian(3, [5, 6]), out: gaussian(4, [6, 2]) };

/** The penalty's gradient 2λw on the hidden layer. */
const penalized = (lambda: number, g: Net, p: Net): Net => ({
  ...g,
  hidden: add(g.hidden, mul(2 * lambda, p.hidden)),
});

describe("a normalized layer", () => {
  test("has outputs of mean 0 and variance 1, then gain and bias", async () => {
    const y = normalizedLinear(x, net.hidden, { gain: 2, bias: 3, eps: 0 });
    const centre = mean(y, 0);
    expect(await gap(centre, add(mul(centre, 0), 3))).toBeLessThan(1e-12);
    const variance = mean(mul(sub(y, centre), sub(y, centre)), 0);
    expect(await gap(variance, add(mul(variance, 0), 4))).toBeLessThan(1e-12);
  });

  test("doesn't see the scale of its weights, unless eps is comparable with the variance", async () => {
    const at = (alpha: number, eps: number) => normalizedLinear(x, mul(alpha, net.hidden), { eps });
    expect(await gap(at(1, 0), at(37, 0))).toBeLessThan(1e-12);
    expect(await gap(at(1, 1e-5), at(1e-3, 1e-5))).toBeGreaterThan(0.1);
  });

  test("has an eps of 1e-5 unless told", async () => {
    const w = mul(1e-3, net.hidden);
    expect(await gap(normalizedLinear(x, w), normalizedLinear(x, w, { eps: 1e-5 }))).toBe(0);
    expect(await gap(normalizedLinear(x, w), normalizedLinear(x, w, { eps: 0 }))).toBeGreaterThan(0.1);
  });

  test("has a gradient orthogonal to its weights, and half as long at twice the weights", async () => {
    const slope = (alpha: number) => grad(loss)({ ...net, hidden: mul(alpha, net.hidden) }).hidden;
    expect(Math.abs(await item(sum(mul(slope(1), net.hidden))))).toBeLessThan(1e-13);
    expect(await gap(mul(2, slope(2)), slope(1))).toBeLessThan(1e-13);
  });
});

describe("the law of the norm", () => {
  test("its fixed point has the value worked out by hand", () => {
    const law = { lr: 0.1, lambda: 0.01, gTilde: 1 };
    expect(equilibriumNorm(law) ** 4).toBeCloseTo(2.502503, 6);
    expect(equilibriumNorm(law)).toBeCloseTo(1.25775, 5);
    const w0 = equilibriumNorm(law);
    for (const value of predictNorm({ ...law, w0, steps: 20 })) expect(value).toBeCloseTo(w0, 12);
    expect(predictNorm({ ...law, w0: 5, steps: 5000 }).at(-1)).toBeCloseTo(w0, 6);
    expect(effectiveLearningRate("sgd", law, w0)).toBeCloseTo(0.063214, 6);
  });

  test("is proportional to (lr/λ)^¼ for weak decay", () => {
    const at = (lr: number, lambda: number) => equilibriumNorm({ lr, lambda, gTilde: 1 });
    expect(at(0.1, 1e-4) / at(0.1, 1.6e-3)).toBeCloseTo(2, 2);
    expect(at(0.16, 1e-4) / at(0.01, 1e-4)).toBeCloseTo(2, 2);
  });

  test("without a penalty the fourth power grows by 2η²g̃² a step", () => {
    const norms = predictNorm({ lr: 0.1, lambda: 0, gTilde: 2, w0: 3, steps: 1000 });
    expect(norms.at(-1)! ** 4 / (3 ** 4 + 2 * 0.1 ** 2 * 2 ** 2 * 1000)).toBeCloseTo(1, 3);
  });

  test("is what SGD does, step by step, with and without penalty", async () => {
    for (const lambda of [0, 0.05]) {
      const lr = 0.2;
      const steps = await descent(sgd<Net>({ learningRate: lr }), net, 25, (p) =>
        penalized(lambda, grad(loss)(p), p),
      );
      const norms = await Promise.all(steps.map(({ hidden }) => norm(hidden)));
      const gTilde = await Promise.all(
        steps.map(async (p, i) => norms[i]! * (await norm(grad(loss)(p).hidden))),
      );
      const predicted = predictNorm({ lr, lambda, gTilde, w0: norms[0]!, steps: 25 });
      norms.forEach((value, i) => void expect(value).toBeCloseTo(predicted[i]!, 9));
      if (lambda === 0) for (let i = 1; i <= 25; i++) expect(norms[i]).toBeGreaterThanOrEqual(norms[i - 1]!);
      else expect(norms[25]).toBeLessThan(norms[0]!);
    }
  });
});

describe("effective learning rates", () => {
  test("follow the table of optimizers", () => {
    const at = (kind: Parameters<typeof effectiveLearningRate>[0]) =>
      effectiveLearningRate(kind, { lr: 0.4, momentum: 0.5 }, 2);
    expect(at("sgd")).toBeCloseTo(0.1, 12);
    expect(at("momentum")).toBeCloseTo(0.2, 12);
    expect([at("adam"), at("rmsprop")]).toEqual([0.2, 0.2]);
    expect([at("newton"), at("normalizedGradient")]).toEqual([0.4, 0.4]);
  });

  /** Largest difference of predictions on the way, when weights are scaled by α, rates by `factor`, penalties by α^-2. */
  async function difference(
    make: (rate: number) => GradientTransformation<Tensor, unknown>,
    alpha: number,
    factor: number,
  ): Promise<number> {
    const run = (scale: number, hiddenFactor: number) => {
      const [hiddenRule, outRule] = [make(0.05 * hiddenFactor), make(0.05)];
      const optimizer: GradientTransformation<Net, readonly [unknown, unknown]> = {
        init: (p) => [hiddenRule.init(p.hidden), outRule.init(p.out)],
        update: (g, [a, b], p) => {
          const [hidden, nextA] = hiddenRule.update(g.hidden, a, p.hidden);
          const [out, nextB] = outRule.update(g.out, b, p.out);
          return [{ hidden, out }, [nextA, nextB]];
        },
      };
      const start = { ...net, hidden: mul(scale, net.hidden) };
      return descent(optimizer, start, 15, (p) => penalized(0.03 / scale ** 2, grad(loss)(p), p));
    };
    const [a, b] = [await run(1, 1), await run(alpha, factor)];
    return Math.max(...(await Promise.all(a.map((p, i) => gap(predict(p), predict(b[i]!))))));
  }

  test("make SGD and momentum the same after scaling weights by α and rates by α²", async () => {
    expect(await difference((learningRate) => sgd({ learningRate }), 3, 9)).toBeLessThan(1e-10);
    expect(await difference((learningRate) => momentum({ learningRate }), 3, 9)).toBeLessThan(1e-10);
    expect(await difference((learningRate) => sgd({ learningRate }), 3, 3)).toBeGreaterThan(1e-3);
  });

  test("make Adam the same after scaling rates by α, not by α²", async () => {
    const make = (learningRate: number) => adam<Tensor>({ learningRate, eps: 0 });
    expect(await difference(make, 3, 3)).toBeLessThan(1e-10);
    expect(await difference(make, 3, 9)).toBeGreaterThan(1e-3);
  });
});

describe("withUnitNorm", () => {
  const hiddenOnly = (name: string): boolean => name === "hidden";
  const run = (lambda: number, base: GradientTransformation<Net, unknown>, project = true) =>
    descent(withUnitNorm(base, hiddenOnly, { project }), net, 20, (p) => penalized(lambda, grad(loss)(p), p));

  test("keeps the chosen tensors at norm 1 from the first step on, and leaves the others free", async () => {
    const steps = await run(0, momentum({ learningRate: 0.1 }));
    for (const p of steps.slice(1)) expect(await norm(p.hidden)).toBeCloseTo(1, 12);
    expect(Math.abs((await norm(steps[20]!.out)) - (await norm(net.out)))).toBeGreaterThan(1e-3);
  });

  test("makes the penalty irrelevant, in the gradient or decoupled, under any base", async () => {
    for (const base of [sgd<Net>({ learningRate: 0.1 }), adam<Net>({ learningRate: 0.02, eps: 0 })]) {
      const rule = base as GradientTransformation<Net, unknown>;
      const [none, strong] = [await run(0, rule), await run(3, rule)];
      expect(await gap(predict(none[20]!), predict(strong[20]!))).toBeLessThan(1e-9);
    }
    const decayed = (rate: number) =>
      inOrder<Net>(
        masked(addDecayedWeights<Tensor[]>(rate), (t) => t.shape[0] === 5),
        sgd({ learningRate: 0.1 }),
      );
    const [none, strong] = [await run(0, decayed(0)), await run(0, decayed(4))];
    expect(await gap(predict(none[20]!), predict(strong[20]!))).toBeLessThan(1e-9);
  });

  test("without projection the penalty still divides the rate by 1 - 2ηλ", async () => {
    const lambda = 1;
    const [eta, same] = [0.1, 0.1 / (1 - 0.2)];
    const unit = { ...net, hidden: mul(net.hidden, 1 / (await norm(net.hidden))) };
    const bare = async (l: number, rate: number) =>
      (
        await descent(
          withUnitNorm(sgd<Net>({ learningRate: rate }), hiddenOnly, { project: false }),
          unit,
          1,
          (p) => penalized(l, grad(loss)(p), p),
        )
      )[1]!.hidden;
    expect(await gap(await bare(lambda, eta), await bare(0, same))).toBeLessThan(1e-12);
    expect(await gap(await bare(lambda, eta), await bare(0, eta))).toBeGreaterThan(1e-3);
  });

  test("works on any tree, around chains with clipping, schedules and the skipping of non-finite gradients", async () => {
    const params = { a: [gaussian(1, [2, 3])], b: { c: gaussian(2, [2, 2, 2]), d: gaussian(3, [4]) } };
    const optimizer = skipNonFinite(
      withUnitNorm(
        inOrder<typeof params>(clipByGlobalNorm(1), adam({ learningRate: cosineDecay(0.1, 5) })),
        (_, t) => t.rank > 1,
      ),
    );
    const steps = await descent(optimizer, params, 3, (p) => treeMap((t) => add(t, 1), p));
    for (const t of [steps[3]!.a[0]!, steps[3]!.b.c]) expect(await norm(t)).toBeCloseTo(1, 12);
    const [updates] = optimizer.update(
      treeMap((t) => mul(t, Number.NaN), params),
      optimizer.init(params),
      params,
    );
    expect(await norm(updates)).toBe(0);
  });
});

describe("what the penalty does in a normalized net", () => {
  test("is what the effective rate does on weights of norm 1; without normalization it is not", async () => {
    expect(await effectiveRateGap(4, 1)).toBeLessThan(1e-12);
    expect(await effectiveRateGap(4, 1, false)).toBeGreaterThan(0.1);
  });

  test("is nothing at norm 1 with rates that make up for the decay; with the same rates there is some", async () => {
    expect(await unitNormSpread(8, 1)).toBeLessThan(1e-12);
    expect(await unitNormSpread(8, 1, false)).toBeGreaterThan(1e-6);
  });

  test("brings norms to the fixed point of the gradients measured on the way, from He's start", async () => {
    const cell = { rate: 0.3, lambda: 0.05 };
    const training = trainGrid([cell], true, { train: 256, epochs: 100 }, 1);
    let turn = await training.next();
    while (!turn.done) turn = await training.next();
    const [{ norms, squares }] = turn.value as [CellResult];
    norms.forEach((value, layer) => {
      const gTilde = Math.sqrt(squares[layer]!);
      expect(
        Math.abs(value / equilibriumNorm({ lr: cell.rate, lambda: cell.lambda, gTilde }) - 1),
      ).toBeLessThan(0.1);
    });
  });
});

describe("the regressions", () => {
  const [a, b] = [
    [1, 2, 3, 4, 5, 7],
    [2, -1, 0, 3, 1, 1],
  ] as const;

  test("find the coefficients of a known plane, each given the other", () => {
    const y = a.map((v, i) => 4 + 0.5 * v - 2 * b[i]!);
    expect(coefficient(y, a, [b])).toBeCloseTo(0.5, 12);
    expect(coefficient(y, b, [a])).toBeCloseTo(-2, 12);
    expect(coefficient([1, 3, 2], [0, 1, 2])).toBeCloseTo(0.5, 12);
  });

  test("tell what share of the rest a column explains: all, or none", () => {
    expect(
      partialShare(
        a.map((v, i) => v + b[i]!),
        b,
        [a],
      ),
    ).toBeCloseTo(1, 12);
    // Orthogonal to the constant and to the column.
    expect(partialShare([1, -1, -1, 1], [1, 2, 3, 4], [])).toBeCloseTo(0, 12);
  });

  test("measure the spread within groups only", () => {
    expect(spreadWithin([1, 3, 10, 10], ["a", "a", "b", "b"])).toBeCloseTo(Math.SQRT1_2, 12);
  });
});

describe("bad input", () => {
  test("is refused with the numbers that don't make sense", () => {
    expect(() => effectiveLearningRate("sgd", { lr: 0 }, 1)).toThrow(/learning rate must be positive/);
    expect(() => effectiveLearningRate("sgd", { lr: 1, momentum: 1 }, 1)).toThrow(RangeError);
    expect(() => effectiveLearningRate("adam", { lr: 1 }, 0)).toThrow(RangeError);
    expect(() => predictNorm({ lr: 1, lambda: 0.5, gTilde: 1, w0: 1, steps: 1 })).toThrow(/2 · lr · λ < 1/);
    expect(() => predictNorm({ lr: 1, lambda: 0, gTilde: [1], w0: 1, steps: 2 })).toThrow(
      /1 gradient lengths for 2/,
    );
    expect(() => predictNorm({ lr: 1, lambda: 0, gTilde: 1, w0: 0, steps: 2 })).toThrow(RangeError);
    expect(() => equilibriumNorm({ lr: 0.1, lambda: 0, gTilde: 1 })).toThrow(/no fixed point/);
    expect(() => normalizedLinear(x, net.out)).toThrow(/takes inputs/);
    expect(() => normalizedLinear(x, net.hidden, { eps: -1 })).toThrow(RangeError);
    expect(() => withUnitNorm(sgd<Net>({ learningRate: -1 }), () => true)).toThrow(RangeError);
  });

  test("parameters whose structure changed between steps are refused", () => {
    const optimizer = withUnitNorm(momentum<Tensor[]>({ learningRate: 0.1 }), () => true);
    const one = [double([1, 2])];
    const two = [...one, double([3])];
    expect(() => optimizer.update(one, optimizer.init(one), two)).toThrow(/withUnitNorm: the gradients/);
    expect(() => optimizer.update(two, optimizer.init(one), two)).toThrow(/differ/);
  });
});
