import { expect, test } from "vitest";
import { describeRegion, short } from "./verdict.ts";

test("numbers for reading have three digits, and a power of ten where they are small", () => {
  expect([0.012345, 1234.5, -0.5, 0, 1e-4].map((value) => short(value))).toEqual([
    "0.0123",
    "1230",
    "-0.5",
    "0",
    "0.0001",
  ]);
  expect(short(-0.0000123456)).toBe("-1.23e-5");
  expect(short(0.00009999)).toBe("0.0001");
  expect(short(0.0000123456, 4)).toBe("1.235e-5");
  expect([Number.NaN, Number.NEGATIVE_INFINITY].map((value) => short(value))).toEqual(["NaN", "-Infinity"]);
  expect(describeRegion({ max: 1e-6 })).toBe("≤ 1e-6");
});
