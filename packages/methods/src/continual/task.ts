import {
  digits,
  permutedStream,
  type StreamTask,
  splitStream,
  streamScores,
  type TaskPart,
} from "@prior-art/toolkit/data";
import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { elasticWeightConsolidation, fineTuning, l2, replay } from "./classics.ts";
import { contenders } from "./contenders.generated.ts";
import type { Contender } from "./family.ts";
import { learnStream } from "./stream.ts";

/** Every arm's learning rate is tuned with its learner. */
const OPTIMIZER = { learningRate: [1e-3, 3e-3] };

const entries: Readonly<Record<string, Contender>> = {
  fineTuning: { label: "Fine-tuning", learner: fineTuning },
  l2: {
    label: "L2",
    space: { strength: [1e-4, 1e-3, 1e-2] },
    learner: ({ strength = 1e-3 }) => l2({ strength }),
  },
  elasticWeightConsolidation: {
    label: "EWC",
    space: { strength: [1, 10, 100, 1000] },
    learner: ({ strength = 10 }) => elasticWeightConsolidation({ strength }),
  },
  replay: {
    label: "Replay of 50 examples",
    space: { strength: [0.5, 1, 2] },
    fixed: { size: 50 },
    learner: replay,
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
  /** Mean over all tasks of both streams at the end, on their test parts. */
  readonly averageAccuracy: number;
  /** Mean fall from a task's best accuracy. */
  readonly forgetting: number;
  /** Mean accuracy on a task right after it. */
  readonly learningAccuracy: number;
  /** The average accuracies apart. */
  readonly splitAccuracy: number;
  readonly permutedAccuracy: number;
};

/** The first `count` examples, so that the tasks of a stream have one shape. */
function cut({ features, labels }: TaskPart, count: number): TaskPart {
  const width = features.length / labels.length;
  return { features: features.slice(0, count * width), labels: labels.slice(0, count) };
}

function evenly(stream: readonly StreamTask[]): StreamTask[] {
  const train = Math.min(...stream.map((task) => task.train.labels.length));
  const test = Math.min(...stream.map((task) => task.test.labels.length));
  return stream.map((task) => ({ ...task, train: cut(task.train, train), test: cut(task.test, test) }));
}

/** Five tasks of two digits, told apart without knowing the task (even or odd place), and five orders of the pixels. */
export default defineExperiment({
  settings: {
    full: { train: 800, splitEpochs: 20, permutedEpochs: 8, permutations: 5 },
    quick: { train: 400, splitEpochs: 5, permutedEpochs: 3, permutations: 3 },
  },
  seeds: { full: 8, quick: 2 },
  arms,
  async *run({ arm, seed, settings, hyperparameters }): AsyncGenerator<Progress, Metrics, void> {
    const chosen = hyperparameters as { readonly learningRate: number };
    const data = await digits();
    const options = { seed, train: settings.train, test: 500, scale: 16 };
    const streams = [
      {
        tasks: evenly(splitStream(data, { ...options, classesPerTask: 2, relabel: true })),
        classes: 2,
        epochs: settings.splitEpochs,
        batchSize: 16,
      },
      {
        tasks: permutedStream(data, { ...options, tasks: settings.permutations }),
        classes: 10,
        epochs: settings.permutedEpochs,
        batchSize: 32,
      },
    ];
    const scores = [];
    for (const [i, { tasks, ...rest }] of streams.entries()) {
      const matrix: (readonly number[])[] = [];
      const learning = learnStream({
        ...rest,
        strengths: [0],
        learner: () => entries[arm]!.learner(chosen),
        tasks: tasks.map(({ train }) => train),
        measured: () => tasks.map(({ test }) => test),
        learningRate: chosen.learningRate,
        seed,
      });
      for await (const { tasks: done, accuracies } of learning) {
        matrix.push(accuracies[0]!);
        yield {
          step: i * 100 + Math.round((100 * done) / tasks.length),
          of: 200,
          metrics: { averageAccuracy: mean([...accuracies[0]!]) },
        };
      }
      scores.push(streamScores(matrix));
    }
    const [split, permuted] = [scores[0]!, scores[1]!];
    return {
      averageAccuracy: (split.averageAccuracy + permuted.averageAccuracy) / 2,
      forgetting: (split.forgetting + permuted.forgetting) / 2,
      learningAccuracy: (split.learningAccuracy + permuted.learningAccuracy) / 2,
      splitAccuracy: split.averageAccuracy,
      permutedAccuracy: permuted.averageAccuracy,
    };
  },
  tuning: {
    metric: "averageAccuracy",
    goal: "maximize",
    budget: { full: 8, quick: 2 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [],
  figure: ({ Plot, units, arms: named }) => ({
    title: "Accuracy over all tasks at the end, and what was forgotten",
    options: {
      x: { label: "forgetting", grid: true },
      y: { label: "average accuracy", grid: true },
      color: { legend: true },
      marks: [
        Plot.dot(units, {
          x: ({ metrics }) => metrics.forgetting,
          y: ({ metrics }) => metrics.averageAccuracy,
          stroke: ({ arm }) => named.find(({ name }) => name === arm)!.label,
        }),
      ],
    },
  }),
  leaderboard: { metric: "averageAccuracy", goal: "maximize" },
});
