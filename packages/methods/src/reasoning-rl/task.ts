import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { grpo, reinforce } from "@prior-art/toolkit/lm";
import { mean } from "@prior-art/toolkit/stats";
import { contenders } from "./contenders.generated.ts";
import type { Contender } from "./family.ts";
import { beginner, reinforceSorting, scorePolicy } from "./sortingWorld.ts";

const RATES = [3e-4, 1e-3, 3e-3];

/** What the field does without any paper of this family. */
const baselines: Readonly<Record<string, Contender>> = {
  reinforce: {
    label: "REINFORCE, leave one out",
    space: { learningRate: RATES, beta: [0, 0.01] },
    objective: ({ beta }) => reinforce({ klCoefficient: beta! }),
  },
  grpo: {
    label: "GRPO",
    space: { learningRate: RATES, beta: [0, 0.04] },
    objective: ({ beta }) => grpo({ klCoefficient: beta! }),
  },
  dapo: {
    label: "DAPO's loss",
    space: { learningRate: [1e-4, 3e-4, 6e-4, 1e-3, 2e-3, 3e-3] },
    objective: () => grpo({ klCoefficient: 0, clip: { low: 0.2, high: 0.28 }, aggregation: "token" }),
  },
};

const entries: Readonly<Record<string, Contender>> = { ...baselines, ...contenders };

interface Settings {
  readonly rounds: number;
  readonly prompts: number;
}

type Metrics = {
  /** Share of right answers to fresh prompts, sampled at temperature 1. */
  readonly passRate: number;
  /** Mean entropy of the answers' tokens, nats. */
  readonly entropy: number;
  /** Pass rate of each round's own answers, every fifth round. */
  readonly curve: readonly number[];
};

async function* run({
  arm,
  seed,
  phase,
  settings,
  hyperparameters,
}: RunContext<string, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { learningRate = 1e-3, ...rest } = hyperparameters as Readonly<Record<string, number>>;
  const curve: number[] = [];
  let weights = await beginner.load();
  for await (const { round, params, passRate } of reinforceSorting({
    objective: entries[arm]!.objective(rest),
    learningRate,
    rounds: settings.rounds,
    epochs: 4,
    seed,
  })) {
    weights = params;
    if (round % 5 !== 0) continue;
    curve.push(passRate);
    yield { step: round, of: settings.rounds, metrics: { passRate } };
  }
  const stream = phase === "tune" ? "validation" : "test";
  const score = await scorePolicy(weights, { prompts: settings.prompts, seed, stream });
  return { ...score, curve };
}

/** Reinforcement learning of a verifiable task: a small transformer learns to sort five letters, four steps a round. */
export default defineExperiment({
  settings: { full: { rounds: 60, prompts: 500 }, quick: { rounds: 5, prompts: 100 } },
  seeds: { full: 6, quick: 1 },
  checkpoints: [beginner],
  arms: Object.fromEntries(
    Object.entries(entries).map(([name, { label, space, fixed }]) => [
      name,
      { label, ...(space ? { space } : {}), ...(fixed ? { fixed } : {}) },
    ]),
  ),
  run,
  tuning: {
    metric: "passRate",
    goal: "maximize",
    budget: { full: 6, quick: 1 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [],
  figure: ({ Plot, units, arms }) => {
    const curves = arms.flatMap(({ name, label }) => {
      const own = units.filter(({ arm }) => arm === name).map(({ metrics }) => metrics.curve);
      return (own[0] ?? []).map((_, i) => ({
        label,
        round: 5 * (i + 1),
        rate: mean(own.map((curve) => curve[i]!)),
      }));
    });
    return {
      title: "Pass rate of a transformer that learns to sort",
      options: {
        x: { label: "Round" },
        y: { label: "Pass rate", grid: true },
        color: { legend: true },
        marks: [Plot.lineY(curves, { x: "round", y: "rate", stroke: "label" })],
      },
    };
  },
  leaderboard: { metric: "passRate", goal: "maximize" },
});
