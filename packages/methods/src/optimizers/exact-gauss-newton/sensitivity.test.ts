import { describe, expect, test } from "vitest";
import { affordableEpochs, dampingSpread, divergedShare, logSpread, rateSpread } from "./sensitivity.ts";

const { E: e } = Math;

describe("spreads", () => {
  test("are the log ratio of the worst error over the best, with diverged ones as bad as the mean", () => {
    expect(logSpread([0.1, 0.1 * e, 0.2])).toBeCloseTo(1, 12);
    expect(logSpread([1 / e, 1e21, 0.5])).toBeCloseTo(1, 12);
    expect(logSpread([1 / e, Number.NaN, Number.POSITIVE_INFINITY])).toBeCloseTo(1, 12);
    expect(logSpread([0.3, 0.3])).toBe(0);
  });

  test("over dampings are along rows, over step sizes along columns", () => {
    const grid = [
      [0.1, 0.1],
      [0.1 * e, 0.1 * e],
      [0.1, 0.1],
    ];
    expect(dampingSpread(grid)).toBeCloseTo(0, 12);
    expect(rateSpread(grid)).toBeCloseTo(1, 12);
    const turned = [
      [0.1, 0.1 * e],
      [0.1, 0.1 * e],
    ];
    expect(dampingSpread(turned)).toBeCloseTo(1, 12);
    expect(rateSpread(turned)).toBeCloseTo(0, 12);
  });
});

test("the share that diverged counts errors above 1 and what is no number", () => {
  expect(
    divergedShare([
      [0.5, 1],
      [1.01, Number.NaN],
    ]),
  ).toBe(0.5);
  expect(divergedShare([[0.5, Number.POSITIVE_INFINITY, 0.1, 0.2]])).toBe(0.25);
});

test("a rival's time buys whole epochs, at least one and at most all", () => {
  expect(affordableEpochs(20, 4, 1)).toBe(5);
  expect(affordableEpochs(20, 3, 1)).toBe(6);
  expect(affordableEpochs(20, 100, 1)).toBe(1);
  expect(affordableEpochs(20, 1, 2)).toBe(20);
});
