import { data, item, random, tensor } from "@prior-art/tensor";
import { identity, type Matrix, matrix, multiply, norm, thinSVD, transpose } from "@prior-art/toolkit/linalg";
import { type LoraFactors, lossOn } from "@prior-art/toolkit/lm";
import { type TransformerParams, transformer } from "@prior-art/toolkit/nn";
import { randomStream } from "@prior-art/toolkit/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gradientsAt, linearModel, lossOf, stepsToTolerance } from "./linearModel.ts";
import {
  descentDirections,
  type Factors,
  gradientStep,
  leftSubspace,
  linearizedStep,
  loraGaAdapter,
  loraGaInit,
  loraOneAdapter,
  loraOneInit,
  preconditionedStep,
  subspaceAngle,
} from "./method.ts";

const gaussian = (rows: number, columns: number, seed: number): Matrix => {
  const stream = randomStream(seed, "matrix");
  return matrix(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => stream.normal()),
  );
};
const close = (values: ArrayLike<number>, digits = 10) =>
  Array.from(values, (v) => expect.closeTo(v, digits));
const minus = (x: Matrix, y: Matrix): Matrix =>
  matrix(
    x.rows,
    x.columns,
    x.values.map((v, i) => v - y.values[i]!),
  );
const diagonal = matrix(2, 2, [4, 0, 0, 1]);

describe("the spectral start", () => {
  test("of diag(4, 1) by hand", () => {
    const one = loraOneInit(diagonal, { rank: 1, gamma: 1 });
    expect([...multiply(one.a, one.b).values]).toEqual(close([1, 0, 0, 0]));
    expect(Math.abs(one.a.values[0]!)).toBeCloseTo(1, 12);
    const two = loraOneInit(diagonal, { rank: 2, gamma: 1 });
    expect([...multiply(two.a, two.b).values]).toEqual(close([1, 0, 0, 0.25]));
    const raw = loraOneInit(diagonal, { rank: 2, gamma: 2, normalize: false });
    expect([...multiply(raw.a, raw.b).values]).toEqual(close([2, 0, 0, 0.5]));
    const whole = loraOneInit(diagonal, { rank: 2, gamma: 1, exponent: 1 });
    expect([...multiply(whole.a, whole.b).values]).toEqual(close([1, 0, 0, 0.0625]));
  });

  test("has operator norm 1/γ, is balanced, and points where the direction does", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e6 }), fc.integer({ min: 1, max: 5 }), (seed, rank) => {
        const g = gaussian(7, 5, seed);
        const { a, b } = loraOneInit(g, { rank, gamma: 16 });
        expect(thinSVD(multiply(a, b)).s[0]).toBeCloseTo(1 / 16, 10);
        const [left, right] = [multiply(transpose(a), a), multiply(b, transpose(b))];
        expect([...left.values]).toEqual(close(right.values));
        expect(subspaceAngle(leftSubspace(a, rank), leftSubspace(g, rank))).toBeLessThan(1e-9);
        // A positive multiple of the direction itself, not of its negative.
        const inner = multiply(a, b).values.reduce((sum, x, i) => sum + x * g.values[i]!, 0);
        expect(inner).toBeGreaterThan(0);
      }),
      { numRuns: 30 },
    );
  });

  test("in directions that the gradient lacks can still be left", () => {
    const g = multiply(gaussian(6, 1, 1), gaussian(1, 4, 2));
    const { a, b } = loraOneInit(g, { rank: 3, gamma: 1 });
    for (const k of [1, 2]) {
      expect(Math.hypot(...[0, 1, 2, 3, 4, 5].map((i) => a.values[i * 3 + k]!))).toBeCloseTo(1e-3, 10);
      expect([...b.values.subarray(4 * k, 4 * k + 4)]).toEqual([0, 0, 0, 0]);
    }
  });

  test("that would be dead or impossible is refused", () => {
    expect(() => loraOneInit(diagonal, { rank: 1, gamma: Number.POSITIVE_INFINITY })).toThrow(/γ/);
    expect(() => loraOneInit(diagonal, { rank: 1, gamma: 0 })).toThrow(RangeError);
    expect(() => loraOneInit(diagonal, { rank: 3 })).toThrow(RangeError);
    expect(() => loraOneInit(matrix(2, 2), { rank: 1 })).toThrow(/is 0/);
    expect(() => loraGaInit(diagonal, { rank: 2 })).toThrow(RangeError);
  });

  test("of LoRA-GA takes the next left singular vectors and the first right ones", () => {
    const g = gaussian(8, 6, 3);
    const { a, b } = loraGaInit(g, { rank: 2, gamma: 16 });
    const { u, v } = thinSVD(g);
    const size = 6 ** 0.25 / 4;
    for (let i = 0; i < 8; i++) expect(a.values[2 * i]).toBeCloseTo(size * u.values[6 * i + 2]!, 10);
    for (let j = 0; j < 6; j++) expect(b.values[6 + j]).toBeCloseTo(size * v.values[6 * j + 1]!, 10);
    expect(subspaceAngle(leftSubspace(a, 2), leftSubspace(g, 2))).toBeCloseTo(1, 10);
    expect(subspaceAngle(leftSubspace(transpose(b), 2), leftSubspace(transpose(g), 2))).toBeLessThan(1e-9);
  });
});

