import {
  type ComparisonClaim,
  defineExperiment,
  type Progress,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { digitsParts, fitDigits } from "../digitsTraining.ts";
import type { Regularizer } from "../family.ts";
import type { ResidualMlpParams } from "../residualMlp.ts";
import { gradientDirections } from "./gradientDirections.ts";
import { scheduledDropout, scheduledStochasticDepth } from "./method.ts";

/** A narrow network trained briefly, which can't fit its examples. */
const UNDERFITTING = { trainSize: 900, width: 8, blocks: 4, batchSize: 16 };
/** A wide network trained long on few examples, a tenth of them with wrong labels. */
const OVERFITTING = { trainSize: 150, noise: 0.1, width: 64, blocks: 4, batchSize: 25 };

const UNDERFITTING_RATES = { learningRate: [3e-3, 1e-2, 3e-2] };
const OVERFITTING_RATES = { learningRate: [1e-3, 3e-3, 1e-2] };
const EARLY = { rate: [0.05, 0.1, 0.2], boundary: [1 / 6, 1 / 3] };
const DROP = { rate: [0.2, 0.4, 0.6] };
const LATE = { ...DROP, boundary: [1 / 6, 1 / 3] };
/** For the gradients' directions: the same for both arms. */
const DIRECTIONS = { learningRate: 3e-3 };

type Metrics = {
  /** Cross-entropy of the training examples at the end, without dropout. */
  readonly trainLoss: number;
  readonly validationError: number;
  readonly testAccuracy: number;
  /** What arms are tuned by: the training loss where models underfit, the validation error where they overfit. */
  readonly selection: number;
  /** Epochs at which gradients were measured, and their direction variance and error there. */
  readonly time: readonly number[];
  readonly variance: readonly number[];
  readonly error: readonly number[];
};

type Arm =
  | "none"
  | "standard"
  | "early"
  | "earlyDepth"
  | "plainOver"
  | "standardOver"
  | "lateOver"
  | "standardDepthOver"
  | "lateDepthOver"
  | "directionsPlain"
  | "directionsDropout";

interface Hyperparameters {
  readonly learningRate: number;
  readonly rate?: number;
  readonly boundary?: number;
}

function regularizerOf(arm: Arm, { rate = 0.1, boundary }: Hyperparameters): Regularizer<ResidualMlpParams> {
  const at = { rate, ...(boundary && { boundary }) };
  switch (arm) {
    case "standard":
    case "standardOver":
    case "directionsDropout":
      return scheduledDropout({ ...at, phase: "standard" });
    case "early":
      return scheduledDropout({ ...at, phase: "early" });
    case "earlyDepth":
      return scheduledStochasticDepth({ ...at, phase: "early" });
    case "lateOver":
      return scheduledDropout({ ...at, phase: "late" });
    case "standardDepthOver":
      return scheduledStochasticDepth({ ...at, phase: "standard" });
    case "lateDepthOver":
      return scheduledStochasticDepth({ ...at, phase: "late" });
    default:
      return {};
  }
}

/** Mean over the measurements in the first quarter of the training. */
const early = ({ time, variance, error }: Metrics, which: "variance" | "error"): number => {
  const values = which === "variance" ? variance : error;
  return mean(values.filter((_, i) => time[i]! <= Math.max(time.at(-1)! / 4, time[0]!)));
};

const lower = (id: string, which: "variance" | "error", statement: string): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id,
  of: "gradient-direction-variance",
  statement,
  quantity: `gradient direction ${which}, without minus with dropout`,
  arms: ["directionsPlain", "directionsDropout"],
  perSeed: (seed) => early(seed.directionsPlain, which) - early(seed.directionsDropout, which),
  pass: { min: 0 },
});

type Comparison = Pick<ComparisonClaim<Arm, keyof Metrics & string>, "id" | "better" | "worse" | "statement">;

const fitsBetter = (claim: Comparison): ComparisonClaim<Arm, keyof Metrics & string> => ({
  kind: "comparison",
  of: "early-dropout-lowers-training-loss",
  metric: "trainLoss",
  goal: "minimize",
  ...claim,
});

const generalizesBetter = (claim: Comparison): ComparisonClaim<Arm, keyof Metrics & string> => ({
  kind: "comparison",
  of: "late-dropout-helps-overfitting",
  metric: "testAccuracy",
  goal: "maximize",
  ...claim,
});

interface Unit {
  readonly arm: Arm;
  readonly seed: number;
  readonly settings: {
    readonly underfittingEpochs: number;
    readonly overfittingEpochs: number;
    readonly every: number;
  };
  readonly hyperparameters: Hyperparameters;
}

async function* run({ arm, seed, settings, hyperparameters }: Unit): AsyncGenerator<Progress, Metrics, void> {
  const overfitting = arm.endsWith("Over");
  const epochs = overfitting ? settings.overfittingEpochs : settings.underfittingEpochs;
  const measured = arm === "directionsPlain" || arm === "directionsDropout";
  const options = {
    ...(overfitting ? OVERFITTING : UNDERFITTING),
    epochs,
    seed,
    learningRate: hyperparameters.learningRate,
    regularizer: regularizerOf(arm, hyperparameters),
  };
  const directions = measured ? gradientDirections(options, (await digitsParts(options)).train) : undefined;
  const [time, variance, error]: [number[], number[], number[]] = [[], [], []];
  const fit = fitDigits(options, measured ? settings.every : Math.ceil(epochs / 5));
  let turn = await fit.next();
  for (; !turn.done; turn = await fit.next()) {
    const { epoch, loss, params } = turn.value;
    if (directions) {
      const measurement = await directions.at(params, epoch);
      time.push(epoch);
      variance.push(measurement.variance);
      error.push(measurement.error);
    }
    yield { step: epoch, of: epochs, metrics: { loss } };
  }
  await directions?.release();
  const { trainLoss, validation, test } = turn.value;
  return {
    trainLoss,
    validationError: validation.error,
    testAccuracy: 1 - test.error,
    selection: overfitting ? validation.error : trainLoss,
    time,
    variance,
    error,
  };
}

