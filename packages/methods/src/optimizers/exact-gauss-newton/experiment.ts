import { DivergedError, defineExperiment, type Mode, type Progress } from "@prior-art/toolkit/experiment";
import type { MlpParams } from "@prior-art/toolkit/nn";
import { adam, momentum } from "@prior-art/toolkit/optim";
import { trainDigits } from "./digitsTask.ts";
import { directionErrors } from "./exactness.ts";
import { exactGaussNewton, truncatedGaussNewton } from "./method.ts";
import {
  BATCH,
  type Cell,
  type Curves,
  diabetesTask,
  friedman,
  type MakeOptimizer,
  type RegressionTask,
  stepTime,
  trainCells,
} from "./sweep.ts";

const geometric = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

type TaskName = "friedman" | "diabetes";

/** The same for all Gauss–Newton arms: step sizes (or the line search's first) by (first) dampings. */
const RATES = { friedman: geometric(0.06, 10 ** 0.5, 4), diabetes: geometric(0.003, 10 ** 0.5, 4) };
const DAMPINGS = { friedman: geometric(0.006, 10, 3), diabetes: geometric(0.1, 10, 3) };
const gaussNewton = (task: TaskName): Cell[] =>
  RATES[task].flatMap((rate) => DAMPINGS[task].map((second) => ({ rate, second })));
const firstOrder = (rates: readonly number[]): Cell[] => rates.map((rate) => ({ rate, second: 0 }));
const GAUSS_NEWTON = { friedman: gaussNewton("friedman"), diabetes: gaussNewton("diabetes") };

interface Sweep {
  /** Twelve for each task. */
  readonly cells: Readonly<Record<TaskName, readonly Cell[]>>;
  readonly make: MakeOptimizer;
}

const SWEEPS: Readonly<Record<SweepArm, Sweep>> = {
  sgd: {
    cells: {
      friedman: firstOrder(geometric(5e-4, 1.8, 12)),
      diabetes: firstOrder(geometric(5e-5, 1.8, 12)),
    },
    make: (learningRate) => momentum({ learningRate }),
  },
  adam: {
    cells: {
      friedman: firstOrder(geometric(5e-4, 1.6, 12)),
      diabetes: firstOrder(geometric(1e-4, 1.6, 12)),
    },
    make: (learningRate) => adam({ learningRate }),
  },
  sgn: {
    cells: GAUSS_NEWTON,
    make: (learningRate, damping) => truncatedGaussNewton({ learningRate, damping, iterations: 10 }),
  },
  egn: {
    cells: GAUSS_NEWTON,
    make: (learningRate, damping) => exactGaussNewton({ learningRate, damping }),
  },
  egnLineSearch: {
    cells: GAUSS_NEWTON,
    make: (learningRate, damping) => exactGaussNewton({ learningRate, damping, lineSearch: true }),
  },
  egnAdaptive: {
    cells: GAUSS_NEWTON,
    make: (learningRate, damping) => exactGaussNewton({ learningRate, damping, adaptiveDamping: true }),
  },
};
type SweepArm = "sgd" | "adam" | "sgn" | "egn" | "egnLineSearch" | "egnAdaptive";

/** Every unit has these; what it doesn't measure is empty or 0. */
type Metrics = {
  /** Mean squared errors after the last epoch, of the cell that is best on validation; 1 is the mean's. */
  readonly friedmanTest: number;
  readonly diabetesTest: number;
  /** Of that cell, by epoch. */
  readonly friedmanTestCurve: readonly number[];
  readonly friedmanTrainCurve: readonly number[];
  readonly diabetesTestCurve: readonly number[];
  /** Test errors of all cells on Friedman's function. */
  readonly friedmanCells: readonly number[];
  /** The cells chosen: Friedman's, the diabetes table's. */
  readonly chosen: readonly number[];
  readonly stepMilliseconds: number;
  /** Of digits. */
  readonly validationLoss: number;
  readonly testError: number;
  /** Relative errors of the directions. */
  readonly exactError: number;
  readonly truncatedErrors: readonly number[];
};

const NOTHING: Metrics = {
  friedmanTest: 0,
  diabetesTest: 0,
  friedmanTestCurve: [],
  friedmanTrainCurve: [],
  diabetesTestCurve: [],
  friedmanCells: [],
  chosen: [],
  stepMilliseconds: 0,
  validationLoss: 0,
  testError: 0,
  exactError: 0,
  truncatedErrors: [],
};

/** Position of the smallest number; NaN is worst. */
const argmin = (values: readonly number[]): number =>
  values.reduce((best, v, i) => (v < values[best]! || Number.isNaN(values[best]!) ? i : best), 0);

const columnOf = (rows: readonly (readonly number[])[], cell: number): number[] =>
  rows.map((row) => row[cell]!);

interface Settings {
  readonly trainSize: number;
  readonly epochs: number;
  readonly digitEpochs: number;
  /** Else only Adam, EGN and the directions, and only on Friedman's function. */
  readonly everything: boolean;
}