describe("steps", () => {
  const factors: Factors = { a: gaussian(5, 2, 4), b: gaussian(2, 4, 5) };
  const model = linearModel({ dimension: 6, singularValues: [2, 1], samples: 300, seed: 1 });

  test("preconditioned ones move the product the same way in every basis", () => {
    const turn = gaussian(2, 2, 6);
    const [p, q, r, s] = turn.values as unknown as [number, number, number, number];
    const inverse = matrix(
      2,
      2,
      [s, -q, -r, p].map((x) => x / (p * s - q * r)),
    );
    const target = gaussian(5, 4, 7);
    const stepped = ({ a, b }: Factors, damping: number): Matrix => {
      const error = minus(multiply(a, b), target);
      const gradient = { a: multiply(error, transpose(b)), b: multiply(transpose(a), error) };
      const next = preconditionedStep({ a, b }, gradient, { learningRate: 0.3, damping });
      return multiply(next.a, next.b);
    };
    const turned = { a: multiply(factors.a, turn), b: multiply(inverse, factors.b) };
    expect([...stepped(turned, 0).values]).toEqual(close(stepped(factors, 0).values, 9));
    expect(norm(minus(stepped(turned, 0.5), stepped(factors, 0.5)).values)).toBeGreaterThan(1e-3);
  });

  test("preconditioned by hand in one dimension", () => {
    const one = (x: number): Matrix => matrix(1, 1, [x]);
    const { a, b } = preconditionedStep(
      { a: one(2), b: one(3) },
      { a: one(6), b: one(8) },
      { learningRate: 0.5, damping: 0 },
    );
    expect(a.values[0]).toBeCloseTo(2 - (0.5 * 6) / 9, 12);
    expect(b.values[0]).toBeCloseTo(3 - (0.5 * 8) / 4, 12);
  });

  test("the linear model's gradients are the derivatives of its loss", () => {
    const at: Factors = { a: gaussian(6, 3, 8), b: gaussian(3, 6, 9) };
    const { gradient } = gradientsAt(model, at);
    const loss = (f: Factors): number => lossOf(model, gradientsAt(model, f).error);
    for (const side of ["a", "b"] as const)
      for (const i of [0, 7, 17]) {
        const nudged = (h: number): Factors => ({
          ...at,
          [side]: matrix(
            at[side].rows,
            at[side].columns,
            at[side].values.map((x, k) => (k === i ? x + h : x)),
          ),
        });
        const slope = (loss(nudged(1e-5)) - loss(nudged(-1e-5))) / 2e-5;
        expect(gradient[side].values[i]).toBeCloseTo(slope, 5);
      }
    const none = matrix(
      6,
      6,
      model.shift.values.map((x) => -x),
    );
    expect([...multiply(model.covariance, none).values]).toEqual(close(model.descent.values.map((x) => -x)));
  });

  test("from B = 0 the first step gives B = η Aᵀ G, in the linearized dynamics and in the real ones", () => {
    const start: Factors = { a: gaussian(6, 3, 10), b: matrix(3, 6) };
    const expected = multiply(transpose(start.a), model.descent).values.map((x) => 0.1 * x);
    const linear = linearizedStep(start, model.descent, 0.1);
    expect([...linear.b.values]).toEqual(close(expected));
    expect([...linear.a.values]).toEqual(close(start.a.values));
    const real = gradientStep(start, gradientsAt(model, start).gradient, 0.1);
    expect([...real.b.values]).toEqual(close(expected));
  });

  test("preconditioning makes the number of steps free of the condition number", () => {
    const steps = (kappa: number, preconditioned: boolean): number => {
      const problem = linearModel({ dimension: 20, singularValues: [1, 1 / kappa], samples: 400, seed: 2 });
      return stepsToTolerance(problem, {
        start: loraOneInit(problem.descent, { rank: 2, gamma: 1 }),
        step: (f, g) =>
          preconditioned ? preconditionedStep(f, g, { learningRate: 0.5 }) : gradientStep(f, g, 0.5),
        maxSteps: 5000,
        tolerance: 1e-3,
      });
    };
    expect(steps(100, true)).toBeLessThanOrEqual(2 * steps(1, true));
    expect(steps(100, false)).toBeGreaterThanOrEqual(5 * steps(1, false));
    expect(() =>
      stepsToTolerance(model, {
        start: { a: identity(6, 100), b: identity(6, 100) },
        step: (f, g) => gradientStep(f, g, 1),
        maxSteps: 50,
        tolerance: 1e-3,
      }),
    ).toThrow(/times the shift/);
  });
});

