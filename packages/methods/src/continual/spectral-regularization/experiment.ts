import {
  type ComparisonClaim,
  defineExperiment,
  type Region,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { type Arm, GRID, METHODS, type Metrics, run, type Settings } from "./streams.ts";

/** What the tuned arms choose from: the coefficients of the sensitivity arms. */
const STRENGTHS = { strength: GRID };

const change = (id: string, arm: Arm, statement: string, pass: Region): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id,
  of: "no-accuracy-decline",
  statement,
  quantity: "late minus early accuracy",
  arms: [arm],
  perSeed: (seed) => seed[arm].lateAccuracy - seed[arm].earlyAccuracy,
  pass,
});

const later = (
  claim: Pick<
    ComparisonClaim<Arm, "lateAccuracy">,
    "id" | "of" | "better" | "worse" | "statement" | "margin"
  >,
): ComparisonClaim<Arm, keyof Metrics & string> => ({
  kind: "comparison",
  metric: "lateAccuracy",
  goal: "maximize",
  ...claim,
});

const GRID_ARMS = ["l2Grid", "l2InitGrid", "spectralGrid"] as const;

/** Strengths at which an arm's mean late accuracy is within 0.05 of the best of all three arms' strengths. */
function goodStrengths(
  seeds: readonly Readonly<Record<Arm, Metrics>>[],
  arm: (typeof GRID_ARMS)[number],
): number {
  const curveOf = (name: Arm): number[] =>
    GRID.map((_, i) => mean(seeds.map((seed) => seed[name].lateByStrength[i]!)));
  const best = Math.max(...GRID_ARMS.flatMap(curveOf));
  return curveOf(arm).filter((value) => value >= best - 0.05).length;
}

const wider = (
  id: string,
  other: "l2Grid" | "l2InitGrid",
  statement: string,
): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id,
  of: "less-sensitive-to-coefficient",
  statement,
  quantity: "difference of the numbers of good coefficients, of 9",
  modes: ["full"],
  arms: ["l2Grid", "l2InitGrid", "spectralGrid"],
  acrossSeeds: (seeds) => goodStrengths(seeds, "spectralGrid") - goodStrengths(seeds, other),
  pass: { min: 1 },
});