const SETTINGS: Readonly<Record<Mode, Settings>> = {
  full: { trainSize: 2000, epochs: 20, digitEpochs: 8, everything: true },
  quick: { trainSize: 500, epochs: 5, digitEpochs: 0, everything: false },
};

async function* sweep(arm: SweepArm, seed: number, settings: Settings) {
  const { cells, make } = SWEEPS[arm];
  const tasks: [TaskName, RegressionTask][] = [["friedman", friedman(seed, settings.trainSize)]];
  if (settings.everything) tasks.push(["diabetes", await diabetesTask(seed)]);
  const results: Record<string, { curves: Curves; best: number }> = {};
  for (const [name, task] of tasks) {
    const training = trainCells(make, cells[name], task, { epochs: settings.epochs, seed });
    let turn = await training.next();
    for (; !turn.done; turn = await training.next()) yield { step: turn.value, of: settings.epochs };
    results[name] = { curves: turn.value, best: argmin(turn.value.validation.at(-1)!) };
  }
  const { curves, best } = results.friedman!;
  const second = results.diabetes;
  return {
    ...NOTHING,
    friedmanTest: curves.test.at(-1)![best]!,
    friedmanTestCurve: columnOf(curves.test, best),
    friedmanTrainCurve: columnOf(curves.train, best),
    friedmanCells: curves.test.at(-1)!,
    diabetesTest: second ? second.curves.test.at(-1)![second.best]! : 0,
    diabetesTestCurve: second ? columnOf(second.curves.test, second.best) : [],
    chosen: second ? [best, second.best] : [best],
    stepMilliseconds: await stepTime(make, cells.friedman[best]!, tasks[0]![1]),
  };
}

/** The share of all epochs after which a training curve is at or below a level; 2 when it never is. */
function shareUntil(level: number, curve: readonly number[]): number {
  const at = curve.findIndex((loss) => loss <= level);
  return at < 0 ? 2 : (at + 1) / curve.length;
}

/** Natural log of the worst cell's test error over the best's; what is worse than the mean counts as the mean. */
function spread(cells: readonly number[]): number {
  const capped = cells.map((v) => (v < 1 ? v : 1));
  return Math.log(Math.max(...capped) / Math.min(...capped));
}

