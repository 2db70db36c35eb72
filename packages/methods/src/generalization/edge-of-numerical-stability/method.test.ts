import {
  add,
  data,
  grad,
  item,
  mul,
  random,
  softmax,
  sum,
  type Tensor,
  tensor,
  toArray,
  zeros,
} from "@prior-art/tensor";
import { sgd } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { homogeneousMlp, modularAddition } from "../modularAddition.ts";
import {
  collapseMargin,
  isCollapsed,
  orthogonalGradient,
  preciseCrossEntropy,
  scalingCosine,
  softmaxCrossEntropy,
  stableMax,
  stableMaxCrossEntropy,
} from "./method.ts";

const f64 = { dtype: "float64" } as const;
const vector = (values: readonly number[]): Tensor => tensor(values, f64);
const label = (...values: number[]): Tensor => tensor(Int32Array.from(values));
const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];
const close = (values: readonly number[], digits = 10) => values.map((v) => expect.closeTo(v, digits));

describe("StableMax", () => {
  test("of [1, 0, -1] is [4, 2, 1]/7", async () => {
    expect(await numbers(stableMax(vector([1, 0, -1])))).toEqual(close([4 / 7, 2 / 7, 1 / 7], 12));
  });

  test("is Softmax of the logarithm of s, for logits of either sign", async () => {
    const logits = [-3, -0.2, 0, 0.4, 5];
    const s = logits.map((x) => (x >= 0 ? x + 1 : 1 / (1 - x)));
    expect(await numbers(stableMax(vector(logits)))).toEqual(close(await numbers(softmax(vector(s.map(Math.log)))), 12)); // biome-ignore format: one claim
  });

  test("the loss's gradient is that of finite differences, also at 0", async () => {
    const logits = [0.7, 0, -1.3, 0];
    const loss = (z: Tensor): Tensor => stableMaxCrossEntropy(z, label(1));
    const gradient = await numbers(grad(loss)(tensor([logits], f64)));
    for (const [i, g] of gradient.entries()) {
      const at = (h: number): Promise<number> =>
        item(loss(tensor([logits.map((z, j) => (i === j ? z + h : z))], f64)));
      expect(g).toBeCloseTo(((await at(1e-5)) - (await at(-1e-5))) / 2e-5, 5);
    }
  });

  test("does not collapse where Softmax does", async () => {
    const logits = tensor([[40, 0, 0]]);
    expect(await toArray(isCollapsed(logits, label(0)))).toEqual([true]);
    expect(await toArray(isCollapsed(logits, label(0), "stableMax"))).toEqual([false]);
  });
});

describe("precision", () => {
  test("float32 loses what float64 keeps", async () => {
    const collapsed = preciseCrossEntropy([20, 0, 0], 0, "float32");
    expect(collapsed).toMatchObject({ loss: 0, collapsed: true });
    expect(collapsed.gradient[0]).toBe(0);
    expect(collapsed.gradient[1]).toBeCloseTo(2.06e-9, 11);
    expect(preciseCrossEntropy([10, 0, 0], 0, "float32").collapsed).toBe(false);
    const precise = preciseCrossEntropy([20, 0, 0], 0, "float64");
    expect(precise.collapsed).toBe(false);
    expect(precise.loss / 4.122307e-9).toBeCloseTo(1, 6);
    expect(preciseCrossEntropy([40, 0, 0], 0, "float64")).toMatchObject({ loss: 0, collapsed: true });
    expect(() => preciseCrossEntropy([1], 1, "float32")).toThrow(/label 1/);
  });

  test.each(["float16", "float32", "float64"] as const)(
    "%s collapses from its margin on, not before",
    (precision) => {
      const margin = collapseMargin(precision);
      expect(preciseCrossEntropy([margin + 0.01, 0, 0], 0, precision).collapsed).toBe(true);
      expect(preciseCrossEntropy([margin - 0.8, 0, 0], 0, precision).collapsed).toBe(false);
    },
  );

  test("the engine's own floats collapse where the emulation does", async () => {
    const margins = [10, 15, 18, 30, 40];
    const rows = margins.map((m) => [m, 0, 0]);
    const labels = label(0, 0, 0, 0, 0);
    const emulated = (p: "float32" | "float64") =>
      rows.map((row) => preciseCrossEntropy(row, 0, p).collapsed);
    expect(await toArray(isCollapsed(tensor(rows), labels))).toEqual(emulated("float32"));
    expect(await toArray(isCollapsed(tensor(rows, f64), labels))).toEqual(emulated("float64"));
  });

  test("an example that is lost to another class has not collapsed", async () => {
    expect(await toArray(isCollapsed(tensor([[0, 40, 0], [0, 40, 0]]), label(0, 1)))).toEqual([false, true]); // biome-ignore format: one claim
    expect(preciseCrossEntropy([0, 40, 0], 0, "float32").collapsed).toBe(false);
  });

  test("a loss in float64 keeps a gradient where one in float32 has none", async () => {
    const logits = tensor([[25, 0, 0]]);
    const byLabel = async (precision: "float32" | "float64"): Promise<number> =>
      (await numbers(grad((z: Tensor) => softmaxCrossEntropy(z, label(0), precision))(logits)))[0]!;
    expect(await byLabel("float32")).toBeCloseTo(0, 30);
    expect(await byLabel("float64")).toBeLessThan(-1e-12);
  });
});

