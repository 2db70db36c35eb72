import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { grpo, type PolicyObjective, reinforce } from "@prior-art/toolkit/lm";
import { mean } from "@prior-art/toolkit/stats";
import { beginner, reinforceSorting, scorePolicy } from "../sortingWorld.ts";
import { tbrm, tokenBrm } from "./method.ts";
import { type DataLaw, fitTree, type Loss } from "./trees.ts";

const TREES = {
  uniform: { label: "TBRM, uniform data", loss: "tbrm", law: "uniform" },
  skewed: { label: "TBRM, skewed data", loss: "tbrm", law: "skewed" },
  tokenSkewed: { label: "Token residuals, skewed data", loss: "tokenBrm", law: "skewed" },
  gradientSkewed: { label: "Policy gradient, skewed data", loss: "policyGradient", law: "skewed" },
} as const satisfies Readonly<Record<string, { label: string; loss: Loss; law: DataLaw }>>;
type TreeArm = keyof typeof TREES;

const RATES = [3e-4, 1e-3, 3e-3];
const SORTING = {
  sortingTbrm: { label: "TBRM", space: { learningRate: RATES, beta: [0.03, 0.1] } },
  sortingTokenBrm: { label: "Token residuals", space: { learningRate: RATES, beta: [0.03, 0.1] } },
  sortingGrpo: { label: "GRPO", space: { learningRate: RATES, beta: [0, 0.04] } },
  sortingReinforce: { label: "REINFORCE", space: { learningRate: RATES, beta: [0, 0.01] } },
} as const;
type SortingArm = keyof typeof SORTING;
type Arm = TreeArm | SortingArm;

const objectiveOf = (arm: SortingArm, beta: number): PolicyObjective =>
  ({
    sortingTbrm: () => tbrm({ beta }),
    sortingTokenBrm: () => tokenBrm({ beta }),
    sortingGrpo: () => grpo({ klCoefficient: beta }),
    sortingReinforce: () => reinforce({ klCoefficient: beta }),
  })[arm]();

interface Settings {
  readonly treeSteps: number;
  readonly rounds: number;
}

/** Every unit has these; what a unit doesn't measure is 0 or empty. */
type Metrics = {
  /** Largest over β of the learned policy's KL to the optimum, nats a sequence. */
  readonly kl: number;
  /** Largest over β of the distance of `V_θ(s₁)` from the optimal value. */
  readonly valueError: number;
  readonly klCurve: readonly number[];
  readonly passRate: number;
};

const NOTHING: Metrics = { kl: 0, valueError: 0, klCurve: [], passRate: 0 };

const isTree = (arm: Arm): arm is TreeArm => Object.hasOwn(TREES, arm);