export default defineExperiment({
  settings: SETTINGS,
  seeds: { full: 8, quick: 2 },
  arms: {
    sgd: { label: "SGD with momentum" },
    adam: { label: "Adam" },
    sgn: { label: "Gauss–Newton by 10 CG iterations" },
    egn: { label: "EGN" },
    egnLineSearch: { label: "EGN, line search" },
    egnAdaptive: { label: "EGN, adaptive damping" },
    digitsAdam: { label: "Adam on digits", space: { learningRate: geometric(5e-4, 1.6, 12) } },
    digitsEgn: {
      label: "EGN on digits",
      space: { learningRate: RATES.friedman, damping: geometric(0.001, 10, 3) },
    },
    direction: { label: "Directions" },
  },
  async *run(context): AsyncGenerator<Progress, Metrics, void> {
    const { arm, seed, settings } = context;
    if (arm === "direction") {
      const { exact, truncated } = await directionErrors(seed, [1, 3, 10, 30]);
      return { ...NOTHING, exactError: exact, truncatedErrors: truncated };
    }
    if (!settings.everything && arm !== "adam" && arm !== "egn") return NOTHING;
    if (arm !== "digitsAdam" && arm !== "digitsEgn") return yield* sweep(arm, seed, settings);
    const optimizer =
      context.arm === "digitsAdam"
        ? adam<MlpParams>({ learningRate: context.hyperparameters.learningRate })
        : exactGaussNewton<MlpParams>(context.hyperparameters as { learningRate: number; damping: number });
    const training = trainDigits(optimizer, { epochs: settings.digitEpochs, seed });
    let turn = await training.next();
    for (; !turn.done; turn = await training.next()) {
      const { epoch, loss } = turn.value;
      if (!Number.isFinite(loss)) throw new DivergedError(`the loss is ${loss} in epoch ${epoch}`);
      yield { step: epoch, of: settings.digitEpochs, metrics: { loss } };
    }
    return { ...NOTHING, ...turn.value };
  },
  tuning: {
    metric: "validationLoss",
    goal: "minimize",
    budget: { full: 12, quick: 1 },
    seeds: { full: 1, quick: 1 },
  },
  claims: [
    {
      kind: "comparison",
      id: "friedman-test-loss",
      of: "test-loss-at-par-or-better",
      statement: "Friedman's function: EGN's test error after all epochs is below Adam's",
      metric: "friedmanTest",
      better: "egn",
      worse: "adam",
      goal: "minimize",
    },
    {
      kind: "comparison",
      id: "diabetes-test-loss",
      of: "test-loss-at-par-or-better",
      statement: "Diabetes table: EGN's test error after all epochs is at most 2% above Adam's",
      modes: ["full"],
      metric: "diabetesTest",
      better: "egn",
      worse: "adam",
      goal: "minimize",
      relative: true,
      margin: -0.02,
    },
    {
      kind: "comparison",
      id: "friedman-against-sgd",
      of: "test-loss-at-par-or-better",
      statement:
        "Friedman's function: EGN's test error after all epochs is at most 2% above that of SGD with momentum",
      modes: ["full"],
      metric: "friedmanTest",
      better: "egn",
      worse: "sgd",
      goal: "minimize",
      relative: true,
      margin: -0.02,
    },
    {
      kind: "comparison",
      id: "friedman-against-truncated",
      of: "test-loss-at-par-or-better",
      statement:
        "Friedman's function: EGN's test error after all epochs is at most 2% above that of Gauss–Newton by 10 iterations of CG",
      modes: ["full"],
      metric: "friedmanTest",
      better: "egn",
      worse: "sgn",
      goal: "minimize",
      relative: true,
      margin: -0.02,
    },
    {
      kind: "statistic",
      id: "fewer-steps",
      of: "test-loss-at-par-or-better",
      statement: "Friedman's function: EGN needs at most half the epochs to reach Adam's last training error",
      quantity: "share of the epochs",
      arms: ["egn", "adam"],
      modes: ["full"],
      perSeed: ({ egn, adam: rival }) => shareUntil(rival.friedmanTrainCurve.at(-1)!, egn.friedmanTrainCurve),
      pass: { max: 0.5 },
    },
    {
      kind: "comparison",
      id: "digits-error",
      of: "test-loss-at-par-or-better",
      statement: "Digits: EGN's test error is at most half a percentage point above Adam's",
      modes: ["full"],
      metric: "testError",
      better: "digitsEgn",
      worse: "digitsAdam",
      goal: "minimize",
      margin: -0.005,
    },
    {
      kind: "deterministic",
      id: "exact-direction",
      statement: "EGN's direction differs from that of the solve of the parameters' size by less than 1e-6",
      arm: "direction",
      metric: "exactError",
      expected: 0,
      tolerance: 1e-6,
    },
    {
      kind: "statistic",
      id: "truncated-direction",
      of: "exact-direction",
      statement: "Three iterations of CG miss the direction by more than 1%",
      quantity: "relative error",
      arms: ["direction"],
      perSeed: ({ direction }) => direction.truncatedErrors[1]!,
      pass: { min: 0.01 },
    },
    {
      kind: "statistic",
      id: "line-search-spread",
      of: "line-search-reduces-sensitivity",
      statement: "The test error of the worst of 12 settings over the best's is smaller with the line search",
      quantity: "difference of the log ratios",
      modes: ["full"],
      arms: ["egn", "egnLineSearch"],
      perSeed: ({ egn, egnLineSearch }) => spread(egn.friedmanCells) - spread(egnLineSearch.friedmanCells),
      pass: { min: 0 },
    },
    {
      kind: "statistic",
      id: "adaptive-damping-spread",
      of: "line-search-reduces-sensitivity",
      statement:
        "The test error of the worst of 12 settings over the best's is smaller with adaptive damping",
      quantity: "difference of the log ratios",
      modes: ["full"],
      arms: ["egn", "egnAdaptive"],
      perSeed: ({ egn, egnAdaptive }) => spread(egn.friedmanCells) - spread(egnAdaptive.friedmanCells),
      pass: { min: 0 },
    },
  ],
  figure: ({ Plot, units, arms, mode }) => {
    const named = arms.filter(({ name }) => name in SWEEPS);
    const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    const stepsPerEpoch = Math.floor(SETTINGS[mode].trainSize / BATCH);
    const points = named.flatMap(({ name, label }) => {
      const all = units.filter(({ arm }) => arm === name).map(({ metrics }) => metrics);
      const [first] = all;
      if (!first) return [];
      // Milliseconds of a step vary with what else the machine does: the median of the seeds.
      const step = all.map((m) => m.stepMilliseconds).sort((a, b) => a - b)[all.length >> 1]!;
      return first.friedmanTestCurve.map((_, i) => ({
        arm: label,
        epoch: i + 1,
        seconds: ((i + 1) * stepsPerEpoch * step) / 1000,
        error: mean(all.map((m) => m.friedmanTestCurve[i]!)),
      }));
    });
    return (["epoch", "seconds"] as const).map((x) => ({
      title: `Test error on Friedman's function by ${x === "epoch" ? "epochs" : "time"}`,
      options: {
        width: 520,
        height: 320,
        x: { label: x, type: x === "epoch" ? "linear" : "log", grid: true },
        y: { label: "mean squared error", type: "log", grid: true },
        // One legend for both, as wide as both.
        color: { legend: x === "epoch", domain: named.map(({ label }) => label) },
        marks: [Plot.line(points, { x, y: "error", stroke: "arm" })],
      },
    }));
  },
});
