import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { logLogSlope, mean } from "@prior-art/toolkit/stats";
import { ALTERNATIVES, convergence, DIMENSIONS, efficiency, partialCoverage, SIZES } from "./studies.ts";

type Arm = "convergence" | "coverage" | "efficiency";

/** Every unit has these; what a unit doesn't measure is 0 or empty. */
type Metrics = {
  /** By number of comparisons. */
  readonly errors: readonly number[];
  readonly squaresByDimension: readonly number[];
  readonly greedy: readonly number[];
  readonly pessimistic: readonly number[];
  /** By number of alternatives. */
  readonly fullError: readonly number[];
  readonly pairsError: readonly number[];
  readonly fullPredicted: readonly number[];
  readonly pairsPredicted: readonly number[];
  readonly gapAtTwo: number;
};

const NOTHING: Metrics = {
  errors: [],
  squaresByDimension: [],
  greedy: [],
  pessimistic: [],
  fullError: [],
  pairsError: [],
  fullPredicted: [],
  pairsPredicted: [],
  gapAtTwo: 0,
};

interface Settings {
  /** Repetitions of each study in a unit. */
  readonly convergence: number;
  readonly coverage: number;
  readonly efficiency: number;
}

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  yield { step: 0, of: 1 };
  if (arm === "convergence") return { ...NOTHING, ...convergence(seed, settings.convergence) };
  if (arm === "coverage") return { ...NOTHING, ...partialCoverage(seed, settings.coverage) };
  return { ...NOTHING, ...efficiency(seed, settings.efficiency) };
}

type Seeds = readonly Readonly<Record<Arm, Metrics>>[];

/** A curve's mean over seeds. */
const average = (curves: readonly (readonly number[])[]): number[] =>
  (curves[0] ?? []).map((_, i) => mean(curves.map((curve) => curve[i]!)));

const NINE = ALTERNATIVES.indexOf(9);
const total = (
  seeds: Seeds,
  metric: "fullError" | "pairsError" | "fullPredicted" | "pairsPredicted",
  k = NINE,
): number => mean(seeds.map(({ efficiency: e }) => e[metric][k]!));

/** Largest relative distance of an error from its prediction over K, errors averaged over seeds. */
const fromPrediction = (
  seeds: Seeds,
  error: "fullError" | "pairsError",
  predicted: "fullPredicted" | "pairsPredicted",
) => mean(ALTERNATIVES.map((_, k) => Math.abs(total(seeds, error, k) / total(seeds, predicted, k) - 1)));

