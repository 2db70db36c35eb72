import { describe, expect, test } from "vitest";
import * as T from "../index.ts";
import { threefry } from "./threefry.ts";

const { random: R } = T;
type Tensor = T.Tensor;

describe("Threefry-2x32 with 20 rounds, known answers of the Random123 distribution", () => {
  test.each([
    [
      [0, 0],
      [0, 0],
      [0x6b200159, 0x99ba4efe],
    ],
    [
      [0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x1cb996fc, 0xbb002be7],
    ],
    [
      [0x13198a2e, 0x03707344],
      [0x243f6a88, 0x85a308d3],
      [0xc4923a9c, 0x483df7a0],
    ],
  ])("key %j, counter %j", (key, counter, expected) => {
    const out = new Uint32Array(2);
    threefry(key[0]!, key[1]!, counter[0]!, counter[1]!, out, 0);
    expect([...out]).toEqual(expected);
  });
});

describe("the same seed gives the same numbers", () => {
  test("twice, and others for another seed", async () => {
    const draw = async (seed: number) => [...(await T.data(R.normal(R.key(seed), [5])))];
    expect(await draw(3)).toEqual(await draw(3));
    expect(await draw(3)).not.toEqual(await draw(4));
    expect(await draw(3)).not.toEqual(await draw(3 + 2 ** 32));
  });
  test("computed at once, in jit, in vmap and in scan", async () => {
    const keys = R.split(R.key(11), 3);
    const one = (key: Tensor): Tensor => T.add(R.normal(key, [2]), R.uniform(R.fold(key, 7), [2]));
    const at = (i: number): Tensor => T.slice(keys, i);
    const expected = await T.toArray(T.stack([0, 1, 2].map((i) => one(at(i)))));
    expect(await T.toArray(T.vmap(one)(keys))).toEqual(expected);
    expect(await T.toArray(await T.jit(() => T.vmap(one)(keys))())).toEqual(expected);
    expect(await T.toArray(await T.jit((k: Tensor) => T.vmap(one)(k))(keys))).toEqual(expected);
    const looped = (k: Tensor): Tensor =>
      T.scan((s: Tensor, x: Tensor) => [s, one(x)] as const, T.scalar(0), k)[1];
    expect(await T.toArray(looped(keys))).toEqual(expected);
    expect(await T.toArray(await T.jit(looped)(keys))).toEqual(expected);
  });
  test("in a scan over step numbers, under vmap over seeds", async () => {
    const steps = T.arange(4);
    const run = (key: Tensor): Tensor =>
      T.scan((s: Tensor, i: Tensor) => [s, R.uniform(R.fold(key, i))] as const, T.scalar(0), steps)[1];
    const keys = R.split(R.key(5), 2);
    const expected = [0, 1].map((k) => [0, 1, 2, 3].map((i) => R.uniform(R.fold(T.slice(keys, k), i))));
    const values = await T.toArray(T.stack(expected.map((row) => T.stack(row))));
    expect(await T.toArray(await T.jit(T.vmap(run))(keys))).toEqual(values);
  });
  test("a seed given to jit draws anew at each call", async () => {
    const f = T.jit((key: Tensor) => R.normal(key, [3]));
    const first = await T.toArray(await f(R.key(1)));
    expect(await T.toArray(await f(R.key(2)))).not.toEqual(first);
    expect(await T.toArray(await f(R.key(1)))).toEqual(first);
  });
});

describe("moments and ranges of 20,000 draws", () => {
  const n = 20_000;
  const moments = async (x: Tensor): Promise<[number, number]> => [
    await T.item(T.mean(T.cast(x, "float64"))),
    await T.item(T.variance(T.cast(x, "float64"))),
  ];
  // Five standard errors of the mean, and a wide margin for the variance; seeds are fixed.
  const near = (actual: number, expected: number, spread: number) =>
    expect(Math.abs(actual - expected)).toBeLessThan((5 * spread) / Math.sqrt(n));
  test.each(["float32", "float64"] as const)("uniform, %s", async (dtype) => {
    const x = R.uniform(R.key(1), [n], { low: -1, high: 3, dtype });
    const [mean, variance] = await moments(x);
    near(mean, 1, Math.sqrt(16 / 12));
    near(variance, 16 / 12, 2);
    expect(await T.item(T.min(x))).toBeGreaterThanOrEqual(-1);
    expect(await T.item(T.max(x))).toBeLessThan(3);
  });
  test.each(["float32", "float64"] as const)("normal, %s", async (dtype) => {
    const x = R.normal(R.key(2), [n], { dtype });
    const [mean, variance] = await moments(x);
    near(mean, 0, 1);
    near(variance, 1, Math.SQRT2);
    near(await T.item(T.mean(T.pow(x, 4))), 3, Math.sqrt(96));
  });
  test("gumbel", async () => {
    const [mean, variance] = await moments(R.gumbel(R.key(3), [n]));
    near(mean, 0.5772156649, Math.PI / Math.sqrt(6));
    near(variance, Math.PI ** 2 / 6, 4);
  });
  test("bernoulli", async () => {
    const [mean] = await moments(T.cast(R.bernoulli(R.key(4), 0.3, [n]), "float64"));
    near(mean, 0.3, 0.46);
  });
  test("randint", async () => {
    const x = R.randint(R.key(5), [n], -2, 3);
    for (const v of [-2, -1, 0, 1, 2]) near(await T.item(T.mean(T.cast(T.equal(x, v), "float64"))), 0.2, 0.4);
  });
  test("categorical", async () => {
    const x = R.categorical(R.key(6), T.log(T.tensor([0.5, 0.2, 0.3])), [n]);
    const expected = [0.5, 0.2, 0.3];
    for (const [i, p] of expected.entries())
      near(await T.item(T.mean(T.cast(T.equal(x, i), "float64"))), p, Math.sqrt(p * (1 - p)));
  });
  test("permutation", async () => {
    const x = [...(await T.data(R.permutation(R.key(7), n)))];
    expect([...x].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
    expect(x).not.toEqual([...x].sort((a, b) => a - b));
  });
  test("keys that were split or folded are not correlated", async () => {
    const [a, b] = R.keys(R.key(8));
    const draws = [R.key(8), a!, b!, R.fold(R.key(8), 0), R.fold(R.key(8), 1)].map((k) =>
      R.normal(k, [n], { dtype: "float64" }),
    );
    const all = T.stack(draws);
    const correlations = await T.data(T.mul(T.matmul(all, T.transpose(all)), 1 / n));
    for (let i = 0; i < 5; i++) for (let j = 0; j < i; j++) near(correlations[5 * i + j]!, 0, 1);
  });
});

test("derivatives go through draws that are scaled", async () => {
  const f = (scale: Tensor): Tensor => T.sum(T.mul(scale, R.normal(R.key(1), [4], { dtype: "float64" })));
  expect(await T.item(T.grad(f)(T.scalar(2, "float64")))).toBeCloseTo(
    await T.item(f(T.scalar(1, "float64"))),
    12,
  );
});

describe("misuse", () => {
  test("a key in a scan's state", () => {
    expect(() =>
      T.scan((k: Tensor) => [T.slice(R.split(k), 0), R.normal(k)] as const, R.key(0), null, { length: 3 }),
    ).toThrow(/scan.*random\.split/);
  });
  test("a draw from something else", () => {
    expect(() => R.normal(T.scalar(1), [2])).toThrow(/takes a key.*\n.*random\.test/);
  });
  test("a seed that isn't a whole number", () => {
    expect(() => R.key(0.5)).toThrow(/whole number.*0\.5/);
  });
});