describe("⊥Grad", () => {
  const project = async (theta: Tensor, g: Tensor, rescale = false): Promise<number[]> =>
    numbers(orthogonalGradient<Tensor>({ rescale }).update(g, null, theta)[0]);

  test("takes the part along the weights away", async () => {
    expect(await project(vector([3, 4]), vector([1, 2]))).toEqual(close([-0.32, 0.24], 12));
    expect(await project(vector([3, 4]), vector([6, 8]))).toEqual(close([0, 0], 12));
  });

  test("is idempotent, and only the weights' direction matters", async () => {
    const [theta, g] = [random.normal(random.key(1), [7], f64), random.normal(random.key(2), [7], f64)];
    const once = await project(theta, g);
    expect(await project(theta, vector(once))).toEqual(close(once, 12));
    expect(await project(mul(5, theta), g)).toEqual(close(once, 12));
    expect(await item(sum(mul(theta, vector(once))))).toBeCloseTo(0, 12);
  });

  test("rescaled it has the gradient's length; weights of 0 keep their gradient", async () => {
    const rescaled = await project(vector([3, 4]), vector([1, 2]), true);
    expect(Math.hypot(...rescaled)).toBeCloseTo(Math.sqrt(5), 10);
    expect(await project(zeros([2], "float64"), vector([1, 2]))).toEqual([1, 2]);
  });

  test("weights grow only to second order of the step", async () => {
    const theta = vector([3, 4]);
    const [updates] = sgd<Tensor>({ learningRate: 0.1 }).update(vector(await project(theta, vector([1, 2]))), [null, { step: tensor(0, f64) }], theta); // biome-ignore format: one step
    const after = await numbers(add(theta, updates));
    expect(after[0]! ** 2 + after[1]! ** 2).toBeCloseTo(25 + 0.01 * (0.32 ** 2 + 0.24 ** 2), 12);
  });
});

describe("naive loss minimization", () => {
  const network = homogeneousMlp([10, 16, 5]);
  const params = network.init(random.key(3));
  const { train } = modularAddition({ modulus: 5, trainShare: 0.6, seed: 1 });

  test("scaling both layers by 1 + c scales the logits by (1 + c)²", async () => {
    const scaled = params.map((w) => mul(1.3, w));
    const before = await numbers(network.apply(params, train.inputs));
    expect(await numbers(network.apply(scaled, train.inputs))).toEqual(close(before.map((z) => 1.69 * z), 5)); // biome-ignore format: one claim
  });

  test("the cosine is 1 when descent scales the weights, 0 across them, and survives tiny gradients", async () => {
    const theta = [vector([3, 4]), vector([1])];
    const down = theta.map((t) => mul(-1e-30, t));
    expect(await item(scalingCosine(down, theta))).toBeCloseTo(1, 10);
    expect(await item(scalingCosine([vector([4, -3]), vector([0])], theta))).toBeCloseTo(0, 12);
    expect(await item(scalingCosine([vector([0, 0]), vector([0])], theta))).toBe(0);
    const small = [tensor([3e-25, 4e-25])];
    expect(await item(scalingCosine(small, [tensor([3, 4])]))).toBeCloseTo(-1, 5);
  });
});

describe("modular addition", () => {
  test("has every sum once, with its one-hot summands", async () => {
    const { train, test: held } = modularAddition({ modulus: 7, trainShare: 0.5, seed: 4 });
    const all: string[] = [];
    for (const { inputs, labels } of [train, held]) {
      const rows = (await toArray(inputs)) as number[][];
      const sums = await numbers(labels);
      rows.forEach((row, i) => {
        const [a, b] = [row.indexOf(1), row.lastIndexOf(1) - 7];
        expect(row.reduce((x, y) => x + y, 0)).toBe(2);
        expect((a + b) % 7).toBe(sums[i]);
        all.push(`${a}+${b}`);
      });
    }
    expect(new Set(all).size).toBe(49);
    expect(() => modularAddition({ modulus: 7, trainShare: 1, seed: 4 })).toThrow(RangeError);
  });
});
