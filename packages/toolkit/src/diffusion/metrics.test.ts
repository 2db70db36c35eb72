import { expect, test } from "vitest";
import { randomStream } from "../stats/index.ts";
import {
  frechetDistance,
  manifoldOf,
  maximumMeanDiscrepancy,
  type Points,
  precisionRecall,
  squaredDistances,
} from "./index.ts";

const points = (values: readonly number[], dimensions: number) => ({
  values: Float64Array.from(values),
  dimensions,
});
const cloud = (seed: number, count: number, [x, y]: readonly [number, number], scale = 1) => {
  const random = randomStream(seed, "cloud");
  return points(
    Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? x : y) + scale * random.normal()),
    2,
  );
};

test("squared distances of two sets", () => {
  expect([...squaredDistances(points([0, 0, 3, 4], 2), points([0, 0, 0, 4], 2))]).toEqual([0, 16, 25, 9]);
});

test("the Fréchet distance of two lines of points is that of their Gaussians", () => {
  // Means 0 and 5, standard deviations √2 and √18.
  expect(frechetDistance(points([-1, 1], 1), points([2, 8], 1))).toBeCloseTo(
    25 + (Math.sqrt(2) - Math.sqrt(18)) ** 2,
    10,
  );
});

test("the Fréchet distance of covariances that don't commute", () => {
  // Rows at ±e₁, ±e₂ scaled have diagonal covariances; the second set is turned by 45°.
  const [a, b] = [3, 1];
  const first = points([a, 0, -a, 0, 0, b, 0, -b], 2);
  const r = Math.SQRT1_2;
  const second = points([a * r, a * r, -a * r, -a * r, -b * r, b * r, b * r, -b * r], 2);
  // Covariances diag(6, 2/3) and the same turned: tr √(C₁C₂) = √(tr(C₁C₂) + 2 √det(C₁C₂)).
  const [p, q] = [6, 2 / 3];
  const traceOfProduct = (p + q) ** 2 / 2;
  const expected = 2 * (p + q) - 2 * Math.sqrt(traceOfProduct + 2 * p * q);
  expect(frechetDistance(first, second)).toBeCloseTo(expected, 9);
  expect(frechetDistance(first, first)).toBeCloseTo(0, 9);
});

test("the discrepancy of two sets by hand", () => {
  const k = (d: number): number => Math.exp(-(d ** 2) / 2);
  const value = maximumMeanDiscrepancy(points([0, 1], 1), points([2, 4], 1), { width: 1 });
  expect(value).toBeCloseTo(k(1) + k(2) - (2 * (k(2) + k(4) + k(1) + k(3))) / 4, 12);
});

test("the discrepancy of equal distributions is about zero, of others not", () => {
  expect(Math.abs(maximumMeanDiscrepancy(cloud(0, 300, [0, 0]), cloud(1, 300, [0, 0])))).toBeLessThan(0.01);
  expect(maximumMeanDiscrepancy(cloud(0, 300, [0, 0]), cloud(1, 300, [1, 0]))).toBeGreaterThan(0.05);
});

test("precision falls with points off the data, recall with data that are never reached", () => {
  const coverage = (a: Points, b: Points) => precisionRecall(manifoldOf(a, 1), manifoldOf(b, 1));
  const real = points([0, 1, 2, 3, 10, 11, 12, 13], 1);
  expect(coverage(real, real)).toEqual({ precision: 1, recall: 1 });
  // Only one of two clusters is generated.
  expect(coverage(real, points([0.1, 1.1, 2.1, 2.9], 1))).toEqual({ precision: 1, recall: 0.5 });
  // Half of what is generated lies far away.
  expect(coverage(real, points([0.1, 1.1, 50, 51], 1)).precision).toBe(0.5);
});

test("sets that don't fit are refused", () => {
  expect(() => frechetDistance(points([1, 2], 1), points([1, 2], 2))).toThrow(/dimensions/);
  expect(() => frechetDistance(points([1], 1), points([1, 2], 1))).toThrow(/2 or more/);
  expect(() => manifoldOf(points([1, 2, 3], 1))).toThrow(/4 or more/);
  expect(() => maximumMeanDiscrepancy(points([1, 2, 3], 2), points([1, 2], 2))).toThrow(/rows/);
});
