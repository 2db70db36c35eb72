import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import {
  expectedReturn,
  frozenLake,
  garnet,
  gridWorld,
  type MDP,
  riverSwim,
  uniformPolicy,
  valueIteration,
} from "@prior-art/toolkit/mdp";
import { randomMaze } from "@prior-art/toolkit/rl";
import { mean, randomStream } from "@prior-art/toolkit/stats";
import {
  sampledPolicyIteration,
  sampledSoftPolicyIteration,
  sampledValueIteration,
  synchronousQLearning,
} from "./classics.ts";
import { contenders } from "./contenders.generated.ts";
import { type Contender, type Hyperparameters, sampledModel } from "./family.ts";

const SWEEPS = [1, 5, 20, 50];
const RATES = [0.05, 0.2, 0.5];

const entries: Readonly<Record<string, Contender>> = {
  valueIteration: {
    label: "Value iteration",
    space: { average: [1, 2, 3, 5, 8, 12, 16, 20, 25, 30, 40, 60] },
    planner: ({ average }) => sampledValueIteration({ average: average! }),
  },
  policyIteration: {
    label: "Policy iteration",
    space: { sweeps: SWEEPS, rate: RATES },
    planner: ({ sweeps, rate }) => sampledPolicyIteration({ sweeps: sweeps!, rate: rate! }),
  },
  softPolicyIteration: {
    label: "Soft policy iteration",
    space: { temperature: [0.003, 0.01, 0.03, 0.1], sweeps: [1, 5, 20], rate: RATES },
    planner: ({ temperature, sweeps, rate }) =>
      sampledSoftPolicyIteration({ temperature: temperature!, sweeps: sweeps!, rate: rate! }),
  },
  qLearning: {
    label: "Q-learning",
    space: { decay: [0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1] },
    planner: ({ decay }) => synchronousQLearning({ decay: decay! }),
  },
  ...contenders,
};

const arms = Object.fromEntries(
  Object.entries(entries).map(([name, { label, space, fixed }]) => [
    name,
    { label, ...(space && { space }), ...(fixed && { fixed }) },
  ]),
);

const DISCOUNT = 0.95;

/** Four problems; the random ones differ by seed. */
const PROBLEMS = {
  garnet: (seed) => garnet({ states: 30, actions: 4, branching: 4, discount: DISCOUNT, seed }),
  lake: () => frozenLake({ size: 4, discount: DISCOUNT }),
  river: () => riverSwim({ length: 8, discount: DISCOUNT }),
  maze: (seed) =>
    gridWorld(randomMaze({ rows: 3, columns: 3 }, randomStream(seed, "maze")), {
      slip: 0.3,
      discount: DISCOUNT,
    }),
} as const satisfies Record<string, (seed: number) => MDP>;
type Problem = keyof typeof PROBLEMS;

type Metrics = Readonly<Record<Problem, number>> & {
  /** Mean over the problems of what is missing to the optimal return, as a share of what the uniform policy misses. */
  readonly gap: number;
};

/** Planning from sampled backups: the regret of the policy found with an equal number of sweeps. */
export default defineExperiment({
  settings: { full: { sweeps: 300 }, quick: { sweeps: 100 } },
  seeds: { full: 20, quick: 3 },
  arms,
  async *run({ arm, seed, settings, hyperparameters }): AsyncGenerator<Progress, Metrics, void> {
    const planner = entries[arm]!.planner(hyperparameters as Hyperparameters);
    const gaps = {} as Record<Problem, number>;
    const names = Object.keys(PROBLEMS) as Problem[];
    for (const [i, name] of names.entries()) {
      const mdp = PROBLEMS[name](seed);
      const model = sampledModel(mdp, settings.sweeps, randomStream(seed, `sweeps ${name}`));
      const best = expectedReturn(mdp, valueIteration(mdp).policy);
      const worst = expectedReturn(mdp, uniformPolicy(mdp));
      gaps[name] = (best - expectedReturn(mdp, planner(model))) / (best - worst);
      yield { step: i + 1, of: names.length };
    }
    return { ...gaps, gap: mean(Object.values(gaps)) };
  },
  tuning: {
    metric: "gap",
    goal: "minimize",
    budget: { full: 36, quick: 6 },
    seeds: { full: 10, quick: 2 },
  },
  claims: [],
  figure: ({ Plot, units, arms: named }) => ({
    title: "Gap to the optimal return after equally many sampled backups",
    options: {
      marginLeft: 150,
      x: { label: "gap (1: the uniform policy's)", grid: true },
      y: { label: null, domain: named.map(({ label }) => label) },
      marks: [
        Plot.dot(units, {
          x: ({ metrics }) => metrics.gap,
          y: ({ arm }) => named.find(({ name }) => name === arm)!.label,
        }),
      ],
    },
  }),
  leaderboard: { metric: "gap", goal: "minimize" },
});
