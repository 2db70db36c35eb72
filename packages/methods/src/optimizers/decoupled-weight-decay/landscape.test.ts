import { additiveFit } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import { GRIDS, normShift, rawFall } from "./experiment.ts";
import {
  bestCells,
  type Grid,
  interactionAtOptimum,
  interactionShare,
  optimum,
  optimumSlope,
} from "./landscape.ts";

/** NLLs of a row whose minimum, 0.5, lies at `at`, between the grid's points too. */
const valley = (at: number, length = 7): number[] =>
  Array.from({ length }, (_, i) => 0.5 + 0.02 * (i - at) ** 2);

describe("a row's optimum", () => {
  test("lies between the points of the grid", () => {
    expect(optimum(valley(2.3))).toBeCloseTo(2.3, 9);
    expect(optimum(valley(4))).toBeCloseTo(4, 9);
  });

  test("is not determined at either end of the grid", () => {
    expect(optimum(valley(0))).toBeNaN();
    expect(optimum(valley(6))).toBeNaN();
  });

  test("is not determined where decay gains less than 1% over the weakest", () => {
    expect(optimum([0.5284, 0.5292, 0.5292, 0.5274, 0.5276, 0.5835])).toBeNaN();
    expect(optimum([0.5284, 0.5292, 0.5292, 0.5174, 0.5276, 0.5835])).not.toBeNaN();
  });

  test("is not determined among networks that hardly learned, or of numbers that are none", () => {
    expect(optimum([2.3, 2.0, 2.3])).toBeNaN();
    expect(optimum([Number.NaN, Number.NaN, Number.NaN])).toBeNaN();
  });
});

describe("the optimum's slope", () => {
  const axes = { rates: [1, 2, 4, 8, 16], decays: [1, 4, 16, 64, 256, 1024, 4096].map((k) => k * 1e-5) };

  test("counts factors of the decay by factors of the rate", () => {
    // Half a grid step of 4 for each factor of 2: as steep as the rate.
    const rows = axes.rates.map((_, i) => valley(2 + i / 2));
    expect(optimumSlope(axes, [rows])).toBeCloseTo(1, 9);
    expect(optimumSlope(axes, [rows.toReversed()])).toBeCloseTo(-1, 9);
  });

  test("leaves out rates whose optimum is not determined", () => {
    const rows = [valley(0), valley(2), valley(2.5), valley(3), valley(6)];
    expect(optimumSlope(axes, [rows])).toBeCloseTo(1, 9);
    expect(optimumSlope(axes, [[valley(0), ...rows.slice(1, 3), valley(6), valley(0)]])).toBeNaN();
  });
});

describe("interaction", () => {
  const entriesOf = (grid: Grid, keep: (row: number, column: number) => boolean = () => true) =>
    grid.flatMap((cells, row) =>
      cells.flatMap((value, column) => (keep(row, column) ? [{ row, column, value }] : [])),
    );
  const additive = [0, 5, 7, 1].map((r) => [1, 2, 4, 9].map((c) => r + c));
  const bent = additive.map((row, i) => row.map((v, j) => v + (i === j ? 3 : 0)));

  test("is that of the two-way layout, by degrees of freedom", () => {
    expect(interactionShare(entriesOf(bent))).toBeCloseTo((additiveFit(bent).interactionShare * 15) / 9, 9);
  });

  test("is 0 for a sum of rows and columns with cells missing", () => {
    const some = (row: number, column: number): boolean => row + column < 5 && !(row === 1 && column === 2);
    expect(interactionShare(entriesOf(additive, some))).toBeLessThan(1e-15);
    expect(interactionShare(entriesOf(bent, some))).toBeGreaterThan(0.01);
  });

  test("is not a number where too few cells are left", () => {
    expect(interactionShare(entriesOf(additive, (row) => row === 0))).toBeNaN();
  });

  test("is looked for around the optimum, away from networks that hardly learned", () => {
    // Separable within two cells of the best, (5, 5) or (3, 3), but for a saturated corner; anything but that elsewhere.
    const grid = (elsewhere: (i: number, j: number) => number, best = 5): Grid =>
      Array.from({ length: 8 }, (_, i) =>
        Array.from({ length: 8 }, (_, j) => {
          if (i === 7 && j === 7) return 2.3;
          const near = Math.abs(i - best) <= 2 && Math.abs(j - best) <= 2;
          return near
            ? 0.5 * Math.exp(0.05 * (i - best) ** 2 + 0.05 * (j - best) ** 2)
            : 0.9 + 0.2 * elsewhere(i, j);
        }),
      );
    expect(interactionAtOptimum([grid((i, j) => Math.sin(7 * i * j))])).toBeLessThan(1e-12);
    const middle = grid((i, j) => Math.sin(7 * i * j), 3);
    expect(interactionAtOptimum([middle])).toBeLessThan(1e-12);
    // The optimum is that of the mean: one seed's luck in a corner isn't it.
    const withCorner = (value: number): Grid =>
      middle.map((row, i) => row.map((v, j) => (i === 0 && j === 0 ? value : v)));
    expect(interactionAtOptimum([withCorner(0.4), withCorner(1.1)])).toBeLessThan(1e-12);
    const tilted = grid(() => 0).map((row, i) => row.map((v, j) => (v < 2 ? v * 1.02 ** (i * j) : v)));
    expect(interactionAtOptimum([tilted])).toBeGreaterThan(0.01);
  });
});

describe("the best λ_norm over budgets of 15, 60 and 240 epochs", () => {
  test("stays where the raw λ falls by two factors of 2", () => {
    const still = [valley(4), valley(4), valley(4)];
    expect(normShift([still])).toBeCloseTo(0, 9);
    expect(rawFall([still])).toBeCloseTo(2, 9);
  });

  test("that rises by three factors of 2 takes the raw λ up with it, which is no fall", () => {
    const rising = [valley(2), valley(3), valley(5)];
    expect(normShift([rising])).toBeCloseTo(3, 9);
    expect(rawFall([rising])).toBeCloseTo(-1, 9);
  });

  test("is not determined when a budget's optimum lies at the grid's end", () => {
    const censored = [valley(0), valley(1.5), valley(4)];
    expect(normShift([censored])).toBeNaN();
    expect(rawFall([censored])).toBeNaN();
  });
});

test("all four landscapes have as many cells", () => {
  const sizes = Object.values(GRIDS).map(({ rates, decays }) => [rates.length, decays.length]);
  expect(new Set(sizes.map(String)).size).toBe(1);
});

test("errors are those of the cell with the lowest error, NLLs those of the one with the lowest NLL", () => {
  expect(bestCells([0.5, 0.6, 0.8, 0.7], [0.11, 0.09, 0.08, 0.08])).toEqual({ nll: 0, error: 3 });
  expect(bestCells([Number.NaN, 0.6], [0.01, 0.9])).toEqual({ nll: 1, error: 1 });
});