export default defineExperiment({
  settings: {
    full: {
      trainSize: 600,
      randomTasks: 20,
      randomEpochs: 20,
      renamedTasks: 24,
      renamedEpochs: 8,
      averaged: 6,
    },
    quick: {
      trainSize: 300,
      randomTasks: 4,
      randomEpochs: 10,
      renamedTasks: 4,
      renamedEpochs: 8,
      averaged: 2,
    },
  } as Readonly<Record<"full" | "quick", Settings>>,
  seeds: { full: 8, quick: 1 },
  arms: {
    none: { label: "No regularizer" },
    l2: { label: "L2", space: STRENGTHS },
    l2Init: { label: "L2 to the initial weights", space: STRENGTHS },
    shrinkAndPerturb: {
      label: "Shrink and perturb",
      space: { strength: GRID.map((strength) => strength / 10) },
    },
    wasserstein: { label: "Wasserstein to the initial weights", space: STRENGTHS },
    spectral: { label: "Spectral", space: STRENGTHS },
    l2Grid: { label: "L2, all strengths" },
    l2InitGrid: { label: "L2 to the initial weights, all strengths" },
    spectralGrid: { label: "Spectral, all strengths" },
    noneRenamed: { label: "No regularizer (held out)" },
    l2Renamed: { label: "L2 (held out)", space: STRENGTHS },
    l2InitRenamed: { label: "L2 to the initial weights (held out)", space: STRENGTHS },
    spectralRenamed: { label: "Spectral (held out)", space: STRENGTHS },
  },
  run,
  tuning: {
    metric: "lateAccuracy",
    goal: "maximize",
    budget: { full: 9, quick: 2 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    change(
      "none-declines",
      "none",
      "Random labels, no regularizer: accuracy at the end of a task falls by at least 0.1",
      {
        max: -0.1,
      },
    ),
    change("l2-declines", "l2", "Random labels, tuned L2: accuracy at the end of a task falls", { max: 0 }),
    change(
      "spectral-stays",
      "spectral",
      "Random labels, spectral: accuracy at the end of a task falls by at most 0.02",
      {
        min: -0.02,
      },
    ),
    later({
      id: "spectral-above-none",
      of: "no-accuracy-decline",
      statement: "On the last tasks the spectral penalty's accuracy is above that without regularizer",
      better: "spectral",
      worse: "none",
    }),
    later({
      id: "spectral-above-l2",
      of: "no-accuracy-decline",
      statement: "On the last tasks the spectral penalty's accuracy is above that of tuned L2",
      better: "spectral",
      worse: "l2",
    }),
    later({
      id: "spectral-near-l2-init",
      of: "no-accuracy-decline",
      statement:
        "On the last tasks the spectral penalty's accuracy is at most 0.03 below that of tuned L2 to the initial weights",
      better: "spectral",
      worse: "l2Init",
      margin: -0.03,
    }),
    wider("wider-than-l2", "l2Grid", "More of 9 coefficients come within 0.05 of the best than with L2"),
    wider(
      "wider-than-l2-init",
      "l2InitGrid",
      "More of 9 coefficients come within 0.05 of the best than with L2 to the initial weights",
    ),
    later({
      id: "wasserstein-above-l2-init",
      of: "wasserstein-beats-l2-init",
      statement:
        "On the last tasks the Wasserstein penalty's accuracy is above that of L2 to the initial weights, both tuned",
      better: "wasserstein",
      worse: "l2Init",
    }),
    later({
      id: "held-out-above-none",
      of: "better-generalization",
      statement: "Renamed classes: held-out accuracy on the last tasks is above that without regularizer",
      better: "spectralRenamed",
      worse: "noneRenamed",
    }),
    later({
      id: "held-out-above-l2",
      of: "better-generalization",
      statement: "Renamed classes: held-out accuracy on the last tasks is above that of tuned L2",
      better: "spectralRenamed",
      worse: "l2Renamed",
    }),
  ],
  figure: ({ Plot, units }) => {
    // Arms of one method share a colour and a short name.
    const SHORT = {
      none: "None",
      l2: "L2",
      l2Init: "L2-init",
      shrinkAndPerturb: "Shrink",
      wasserstein: "Wasserstein",
      spectral: "Spectral",
    };
    const domain = Object.values(SHORT);
    const labelOf = (arm: Arm): string => SHORT[METHODS[arm]];
    const curvesOf = (names: readonly Arm[]) =>
      names.flatMap((arm) => {
        const group = units.filter((unit) => unit.arm === arm);
        return (group[0]?.metrics.curve ?? []).map((_, i) => {
          const values = group.map(({ metrics }) => metrics.curve[i]!);
          return { series: labelOf(arm), task: i + 1, mean: mean(values) };
        });
      });
    const panel = (title: string, points: ReturnType<typeof curvesOf>) => ({
      title,
      options: {
        width: 600,
        height: 320,
        x: { label: "task" },
        y: { label: "accuracy at the end of the task", grid: true },
        color: { legend: true, domain },
        marks: [Plot.lineY(points, { x: "task", y: "mean", stroke: "series", strokeWidth: 2 })],
      },
    });
    const byStrength = GRID_ARMS.flatMap((arm) => {
      const group = units.filter((unit) => unit.arm === arm);
      return group.length === 0
        ? []
        : GRID.map((strength, i) => ({
            series: labelOf(arm),
            strength,
            late: mean(group.map(({ metrics }) => metrics.lateByStrength[i]!)),
          }));
    });
    return [
      panel(
        "Random labels: training accuracy",
        curvesOf(["none", "l2", "l2Init", "shrinkAndPerturb", "wasserstein", "spectral"]),
      ),
      panel(
        "Renamed classes: held-out accuracy",
        curvesOf(["noneRenamed", "l2Renamed", "l2InitRenamed", "spectralRenamed"]),
      ),
      {
        title: "Last tasks by coefficient",
        options: {
          width: 600,
          height: 320,
          x: { type: "log", label: "coefficient", tickFormat: "~e", ticks: 5 },
          y: { label: "accuracy", grid: true },
          color: { legend: true, domain },
          marks: [
            Plot.lineY(byStrength, {
              x: "strength",
              y: "late",
              stroke: "series",
              strokeWidth: 2,
              marker: true,
            }),
          ],
        },
      },
    ];
  },
  leaderboard: { metric: "lateAccuracy", goal: "maximize" },
});
