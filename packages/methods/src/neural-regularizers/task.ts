import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { dropout, l2Penalty, labelSmoothing } from "./classics.ts";
import { contenders } from "./contenders.generated.ts";
import { fitDigits } from "./digitsTraining.ts";
import type { Contender } from "./family.ts";

/** Every arm's learning rate is tuned with its regularizer. */
const OPTIMIZER = { learningRate: [3e-4, 1e-3, 3e-3, 1e-2] };

const entries: Readonly<Record<string, Contender>> = {
  none: { label: "No regularizer", regularizer: () => ({}) },
  dropout: { label: "Dropout", space: { rate: [0.2, 0.4, 0.6] }, regularizer: dropout },
  l2: { label: "L2 penalty", space: { strength: [1e-3, 1e-2, 1e-1] }, regularizer: l2Penalty },
  labelSmoothing: {
    label: "Label smoothing",
    space: { smoothing: [0.05, 0.1, 0.2] },
    regularizer: labelSmoothing,
  },
  ...contenders,
};

const arms = Object.fromEntries(
  Object.entries(entries).map(([name, { label, space, fixed }]) => [
    name,
    { label, space: { ...OPTIMIZER, ...space }, ...(fixed && { fixed }) },
  ]),
);

type Metrics = {
  /** Log loss of 250 validation digits. */
  readonly validationNll: number;
  /** Of 500 test digits. */
  readonly nll: number;
  readonly error: number;
  /** Expected calibration error. */
  readonly calibration: number;
  readonly brier: number;
};

/** A residual perceptron on few digits: log loss, which counts both errors and false confidence. */
export default defineExperiment({
  settings: { full: { trainSize: 150, epochs: 60 }, quick: { trainSize: 150, epochs: 20 } },
  seeds: { full: 10, quick: 2 },
  arms,
  async *run({ arm, seed, settings, hyperparameters }): AsyncGenerator<Progress, Metrics, void> {
    const chosen = hyperparameters as { readonly learningRate: number };
    const { learningRate } = chosen;
    const regularizer = entries[arm]!.regularizer(chosen);
    const network = { width: 64, blocks: 3, batchSize: 25 };
    const fit = fitDigits({ ...settings, ...network, seed, learningRate, regularizer }, 20);
    let turn = await fit.next();
    for (; !turn.done; turn = await fit.next())
      yield { step: turn.value.epoch, of: settings.epochs, metrics: { loss: turn.value.loss } };
    const { validation, test } = turn.value;
    return { validationNll: validation.nll, ...test };
  },
  tuning: {
    metric: "validationNll",
    goal: "minimize",
    budget: { full: 12, quick: 2 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [],
  figure: ({ Plot, units, arms: named }) => {
    const labelOf = (arm: string): string => named.find(({ name }) => name === arm)!.label;
    return (["nll", "error", "calibration"] as const).map((metric) => ({
      title: { nll: "Log loss", error: "Error", calibration: "Calibration error" }[metric],
      options: {
        width: 380,
        height: 240,
        marginLeft: 110,
        x: { label: metric, grid: true },
        y: { label: null, domain: named.map(({ label }) => label) },
        marks: [Plot.dot(units, { x: ({ metrics }) => metrics[metric], y: ({ arm }) => labelOf(arm) })],
      },
    }));
  },
  leaderboard: { metric: "nll", goal: "minimize" },
});
