import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  brierScore,
  expectedCalibrationError,
  logScore,
  maximumCalibrationError,
  randomStream,
  reliabilityDiagram,
} from "./index.ts";

// Four predictions: confidences .9 (right), .8 (wrong), .6 (right), .6 (wrong).
const probabilities = [0.9, 0.1, 0.8, 0.2, 0.4, 0.6, 0.4, 0.6];
const labels = [0, 1, 1, 0];

describe("calibration", () => {
  test("the diagram's bins, by hand", () => {
    const bins = reliabilityDiagram(probabilities, labels, 5);
    expect(bins.map(({ count }) => count)).toEqual([0, 0, 2, 1, 1]);
    expect(bins[2]).toMatchObject({ low: 0.4, high: 0.6, accuracy: 0.5 });
    expect(bins[2]!.confidence).toBeCloseTo(0.6, 12);
    expect(bins[0]!.accuracy).toBeNaN();
  });

  test("expected and maximum calibration error, by hand", () => {
    // Bins of 1/5: |.5 - .6| · 2/4 + |0 - .8| · 1/4 + |1 - .9| · 1/4.
    expect(expectedCalibrationError(probabilities, labels, 5)).toBeCloseTo(0.05 + 0.2 + 0.025, 12);
    expect(maximumCalibrationError(probabilities, labels, 5)).toBeCloseTo(0.8, 12);
    // One bin: |mean accuracy - mean confidence|.
    expect(expectedCalibrationError(probabilities, labels, 1)).toBeCloseTo(0.725 - 0.5, 12);
  });

  test("Brier and log score, by hand", () => {
    expect(brierScore(probabilities, labels)).toBeCloseTo((2 * (0.01 + 0.64 + 0.16 + 0.36)) / 4, 12);
    expect(logScore(probabilities, labels)).toBeCloseTo(-(Math.log(0.9) + Math.log(0.2) + Math.log(0.6) + Math.log(0.4)) / 4, 12); // biome-ignore format: one formula
    expect(logScore([1, 0], [1])).toBe(Number.POSITIVE_INFINITY);
  });

  test("predictions that are right as often as they say are calibrated", () => {
    const random = randomStream(1, "calibrated");
    const [p, y]: [number[], number[]] = [[], []];
    for (let i = 0; i < 20_000; i++) {
      const q = 0.5 + random.uniform() / 2;
      p.push(q, 1 - q);
      y.push(random.uniform() < q ? 0 : 1);
    }
    expect(expectedCalibrationError(p, y)).toBeLessThan(0.015);
  });

  test("scores are 0 for certain right predictions, and the error never exceeds the maximum", () => {
    expect([brierScore([0, 1], [1]), logScore([0, 1], [1]), expectedCalibrationError([0, 1], [1])]).toEqual([0, 0, 0]); // biome-ignore format: one claim
    const cases = fc.array(fc.tuple(fc.double({ min: 0.5, max: 1, noNaN: true }), fc.nat(1)), {
      minLength: 1,
    });
    fc.assert(
      fc.property(cases, (rows) => {
        const p = rows.flatMap(([q]) => [q, 1 - q]);
        const y = rows.map(([, label]) => label);
        expect(expectedCalibrationError(p, y)).toBeLessThanOrEqual(maximumCalibrationError(p, y) + 1e-12);
      }),
    );
  });

  test("what doesn't fit is refused", () => {
    expect(() => brierScore([0.5, 0.5, 1], [0, 1])).toThrow(/3 probabilities for 2 labels/);
    expect(() => logScore([0.5, 0.2], [0])).toThrow(/sum to 0.7/);
    expect(() => brierScore([0.5, 0.5], [2])).toThrow(/label 2/);
    expect(() => reliabilityDiagram([0.5, 0.5], [0], 0)).toThrow(/bins/);
  });
});
