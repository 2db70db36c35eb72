import { expect, test } from "vitest";
import { chiSquareCdf, chiSquareQuantile, normalQuantile } from "./index.ts";

test("quantiles as in tables", () => {
  expect(normalQuantile(0.975)).toBeCloseTo(1.959964, 5);
  expect(chiSquareQuantile(0.95, 1)).toBeCloseTo(3.841459, 5);
  expect(chiSquareQuantile(0.99, 10)).toBeCloseTo(23.209251, 5);
  expect(chiSquareCdf(chiSquareQuantile(0.3, 7), 7)).toBeCloseTo(0.3, 8);
});