export default defineExperiment({
  settings: {
    full: { convergence: 5, coverage: 30, efficiency: 25 },
    quick: { convergence: 1, coverage: 3, efficiency: 2 },
  },
  seeds: { full: 10, quick: 3 },
  arms: {
    convergence: { label: "Pairs of Gaussian features" },
    coverage: { label: "One arm compared once" },
    efficiency: { label: "Rankings of 2 to 9" },
  },
  run,
  claims: [
    {
      kind: "scaling",
      id: "rate-in-comparisons",
      of: "mle-rate",
      statement:
        "The error in the norm of Σ_D falls with the number of comparisons n as n^(−½): log–log slope of −.6 to −.4",
      arm: "convergence",
      x: SIZES,
      y: "errors",
      slope: { min: -0.6, max: -0.4 },
      pool: "mean",
    },
    {
      kind: "scaling",
      id: "rate-in-dimension",
      of: "mle-rate",
      statement: "The squared error grows with the dimension d as d: log–log slope of .8 to 1.2",
      arm: "convergence",
      x: DIMENSIONS,
      y: "squaresByDimension",
      slope: { min: 0.8, max: 1.2 },
      pool: "mean",
    },
    {
      kind: "statistic",
      id: "greedy-stays-bad",
      of: "pessimism-fixes-greedy-failure",
      statement:
        "With one arm compared once, the suboptimality of the greedy arm does not fall with n: log–log slope within .1 of 0 for n = 100 to 12,800",
      quantity: "slope of greedy's suboptimality",
      modes: ["full"],
      arms: ["coverage"],
      acrossSeeds: (seeds) => logLogSlope(SIZES, average(seeds.map(({ coverage }) => coverage.greedy))).slope,
      pass: { min: -0.1, max: 0.1 },
    },
    {
      kind: "statistic",
      id: "greedy-is-bad",
      of: "pessimism-fixes-greedy-failure",
      statement: "It is at least .15 on average",
      quantity: "greedy's suboptimality",
      arms: ["coverage"],
      perSeed: ({ coverage }) => mean([...coverage.greedy]),
      pass: { min: 0.15 },
    },
    {
      kind: "statistic",
      id: "pessimism-is-good",
      of: "pessimism-fixes-greedy-failure",
      statement: "That of the pessimistic arm is at most .05 for every n ≥ 200",
      quantity: "pessimistic suboptimality, largest over n ≥ 200",
      arms: ["coverage"],
      perSeed: ({ coverage }) => Math.max(...coverage.pessimistic.slice(1)),
      pass: { max: 0.05 },
    },
    {
      kind: "statistic",
      id: "full-beats-pairs",
      of: "full-ranking-more-efficient",
      statement:
        "With rankings of nine the mean squared error of the pairwise split is larger than that of the full likelihood",
      quantity: "ratio of mean squared errors",
      arms: ["efficiency"],
      acrossSeeds: (seeds) => total(seeds, "pairsError") / total(seeds, "fullError"),
      pass: { min: 1 },
    },
    {
      kind: "deterministic",
      id: "same-at-two",
      of: "full-ranking-more-efficient",
      statement: "With rankings of two both estimates are the same, to 1e-8",
      arm: "efficiency",
      metric: "gapAtTwo",
      expected: 0,
      tolerance: 1e-8,
    },
    {
      kind: "statistic",
      id: "asymptotics-full",
      of: "full-ranking-more-efficient",
      statement:
        "The full likelihood's errors are within 15% of those that its asymptotic covariance predicts, on average over K",
      quantity: "relative distance from the prediction",
      modes: ["full"],
      arms: ["efficiency"],
      acrossSeeds: (seeds) => fromPrediction(seeds, "fullError", "fullPredicted"),
      pass: { max: 0.15 },
    },
    {
      kind: "statistic",
      id: "asymptotics-pairs",
      of: "full-ranking-more-efficient",
      statement:
        "The pairwise split's errors are within 15% of those that its sandwich covariance predicts, on average over K",
      quantity: "relative distance from the prediction",
      modes: ["full"],
      arms: ["efficiency"],
      acrossSeeds: (seeds) => fromPrediction(seeds, "pairsError", "pairsPredicted"),
      pass: { max: 0.15 },
    },
  ],
  figure: ({ Plot, units }) => {
    const of = (arm: Arm) => units.filter((unit) => unit.arm === arm).map(({ metrics }) => metrics);
    const suboptimality = (["greedy", "pessimistic"] as const).flatMap((series) =>
      average(of("coverage").map((m) => m[series])).map((value, i) => ({ series, n: SIZES[i]!, value })),
    );
    const curves = of("efficiency");
    const ratio = (
      series: string,
      top: "pairsError" | "pairsPredicted",
      bottom: "fullError" | "fullPredicted",
    ) =>
      ALTERNATIVES.map((k, i) => ({
        series,
        k,
        ratio: mean(curves.map((m) => m[top][i]!)) / mean(curves.map((m) => m[bottom][i]!)),
      }));
    const ratios = [
      ...ratio("measured", "pairsError", "fullError"),
      ...ratio("asymptotic", "pairsPredicted", "fullPredicted"),
    ];
    return [
      {
        title: "One arm compared once: suboptimality",
        options: {
          x: { type: "log", label: "Comparisons of the other arms", tickFormat: "~s" },
          y: { label: "Suboptimality", grid: true },
          color: { legend: true },
          marks: [Plot.lineY(suboptimality, { x: "n", y: "value", stroke: "series", marker: true })],
        },
      },
      {
        title: "Squared error of the pairwise split over that of the full likelihood",
        options: {
          x: { label: "Alternatives in a ranking" },
          y: { label: "Ratio", grid: true },
          color: { legend: true },
          marks: [
            Plot.ruleY([1]),
            Plot.lineY(ratios, { x: "k", y: "ratio", stroke: "series", marker: true }),
          ],
        },
      },
    ];
  },
});
