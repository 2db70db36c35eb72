import {
  classifierFreeGuidance,
  type DigitQuality,
  digitModels,
  intervalGuidance,
  unguided,
} from "@prior-art/toolkit/diffusion";
import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { contenders } from "./contenders.generated.ts";
import type { Contender, Hyperparameters } from "./family.ts";
import { guidedDigits } from "./guidedDigits.ts";

const entries: Readonly<Record<string, Contender>> = {
  unguided: { label: "Unguided", guidance: () => unguided() },
  classifierFree: {
    label: "Classifier-free guidance",
    space: { scale: [1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2, 2.5, 3, 4, 5] },
    guidance: ({ scale }) => classifierFreeGuidance(scale!),
  },
  interval: {
    label: "Guidance in an interval",
    // Noise over signal: everything below `high`, or also above `low`.
    space: { scale: [1.5, 2, 3, 5], low: [0, 0.2], high: [0.5, 1, 2] },
    guidance: ({ scale, low, high }) => intervalGuidance(scale!, [low!, high!]),
  },
  ...contenders,
};

const arms = Object.fromEntries(
  Object.entries(entries).map(([name, { label, space, fixed }]) => [
    name,
    { label, ...(space && { space }), ...(fixed && { fixed }) },
  ]),
);

/** Class-conditional digits: how close a guided model's draws come to the data, each method at its own best scale. */
export default defineExperiment({
  settings: { full: { count: 1000, steps: 30 }, quick: { count: 200, steps: 20 } },
  seeds: { full: 10, quick: 2 },
  checkpoints: digitModels,
  arms,
  async *run({
    arm,
    seed,
    settings,
    hyperparameters,
  }): AsyncGenerator<Progress, Record<keyof DigitQuality, number>, void> {
    const guidance = entries[arm]!.guidance(hyperparameters as Hyperparameters);
    const quality = await guidedDigits({ guidance, ...settings, seed });
    yield { step: 1, of: 1 };
    return { ...quality };
  },
  tuning: {
    metric: "frechet",
    goal: "minimize",
    budget: { full: 24, quick: 3 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [],
  figure: ({ Plot, units, arms: named }) => ({
    title: "Fidelity and diversity of guided digits",
    options: {
      grid: true,
      x: { label: "recall" },
      y: { label: "precision" },
      color: { legend: true, domain: named.map(({ label }) => label) },
      marks: [
        Plot.dot(units, {
          x: ({ metrics }) => metrics.recall,
          y: ({ metrics }) => metrics.precision,
          stroke: ({ arm }) => named.find(({ name }) => name === arm)!.label,
        }),
      ],
    },
  }),
  leaderboard: { metric: "frechet", goal: "minimize" },
});
