import { random } from "@prior-art/tensor";
import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import {
  behaviourCloning,
  type OfflineAgent,
  offlineData,
  offlineEnvironment,
  td3,
  td3bc,
  trainOffline,
} from "@prior-art/toolkit/rl";
import { mean } from "@prior-art/toolkit/stats";
import { contenders } from "./contenders.generated.ts";
import type { Contender, Hyperparameters } from "./family.ts";
import { judgeOf } from "./judging.ts";

const entries: Readonly<Record<string, Contender>> = {
  behaviourCloning: { label: "Behaviour cloning", agent: (_, setting) => behaviourCloning(setting) },
  td3: { label: "TD3", agent: (_, setting) => td3({ ...setting, normalize: true }) },
  td3bc: {
    label: "TD3+BC",
    space: { alpha: [0.4, 1, 2.5, 5, 10, 20] },
    agent: ({ alpha }, setting) => td3bc({ ...setting, alpha: alpha! }),
  },
  ...contenders,
};

const arms = Object.fromEntries(
  Object.entries(entries).map(([name, { label, space, fixed }]) => [
    name,
    { label, ...(space && { space }), ...(fixed && { fixed }) },
  ]),
);

const TASK = "point-mass";
const QUALITIES = ["medium", "mixed", "expert"] as const;
const { observationSize, actions } = offlineEnvironment(TASK);
const SETTING = {
  observationSize,
  actionSize: actions.kind === "box" ? actions.size : 1,
  hidden: [64, 64],
  discount: 0.97,
  targetRate: 0.02,
};
/** Evaluations during a training; the score is the mean of the last three. */
const EVALUATIONS = 10;

type Metrics = Readonly<Record<(typeof QUALITIES)[number], number>> & {
  /** Mean of the normalized scores: 0 for random actions, 100 for the expert. */
  readonly score: number;
};

/** A point mass with small data sets of three qualities; each method has one setting for all of them. */
export default defineExperiment({
  settings: { full: { episodes: 15, steps: 2000 }, quick: { episodes: 15, steps: 200 } },
  seeds: { full: 8, quick: 2 },
  arms,
  async *run({ arm, seed, settings, hyperparameters }): AsyncGenerator<Progress, Metrics, void> {
    const { steps, episodes } = settings;
    const agent: OfflineAgent<unknown> = entries[arm]!.agent(hyperparameters as Hyperparameters, SETTING);
    const judge = judgeOf(TASK, agent, seed);
    const finals: number[] = [];
    try {
      for (const [i, quality] of QUALITIES.entries()) {
        const { transitions } = offlineData({ task: TASK, quality, episodes, seed });
        const scores: number[] = [];
        const training = trainOffline(agent, transitions, {
          steps,
          batchSize: 64,
          key: random.key(seed),
          stepsPerRun: Math.ceil(steps / EVALUATIONS),
        });
        for await (const { step, state } of training) {
          scores.push(await judge.score(state));
          yield { step: i * steps + step, of: QUALITIES.length * steps, metrics: { score: scores.at(-1)! } };
        }
        finals.push(mean(scores.slice(-3)));
      }
    } finally {
      await judge.release();
    }
    const [medium, mixed, expert] = finals as [number, number, number];
    return { medium, mixed, expert, score: mean(finals) };
  },
  tuning: {
    metric: "score",
    goal: "maximize",
    budget: { full: 6, quick: 2 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [],
  figure: ({ Plot, units, arms: named }) =>
    QUALITIES.map((quality) => ({
      title: `Data: ${quality}`,
      options: {
        marginLeft: 120,
        x: { label: "Normalized score", grid: true, domain: [-60, 105], clamp: true },
        y: { label: null, domain: named.map(({ label }) => label) },
        marks: [
          Plot.dot(units, {
            x: ({ metrics }) => metrics[quality],
            y: ({ arm }) => named.find(({ name }) => name === arm)!.label,
          }),
        ],
      },
    })),
  leaderboard: { metric: "score", goal: "maximize" },
});