test("angles between subspaces by hand", () => {
  const line = (angle: number): Matrix => matrix(2, 1, [Math.cos(angle), Math.sin(angle)]);
  expect(subspaceAngle(line(0), line(0.3))).toBeCloseTo(Math.sin(0.3), 12);
  expect(subspaceAngle(line(0.2), line(0.2))).toBeLessThan(1e-15);
  expect(subspaceAngle(line(0), line(Math.PI / 2))).toBeCloseTo(1, 12);
  expect(() => subspaceAngle(line(0), identity(3))).toThrow(RangeError);
});

describe("adapters for a transformer", () => {
  const model = transformer({ vocabulary: 6, context: 5, width: 16, heads: 2, layers: 1 });
  const base = model.init(random.key(0));
  const texts = {
    tokens: random.randint(random.key(1), [8, 5], 0, 6),
    mask: tensor(new Float32Array(40).fill(1), { shape: [8, 5] }),
  };
  const weightOf = async (params: TransformerParams): Promise<Matrix> =>
    matrix(16, 64, await data(params.blocks[0]!.expand.weight));
  const path = "blocks[0].expand.weight";

  test("LoRA-One starts one best rank-r gradient step from the base, LoRA-GA at the base", async () => {
    const directions = await descentDirections({ model, base, texts });
    expect(Object.keys(directions).length).toBe(4);
    const before = await weightOf(base);
    const one = loraOneAdapter(directions, { rank: 2, gamma: 8 });
    const after = await weightOf(one.merge(base, one.init(random.key(2), base)));
    const change = minus(after, before);
    const { u, s, v } = thinSVD(directions[path]!);
    const scale = 16 / Math.SQRT2 / 8;
    const expected = matrix(16, 64);
    for (let i = 0; i < 16; i++)
      for (let j = 0; j < 64; j++)
        for (const k of [0, 1])
          expected.values[i * 64 + j]! +=
            (scale * s[k]! * u.values[16 * i + k]! * v.values[16 * j + k]!) / s[0]!;
    expect(norm(minus(change, expected).values)).toBeLessThan(1e-4 * norm(expected.values));

    const loss = async (params: TransformerParams) => item(lossOn(model)(params, texts));
    const small = loraOneAdapter(directions, { rank: 2, gamma: 1000 });
    expect(await loss(small.merge(base, small.init(random.key(2), base)))).toBeLessThan(await loss(base));

    const ga = loraGaAdapter(directions, { rank: 2 });
    const start = ga.init(random.key(2), base) as Record<string, LoraFactors>;
    expect(norm(minus(await weightOf(ga.merge(base, start)), before).values)).toBeLessThan(1e-5);
    expect(norm(Float64Array.from(await data(start[path]!.a)))).toBeGreaterThan(0.1);
  });
});
