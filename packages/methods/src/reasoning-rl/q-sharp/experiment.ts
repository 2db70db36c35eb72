import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { guidedAccuracy, referenceAccuracy, reinforceAccuracy } from "./starGraph.ts";
import { compareOnTrees, ETAS, type TreeResult } from "./trees.ts";

const ARMS = {
  trees: { label: "Random trees" },
  reference: { label: "Reference" },
  qSharp: { label: "Q♯", space: { eta: [0.05, 0.1, 0.2] } },
  meanGuidance: { label: "Mean-value guidance", space: { eta: [0.05, 0.1, 0.2] } },
  reinforce: { label: "REINFORCE", space: { learningRate: [1, 3, 10, 30, 100, 300] } },
} as const;
type Arm = keyof typeof ARMS;
const STAR_ARMS = ["reference", "reinforce", "meanGuidance", "qSharp"] as const;

interface Settings {
  readonly trees: number;
  readonly treeRollouts: number;
  /** Rollouts on each star graph in each of three rounds. */
  readonly starRollouts: number;
}

/** Every unit has these; what a unit doesn't measure is 0 or empty. */
type Metrics = TreeResult & {
  /** On star graphs. */
  readonly accuracy: number;
  readonly kl: number;
};

const NOTHING: Metrics = {
  optimumError: 0,
  meanIsWorse: 0,
  rewardAtEqualKl: 0,
  objectiveGain: 0,
  softReward: [],
  softKl: [],
  meanReward: [],
  meanKl: [],
  learnedReward: [],
  learnedKl: [],
  accuracy: 0,
  kl: 0,
};

