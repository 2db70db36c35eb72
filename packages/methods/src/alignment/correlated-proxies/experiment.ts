import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { occupancyMeasure, valueIteration } from "@prior-art/toolkit/mdp";
import { mean } from "@prior-art/toolkit/stats";
import { bestTrueReturn, type HackableGrid, hackableGrid } from "./gridHack.ts";
import { actionKl, hackingBound, orpo, proxyStatistics } from "./method.ts";

const ARMS = {
  unregularized: { label: "Proxy alone" },
  actionKl: { label: "Action KL, best of 17 weights" },
  occupancyKl: { label: "Occupancy KL, best of 12 weights" },
  bestChi2: { label: "Occupancy √χ², best of 12 weights" },
  chi2: { label: "Occupancy √χ², weight from the theory" },
} as const;
type Arm = keyof typeof ARMS;

type Metrics = {
  /** Normalized return by the true reward, of the arm's policy: where several weights are tried, the best by this very number. */
  readonly trueReturn: number;
  readonly baseReturn: number;
  readonly bestReturn: number;
  /** Of the two rewards under the base policy. */
  readonly correlation: number;
  /** Smallest gap between the theorem's two sides, over all policies made. */
  readonly slack: number;
  /** True and proxy return by weight. */
  readonly trueCurve: readonly number[];
  readonly proxyCurve: readonly number[];
};

const between = (from: number, to: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => from * (to / from) ** (i / (count - 1)));

/** Occupancies of an arm's policies, by weight. */
function occupancies(arm: Arm, grid: HackableGrid, iterations: number): Float64Array[] {
  const { proxyMdp, trueReward, base, baseOccupancy } = grid;
  const { lambda, sigmaProxy } = proxyStatistics(baseOccupancy, trueReward, proxyMdp.reward);
  if (arm === "unregularized") return [occupancyMeasure(proxyMdp, valueIteration(proxyMdp).policy)];
  if (arm === "actionKl")
    return between(1e-2, 1e2, 17).map((weight) => actionKl(proxyMdp, base, weight).occupancy);
  const divergence = arm === "occupancyKl" ? "kl" : "sqrtChi2";
  const weights = arm === "chi2" ? [lambda] : between(0.01, 3, 12).map((share) => share * sigmaProxy);
  return weights.map((weight) => orpo(proxyMdp, base, { lambda: weight, divergence, iterations }).occupancy);
}

async function* run({
  arm,
  seed,
  settings,
}: {
  readonly arm: Arm;
  readonly seed: number;
  readonly settings: { readonly iterations: number };
}): AsyncGenerator<Progress, Metrics, void> {
  const grid = hackableGrid(seed);
  const { proxyMdp, trueReward, baseOccupancy } = grid;
  yield { step: 0, of: 1 };
  const made = occupancies(arm, grid, settings.iterations);
  const returnOf = (mu: Float64Array, reward: Float64Array): number =>
    mu.reduce((sum, m, i) => sum + m * reward[i]!, 0);
  const trueCurve = made.map((mu) => returnOf(mu, trueReward));
  return {
    trueReturn: Math.max(...trueCurve),
    baseReturn: returnOf(baseOccupancy, trueReward),
    bestReturn: bestTrueReturn(grid),
    correlation: proxyStatistics(baseOccupancy, trueReward, proxyMdp.reward).correlation,
    slack: Math.min(
      ...made.map((mu) => {
        const { improvement, bound } = hackingBound(mu, baseOccupancy, trueReward, proxyMdp.reward);
        return improvement - bound;
      }),
    ),
    trueCurve,
    proxyCurve: made.map((mu) => returnOf(mu, proxyMdp.reward)),
  };
}

const above = (worse: "actionKl" | "occupancyKl") =>
  ({
    kind: "comparison",
    id: `above-${worse === "actionKl" ? "action" : "occupancy"}-kl`,
    of: "chi2-occupancy-beats-action-kl",
    statement: `√χ² of occupancies at the theory's weight, untuned, has a higher true return than the ${
      worse === "actionKl" ? "action" : "occupancy"
    } KL at its best weight for each grid (paired, p ≤ .01)`,
    metric: "trueReturn",
    better: "chi2",
    worse,
    goal: "maximize",
    alpha: 0.01,
  }) as const;

