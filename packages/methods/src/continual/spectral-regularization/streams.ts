import { data, linalg, slice, type Tensor } from "@prior-art/tensor";
import { digits, relabelledStream } from "@prior-art/toolkit/data";
import type { Progress } from "@prior-art/toolkit/experiment";
import type { MlpParams } from "@prior-art/toolkit/nn";
import { mean } from "@prior-art/toolkit/stats";
import { fineTuning, l2, l2Init, shrinkAndPerturb } from "../classics.ts";
import type { ContinualLearner } from "../family.ts";
import { learnStream } from "../stream.ts";
import { spectralRegularization, wassersteinInit } from "./method.ts";

export interface Settings {
  readonly trainSize: number;
  /** Tasks with random labels, and epochs on each. */
  readonly randomTasks: number;
  readonly randomEpochs: number;
  /** Tasks with renamed classes, and epochs on each. */
  readonly renamedTasks: number;
  readonly renamedEpochs: number;
  /** Of the stream, at each end: what `earlyAccuracy` and `lateAccuracy` are means of. */
  readonly averaged: number;
}

export type Metrics = {
  /** Mean accuracy at the end of the first and of the last tasks: of the training examples, or held out if renamed. */
  readonly earlyAccuracy: number;
  readonly lateAccuracy: number;
  /** Accuracy at the end of each task. */
  readonly curve: readonly number[];
  /** Mean over the layers of the largest singular value after the last task. */
  readonly spectralNorm: number;
  /** Late accuracy for each strength of `GRID`, where the arm runs them all. */
  readonly lateByStrength: readonly number[];
};

/** Strengths of the arms that run them all. */
export const GRID = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1];

// biome-ignore lint/suspicious/noExplicitAny: each learner keeps a memory of its own type
type Learner = ContinualLearner<MlpParams, any>;

const LEARNERS = {
  none: () => fineTuning(),
  l2: (strength) => l2({ strength }),
  l2Init: (strength) => l2Init({ strength }),
  shrinkAndPerturb: (strength) => shrinkAndPerturb({ strength }),
  wasserstein: (strength) => wassersteinInit({ strength }),
  spectral: (strength) => spectralRegularization({ strength }),
} satisfies Readonly<Record<string, (strength: Tensor) => Learner>>;
type Method = keyof typeof LEARNERS;

/** What each arm learns with; `Renamed` arms have renamed classes, `Grid` arms all strengths. */
export const METHODS = {
  none: "none",
  l2: "l2",
  l2Init: "l2Init",
  shrinkAndPerturb: "shrinkAndPerturb",
  wasserstein: "wasserstein",
  spectral: "spectral",
  l2Grid: "l2",
  l2InitGrid: "l2Init",
  spectralGrid: "spectral",
  noneRenamed: "none",
  l2Renamed: "l2",
  l2InitRenamed: "l2Init",
  spectralRenamed: "spectral",
} as const satisfies Readonly<Record<string, Method>>;
export type Arm = keyof typeof METHODS;

/** Mean over the weight matrices of σ₁, for the first of the learners. */
async function meanSpectralNorm({ layers }: MlpParams): Promise<number> {
  const norms = layers.map(async ({ weight }) => (await data(linalg.singularValues(slice(weight, 0))))[0]!);
  return mean(await Promise.all(norms));
}

interface Unit {
  readonly arm: Arm;
  readonly seed: number;
  readonly settings: Settings;
  /** `{ strength }`, in arms that have one. */
  readonly hyperparameters: unknown;
}

/** Learns the stream of an arm: random labels, or renamed classes with examples held out. */
export async function* run({
  arm,
  seed,
  settings,
  hyperparameters,
}: Unit): AsyncGenerator<Progress, Metrics, void> {
  const renamed = arm.endsWith("Renamed");
  const grid = arm.endsWith("Grid");
  const { strength = 0 } = { ...(hyperparameters as { readonly strength?: number }) };
  const stream = relabelledStream(await digits(), {
    seed,
    train: settings.trainSize,
    test: 400,
    scale: 16,
    tasks: renamed ? settings.renamedTasks : settings.randomTasks,
    kind: renamed ? "renamed" : "random",
  });
  const learning = learnStream({
    strengths: grid ? GRID : [strength],
    learner: LEARNERS[METHODS[arm]] as (strength: Tensor) => Learner,
    tasks: stream.map(({ train }) => train),
    measured: (i) => [renamed ? stream[i]!.test : stream[i]!.train],
    classes: 10,
    epochs: renamed ? settings.renamedEpochs : settings.randomEpochs,
    batchSize: 50,
    learningRate: 3e-3,
    seed,
  });
  const curves: number[][] = [];
  let turn = await learning.next();
  for (; !turn.done; turn = await learning.next()) {
    const { tasks, accuracies } = turn.value;
    accuracies.forEach(([value], i) => {
      curves[i] = [...(curves[i] ?? []), value!];
    });
    yield { step: tasks, of: stream.length, metrics: { accuracy: curves[0]!.at(-1)! } };
  }
  const late = (curve: readonly number[]): number => mean(curve.slice(-settings.averaged));
  return {
    earlyAccuracy: mean(curves[0]!.slice(0, settings.averaged)),
    lateAccuracy: late(curves[0]!),
    curve: curves[0]!,
    spectralNorm: await meanSpectralNorm(turn.value),
    lateByStrength: grid ? curves.map(late) : [],
  };
}
