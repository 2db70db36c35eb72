import { mul, sub } from "@prior-art/tensor";
import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { grpo, maskedMean, type PolicyObjective, softmaxEntropy } from "@prior-art/toolkit/lm";
import { mean } from "@prior-art/toolkit/stats";
import { lpReg } from "./method.ts";
import { playTwoRoutes } from "./twoRoutes.ts";

const pulled = { learningRate: [2.5, 5], beta: [5, 10], share: [0.6, 0.9] };
const ARMS = {
  grpo: { label: "GRPO", space: { learningRate: [1, 2.5, 5, 15] } },
  entropy: {
    label: "GRPO, entropy bonus",
    space: { learningRate: [5, 15, 40], coefficient: [0.1, 0.14, 0.2] },
  },
  lpReg: { label: "Lp-Reg", space: pulled },
  unfiltered: { label: "Lp-Reg without the noise filter", space: pulled },
} as const;
type Arm = keyof typeof ARMS;

interface Hyperparameters {
  readonly learningRate: number;
  /** Of the entropy bonus. */
  readonly coefficient?: number;
  readonly beta?: number;
  readonly share?: number;
}

/** GRPO without a reference, with the clip of Lp-Reg's own surrogate. */
const plain = grpo({
  klCoefficient: 0,
  clip: { low: 0.2, high: 0.28 },
  aggregation: "token",
  epsilon: 1e-6,
});

const withEntropy =
  (coefficient: number): PolicyObjective =>
  (batch) =>
    sub(plain(batch), mul(coefficient, maskedMean(softmaxEntropy(batch.logits), batch.mask)));

function objectiveOf(
  arm: Arm,
  { coefficient = 0, beta = 1, share = 0.01 }: Hyperparameters,
): PolicyObjective {
  if (arm === "grpo") return plain;
  if (arm === "entropy") return withEntropy(coefficient);
  return lpReg({ beta, share, ...(arm === "unfiltered" ? { kappa: 0 } : {}) });
}

type Metrics = {
  /** Exact, where the first token is no noise. */
  readonly success: number;
  /** Probability of the right rare route. */
  readonly spark: number;
  readonly sparkCurve: readonly number[];
};

async function* run({
  arm,
  seed,
  settings,
  hyperparameters,
}: {
  readonly arm: Arm;
  readonly seed: number;
  readonly settings: { readonly rollouts: number };
  readonly hyperparameters: Hyperparameters;
}): AsyncGenerator<Progress, Metrics, void> {
  yield { step: 0, of: 1 };
  return playTwoRoutes({
    objective: objectiveOf(arm, hyperparameters),
    learningRate: hyperparameters.learningRate,
    rollouts: settings.rollouts,
    updates: 4,
    seed,
  });
}

const higherSuccess = (id: string, of: string, worse: Arm, margin: number, than: string) =>
  ({
    kind: "comparison",
    id,
    of,
    ...(worse === "grpo" ? {} : { modes: ["full"] as const }),
    statement: `Lp-Reg's success is at least ${margin} above that of ${than}, both tuned (paired, p ≤ .01)`,
    metric: "success",
    better: "lpReg",
    worse,
    goal: "maximize",
    margin,
    alpha: 0.01,
  }) as const;

export default defineExperiment({
  settings: { full: { rollouts: 300 }, quick: { rollouts: 200 } },
  seeds: { full: 8, quick: 1 },
  arms: ARMS,
  run,
  tuning: {
    metric: "success",
    goal: "maximize",
    budget: { full: 9, quick: 4 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    higherSuccess("beats-entropy-bonus", "highest-average", "entropy", 0.08, "GRPO with an entropy bonus"),
    higherSuccess("beats-grpo", "highest-average", "grpo", 0.3, "GRPO"),
    {
      kind: "statistic",
      id: "does-not-break-down",
      of: "long-stable-training",
      statement: "Under Lp-Reg the probability of the right rare route ends within .05 of its highest value",
      quantity: "highest minus last probability",
      modes: ["full"],
      arms: ["lpReg"],
      perSeed: ({ lpReg: { sparkCurve } }) => Math.max(...sparkCurve) - sparkCurve.at(-1)!,
      pass: { max: 0.05 },
    },
    {
      kind: "statistic",
      id: "sparks-die-under-grpo",
      of: "noise-filter-essential",
      statement:
        "Under GRPO the right rare route loses probability on average: it ends below the .05 it starts with",
      quantity: "probability of the right rare route",
      arms: ["grpo"],
      perSeed: ({ grpo: { spark } }) => spark,
      pass: { max: 0.05 },
    },
    {
      kind: "statistic",
      id: "sparks-live-under-lp-reg",
      of: "noise-filter-essential",
      statement: "Under Lp-Reg it ends with a probability of at least .9",
      quantity: "probability of the right rare route",
      modes: ["full"],
      arms: ["lpReg"],
      perSeed: ({ lpReg: { spark } }) => spark,
      pass: { min: 0.9 },
    },
    higherSuccess(
      "filter-matters",
      "noise-filter-essential",
      "unfiltered",
      0.3,
      "Lp-Reg without its noise filter",
    ),
  ],
  figure: ({ Plot, units, arms }) => {
    const curves = arms.flatMap(({ name, label }) => {
      const own = units.filter(({ arm }) => arm === name).map(({ metrics }) => metrics.sparkCurve);
      return (own[0] ?? []).map((_, i) => ({
        label,
        rollout: 10 * (i + 1),
        spark: mean(own.map((curve) => curve[i]!)),
      }));
    });
    const results = units.map(({ arm, metrics }) => ({
      label: arms.find(({ name }) => name === arm)!.label,
      success: metrics.success,
    }));
    return [
      {
        title: "Probability of the right rare route",
        options: {
          x: { label: "Rollout" },
          y: { label: "Probability", domain: [0, 1], grid: true },
          color: { legend: true },
          marks: [Plot.lineY(curves, { x: "rollout", y: "spark", stroke: "label" })],
        },
      },
      {
        title: "Success after training",
        options: {
          marginLeft: 180,
          x: { label: "Success", domain: [0, 1], grid: true },
          y: { label: null },
          marks: [
            Plot.dot(results, { x: "success", y: "label", strokeOpacity: 0.5 }),
            Plot.tickX(results, Plot.groupY({ x: "mean" }, { x: "success", y: "label", stroke: "red" })),
          ],
        },
      },
    ];
  },
  leaderboard: { metric: "success", goal: "maximize" },
});
