import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { garnet, policyEvaluation, softValueIteration } from "@prior-art/toolkit/mdp";
import { linearSlope, mean, randomStream } from "@prior-art/toolkit/stats";
import { largestDifference, stepOf, type TabularOptions, tabularPMD, truncatedFixedPoint } from "./method.ts";

const ETA = 0.9;
const TAU = 0.1;
const ACTIONS = 4;
/** Standard deviation of the error of every entry of every evaluated Q. */
const NOISE = 0.5;

/** M of each arm. η and τ define the problem, so that nothing is left to tune. */
const MEMORIES = {
  m1: 1,
  m5: 5,
  m10: 10,
  m20: 20,
  m30: 30,
  m50: 50,
  m60: 60,
  m100: 100,
  exact: Number.POSITIVE_INFINITY,
} as const;
type Arm = keyof typeof MEMORIES;
const ARMS = Object.keys(MEMORIES) as Arm[];

interface Settings {
  /** Updates with exact evaluation. */
  readonly iterations: number;
  /** Updates with noisy evaluation; the last `averaged` of them are measured. */
  readonly noisyIterations: number;
  readonly averaged: number;
}

type Metrics = {
  /** ‖Q*_τ − Q^k‖_∞ after the last update, with and without the correction. */
  readonly correctedGap: number;
  readonly vanillaGap: number;
  /** Distance of `vanillaGap` from the gap of the predicted fixed point, π = softmax((1 − β^M) Q^π_τ/τ). */
  readonly plateauError: number;
  /** The same distance from the gap of the policy that is optimal when its entropy weighs τ/(1 − β^M). */
  readonly otherTemperatureError: number;
  /** ‖ξ − Q*_τ/τ‖_∞ of the vanilla logits, both centred over the actions. */
  readonly logitBias: number;
  /** Mean gap of the corrected algorithm over the last updates with noisy evaluation. */
  readonly noisyGap: number;
  /** Mean |J_{k+1} − J_k| of the regularized return over the same updates. */
  readonly oscillation: number;
};

/** Subtracts each state's mean: logits that differ by a constant are one policy. */
function centred(table: Float64Array): Float64Array {
  return table.map((value, i) => {
    const start = i - (i % ACTIONS);
    return value - mean([...table.subarray(start, start + ACTIONS)]);
  });
}

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { iterations, noisyIterations, averaged } = settings;
  const memory = MEMORIES[arm];
  const mdp = garnet({ states: 30, actions: ACTIONS, branching: 4, discount: 0.9, rewards: [-1, 1], seed });
  const solve = (change: Partial<TabularOptions>) =>
    tabularPMD(mdp, { eta: ETA, tau: TAU, memory, iterations, ...change });

  const corrected = solve({ correct: true });
  yield { step: 1, of: 3 };
  const vanilla = solve({ correct: false });
  yield { step: 2, of: 3 };
  // Every arm meets the same errors at the same updates.
  const errors = randomStream(seed, "evaluation errors");
  const noisy = solve({ iterations: noisyIterations, noise: () => NOISE * errors.normal() });

  const { q: optimum } = softValueIteration(mdp, { temperature: TAU, tolerance: 1e-12 });
  const vanillaGap = vanilla.gap.at(-1)!;
  const temperature = TAU / (1 - stepOf({ eta: ETA, tau: TAU }).beta ** memory);
  const warmer = softValueIteration(mdp, { temperature, tolerance: 1e-12 });
  const gapOf = (q: Float64Array): number => largestDifference(optimum, q);
  const last = noisy.gap.length - averaged;
  const steps = noisy.returns.slice(last).map((value, i) => Math.abs(value - noisy.returns[last + i - 1]!));
  return {
    correctedGap: corrected.gap.at(-1)!,
    vanillaGap,
    plateauError: Math.abs(vanillaGap - gapOf(truncatedFixedPoint(mdp, { eta: ETA, tau: TAU, memory }).q)),
    otherTemperatureError: Math.abs(
      vanillaGap - gapOf(policyEvaluation(mdp, warmer.policy, { temperature: TAU }).q),
    ),
    logitBias: largestDifference(centred(vanilla.logits), centred(optimum.map((value) => value / TAU))),
    noisyGap: mean([...noisy.gap.slice(last)]),
    oscillation: mean([...steps]),
  };
}

const FINITE = ARMS.filter((arm) => arm !== "exact");
/** Memories at which the bias is small enough to be of first order in β^M, and above rounding. */
const TAIL = ["m20", "m30", "m50", "m60"] as const;

/** Log–log slope of a metric on β^M over `TAIL`. */
const biasSlope = (seed: Readonly<Record<Arm, Metrics>>, metric: "vanillaGap" | "logitBias"): number => {
  const { beta } = stepOf({ eta: ETA, tau: TAU });
  return linearSlope(
    TAIL.map((arm) => MEMORIES[arm] * Math.log(beta)),
    TAIL.map((arm) => Math.log(seed[arm][metric])),
  ).slope;
};

const averaging = (better: Arm, worse: Arm) =>
  ({
    kind: "comparison",
    id: `noise-${MEMORIES[better]}-below-${MEMORIES[worse]}`,
    of: "errors-averaged",
    statement: `With noisy evaluation the gap at M = ${MEMORIES[better]} is below that at M = ${MEMORIES[worse]} (paired, p ≤ .01)`,
    metric: "noisyGap",
    better,
    worse,
    goal: "minimize",
    alpha: 0.01,
  }) as const;

