import { lambdaPath } from "@prior-art/toolkit/convex";
import {
  defineExperiment,
  type Progress,
  type RunContext,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import { difference, norm } from "@prior-art/toolkit/linalg";
import { quantile } from "@prior-art/toolkit/stats";
import type { RegressionData } from "../family.ts";
import { simulateGroups, tumours } from "../problems.ts";
import {
  groupSlope,
  oscarWeights,
  type ScreenedEstimator,
  type ScreenedFit,
  sparseGroupSlope,
} from "./method.ts";

interface Settings {
  readonly observations: number;
  readonly groups: number;
  /** Strengths on the path. */
  readonly strengths: number;
}

type Arm = "groupSlope" | "dense" | "oscar" | "sparseGroup" | "tumours";

type Metrics = {
  /** Seconds of the whole path, all groups and screened. */
  readonly secondsFull: number;
  readonly secondsScreened: number;
  /** Passes over the whole design that the path cost. */
  readonly passesFull: number;
  readonly passesScreened: number;
  readonly speedup: number;
  readonly passRatio: number;
  /** Largest ‖β_screened − β_full‖ on the path, over the largest ‖β_full‖. */
  readonly distance: number;
  /** Groups or variables that the check added back, over the path. */
  readonly violations: number;
  /** Median over the path of the share of variables that the solver saw. */
  readonly medianShare: number;
  /** Shares along the path. */
  readonly candidates: readonly number[];
  readonly active: readonly number[];
};

const SPARSE = { activeGroups: 0.05, activeVariables: 0.5 };
/** As in the paper: every fifth group has an effect, and paths go further down. */
const DENSE = { activeGroups: 0.2, activeVariables: 0.3 };
/** The last strength of a path over its first, where it is not a tenth. */
const RATIOS: Partial<Record<Arm, number>> = { dense: 0.05, tumours: 0.2 };
const TOLERANCE = 1e-6;

function problemOf(
  arm: Arm,
  { observations, groups }: Settings,
  seed: number,
): RegressionData | Promise<RegressionData> {
  switch (arm) {
    case "tumours":
      return tumours(Math.ceil(observations / 2), seed);
    case "dense":
      return simulateGroups({ observations, groups: Math.ceil(groups / 2), ...DENSE }, seed);
    case "sparseGroup":
      return simulateGroups(
        { observations: Math.ceil(observations / 2), groups: Math.ceil(groups / 3), ...SPARSE },
        seed,
      );
    default:
      return simulateGroups({ observations, groups, ...SPARSE }, seed);
  }
}

function modelOf(arm: Arm, screen: boolean, groups: number): ScreenedEstimator {
  if (arm === "sparseGroup") return sparseGroupSlope({ screen });
  return arm === "oscar" ? groupSlope({ weights: oscarWeights(groups), screen }) : groupSlope({ screen });
}

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const data = await problemOf(arm, settings, seed);
  const { variables } = data.design;
  const start = modelOf(arm, true, data.groups.count).largestLambda(data);
  const lambdas = lambdaPath(start, settings.strengths, RATIOS[arm] ?? 0.1);
  const fit = (screen: boolean): { path: ScreenedFit[]; seconds: number; passes: number } => {
    const begin = performance.now();
    const path = modelOf(arm, screen, data.groups.count).path(data, lambdas, { tolerance: TOLERANCE });
    const seconds = (performance.now() - begin) / 1000;
    return { path, seconds, passes: path.reduce((sum, f) => sum + f.columnProducts, 0) / variables };
  };
  // The first run also pays for compiling the code: neither of the two that are timed should.
  modelOf(arm, true, data.groups.count).path(data, lambdas.subarray(0, 4), { tolerance: TOLERANCE });
  const screened = fit(true);
  yield { step: 1, of: 2 };
  const full = fit(false);
  const largest = Math.max(...full.path.map((f) => norm(f.coefficients)));
  const candidates = screened.path.map((f) => f.candidates / variables);
  return {
    secondsFull: full.seconds,
    secondsScreened: screened.seconds,
    passesFull: full.passes,
    passesScreened: screened.passes,
    speedup: full.seconds / screened.seconds,
    passRatio: full.passes / screened.passes,
    distance:
      Math.max(...screened.path.map((f, k) => norm(difference(f.coefficients, full.path[k]!.coefficients)))) /
      largest,
    violations: screened.path.reduce((sum, f) => sum + f.violations, 0),
    medianShare: quantile(candidates, 0.5),
    candidates,
    active: screened.path.map((f) => f.active / variables),
  };
}

