import {
  add,
  data,
  grad,
  item,
  linalg,
  matmul,
  mul,
  random,
  sub,
  sum,
  type Tensor,
  tensor,
  toArray,
  zeros,
} from "@prior-art/tensor";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Directions,
  effectiveRank,
  initDirections,
  powerStep,
  sortedEntries,
  spectralPenalty,
  spectralRegularization,
  topSingularValue,
  wassersteinInit,
  wassersteinPenalty,
} from "./method.ts";

const f64 = { dtype: "float64" } as const;
const matrix = (rows: number[][]): Tensor => tensor(rows, f64);
const vector = (values: number[]): Tensor => tensor(values, f64);
const orthogonal = (seed: number): Tensor => linalg.qr(random.normal(random.key(seed), [4, 4], f64)).q;
const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];

function converged(weight: Tensor, steps: number): Directions {
  let directions = initDirections(random.key(2), weight);
  for (let i = 0; i < steps; i++) directions = powerStep(weight, directions);
  return directions;
}

describe("the spectral penalty", () => {
  const diagonal = matrix([[3, 0], [0, 1]]); // biome-ignore format: a matrix

  test("diag(3, 1) costs (9 - 1)², with gradient 96 at the larger entry alone", async () => {
    expect(await item(spectralPenalty({ w: diagonal }))).toBeCloseTo(64, 10);
    const directions = [converged(diagonal, 60)];
    const gradient = grad((w: Tensor) => spectralPenalty({ w }, { directions }))(diagonal);
    expect(await numbers(gradient)).toEqual([96, 0, 0, 0].map((v) => expect.closeTo(v, 8)));
  });

  test("the exact gradient is that of the converged directions", async () => {
    const weight = random.normal(random.key(5), [5, 3], f64);
    const directions = [converged(weight, 300)];
    const followed = grad((w: Tensor) => spectralPenalty({ w }, { directions }))(weight);
    const exact = grad((w: Tensor) => spectralPenalty({ w }))(weight);
    expect(await numbers(followed)).toEqual((await numbers(exact)).map((v) => expect.closeTo(v, 7)));
  });

  test("an orthogonal matrix costs nothing, and a bias of length 5 costs 625", async () => {
    const q = orthogonal(1);
    expect(await item(spectralPenalty({ q }))).toBeCloseTo(0, 12);
    const gradient = grad((w: Tensor) => spectralPenalty({ w }, { directions: [converged(q, 3)] }))(q);
    expect(Math.max(...(await numbers(gradient)).map(Math.abs))).toBeLessThan(1e-10);
    expect(await item(spectralPenalty({ bias: vector([3, 4]) }))).toBeCloseTo(625, 10);
    expect(await numbers(grad((b: Tensor) => spectralPenalty({ b }))(vector([3, 4])))).toEqual([4 * 25 * 3, 4 * 25 * 4].map((v) => expect.closeTo(v, 8))); // biome-ignore format: one claim
  });

  test("rotations of inputs and outputs change nothing", async () => {
    const weight = random.normal(random.key(9), [4, 4], f64);
    const turned = matmul(matmul(orthogonal(3), weight), orthogonal(4));
    expect(await item(spectralPenalty({ turned }))).toBeCloseTo(await item(spectralPenalty({ weight })), 9);
  });

  test("gains act as diagonal matrices, kernels as matrices [out, rest], other exponents as they say", async () => {
    const gain = vector([0.5, -2, 1]);
    expect(await item(spectralPenalty({ gain }, { isGain: () => true }))).toBeCloseTo(9, 10);
    const kernel = random.normal(random.key(4), [3, 2, 2, 2], f64);
    const flat = (await toArray(kernel)) as number[][][][];
    const rows = matrix(flat.map((filter) => filter.flat(2)));
    expect(await item(spectralPenalty({ kernel }))).toBeCloseTo(await item(spectralPenalty({ rows })), 9);
    expect(await item(spectralPenalty({ w: diagonal, b: vector([3, 4]) }, { exponent: 1 }))).toBeCloseTo(
      4 + 25,
      10,
    );
  });

  test("zeros have no gradient instead of NaN", async () => {
    const weight = zeros([2, 3], "float64");
    const directions = [powerStep(weight, initDirections(random.key(0), weight))];
    const of = (p: { w: Tensor; b: Tensor }): Tensor => spectralPenalty(p, { directions });
    const gradient = grad(of)({ w: weight, b: zeros([2], "float64") });
    expect(await numbers(gradient.w)).toEqual(new Array(6).fill(0));
    expect(await numbers(gradient.b)).toEqual([0, 0]);
  });

  test("directions must fit, and scalars have no place", () => {
    expect(() => spectralPenalty({ diagonal }, { directions: [] })).toThrow(/0 directions for 1 weights/);
    expect(() => spectralPenalty({ x: tensor(1, f64) })).toThrow(/no weight/);
  });
});