async function* run({
  arm,
  seed,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { trees, treeRollouts, starRollouts } = settings;
  yield { step: 0, of: 1 };
  if (arm === "trees") return { ...NOTHING, ...compareOnTrees(seed, trees, treeRollouts) };
  if (arm === "reference") return { ...NOTHING, accuracy: referenceAccuracy(seed) };
  const { eta = 0.1, learningRate = 1 } = hyperparameters as { eta?: number; learningRate?: number };
  if (arm === "reinforce") {
    const accuracy = reinforceAccuracy(seed, { rollouts: 3 * starRollouts, batch: 10, learningRate });
    return { ...NOTHING, accuracy };
  }
  const guidance = arm === "qSharp" ? "soft" : "mean";
  return { ...NOTHING, ...guidedAccuracy(seed, { rolloutsPerRound: starRollouts, eta, guidance }) };
}

export default defineExperiment({
  settings: {
    full: { trees: 20, treeRollouts: 300, starRollouts: 40 },
    quick: { trees: 5, treeRollouts: 300, starRollouts: 40 },
  },
  seeds: { full: 10, quick: 5 },
  arms: ARMS,
  run,
  tuning: {
    metric: "accuracy",
    goal: "maximize",
    budget: { full: 6, quick: 6 },
    seeds: { full: 4, quick: 1 },
  },
  claims: [
    {
      kind: "statistic",
      id: "solves-star-graphs",
      of: "solves-shortcut-task",
      statement: "On star graphs Q♯'s accuracy is at least .95, from a reference near one third",
      quantity: "accuracy",
      arms: ["qSharp"],
      perSeed: ({ qSharp }) => qSharp.accuracy,
      pass: { min: 0.95 },
    },
    {
      kind: "comparison",
      id: "above-reinforce",
      of: "solves-shortcut-task",
      statement: "It is above that of REINFORCE with as many rollouts, both tuned (paired, p ≤ .05)",
      metric: "accuracy",
      better: "qSharp",
      worse: "reinforce",
      goal: "maximize",
    },
    {
      kind: "statistic",
      id: "policy-gradient-stays",
      of: "solves-shortcut-task",
      statement: "REINFORCE stays near the reference's accuracy: at most .45",
      quantity: "accuracy",
      arms: ["reinforce"],
      perSeed: ({ reinforce }) => reinforce.accuracy,
      pass: { max: 0.45 },
    },
    {
      kind: "statistic",
      id: "more-reward-at-equal-kl",
      of: "better-at-lower-kl",
      statement:
        "With critics learned from equally many rollouts, Q♯ has more reward than mean guidance at Q♯'s KL",
      quantity: "difference of rewards at equal KL",
      arms: ["trees"],
      perSeed: ({ trees }) => trees.rewardAtEqualKl,
      pass: { min: 0 },
    },
    {
      kind: "statistic",
      id: "better-objective",
      of: "better-at-lower-kl",
      statement: "With the same critics its objective E[r] − η KL is higher for η ≤ .2",
      quantity: "difference of objectives",
      arms: ["trees"],
      perSeed: ({ trees }) => trees.objectiveGain,
      pass: { min: 0 },
    },
    {
      kind: "deterministic",
      id: "exact-is-optimal",
      of: "optimal-frontier",
      statement:
        "With exact return distributions Q♯ attains the optimum of the KL-regularized objective to 1e-10, for every η",
      arm: "trees",
      metric: "optimumError",
      expected: 0,
      tolerance: 1e-10,
    },
    {
      kind: "statistic",
      id: "mean-guidance-below",
      of: "optimal-frontier",
      statement: "Guidance by exact means is below the optimum on at least 95% of trees for η ≤ .2",
      quantity: "share of trees",
      arms: ["trees"],
      perSeed: ({ trees }) => trees.meanIsWorse,
      pass: { min: 0.95 },
    },
    {
      kind: "statistic",
      id: "mean-guidance-drifts",
      of: "optimal-frontier",
      statement:
        "At η = .05 guidance by exact means is at least 1.5 times as far from the reference (KL) as the optimum",
      quantity: "ratio of KLs",
      arms: ["trees"],
      perSeed: ({ trees }) => trees.meanKl[0]! / trees.softKl[0]!,
      pass: { min: 1.5 },
    },
    {
      kind: "statistic",
      id: "mean-guidance-loses-reward",
      of: "optimal-frontier",
      statement: "Guidance by exact means has less reward at η = .05 than at η = .1",
      quantity: "reward at η = .1 minus reward at η = .05",
      arms: ["trees"],
      perSeed: ({ trees }) => trees.meanReward[1]! - trees.meanReward[0]!,
      pass: { min: 1e-9 },
    },
  ],
  figure: ({ Plot, units, arms }) => {
    const trees = units.filter(({ arm }) => arm === "trees").map(({ metrics }) => metrics);
    const line = (
      series: string,
      reward: "softReward" | "meanReward" | "learnedReward",
      kl: "softKl" | "meanKl" | "learnedKl",
    ) =>
      ETAS.map((_, i) => ({
        series,
        reward: mean(trees.map((m) => m[reward][i]!)),
        kl: mean(trees.map((m) => m[kl][i]!)),
      }));
    const learned = line("Q♯, learned", "learnedReward", "learnedKl");
    const lines = [
      line("optimum = Q♯, exact", "softReward", "softKl"),
      line("mean guidance, exact", "meanReward", "meanKl"),
    ];
    const accuracy = units
      .filter(({ arm }) => STAR_ARMS.some((name) => name === arm))
      .map(({ arm, metrics }) => ({
        label: arms.find(({ name }) => name === arm)!.label,
        accuracy: metrics.accuracy,
      }));
    return [
      {
        title: "Random trees: reward against KL, η from 1 to .05",
        options: {
          x: { label: "KL to the reference, nats", grid: true },
          y: { label: "Reward", grid: true },
          color: { legend: true },
          marks: [
            ...lines.map((points) =>
              Plot.lineY(points, { x: "kl", y: "reward", stroke: "series", marker: true }),
            ),
            Plot.dot(learned, { x: "kl", y: "reward", stroke: "series", r: 5 }),
          ],
        },
      },
      {
        title: "Star graphs: accuracy",
        options: {
          marginLeft: 140,
          x: { label: "Accuracy", domain: [0, 1], grid: true },
          y: { label: null },
          marks: [
            Plot.dot(accuracy, { x: "accuracy", y: "label", strokeOpacity: 0.5 }),
            Plot.tickX(accuracy, Plot.groupY({ x: "mean" }, { x: "accuracy", y: "label", stroke: "red" })),
          ],
        },
      },
    ];
  },
});
