import { randomStream } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import type { BilevelProblem } from "./family.ts";
import { parzenDensity, parzenSearch, proposePoint } from "./parzenSearch.ts";
import { randomSearch } from "./search.ts";

/** h = ½ (x_j − λ_j)² in each of two dimensions, g = ½ ‖x − (2, −1)‖²: the best λ is the target. */
const target = [2, -1];
const tracking: BilevelProblem = {
  parameters: 2,
  lower: Float64Array.of(-6, -6),
  upper: Float64Array.of(6, 6),
  inner: {
    evaluate: (x, lambda) => ({
      value: 0.5 * x.reduce((sum, value, j) => sum + (value - lambda[j]!) ** 2, 0),
      gradient: x.map((value, j) => value - lambda[j]!),
    }),
    hessianProduct: (_, __, v) => v.slice(),
    strongConvexity: () => 1,
    crossProduct: (_, __, q) => q.map((value) => -value),
  },
  outer: {
    value: (x) => 0.5 * x.reduce((sum, value, j) => sum + (value - target[j]!) ** 2, 0),
    gradient: (x) => x.map((value, j) => value - target[j]!),
  },
};

describe("the density", () => {
  test.each([[[]], [[0.2]], [[0, 0.1, 0.9, 1]]])("of points %j integrates to 1", (points) => {
    const { density } = parzenDensity(points, 0, 1);
    let sum = 0;
    for (let i = 0; i < 10_000; i++) sum += density((i + 0.5) / 10_000) / 10_000;
    expect(sum).toBeCloseTo(1, 5);
    expect(density(-0.01)).toBe(0);
  });

  test("is that of its draws, which stay within the interval", () => {
    const found = parzenDensity([-1, -0.8], -1, 3);
    const stream = randomStream(0, "draws");
    const draws = Array.from({ length: 20_000 }, () => found.draw(stream));
    expect(Math.min(...draws)).toBeGreaterThanOrEqual(-1);
    expect(Math.max(...draws)).toBeLessThanOrEqual(3);
    let below = 0;
    for (let i = 0; i < 1000; i++) below += (found.density(-1 + i / 1000) * 1) / 1000;
    expect(draws.filter((x) => x < 0).length / draws.length).toBeCloseTo(below, 1.7);
  });

  test("an interval without length has none", () => {
    expect(() => parzenDensity([0], 1, 1)).toThrow("no finite length");
  });
});

test("proposals crowd where the good points are", () => {
  const stream = randomStream(1, "proposals");
  const history = Array.from({ length: 40 }, (_, i) => {
    const lambda = Float64Array.of(-6 + (12 * i) / 39);
    return { lambda, outer: Math.abs(lambda[0]! - 3) };
  });
  const proposed = Array.from(
    { length: 50 },
    () => proposePoint(history, Float64Array.of(-6), Float64Array.of(6), stream)[0]!,
  );
  // Good are the ten from 1.4 to 4.5.
  expect(proposed.filter((x) => x > 1 && x < 5).length).toBeGreaterThan(45);
});

describe("the search", () => {
  const options = { start: Float64Array.of(0, 0), maxWork: 200, seed: 0 };

  test("gets closer than random search with the same work, on average over seeds", () => {
    const distance = (solver: ReturnType<typeof parzenSearch>): number => {
      let sum = 0;
      for (let seed = 0; seed < 10; seed++) {
        const { history } = solver(tracking, { ...options, seed });
        sum += Math.min(...history.map(({ outer }) => outer));
      }
      return sum / 10;
    };
    expect(distance(parzenSearch())).toBeLessThan(0.3 * distance(randomSearch()));
  });

  test("stays in the box, counts its work and reports the best of what it tried", () => {
    const { lambda, history } = parzenSearch()(tracking, options);
    expect(history.every((step) => step.lambda.every((value) => Math.abs(value) <= 6))).toBe(true);
    expect(history.every((step, i) => i === 0 || step.work > history[i - 1]!.work)).toBe(true);
    expect(history.at(-1)!.work).toBeGreaterThanOrEqual(200);
    expect(history.find((step) => step.lambda === lambda)!.outer).toBe(
      Math.min(...history.map(({ outer }) => outer)),
    );
  });

  test("a seed repeats itself, another does not", () => {
    const found = (seed: number) => parzenSearch()(tracking, { ...options, seed }).lambda.join();
    expect(found(1)).toBe(found(1));
    expect(found(1)).not.toBe(found(2));
  });

  test("a hyperparameter without freedom keeps its value", () => {
    const fixed = { ...tracking, lower: Float64Array.of(-6, 1), upper: Float64Array.of(6, 1) };
    const { history } = parzenSearch()(fixed, options);
    expect(history.every((step) => step.lambda[1] === 1)).toBe(true);
  });

  test("bad input", () => {
    expect(() => parzenSearch({ tolerance: 0 })).toThrow("tolerance");
    expect(() => parzenSearch({ quantile: 1 })).toThrow("quantile");
    expect(() => parzenSearch({ candidates: 0 })).toThrow("candidates");
    expect(() => parzenSearch()(tracking, { ...options, maxWork: 0 })).toThrow("maxWork");
    const unbounded = { ...tracking, upper: Float64Array.of(6, Number.POSITIVE_INFINITY) };
    expect(() => parzenSearch()(unbounded, options)).toThrow("hyperparameter 1 needs finite bounds");
    const diverging = {
      ...tracking,
      inner: {
        ...tracking.inner,
        evaluate: (x: Float64Array) => ({ value: Number.NaN, gradient: x }),
      },
    };
    expect(() => parzenSearch()(diverging, options)).toThrow(
      /the inner objective is NaN at the hyperparameters \[.+\]/,
    );
  });
});
