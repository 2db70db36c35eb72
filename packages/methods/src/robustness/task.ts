import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { contenders } from "./contenders.generated.ts";
import type { Contender } from "./family.ts";
import { noisyDigitsCourse } from "./noisyDigitsCourse.ts";
import { empiricalRisk, generalizedCrossEntropy } from "./objectives.ts";

/** Every arm's optimizer is tuned with its objective. */
const OPTIMIZER = { learningRate: [0.02, 0.05, 0.1], weightDecay: [1e-3, 1e-2] };

const entries: Readonly<Record<string, Contender>> = {
  crossEntropy: { label: "Cross-entropy", objective: () => empiricalRisk() },
  labelSmoothing: {
    label: "Label smoothing",
    space: { smoothing: [0.1, 0.3, 0.6] },
    objective: empiricalRisk,
  },
  generalizedCrossEntropy: {
    label: "Generalized cross-entropy",
    space: { q: [0.5, 0.7, 0.9] },
    objective: generalizedCrossEntropy,
  },
  ...contenders,
};

const arms = Object.fromEntries(
  Object.entries(entries).map(([name, { label, space, fixed }]) => [
    name,
    { label, space: { ...OPTIMIZER, ...space }, ...(fixed && { fixed }) },
  ]),
);

const PROBLEMS = [
  { kind: "symmetric", rate: 0.6 },
  { kind: "pair", rate: 0.35 },
] as const;

type Metrics = {
  /** On the validation and test part, which have right labels, after the last epoch: means over both problems. */
  readonly validationAccuracy: number;
  readonly testAccuracy: number;
  /** The test accuracies apart. */
  readonly symmetricNoise: number;
  readonly pairNoise: number;
};

/** Digits with wrong training labels: 60% replaced by any other class, or 35% by the next class. */
export default defineExperiment({
  settings: { full: { trainSize: 900, epochs: 120 }, quick: { trainSize: 450, epochs: 60 } },
  seeds: { full: 8, quick: 2 },
  arms,
  async *run({ arm, seed, settings, hyperparameters }): AsyncGenerator<Progress, Metrics, void> {
    const chosen = hyperparameters as { readonly learningRate: number; readonly weightDecay: number };
    const validation: number[] = [];
    const test: number[] = [];
    for (const [i, problem] of PROBLEMS.entries()) {
      const objective = entries[arm]!.objective(chosen);
      const course = noisyDigitsCourse({ ...settings, ...chosen, ...problem, objective, every: 20, seed });
      for await (const point of course) {
        const step = i * settings.epochs + point.epoch;
        yield { step, of: PROBLEMS.length * settings.epochs, metrics: { testAccuracy: point.test } };
        [validation[i], test[i]] = [point.validation, point.test];
      }
    }
    return {
      validationAccuracy: (validation[0]! + validation[1]!) / 2,
      testAccuracy: (test[0]! + test[1]!) / 2,
      symmetricNoise: test[0]!,
      pairNoise: test[1]!,
    };
  },
  tuning: {
    metric: "validationAccuracy",
    goal: "maximize",
    budget: { full: 10, quick: 2 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [],
  figure: ({ Plot, units, arms: named }) => ({
    title: "Test accuracy with wrong training labels",
    options: {
      marginLeft: 170,
      x: { label: "test accuracy", grid: true },
      y: { label: null, domain: named.map(({ label }) => label) },
      marks: [
        Plot.dot(units, {
          x: ({ metrics }) => metrics.testAccuracy,
          y: ({ arm }) => named.find(({ name }) => name === arm)!.label,
        }),
      ],
    },
  }),
  leaderboard: { metric: "testAccuracy", goal: "maximize" },
});
