import { add, data, item, random, scalar, type Tensor, tensor, toArray, zeros } from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import type { Moment, Site } from "../family.ts";
import {
  type DropScheduleOptions,
  dropBranch,
  dropSchedule,
  dropUnits,
  gradientDirectionError,
  gradientDirectionVariance,
  scheduledDropout,
  scheduledStochasticDepth,
} from "./method.ts";

const rates = (options: DropScheduleOptions, at: readonly number[]): Promise<number[]> =>
  Promise.all(at.map((progress) => item(dropSchedule(options)(scalar(progress)))));
const near = (values: readonly number[], digits = 5) => values.map((v) => expect.closeTo(v, digits));

describe("the schedule", () => {
  const at = [0, 0.1, 0.2, 0.5, 0.99];
  test("early, linear: from the rate to 0 at the boundary, then nothing", async () => {
    expect(await rates({ phase: "early", rate: 0.4, boundary: 0.2 }, at)).toEqual(near([0.4, 0.2, 0, 0, 0]));
  });

  test("early, constant; late; standard", async () => {
    const rate = { rate: 0.4, boundary: 0.2 } as const;
    expect(await rates({ ...rate, phase: "early", shape: "constant" }, at)).toEqual(
      near([0.4, 0.4, 0, 0, 0]),
    );
    expect(await rates({ ...rate, phase: "late" }, at)).toEqual(near([0, 0, 0.4, 0.4, 0.4]));
    expect(await rates({ ...rate, phase: "standard" }, at)).toEqual(near([0.4, 0.4, 0.4, 0.4, 0.4]));
  });

  test("early and late dropout complement each other", async () => {
    const early = await rates({ phase: "early", rate: 0.3, boundary: 0.5, shape: "constant" }, at);
    const late = await rates({ phase: "late", rate: 0.3, boundary: 0.5 }, at);
    expect(early.map((v, i) => v + late[i]!)).toEqual(near([0.3, 0.3, 0.3, 0.3, 0.3]));
  });

  test.each([{ rate: 1 }, { rate: -0.1 }, { rate: 0.1, boundary: 0 }])("%o is refused", (options) => {
    expect(() => dropSchedule({ phase: "early", ...options })).toThrow(RangeError);
  });
});

describe("dropping", () => {
  const x = add(zeros([400, 50]), 2);

  test("units keep their mean and are 0 as often as the rate says", async () => {
    const dropped = [...(await data(dropUnits(random.key(1), x, scalar(0.3))))];
    expect(dropped.filter((v) => v === 0).length / dropped.length).toBeCloseTo(0.3, 2);
    expect(dropped.find((v) => v !== 0)).toBeCloseTo(2 / 0.7, 5);
    expect(dropped.reduce((a, b) => a + b, 0) / dropped.length).toBeCloseTo(2, 1);
  });

  test("branches go or stay for whole examples", async () => {
    const rows = (await toArray(dropBranch(random.key(2), x, scalar(0.5)))) as number[][];
    for (const row of rows) expect(new Set(row).size).toBe(1);
    const kept = rows.filter((row) => row[0] !== 0).length;
    expect(Math.abs(kept / 400 - 0.5)).toBeLessThan(0.1);
    expect(rows.find((row) => row[0] !== 0)![0]).toBeCloseTo(4, 5);
  });

  test("a rate of 0 changes nothing", async () => {
    for (const drop of [dropUnits, dropBranch])
      expect([...(await data(drop(random.key(3), x, scalar(0))))].every((v) => v === 2)).toBe(true);
  });

  const moment = (progress: number): Moment => ({
    key: random.key(5),
    progress: scalar(progress),
    indices: tensor(Int32Array.of(0)),
  });
  const zerosIn = async (t: Tensor): Promise<number> => (await data(t)).filter((v) => v === 0).length;

  test("early dropout stops at the boundary and leaves branches alone", async () => {
    const { activations } = scheduledDropout({ phase: "early", rate: 0.5, boundary: 0.5 });
    const hidden: Site = { kind: "hidden", index: 0, count: 2 };
    expect(await zerosIn(activations!(x, hidden, moment(0)))).toBeGreaterThan(8000);
    expect(await zerosIn(activations!(x, hidden, moment(0.5)))).toBe(0);
    expect(activations!(x, { ...hidden, kind: "branch" }, moment(0))).toBe(x);
  });

  test("stochastic depth drops deeper branches more often, and no hidden units", async () => {
    const { activations } = scheduledStochasticDepth({ phase: "standard", rate: 0.6 });
    const shares: number[] = [];
    for (const index of [0, 1, 2])
      shares.push((await zerosIn(activations!(x, { kind: "branch", index, count: 3 }, moment(0)))) / x.size);
    expect(shares[0]).toBe(0);
    expect(Math.abs(shares[1]! - 0.3)).toBeLessThan(0.1);
    expect(Math.abs(shares[2]! - 0.6)).toBeLessThan(0.1);
    expect(activations!(x, { kind: "hidden", index: 2, count: 3 }, moment(0))).toBe(x);
  });
});

describe("directions of gradients", () => {
  const f64 = { dtype: "float64" } as const;

  test("parallel, orthogonal and opposite gradients have variance 0, ½ and 1", async () => {
    const variance = (rows: number[][]): Promise<number> =>
      item(gradientDirectionVariance(tensor(rows, f64)));
    expect(await variance([[1, 2], [10, 20]])).toBeCloseTo(0, 12); // biome-ignore format: a matrix
    expect(await variance([[1, 0], [0, 3]])).toBeCloseTo(0.5, 12); // biome-ignore format: a matrix
    expect(await variance([[1, 0], [-2, 0]])).toBeCloseTo(1, 12); // biome-ignore format: a matrix
  });

  test("the variance is the mean over all pairs", async () => {
    const gradients = random.normal(random.key(8), [6, 9], f64);
    const rows = (await toArray(gradients)) as number[][];
    const dot = (a: number[], b: number[]): number => a.reduce((s, v, i) => s + v * b[i]!, 0);
    let total = 0;
    for (const [i, a] of rows.entries())
      for (const [j, b] of rows.entries())
        if (i !== j) total += (1 - dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))) / 2;
    expect(await item(gradientDirectionVariance(gradients))).toBeCloseTo(total / 30, 12);
  });

  test("the error is the mean angle's measure to the whole gradient, whatever the lengths", async () => {
    const rows = tensor([[0, 5], [3, 0], [2, 2]], f64); // biome-ignore format: a matrix
    const expected = (0.5 + 0 + 0.5 * (1 - Math.SQRT1_2)) / 3;
    expect(await item(gradientDirectionError(rows, tensor([7, 0], f64)))).toBeCloseTo(expected, 12);
    expect(await item(gradientDirectionError(rows, tensor([0.1, 0], f64)))).toBeCloseTo(expected, 12);
  });

  test("shapes that don't fit are refused", () => {
    expect(() => gradientDirectionVariance(tensor([[1, 2]], f64))).toThrow(/two gradients/);
    expect(() => gradientDirectionVariance(tensor([1, 2], f64))).toThrow(/one gradient a row/);
    expect(() => gradientDirectionError(tensor([[1, 2]], f64), tensor([1], f64))).toThrow(/doesn't fit/);
  });
});