export default defineExperiment({
  settings: {
    full: { underfittingEpochs: 20, overfittingEpochs: 60, every: 1 },
    quick: { underfittingEpochs: 5, overfittingEpochs: 20, every: 1 },
  },
  seeds: { full: 10, quick: 1 },
  arms: {
    none: { label: "No dropout", space: UNDERFITTING_RATES },
    standard: { label: "Dropout", space: { ...UNDERFITTING_RATES, rate: EARLY.rate } },
    early: { label: "Early dropout", space: { ...UNDERFITTING_RATES, ...EARLY } },
    earlyDepth: {
      label: "Early stochastic depth",
      space: { ...UNDERFITTING_RATES, rate: [0.1, 0.3, 0.5], boundary: EARLY.boundary },
    },
    plainOver: { label: "No dropout (overfitting)", space: OVERFITTING_RATES },
    standardOver: { label: "Dropout (overfitting)", space: { ...OVERFITTING_RATES, ...DROP } },
    lateOver: { label: "Late dropout (overfitting)", space: { ...OVERFITTING_RATES, ...LATE } },
    standardDepthOver: { label: "Stochastic depth (overfitting)", space: { ...OVERFITTING_RATES, ...DROP } },
    lateDepthOver: { label: "Late stochastic depth (overfitting)", space: { ...OVERFITTING_RATES, ...LATE } },
    directionsPlain: { label: "Gradients without dropout", fixed: DIRECTIONS },
    directionsDropout: { label: "Gradients with dropout", fixed: DIRECTIONS },
  },
  run,
  tuning: {
    metric: "selection",
    goal: "minimize",
    budget: { full: 9, quick: 2 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    lower(
      "dropout-lowers-variance",
      "variance",
      "In the first quarter of training, mini-batch gradients differ less in direction with dropout than without",
    ),
    lower(
      "dropout-lowers-error",
      "error",
      "In the first quarter of training, mini-batch gradients are closer to the whole gradient with dropout than without",
    ),
    fitsBetter({
      id: "early-dropout-fits",
      better: "early",
      worse: "none",
      statement: "Underfitting: with early dropout the final training loss is below that without dropout",
    }),
    fitsBetter({
      id: "early-depth-fits",
      better: "earlyDepth",
      worse: "none",
      statement:
        "Underfitting: with early stochastic depth the final training loss is below that without dropout",
    }),
    fitsBetter({
      id: "early-below-standard",
      better: "early",
      worse: "standard",
      statement:
        "Underfitting: with early dropout the final training loss is below that with dropout throughout",
    }),
    generalizesBetter({
      id: "late-dropout-generalizes",
      better: "lateOver",
      worse: "standardOver",
      statement: "Overfitting: test accuracy with late dropout is above that with dropout throughout",
    }),
    generalizesBetter({
      id: "late-depth-generalizes",
      better: "lateDepthOver",
      worse: "standardDepthOver",
      statement:
        "Overfitting: test accuracy with late stochastic depth is above that with stochastic depth throughout",
    }),
  ],
  figure: ({ Plot, units, arms }) => {
    const labelOf = (arm: string): string => arms.find(({ name }) => name === arm)!.label;
    const of = (names: readonly string[]) => units.filter(({ arm }) => names.includes(arm));
    const curves = (["directionsPlain", "directionsDropout"] as const).flatMap((arm) => {
      const group = of([arm]);
      return (group[0]?.metrics.time ?? []).map((epoch, i) => ({
        series: arm === "directionsPlain" ? "without dropout" : "with dropout",
        epoch,
        variance: mean(group.map(({ metrics }) => metrics.variance[i]!)),
      }));
    });
    const dots = (
      title: string,
      metric: "trainLoss" | "testAccuracy",
      x: string,
      names: readonly string[],
    ) => ({
      title,
      options: {
        width: 460,
        height: 260,
        marginLeft: 190,
        x: { label: x, grid: true },
        y: { label: null, domain: names.map(labelOf) },
        marks: [
          Plot.dot(of(names), {
            x: ({ metrics }) => metrics[metric],
            y: ({ arm }) => labelOf(arm),
            strokeOpacity: 0.5,
          }),
          Plot.tickX(
            of(names),
            Plot.groupY(
              { x: "mean" },
              { x: ({ metrics }) => metrics[metric], y: ({ arm }) => labelOf(arm), strokeWidth: 3 },
            ),
          ),
        ],
      },
    });
    return [
      {
        title: "Gradient direction variance",
        options: {
          width: 400,
          height: 260,
          x: { label: "epoch" },
          y: { label: "variance", grid: true },
          color: { legend: true },
          marks: [Plot.lineY(curves, { x: "epoch", y: "variance", stroke: "series" })],
        },
      },
      dots("Underfitting: training loss at the end", "trainLoss", "cross-entropy", [
        "none",
        "standard",
        "early",
        "earlyDepth",
      ]),
      dots("Overfitting: test accuracy", "testAccuracy", "accuracy", [
        "plainOver",
        "standardOver",
        "lateOver",
        "standardDepthOver",
        "lateDepthOver",
      ]),
    ];
  },
  leaderboard: { metric: "testAccuracy", goal: "maximize" },
});
