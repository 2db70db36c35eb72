import type { Progress } from "@prior-art/toolkit/experiment";
import { grpo, reinforce } from "@prior-art/toolkit/lm";
import { beginner, type PolicyScore, reinforceSorting, scorePolicy } from "../sortingWorld.ts";
import { rpg } from "./method.ts";

const RATES = [3e-4, 1e-3, 3e-3];

/** Objectives for the transformer, tuned alike. */
export const SORTING = {
  sortingRpg: { label: "RPG, clipped", space: { learningRate: RATES, beta: [1e-4, 0.01] } },
  sortingGrpo: { label: "GRPO", space: { learningRate: RATES, beta: [0, 0.04] } },
  sortingDapo: { label: "DAPO", space: { learningRate: [1e-4, 3e-4, 6e-4, 1e-3, 2e-3, 3e-3] } },
  sortingReinforce: { label: "REINFORCE++", space: { learningRate: RATES, beta: [0, 0.01] } },
} as const;
export type SortingArm = keyof typeof SORTING;

const objectiveOf = (arm: SortingArm, beta: number) =>
  ({
    sortingRpg: () =>
      rpg({ divergence: "urkl", style: "reinforce", beta, clip: { low: 0.2, high: 0.28, dual: 3 } }),
    sortingGrpo: () => grpo({ klCoefficient: beta }),
    // DAPO: no KL, the wider upper clip, the mean over all tokens.
    sortingDapo: () => grpo({ klCoefficient: 0, clip: { low: 0.2, high: 0.28 }, aggregation: "token" }),
    sortingReinforce: () => reinforce({ klCoefficient: beta, baseline: "mean" }),
  })[arm]();

export interface SortingOptions {
  readonly learningRate: number;
  readonly beta: number;
  readonly rounds: number;
  readonly seed: number;
  /** Of the prompts that the policy is scored on. */
  readonly stream: string;
}

/** Reinforcement learning of a small transformer by one of the objectives, four steps a round; then its score. */
export async function* learnToSort(
  arm: SortingArm,
  { learningRate, beta, rounds, seed, stream }: SortingOptions,
): AsyncGenerator<Progress, PolicyScore, void> {
  let weights = await beginner.load();
  const objective = objectiveOf(arm, beta);
  for await (const { round, params, passRate } of reinforceSorting({
    objective,
    learningRate,
    rounds,
    epochs: 4,
    seed,
  })) {
    weights = params;
    if (round % 10 === 0) yield { step: round, of: rounds, metrics: { passRate } };
  }
  return scorePolicy(weights, { prompts: 500, seed, stream });
}