const ARMS = {
  groupSlope: { label: "group SLOPE, sparse effects" },
  dense: { label: "group SLOPE, dense effects" },
  oscar: { label: "group OSCAR" },
  sparseGroup: { label: "sparse-group SLOPE" },
  tumours: { label: "group SLOPE, tumour data" },
} as const;

const faster = (arm: Arm, of = "shorter-path-fits"): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id: `faster-${arm}`,
  of,
  statement: `${ARMS[arm].label}: the path takes less time with screening than without`,
  quantity: "time without screening over time with it",
  arms: [arm],
  perSeed: (seed) => seed[arm].speedup,
  pass: { min: 1 },
});

const same = (arm: Arm, of = "shorter-path-fits"): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id: `same-${arm}`,
  of,
  statement: `${ARMS[arm].label}: screened solutions differ from the others by at most 1% of the largest, on every data set`,
  quantity: "largest distance on the path, relative",
  arms: [arm],
  perSeed: (seed) => seed[arm].distance,
  seedsHolding: 1,
  pass: { max: 0.01 },
});

const smaller = (arm: Arm): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id: `smaller-${arm}`,
  of: "much-smaller-inputs",
  statement: `${ARMS[arm].label}: at half of the path's strengths or more the solver sees at most a quarter of the variables`,
  quantity: "median share of variables seen",
  arms: [arm],
  perSeed: (seed) => seed[arm].medianShare,
  pass: { max: 0.25 },
});

export default defineExperiment({
  settings: {
    full: { observations: 200, groups: 197, strengths: 25 },
    quick: { observations: 50, groups: 60, strengths: 7 },
  },
  seeds: { full: 8, quick: 2 },
  arms: ARMS,
  run,
  claims: [
    faster("groupSlope"),
    faster("dense"),
    faster("sparseGroup"),
    faster("tumours"),
    same("groupSlope"),
    same("dense"),
    same("sparseGroup"),
    same("tumours"),
    smaller("groupSlope"),
    smaller("dense"),
    smaller("sparseGroup"),
    smaller("tumours"),
    faster("oscar", "extends-to-owl"),
    same("oscar", "extends-to-owl"),
  ],
  figure: ({ Plot, units, arms }) =>
    arms.map(({ name, label }) => {
      const own = units.filter((unit) => unit.arm === name);
      const lines = (key: "candidates" | "active", what: string) =>
        (own[0]?.metrics[key] ?? []).map((_, k) => ({
          strength: k + 1,
          what,
          share: own.reduce((sum, unit) => sum + unit.metrics[key][k]!, 0) / own.length,
        }));
      const points = [...lines("candidates", "given to the solver"), ...lines("active", "in the solution")];
      const speedup = own.reduce((sum, unit) => sum + unit.metrics.speedup, 0) / own.length;
      return {
        title: `${label}: ${speedup.toFixed(1)}× faster`,
        options: {
          width: 320,
          height: 260,
          x: { label: "place on the path, strength falling →" },
          y: { label: "share of variables", domain: [0, 1], grid: true },
          color: { legend: true, domain: ["given to the solver", "in the solution"] },
          marks: [Plot.line(points, { x: "strength", y: "share", stroke: "what", strokeWidth: 2 })],
        },
      };
    }),
});
