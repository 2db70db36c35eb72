import type { Tensor } from "@prior-art/tensor";
import { adamw, warmupCosine } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { gap, gaussian } from "../testing/doubles.ts";
import { path } from "../testing/paths.ts";
import { adamwSpace, type MatrixName, matrixSpace, optimizerOf } from "./candidates.ts";
import { meanDistance, totalRise } from "./curves.ts";
import experiment from "./experiment.ts";
import { muon, normalizedGradient, reg, signMomentum } from "./method.ts";

const start = gaussian(1, [4, 6]);
const gradients = [2, 3, 4].map((seed) => gaussian(seed, [4, 6]));
const select = (): boolean => true;
const end = async (optimizer: ReturnType<typeof optimizerOf<Tensor>>): Promise<Tensor> =>
  (await path(optimizer, start, gradients)).params[3]!;

describe("the compared optimizers", () => {
  const makers = { reg, muon, ngd: normalizedGradient, sign: signMomentum };

  test("all arms choose among as many candidates, all of which are tried", () => {
    const spaces = Object.values(experiment.arms).flatMap((arm) => ("space" in arm ? [arm.space] : []));
    expect(spaces).toHaveLength(9);
    for (const space of spaces)
      expect(Object.values(space).reduce((size, values) => size * values.length, 1)).toBe(
        experiment.tuning!.budget.full,
      );
  });

  test("every optimizer of matrices chooses between momentum as it is and Nesterov's", () => {
    for (const arm of ["reg", "muon", "ngd", "sign", "regTuned", "muonTuned", "ngdTuned"] as const)
      expect(experiment.arms[arm].space.nesterov).toEqual([false, true]);
    expect(matrixSpace("tuning").learningRate).toEqual(adamwSpace("tuning").learningRate);
  });

  for (const name of Object.keys(makers) as MatrixName[])
    test(`${name} gets the candidate's rate and its momentum, the plain one by default`, async () => {
      const options = { learningRate: warmupCosine(0.1, 1, 10), weightDecay: 0.1, select };
      const at = (nesterov?: boolean) =>
        end(
          optimizerOf(name, { learningRate: 0.1, ...(nesterov !== undefined && { nesterov }) }, 10, select),
        );
      for (const nesterov of [false, true])
        expect(await gap(await at(nesterov), await end(makers[name]({ ...options, nesterov })))).toBe(0);
      expect(await gap(await at(), await at(false))).toBe(0);
      expect(await gap(await at(true), await at(false))).toBeGreaterThan(1e-4);
    });

  test("AdamW gets the candidate's rate and first decay rate, 0.9 by default", async () => {
    const at = (momentum: number) =>
      end(
        adamw<Tensor>({
          learningRate: warmupCosine(0.1, 1, 10),
          weightDecay: 0.1,
          betas: [momentum, 0.95],
        }),
      );
    const ours = (candidate: { learningRate: number; momentum?: number }) =>
      end(optimizerOf("adamw", candidate, 10, select));
    expect(await gap(await ours({ learningRate: 0.1, momentum: 0.95 }), await at(0.95))).toBe(0);
    expect(await gap(await ours({ learningRate: 0.1 }), await at(0.9))).toBe(0);
  });
});

test("a curve's rise counts what goes up and nothing that falls", () => {
  expect(totalRise([5, 4, 4.5, 3, 3, 3.25])).toBeCloseTo(0.75, 12);
  expect(totalRise([3, 2, 1])).toBe(0);
});

test("the distance of curves has no sign", () => {
  expect(meanDistance([1, 2, 3], [2, 2, 1])).toBeCloseTo(1, 12);
});