export default defineExperiment({
  settings: { full: { iterations: 400 }, quick: { iterations: 400 } },
  seeds: { full: 10, quick: 2 },
  arms: ARMS,
  run,
  claims: [
    above("actionKl"),
    above("occupancyKl"),
    {
      kind: "statistic",
      id: "proxy-correlated",
      of: "correlated-yet-hackable",
      statement:
        "The proxy is positively correlated with the true reward under the base policy, on every grid",
      quantity: "correlation",
      arms: ["unregularized"],
      perSeed: ({ unregularized }) => unregularized.correlation,
      pass: { min: 1e-6 },
      seedsHolding: 1,
    },
    {
      kind: "statistic",
      id: "optimum-hacks",
      of: "correlated-yet-hackable",
      statement:
        "The proxy's unregularized optimum has a lower true return than the base policy, on at least 8 of 10 grids",
      quantity: "base policy's true return minus the optimum's",
      arms: ["unregularized"],
      perSeed: ({ unregularized }) => unregularized.baseReturn - unregularized.trueReturn,
      pass: { min: 0 },
      seedsHolding: 0.8,
    },
    {
      kind: "statistic",
      id: "bound",
      of: "lower-bound-holds",
      statement: "The bound holds for every policy made, to 1e-9",
      quantity: "smallest slack",
      perSeed: (seed) => Math.min(...Object.values(seed).map(({ slack }) => slack)),
      pass: { min: -1e-9 },
      seedsHolding: 1,
    },
    {
      kind: "statistic",
      id: "weight-near-best",
      of: "lower-bound-holds",
      statement:
        "The theory's weight has on average at least 80% of the improvement over the base policy that the best weight has",
      quantity: "share of the best weight's improvement",
      arms: ["chi2", "bestChi2"],
      acrossSeeds: (seeds) =>
        mean(seeds.map(({ chi2 }) => chi2.trueReturn - chi2.baseReturn)) /
        mean(seeds.map(({ bestChi2 }) => bestChi2.trueReturn - bestChi2.baseReturn)),
      pass: { min: 0.8 },
    },
  ],
  figure: ({ Plot, units, arms }) => {
    const curves = (["actionKl", "occupancyKl", "bestChi2"] as const).flatMap((arm) => {
      const own = units.filter((unit) => unit.arm === arm).map(({ metrics }) => metrics);
      return (own[0]?.trueCurve ?? []).map((_, i) => ({
        series: arms.find(({ name }) => name === arm)!.label.replace(/, best.*/, ""),
        proxy: mean(own.map((m) => m.proxyCurve[i]!)),
        truth: mean(own.map((m) => m.trueCurve[i]!)),
      }));
    });
    const point = (arm: Arm, name: string) => {
      const own = units.filter((unit) => unit.arm === arm).map(({ metrics }) => metrics);
      return {
        name,
        proxy: mean(own.map((m) => m.proxyCurve[0]!)),
        truth: mean(own.map((m) => m.trueCurve[0]!)),
      };
    };
    const points = [point("unregularized", "proxy alone"), point("chi2", "theory's weight")];
    const base = mean(units.map(({ metrics }) => metrics.baseReturn));
    return {
      title: "True against proxy return as the weight changes; dashed: the base policy",
      options: {
        x: { label: "Proxy return", grid: true },
        y: { label: "True return", grid: true },
        color: { legend: true },
        marks: [
          Plot.ruleY([base], { strokeDasharray: "4 3" }),
          Plot.line(curves, { x: "proxy", y: "truth", stroke: "series", marker: true }),
          Plot.dot(points, { x: "proxy", y: "truth", r: 5, fill: "black" }),
          Plot.text(points, { x: "proxy", y: "truth", text: "name", dy: -12, textAnchor: "end" }),
        ],
      },
    };
  },
  leaderboard: { metric: "trueReturn", goal: "maximize" },
});