async function* run({
  arm,
  seed,
  phase,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  yield { step: 0, of: settings.rounds };
  if (isTree(arm)) {
    const { loss, law } = TREES[arm];
    const fit = await fitTree({ loss, law, steps: settings.treeSteps, learningRate: 0.05, seed });
    return {
      ...NOTHING,
      kl: Math.max(...fit.kl),
      valueError: Math.max(...fit.valueError),
      klCurve: fit.klCurve,
    };
  }
  const { learningRate, beta } = hyperparameters as { readonly learningRate: number; readonly beta: number };
  let weights = await beginner.load();
  // One step on each round's completions: on-policy, as the method's own runs are.
  for await (const { round, params, passRate } of reinforceSorting({
    objective: objectiveOf(arm, beta),
    learningRate,
    rounds: settings.rounds,
    epochs: 1,
    seed,
  })) {
    weights = params;
    if (round % 20 === 0) yield { step: round, of: settings.rounds, metrics: { passRate } };
  }
  const stream = phase === "tune" ? "validation" : "test";
  const { passRate } = await scorePolicy(weights, { prompts: 500, seed, stream });
  return { ...NOTHING, passRate };
}

const sorting = (id: string, of: string, worse: SortingArm, margin: number, statement: string) =>
  ({
    kind: "comparison",
    id,
    of,
    modes: ["full"],
    statement,
    metric: "passRate",
    better: "sortingTbrm",
    worse,
    goal: "maximize",
    margin,
  }) as const;

const reaches = (arm: "uniform" | "skewed") =>
  ({
    kind: "statistic",
    id: `optimal-from-${arm}-data`,
    of: "off-policy-optimality",
    statement: `On ${arm} trajectories TBRM ends within 1e-3 nats of the optimal policy for every β, on at least 95% of trees`,
    quantity: "largest KL over β",
    modes: ["full"],
    arms: [arm],
    perSeed: (seed: Readonly<Record<Arm, Metrics>>) => seed[arm].kl,
    pass: { max: 1e-3 },
    seedsHolding: 0.95,
  }) as const;

export default defineExperiment({
  settings: { full: { treeSteps: 4000, rounds: 100 }, quick: { treeSteps: 500, rounds: 5 } },
  seeds: { full: 8, quick: 1 },
  checkpoints: [beginner],
  arms: {
    uniform: { label: TREES.uniform.label },
    skewed: { label: TREES.skewed.label },
    tokenSkewed: { label: TREES.tokenSkewed.label },
    gradientSkewed: { label: TREES.gradientSkewed.label },
    ...SORTING,
  },
  run,
  tuning: {
    metric: "passRate",
    goal: "maximize",
    budget: { full: 6, quick: 1 },
    seeds: { full: 1, quick: 1 },
  },
  claims: [
    sorting(
      "matches-grpo",
      "matches-policy-methods",
      "sortingGrpo",
      -0.02,
      "A small transformer learning to sort: TBRM's pass rate is not more than .02 below GRPO's, both tuned",
    ),
    sorting(
      "matches-reinforce",
      "matches-policy-methods",
      "sortingReinforce",
      -0.02,
      "It is not more than .02 below that of REINFORCE",
    ),
    reaches("uniform"),
    reaches("skewed"),
    {
      kind: "statistic",
      id: "value-is-optimal",
      of: "off-policy-optimality",
      statement:
        "The value that its logits give the start is then within 1e-2 of the optimal one, for both kinds of data",
      quantity: "largest error over β",
      modes: ["full"],
      arms: ["uniform", "skewed"],
      perSeed: ({ uniform, skewed }) => Math.max(uniform.valueError, skewed.valueError),
      pass: { max: 1e-2 },
      seedsHolding: 0.95,
    },
    {
      kind: "statistic",
      id: "policy-gradient-is-not",
      of: "off-policy-optimality",
      statement:
        "A policy gradient without importance weights ends at least .05 nats from the optimum on the skewed data",
      quantity: "largest KL over β",
      arms: ["gradientSkewed"],
      perSeed: ({ gradientSkewed }) => gradientSkewed.kl,
      pass: { min: 0.05 },
    },
    sorting(
      "beats-token-residuals",
      "trajectory-beats-token",
      "sortingTokenBrm",
      0,
      "A small transformer learning to sort: TBRM's pass rate is above that of token-level residuals, both tuned (p ≤ .05)",
    ),
    {
      kind: "comparison",
      id: "closer-than-token-residuals",
      of: "trajectory-beats-token",
      modes: ["full"],
      statement:
        "With a table of logits and skewed data TBRM ends nearer to the optimum than token-level residuals",
      metric: "kl",
      better: "skewed",
      worse: "tokenSkewed",
      goal: "minimize",
    },
  ],
  figure: ({ Plot, units, arms }) => {
    const label = (arm: Arm): string => arms.find(({ name }) => name === arm)!.label;
    const curves = (Object.keys(TREES) as TreeArm[]).flatMap((arm) => {
      const own = units.filter((unit) => unit.arm === arm).map(({ metrics }) => metrics.klCurve);
      return (own[0] ?? []).map((_, i) => ({
        series: label(arm),
        step: 100 * (i + 1),
        kl: Math.exp(mean(own.map((curve) => Math.log(Math.max(curve[i]!, 1e-14))))),
      }));
    });
    const rates = units
      .filter(({ arm }) => Object.hasOwn(SORTING, arm))
      .map(({ arm, metrics }) => ({ method: label(arm), rate: metrics.passRate }));
    return [
      {
        title: "Tables of logits: KL to the optimum (largest over β)",
        options: {
          x: { label: "Step" },
          y: { type: "log", label: "KL, nats", grid: true, tickFormat: "~e" },
          color: { legend: true },
          marks: [Plot.lineY(curves, { x: "step", y: "kl", stroke: "series" })],
        },
      },
      {
        title: "A small transformer learns to sort",
        options: {
          marginLeft: 110,
          x: { label: "Pass rate", grid: true },
          y: { label: null },
          marks: [
            Plot.dot(rates, { x: "rate", y: "method", strokeOpacity: 0.5 }),
            Plot.tickX(rates, Plot.groupY({ x: "mean" }, { x: "rate", y: "method", stroke: "red" })),
          ],
        },
      },
    ];
  },
});
