import { type ArmContext, DivergedError, type Mode, type Progress } from "@prior-art/toolkit/experiment";
import type { MlpParams } from "@prior-art/toolkit/nn";
import { adam, momentum } from "@prior-art/toolkit/optim";
import { trainDigits } from "./digitsTask.ts";
import { directionErrors } from "./exactness.ts";
import { exactGaussNewton, truncatedGaussNewton } from "./method.ts";
import { dampingSpread, divergedShare, logSpread, rateSpread } from "./sensitivity.ts";
import {
  type Cell,
  type Curves,
  diabetesTask,
  friedman,
  type MakeOptimizer,
  type RegressionTask,
  stepTimes,
  trainCells,
} from "./sweep.ts";

const geometric = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

type TaskName = "friedman" | "diabetes";

/** The same for all Gauss–Newton arms of constant step sizes: step sizes by (first) dampings. */
const RATES = { friedman: geometric(0.06, 10 ** 0.5, 4), diabetes: geometric(0.003, 10 ** 0.5, 4) };
export const DAMPINGS = { friedman: geometric(0.006, 10, 3), diabetes: geometric(0.1, 10, 3) };
const gaussNewton = (task: TaskName): Cell[] =>
  RATES[task].flatMap((rate) => DAMPINGS[task].map((second) => ({ rate, second })));
/** The line search starts at the full step, which wants more damping: as many settings, all of them dampings. */
const FULL_STEP_DAMPINGS = { friedman: DAMPINGS.friedman, diabetes: geometric(1, 10, 3) };
const lineSearch = (task: TaskName): Cell[] =>
  FULL_STEP_DAMPINGS[task].flatMap((damping) =>
    [0.1 ** 0.5, 0.1 ** 0.25, 1, 10 ** 0.25].map((factor) => ({ rate: 1, second: factor * damping })),
  );
const firstOrder = (rates: readonly number[]): Cell[] => rates.map((rate) => ({ rate, second: 0 }));
const GAUSS_NEWTON = { friedman: gaussNewton("friedman"), diabetes: gaussNewton("diabetes") };

/** Where the dependence on step size (rows, the line search's first) and damping (columns) is measured. */
export const GRID = [...RATES.friedman.slice(0, 3), 1, ...RATES.friedman.slice(3)].map((rate) =>
  DAMPINGS.friedman.map((second): Cell => ({ rate, second })),
);

interface Sweep {
  /** Twelve for each task. */
  readonly cells: Readonly<Record<TaskName, readonly Cell[]>>;
  readonly make: MakeOptimizer;
  /** Whether it is trained in all of `GRID`. */
  readonly sensitivity?: true;
}

export const SWEEPS: Readonly<Record<SweepArm, Sweep>> = {
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
    sensitivity: true,
  },
  egnLineSearch: {
    cells: { friedman: lineSearch("friedman"), diabetes: lineSearch("diabetes") },
    make: (learningRate, damping) => exactGaussNewton({ learningRate, damping, lineSearch: true }),
    sensitivity: true,
  },
  egnAdaptive: {
    cells: GAUSS_NEWTON,
    make: (learningRate, damping) => exactGaussNewton({ learningRate, damping, adaptiveDamping: true }),
    sensitivity: true,
  },
};
export type SweepArm = "sgd" | "adam" | "sgn" | "egn" | "egnLineSearch" | "egnAdaptive";
export const SWEEP_ARMS = Object.keys(SWEEPS) as SweepArm[];

