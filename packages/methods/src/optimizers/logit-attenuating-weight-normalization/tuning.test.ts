import { readFileSync } from "node:fs";
import { grad, random, scalar, tensor } from "@prior-art/tensor";
import { crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import type { GradientTransformation } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { gap, numbers } from "../testing/doubles.ts";
import { descent } from "../testing/paths.ts";
import { GRIDS } from "./grids.ts";
import { type Arm, type CellScores, optimizerOf, type Regime } from "./sweep.ts";
import { bestCells, finalists } from "./tuning.ts";

const ARMS = Object.keys(GRIDS) as Arm[];
const REGIMES = ["noisySmall", "noisyFull", "cleanSmall", "cleanFull"] as const satisfies readonly Regime[];
/** Where a second value ends by nature: no decay, no free phase, no constrained phase. */
const NATURAL_ENDS = [0, 1];

const cell = (nll: number, accuracy: number): CellScores => ({
  trainLoss: 0,
  maxLogit: 0,
  gradientNorm: 0,
  nll,
  accuracy,
});

describe("the choice of cells", () => {
  test("is by the means over seeds", () => {
    const seeds = [
      [cell(1, 0.9), cell(3, 0.7), cell(1.5, 0.75)],
      [cell(3, 0.4), cell(2, 0.7), cell(1.5, 0.75)],
    ];
    expect(bestCells(seeds)).toEqual({ nll: 2, accuracy: 2 });
  });

  test("of equal accuracies takes the lower log loss", () => {
    expect(bestCells([[cell(2, 0.8), cell(1, 0.8), cell(0.5, 0.7)]])).toEqual({ nll: 2, accuracy: 1 });
  });

  test("never falls on a cell that diverged on one of the seeds, wherever it stands", () => {
    const seeds = [
      [cell(Number.NaN, Number.NaN), cell(2, 0.5), cell(0.1, 0.9), cell(3, 0.4)],
      [cell(0.1, 0.9), cell(2, 0.5), cell(Number.NaN, 0.1), cell(3, 0.4)],
    ];
    expect(bestCells(seeds)).toEqual({ nll: 1, accuracy: 1 });
  });
});

test("finalists are the five best by each score, without those that diverged", () => {
  const scores = Array.from({ length: 12 }, (_, i) =>
    cell(i === 0 ? Number.NaN : i, i < 11 ? i / 20 : Number.NaN),
  );
  expect(finalists(scores)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(finalists([...scores].reverse())).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(finalists(scores.slice(1, 3))).toEqual([0, 1]);
  expect(finalists([cell(Number.NaN, Number.NaN)])).toEqual([0]);
});

describe("the grids", () => {
  test("give every arm as many cells, all different, and methods of one kind the same rates", () => {
    const of = (arm: Arm, regime: Regime) => [...new Set(GRIDS[arm][regime].map(({ rate }) => rate))];
    for (const regime of REGIMES) {
      for (const arm of ARMS) {
        expect(new Set(GRIDS[arm][regime].map((c) => `${c.rate} ${c.second}`)).size).toBe(32);
      }
      expect(of("adamLawn", regime)).toEqual(of("adamw", regime));
      expect(of("adamL2", regime)).toEqual(of("adamw", regime));
      expect(of("sgdLawn", regime)).toEqual(of("sgd", regime));
    }
  });

  test("hold the saved results' choices inside", () => {
    const { units } = JSON.parse(readFileSync(new URL("./results.json", import.meta.url), "utf8")) as {
      units: readonly { arm: Arm; metrics: { chosen: readonly (readonly number[])[] } }[];
    };
    expect(units.length).toBeGreaterThan(0);
    for (const { arm, metrics } of units)
      metrics.chosen.forEach((values, i) => {
        const cells = GRIDS[arm][REGIMES[i]!];
        const [rates, seconds] = [cells.map(({ rate }) => rate), cells.map(({ second }) => second)];
        for (const rate of [values[0]!, values[2]!]) {
          expect(rate).toBeGreaterThan(Math.min(...rates));
          expect(rate).toBeLessThan(Math.max(...rates));
        }
        for (const second of [values[1]!, values[3]!].filter((v) => !NATURAL_ENDS.includes(v))) {
          expect(second).toBeGreaterThan(Math.min(...seconds));
          expect(second).toBeLessThan(Math.max(...seconds));
        }
      });
  });
});

describe("the arms", () => {
  const model = mlp({ sizes: [5, 7, 3] });
  const x = random.normal(random.key(1), [12, 5]);
  const labels = tensor(Int32Array.from({ length: 12 }, (_, i) => i % 3));
  const lossGradient = (params: MlpParams): MlpParams =>
    grad((p: MlpParams) => crossEntropy(model.apply(p, x), labels))(params);
  const end = async (arm: Arm, second: number, steps = 40): Promise<MlpParams> => {
    const made = optimizerOf(arm, { rate: scalar(0.05), second: scalar(second) }, 40);
    const optimizer = made as GradientTransformation<MlpParams, unknown>;
    return (await descent(optimizer, model.init(random.key(2)), steps, lossGradient)).at(-1)!;
  };

  test("are their base optimizers without decay or constraint, with the same warm-up and annealing", async () => {
    const [adam, sgd] = [await end("adam", 0), await end("sgd", 0)];
    expect(await gap(await end("adamw", 0), adam)).toBeLessThan(1e-5);
    expect(await gap(await end("adamL2", 0), adam)).toBe(0);
    expect(await gap(await end("adamLawn", 1), adam)).toBeLessThan(1e-5);
    expect(await gap(await end("sgdLawn", 1), sgd)).toBeLessThan(1e-5);
    for (const [arm, base] of [
      ["adamw", adam],
      ["adamL2", adam],
      ["adamLawn", adam],
      ["sgd", sgd],
      ["sgdLawn", sgd],
    ] as const)
      expect(await gap(await end(arm, 0.25), base)).toBeGreaterThan(1e-3);
  });

  test("start with half the rate where the warm-up takes two steps", async () => {
    const before = model.init(random.key(2));
    const [moved] = await Promise.all([end("adam", 0, 1)]);
    const [from, to] = await Promise.all([before, moved].map((p) => numbers(p.layers[0]!.weight)));
    expect(Math.max(...to!.map((v, i) => Math.abs(v - from![i]!)))).toBeCloseTo(0.025, 5);
  });
});
