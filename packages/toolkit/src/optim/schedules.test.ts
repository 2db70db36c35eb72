import { item, scalar } from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import {
  constantSchedule,
  cosineDecay,
  cosineRestarts,
  exponentialDecay,
  joinSchedules,
  linearSchedule,
  piecewiseConstant,
  polynomialSchedule,
  type Schedule,
  warmupCosine,
} from "./schedules.ts";

async function at(schedule: Schedule, step: number): Promise<number> {
  const value = schedule(scalar(step, "float64"));
  return typeof value === "number" ? value : item(value);
}

const cases: [name: string, schedule: Schedule, values: Record<number, number>][] = [
  ["constant", constantSchedule(0.3), { 0: 0.3, 1000: 0.3 }],
  ["linear down", linearSchedule(1, 0, 4), { 0: 1, 1: 0.75, 4: 0, 9: 0 }],
  ["linear up", linearSchedule(0.1, 0.5, 4), { 0: 0.1, 2: 0.3, 4: 0.5, 5: 0.5 }],
  ["polynomial", polynomialSchedule(3, 1, 4, 2), { 0: 3, 1: 1 + 2 * 0.5625, 2: 1.5, 4: 1, 8: 1 }],
  ["cosine", cosineDecay(2, 6), { 0: 2, 2: 1.5, 3: 1, 4: 0.5, 6: 0, 7: 0 }],
  ["cosine to a floor", cosineDecay(2, 6, 1), { 0: 2, 3: 1.5, 6: 1, 60: 1 }],
  ["restarts", cosineRestarts(2, 6), { 0: 2, 3: 1, 6: 2, 9: 1, 12: 2 }],
  ["exponential", exponentialDecay(8, 0.5, 10), { 0: 8, 10: 4, 20: 2, 5: 8 * Math.SQRT1_2 }],
  ["staircase", exponentialDecay(8, 0.5, 10, true), { 0: 8, 9: 8, 10: 4, 19: 4, 20: 2 }],
  ["piecewise", piecewiseConstant([1, 0.1, 0.01], [3, 5]), { 0: 1, 2: 1, 3: 0.1, 4: 0.1, 5: 0.01, 99: 0.01 }],
  ["joined", joinSchedules(linearSchedule(0, 1, 4), constantSchedule(7), 2), { 0: 0, 1: 0.25, 2: 7, 3: 7 }],
  [
    "joined counts from 0 again",
    joinSchedules(constantSchedule(1), linearSchedule(0, 1, 4), 10),
    { 9: 1, 10: 0, 12: 0.5 },
  ],
  ["warm-up and cosine", warmupCosine(2, 4, 10), { 0: 0, 1: 0.5, 3: 1.5, 4: 2, 7: 1, 10: 0, 12: 0 }],
  ["warm-up and cosine to a floor", warmupCosine(2, 4, 10, 1), { 0: 0, 4: 2, 7: 1.5, 10: 1 }],
];

describe("schedules at chosen steps", () => {
  test.each(cases)("%s", async (_, schedule, values) => {
    for (const [step, expected] of Object.entries(values))
      expect(await at(schedule, Number(step)), `step ${step}`).toBeCloseTo(expected, 12);
  });

  test("numbers that make no schedule are refused", () => {
    expect(() => linearSchedule(1, 0, 0)).toThrow(RangeError);
    expect(() => polynomialSchedule(1, 0, 5, 0)).toThrow(RangeError);
    expect(() => cosineDecay(1, -1)).toThrow(RangeError);
    expect(() => cosineRestarts(1, Number.NaN)).toThrow(RangeError);
    expect(() => exponentialDecay(1, 0, 5)).toThrow(RangeError);
    expect(() => warmupCosine(1, 10, 10)).toThrow(RangeError);
    expect(() => piecewiseConstant([1, 2], [3, 4])).toThrow(/1 boundaries/);
  });
});