export default defineExperiment({
  settings: {
    full: { iterations: 400, noisyIterations: 300, averaged: 100 },
    quick: { iterations: 400, noisyIterations: 300, averaged: 100 },
  },
  seeds: { full: 10, quick: 3 },
  arms: {
    m1: { label: "M = 1 (soft policy iteration)" },
    m5: { label: "M = 5" },
    m10: { label: "M = 10" },
    m20: { label: "M = 20" },
    m30: { label: "M = 30" },
    m50: { label: "M = 50" },
    m60: { label: "M = 60" },
    m100: { label: "M = 100" },
    exact: { label: "M = ∞ (exact mirror descent)" },
  },
  run,
  claims: [
    {
      kind: "statistic",
      id: "corrected-reaches-optimum",
      of: "corrected-memory-converges",
      statement: "With the correction the gap after 400 updates is below 1e-8 for every memory, on every MDP",
      quantity: "largest gap over the memories",
      perSeed: (seed) => Math.max(...ARMS.map((arm) => seed[arm].correctedGap)),
      seedsHolding: 1,
      pass: { max: 1e-8 },
    },
    {
      kind: "statistic",
      id: "vanilla-plateau",
      of: "corrected-memory-converges",
      statement:
        "Without the correction the gap ends at that of the policy softmax((1 − β^M) Q/τ), to 1e-6 for M ≤ 30, on every MDP",
      quantity: "largest distance over the memories",
      arms: ["m1", "m5", "m10", "m20", "m30"],
      perSeed: ({ m1, m5, m10, m20, m30 }) => Math.max(...[m1, m5, m10, m20, m30].map((m) => m.plateauError)),
      seedsHolding: 1,
      pass: { max: 1e-6 },
    },
    {
      kind: "statistic",
      id: "vanilla-stalls",
      of: "corrected-memory-converges",
      statement: "Without the correction the gap at M = 30 is at least a thousand times the corrected one",
      quantity: "vanilla gap over corrected gap",
      arms: ["m30"],
      perSeed: ({ m30 }) => m30.vanillaGap / m30.correctedGap,
      seedsHolding: 1,
      pass: { min: 1000 },
    },
    {
      kind: "statistic",
      id: "logit-bias-proportional",
      of: "corrected-memory-converges",
      statement: "The vanilla logits' bias is proportional to β^M: log–log slope between 0.9 and 1.1",
      quantity: "slope of the log bias on log β^M",
      arms: TAIL,
      perSeed: (seed) => biasSlope(seed, "logitBias"),
      pass: { min: 0.9, max: 1.1 },
    },
    {
      kind: "statistic",
      id: "gap-falls-exponentially",
      of: "corrected-memory-converges",
      statement: "The vanilla gap falls at least as fast as β^M: log–log slope of at least 1",
      quantity: "slope of the log gap on log β^M",
      arms: TAIL,
      perSeed: (seed) => biasSlope(seed, "vanillaGap"),
      pass: { min: 1 },
    },
    averaging("m5", "m1"),
    averaging("m20", "m5"),
    averaging("m50", "m20"),
    {
      kind: "statistic",
      id: "noise-saturates",
      of: "errors-averaged",
      statement: "With noisy evaluation the mean gap at M = 100 is within 1% of that of exact mirror descent",
      quantity: "relative difference of the mean gaps",
      arms: ["m100", "exact"],
      acrossSeeds: (seeds) =>
        mean(seeds.map(({ m100 }) => m100.noisyGap)) / mean(seeds.map(({ exact }) => exact.noisyGap)) - 1,
      pass: { min: -0.01, max: 0.01 },
    },
    {
      kind: "comparison",
      id: "noise-steadier-return",
      of: "errors-averaged",
      statement:
        "With noisy evaluation the return changes less from one update to the next at M = 20 than at M = 1 (p ≤ .01)",
      metric: "oscillation",
      better: "m20",
      worse: "m1",
      goal: "minimize",
      alpha: 0.01,
    },
  ],
  figure: ({ Plot, units }) => {
    const curve = (series: string, metric: "vanillaGap" | "correctedGap" | "noisyGap") =>
      FINITE.map((arm) => ({
        series,
        memory: MEMORIES[arm],
        gap: mean(units.filter((unit) => unit.arm === arm).map((unit) => unit.metrics[metric])),
      }));
    const points = [
      ...curve("vanilla", "vanillaGap"),
      ...curve("corrected", "correctedGap"),
      ...curve("corrected, noisy Q", "noisyGap"),
    ];
    const exact = mean(units.filter(({ arm }) => arm === "exact").map(({ metrics }) => metrics.noisyGap));
    return {
      title: "Gap to the regularized optimum; dashed: exact mirror descent with noisy Q",
      options: {
        x: { type: "log", label: "Memory M", ticks: [1, 2, 5, 10, 20, 50, 100], tickFormat: String },
        y: { type: "log", label: "Gap ‖Q* − Q‖", grid: true, tickFormat: "~e" },
        color: { legend: true },
        marks: [
          Plot.ruleY([exact], { strokeDasharray: "4 3" }),
          Plot.lineY(points, { x: "memory", y: "gap", stroke: "series" }),
          Plot.dot(points, { x: "memory", y: "gap", fill: "series" }),
        ],
      },
    };
  },
  leaderboard: { metric: "noisyGap", goal: "minimize" },
});
