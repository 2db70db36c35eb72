import type { Tensor } from "@prior-art/tensor";
import { adamw, warmupCosine } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { gap, gaussian } from "../testing/doubles.ts";
import { path } from "../testing/paths.ts";
import { type MatrixName, type OptimizerName, optimizerOf } from "./candidates.ts";
import { meanDistance, totalRise } from "./curves.ts";
import experiment from "./experiment.ts";
import { muon, normalizedGradient, reg, signMomentum } from "./method.ts";

const start = gaussian(1, [4, 6]);
const gradients = [2, 3, 4].map((seed) => gaussian(seed, [4, 6]));
const select = (): boolean => true;
const end = async (optimizer: ReturnType<typeof optimizerOf<Tensor>>): Promise<Tensor> =>
  (await path(optimizer, start, gradients)).params[3]!;

describe("the compared optimizers", () => {
  const makers = { reg, regPlain: reg, muon, ngd: normalizedGradient, sign: signMomentum };

  test("all arms choose among as many candidates, all of which are tried", () => {
    const spaces = Object.values(experiment.arms).flatMap((arm) => ("space" in arm ? [arm.space] : []));
    expect(spaces).toHaveLength(10);
    for (const space of spaces)
      expect(Object.values(space).reduce((size, values) => size * values.length, 1)).toBe(
        experiment.tuning!.budget.full,
      );
  });

  test("every arm chooses among the same rates, decays and second decay rates of Adam", () => {
    for (const [arm, spec] of Object.entries(experiment.arms)) {
      if (!("space" in spec)) continue;
      const same = arm.endsWith("Tuned") ? experiment.arms.adamwTuned : experiment.arms.adamw;
      expect(spec.space).toEqual(same.space);
      expect(spec.space.secondDecay).toEqual([0.95, 0.999]);
      expect(spec.space.weightDecay).toEqual([0, 0.1]);
    }
  });

  const schedule = { learningRate: warmupCosine(0.1, 1, 10), weightDecay: 0.1 };

  for (const name of Object.keys(makers) as MatrixName[])
    test(`${name} gets the candidate's rate, and Nesterov momentum unless it is plain`, async () => {
      const at = (nesterov: boolean) => end(makers[name]({ ...schedule, select, nesterov }));
      const ours = await end(optimizerOf(name, { learningRate: 0.1 }, 10, select));
      expect(await gap(ours, await at(name !== "regPlain"))).toBe(0);
      expect(await gap(ours, await at(name === "regPlain"))).toBeGreaterThan(1e-4);
    });

  test("every optimizer has the candidate's decay, 0.1 by default", async () => {
    for (const name of Object.keys({ adamw, ...makers }) as OptimizerName[]) {
      const at = (weightDecay?: number) =>
        end(
          optimizerOf(
            name,
            { learningRate: 0.1, ...(weightDecay !== undefined && { weightDecay }) },
            10,
            select,
          ),
        );
      expect(await gap(await at(), await at(0.1))).toBe(0);
      expect(await gap(await at(0), await at(0.1))).toBeGreaterThan(1e-4);
    }
  });

  test("Adam has the candidate's second decay rate, 0.95 by default, alone and beside the optimizers of matrices", async () => {
    const at = (secondDecay: number) => end(adamw<Tensor>({ ...schedule, betas: [0.9, secondDecay] }));
    for (const name of Object.keys({ adamw, ...makers }) as OptimizerName[]) {
      // No matrix is theirs.
      const ours = (candidate: { learningRate: number; secondDecay?: number }) =>
        end(optimizerOf(name, candidate, 10, () => false));
      expect(await gap(await ours({ learningRate: 0.1, secondDecay: 0.999 }), await at(0.999))).toBe(0);
      expect(await gap(await ours({ learningRate: 0.1 }), await at(0.95))).toBe(0);
    }
    expect(await gap(await at(0.95), await at(0.999))).toBeGreaterThan(1e-4);
  });
});

test("a curve's rise counts what goes up and nothing that falls", () => {
  expect(totalRise([5, 4, 4.5, 3, 3, 3.25])).toBeCloseTo(0.75, 12);
  expect(totalRise([3, 2, 1])).toBe(0);
});

test("the distance of curves has no sign", () => {
  expect(meanDistance([1, 2, 3], [2, 2, 1])).toBeCloseTo(1, 12);
});