test("power iteration finds the first singular value to 1e-6 in 50 steps", async () => {
  const weight = matmul(matmul(orthogonal(6), matrix([[2, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0.1]])), orthogonal(7)); // biome-ignore format: a matrix
  const found = await item(topSingularValue(weight, converged(weight, 50)));
  expect(Math.abs(found / 2 - 1)).toBeLessThan(1e-6);
});

describe("the Wasserstein penalty", () => {
  test("compares sorted entries", async () => {
    const [now, before] = [vector([0.5, -1, 2]), vector([0, 1, -1])];
    expect(await item(wassersteinPenalty({ now }, sortedEntries({ before })))).toBeCloseTo(1.25, 12);
    const gap = sub(now, before);
    expect(await item(sum(mul(gap, gap)))).toBeCloseTo(13.25, 12);
  });

  test("pulls each entry towards the initial entry of its rank", async () => {
    const initial = sortedEntries({ w: vector([0, 1, -1]) });
    const gradient = grad((w: Tensor) => wassersteinPenalty({ w }, initial))(vector([0.5, -1, 2]));
    expect(await numbers(gradient)).toEqual([1, 0, 2].map((v) => expect.closeTo(v, 12)));
  });

  test("permuting entries changes nothing, and it never exceeds the squared distance", async () => {
    const entries = fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 4, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(entries, entries, async (a, b) => {
        const value = await item(wassersteinPenalty({ w: vector(a) }, sortedEntries({ w: vector(b) })));
        const permuted = [a[2]!, a[0]!, a[3]!, a[1]!];
        expect(await item(wassersteinPenalty({ w: vector(permuted) }, sortedEntries({ w: vector(b) })))).toBeCloseTo(value, 9); // biome-ignore format: one claim
        expect(value).toBeLessThanOrEqual(a.reduce((s, v, i) => s + (v - b[i]!) ** 2, 0) + 1e-9);
      }),
      { numRuns: 8 },
    );
  });

  test("trees that differ are refused", () => {
    expect(() => wassersteinPenalty({ w: vector([1]) }, [])).toThrow(/differ/);
  });
});

test("effective rank: of k equal singular values k, of one 1, of none 0", async () => {
  expect(await item(effectiveRank(orthogonal(8)))).toBeCloseTo(4, 9);
  expect(await item(effectiveRank(matrix([[1, 2], [2, 4]])))).toBeCloseTo(1, 6); // biome-ignore format: a matrix
  expect(await item(effectiveRank(zeros([2, 2], "float64")))).toBe(0);
  const skewed = await item(effectiveRank(matrix([[3, 0], [0, 1]]))); // biome-ignore format: a matrix
  expect(skewed).toBeCloseTo(Math.exp(-(0.75 * Math.log(0.75) + 0.25 * Math.log(0.25))), 9);
});

describe("the learners", () => {
  const params = { weight: random.normal(random.key(3), [6, 5]), bias: add(zeros([5]), 0.5) };
  const network = { inputs: 6, classes: 5, key: random.key(1) };
  const batch = { inputs: zeros([1, 6]), labels: zeros([1], "int32") };
  const stepAt = (p: typeof params) => ({ params: p, batch, logits: zeros([1, 5]), predict: () => zeros([1, 5]), key: random.key(0) }); // biome-ignore format: one step

  test("spectral: the loss grows by λ times the penalty; directions follow the weights", async () => {
    const learner = spectralRegularization<typeof params>({ strength: 0.5 });
    let state = learner.init!(params, network);
    for (let i = 0; i < 60; i++) state = learner.afterStep!(state, stepAt(params)).state;
    const loss = await item(learner.loss!(tensor(2), stepAt(params), state));
    const exact = await item(spectralPenalty(params));
    expect(loss).toBeCloseTo(2 + 0.5 * exact, 2);
    expect(learner.afterStep!(state, stepAt(params)).params).toBe(params);
  });

  test("Wasserstein: costs nothing at the initial parameters, and a strength of 0 is plain training", async () => {
    const learner = wassersteinInit<typeof params>({ strength: 1 });
    const state = learner.init!(params, network);
    expect(await item(learner.loss!(tensor(2), stepAt(params), state))).toBeCloseTo(2, 6);
    const moved = { ...params, bias: add(params.bias, 1) };
    expect(await item(learner.loss!(tensor(2), stepAt(moved), state))).toBeCloseTo(7, 5);
    const off = wassersteinInit<typeof params>({ strength: 0 });
    expect(await item(off.loss!(tensor(2), stepAt(moved), off.init!(params, network)))).toBeCloseTo(2, 6);
  });
});