/** Every unit has these; what it doesn't measure is empty or 0. */
export type Metrics = {
  /** Mean squared errors after the last epoch, of the cell that is best on validation; 1 is the mean's. */
  readonly friedmanTest: number;
  readonly diabetesTest: number;
  /** Of that cell, by epoch. */
  readonly friedmanTestCurve: readonly number[];
  readonly friedmanTrainCurve: readonly number[];
  readonly diabetesTestCurve: readonly number[];
  /** Test error after each epoch, of the cell that is best on validation after that epoch. */
  readonly friedmanTunedCurve: readonly number[];
  /** Test errors on Friedman's function in `GRID`. */
  readonly grid: readonly (readonly number[])[];
  /** Of that grid: see `sensitivity.ts`. The first at the full step, the second at step sizes up to it. */
  readonly fullStepDampingSpread: number;
  readonly dampingSpread: number;
  readonly rateSpread: number;
  readonly divergedShare: number;
  /** The cells chosen: Friedman's, the diabetes table's. */
  readonly chosen: readonly number[];
  /** Of a step, by arm in the order of `SWEEPS`. */
  readonly stepMilliseconds: readonly number[];
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
  friedmanTunedCurve: [],
  grid: [],
  fullStepDampingSpread: 0,
  dampingSpread: 0,
  rateSpread: 0,
  divergedShare: 0,
  chosen: [],
  stepMilliseconds: [],
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

export interface Settings {
  readonly trainSize: number;
  readonly epochs: number;
  readonly digitEpochs: number;
  /** Else only Adam, EGN and the directions, and only on Friedman's function. */
  readonly everything: boolean;
}

export const SETTINGS: Readonly<Record<Mode, Settings>> = {
  full: { trainSize: 2000, epochs: 20, digitEpochs: 8, everything: true },
  quick: { trainSize: 500, epochs: 5, digitEpochs: 0, everything: false },
};

const sameCell = (a: Cell) => (b: Cell) => a.rate === b.rate && a.second === b.second;

async function* sweep(arm: SweepArm, seed: number, settings: Settings) {
  const { cells, make, sensitivity } = SWEEPS[arm];
  const tasks: [TaskName, RegressionTask][] = [["friedman", friedman(seed, settings.trainSize)]];
  if (settings.everything) tasks.push(["diabetes", await diabetesTask(seed)]);
  const grid = sensitivity && settings.everything ? GRID : [];
  // Cells beyond the twelve of the search are for the sensitivity alone.
  const searched = cells.friedman;
  const trained = {
    friedman: [...searched, ...grid.flat().filter((cell) => !searched.some(sameCell(cell)))],
    diabetes: cells.diabetes,
  };
  const results: Record<string, { curves: Curves; best: number; bestByEpoch: number[] }> = {};
  for (const [name, task] of tasks) {
    const training = trainCells(make, trained[name], task, { epochs: settings.epochs, seed });
    let turn = await training.next();
    for (; !turn.done; turn = await training.next()) yield { step: turn.value, of: settings.epochs };
    const bestByEpoch = turn.value.validation.map((row) => argmin(row.slice(0, cells[name].length)));
    results[name] = { curves: turn.value, best: bestByEpoch.at(-1)!, bestByEpoch };
  }
  const { curves, best, bestByEpoch } = results.friedman!;
  const second = results.diabetes;
  const last = curves.test.at(-1)!;
  const errors = grid.map((row) => row.map((cell) => last[trained.friedman.findIndex(sameCell(cell))]!));
  const fullStep = GRID.findIndex(([cell]) => cell!.rate === 1);
  return {
    ...NOTHING,
    friedmanTest: last[best]!,
    friedmanTestCurve: columnOf(curves.test, best),
    friedmanTrainCurve: columnOf(curves.train, best),
    friedmanTunedCurve: curves.test.map((row, epoch) => row[bestByEpoch[epoch]!]!),
    diabetesTest: second ? second.curves.test.at(-1)![second.best]! : 0,
    diabetesTestCurve: second ? columnOf(second.curves.test, second.best) : [],
    chosen: second ? [best, second.best] : [best],
    ...(errors.length > 0 && {
      grid: errors,
      fullStepDampingSpread: logSpread(errors[fullStep]!),
      dampingSpread: dampingSpread(errors.slice(0, fullStep + 1)),
      rateSpread: rateSpread(errors),
      divergedShare: divergedShare(errors),
    }),
  };
}

export const arms = {
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
  time: { label: "Times of a step" },
} as const;

export async function* run(
  context: ArmContext<typeof arms, Settings>,
): AsyncGenerator<Progress, Metrics, void> {
  const { arm, seed, settings } = context;
  if (arm === "direction") {
    const { exact, truncated } = await directionErrors(seed, [1, 3, 10, 30]);
    return { ...NOTHING, exactError: exact, truncatedErrors: truncated };
  }
  if (arm === "time") {
    const task = friedman(seed, settings.trainSize);
    const timed = SWEEP_ARMS.map((name) => ({
      make: SWEEPS[name].make,
      cell: SWEEPS[name].cells.friedman[6]!,
    }));
    return { ...NOTHING, stepMilliseconds: await stepTimes(timed, task) };
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
}
