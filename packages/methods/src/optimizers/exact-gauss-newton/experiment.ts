import { type ComparisonClaim, defineExperiment } from "@prior-art/toolkit/experiment";
import { affordableEpochs } from "./sensitivity.ts";
import { BATCH } from "./sweep.ts";
import {
  arms,
  DAMPINGS,
  GRID,
  type Metrics,
  run,
  SETTINGS,
  SWEEP_ARMS,
  SWEEPS,
  type SweepArm,
} from "./units.ts";

/** The share of all epochs after which a training curve is at or below a level; 2 when it never is. */
function shareUntil(level: number, curve: readonly number[]): number {
  const at = curve.findIndex((loss) => loss <= level);
  return at < 0 ? 2 : (at + 1) / curve.length;
}

/** What EGN's test error is below a rival's when it has the seconds of all the rival's epochs, both tuned for that time. */
function aheadAtEqualTime(
  metrics: Readonly<Record<"egn" | "adam" | "sgd" | "time", Metrics>>,
  rival: "adam" | "sgd",
): number {
  const times = metrics.time.stepMilliseconds;
  const own = metrics.egn.friedmanTunedCurve;
  const epochs = affordableEpochs(
    own.length,
    times[SWEEP_ARMS.indexOf("egn")]!,
    times[SWEEP_ARMS.indexOf(rival)]!,
  );
  return metrics[rival].friedmanTest - own[epochs - 1]!;
}

type Spread = "fullStepDampingSpread" | "dampingSpread" | "rateSpread" | "divergedShare";

/** A variant against plain EGN in the same grid: dependence on the damping, on the step size, and divergence. */
function sensitivityClaims(
  better: "egnLineSearch" | "egnAdaptive",
  damping: "fullStepDampingSpread" | "dampingSpread",
): ComparisonClaim<"egn" | typeof better, Spread>[] {
  const [id, variant] =
    better === "egnLineSearch"
      ? ["line-search", "the line search"]
      : ["adaptive-damping", "adaptive damping"];
  const capped = "(log ratio; errors above that of predicting the mean count as it)";
  const [dampings, rates] = [DAMPINGS.friedman.length, GRID.length];
  const statements: [string, Spread, string][] = [
    [
      "damping",
      damping,
      damping === "dampingSpread"
        ? `At step sizes up to 1, the test error of the worst of ${dampings} first dampings over the best's is smaller with ${variant} ${capped}`
        : `At (first) step size 1, the test error of the worst of ${dampings} dampings over the best's is smaller with ${variant} ${capped}`,
    ],
    [
      "step-size",
      "rateSpread",
      `At the same damping, the test error of the worst of ${rates} (first) step sizes up to 1.9 over the best's is smaller with ${variant} ${capped}`,
    ],
    [
      "divergence",
      "divergedShare",
      `Fewer of ${dampings * rates} settings end above the test error of predicting the mean with ${variant}`,
    ],
  ];
  return statements.map(([what, metric, statement]) => ({
    kind: "comparison",
    id: `${id}-${what}`,
    of: "line-search-reduces-sensitivity",
    statement,
    modes: ["full"],
    metric,
    better,
    worse: "egn",
    goal: "minimize",
  }));
}

export default defineExperiment({
  settings: SETTINGS,
  seeds: { full: 8, quick: 2 },
  arms,
  run,
  tuning: {
    metric: "validationLoss",
    goal: "minimize",
    budget: { full: 12, quick: 1 },
    seeds: { full: 1, quick: 1 },
  },
  claims: [
    {
      kind: "comparison",
      id: "friedman-test-loss",
      of: "test-loss-at-par-or-better",
      statement: "Friedman's function: EGN's test error after all epochs is below Adam's",
      metric: "friedmanTest",
      better: "egn",
      worse: "adam",
      goal: "minimize",
    },
    {
      kind: "comparison",
      id: "diabetes-test-loss",
      of: "test-loss-at-par-or-better",
      statement: "Diabetes table: EGN's test error after all epochs is at most 2% above Adam's",
      modes: ["full"],
      metric: "diabetesTest",
      better: "egn",
      worse: "adam",
      goal: "minimize",
      relative: true,
      margin: -0.02,
    },
    {
      kind: "comparison",
      id: "friedman-against-sgd",
      of: "test-loss-at-par-or-better",
      statement:
        "Friedman's function: EGN's test error after all epochs is at most 2% above that of SGD with momentum",
      modes: ["full"],
      metric: "friedmanTest",
      better: "egn",
      worse: "sgd",
      goal: "minimize",
      relative: true,
      margin: -0.02,
    },
    {
      kind: "comparison",
      id: "friedman-against-truncated",
      of: "test-loss-at-par-or-better",
      statement:
        "Friedman's function: EGN's test error after all epochs is at most 2% above that of Gauss–Newton by 10 iterations of CG",
      modes: ["full"],
      metric: "friedmanTest",
      better: "egn",
      worse: "sgn",
      goal: "minimize",
      relative: true,
      margin: -0.02,
    },
    {
      kind: "statistic",
      id: "fewer-steps",
      of: "test-loss-at-par-or-better",
      statement: "Friedman's function: EGN needs at most half the epochs to reach Adam's last training error",
      quantity: "share of the epochs",
      arms: ["egn", "adam"],
      modes: ["full"],
      perSeed: ({ egn, adam: rival }) => shareUntil(rival.friedmanTrainCurve.at(-1)!, egn.friedmanTrainCurve),
      pass: { max: 0.5 },
    },
    {
      kind: "statistic",
      id: "equal-time-adam",
      of: "test-loss-at-par-or-better",
      statement:
        "Friedman's function: in the seconds that Adam's epochs take, EGN's test error gets below Adam's, both tuned for that time",
      quantity: "Adam's test error less EGN's",
      arms: ["egn", "adam", "time"],
      modes: ["full"],
      perSeed: (metrics) => aheadAtEqualTime(metrics, "adam"),
      pass: { min: 0 },
    },
    {
      kind: "statistic",
      id: "equal-time-sgd",
      of: "test-loss-at-par-or-better",
      statement:
        "Friedman's function: in the seconds that the epochs of SGD with momentum take, EGN's test error gets below SGD's, both tuned for that time",
      quantity: "SGD's test error less EGN's",
      arms: ["egn", "sgd", "time"],
      modes: ["full"],
      perSeed: (metrics) => aheadAtEqualTime(metrics, "sgd"),
      pass: { min: 0 },
    },
    {
      kind: "comparison",
      id: "digits-error",
      of: "test-loss-at-par-or-better",
      statement: "Digits: EGN's test error is at most half a percentage point above Adam's",
      modes: ["full"],
      metric: "testError",
      better: "digitsEgn",
      worse: "digitsAdam",
      goal: "minimize",
      margin: -0.005,
    },
    {
      kind: "deterministic",
      id: "exact-direction",
      statement: "EGN's direction differs from that of the solve of the parameters' size by less than 1e-6",
      arm: "direction",
      metric: "exactError",
      expected: 0,
      tolerance: 1e-6,
    },
    {
      kind: "statistic",
      id: "truncated-direction",
      of: "exact-direction",
      statement: "Three iterations of CG miss the direction by more than 1%",
      quantity: "relative error",
      arms: ["direction"],
      perSeed: ({ direction }) => direction.truncatedErrors[1]!,
      pass: { min: 0.01 },
    },
    ...sensitivityClaims("egnLineSearch", "fullStepDampingSpread"),
    ...sensitivityClaims("egnAdaptive", "dampingSpread"),
  ],
  figure: ({ Plot, units, arms, mode }) => {
    const named = arms.filter(({ name }) => name in SWEEPS);
    const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    const stepsPerEpoch = Math.floor(SETTINGS[mode].trainSize / BATCH);
    const points = named.flatMap(({ name, label }) => {
      const all = units.filter(({ arm }) => arm === name).map(({ metrics }) => metrics);
      const [first] = all;
      if (!first) return [];
      // Milliseconds of a step vary with what else the machine does: the median of the seeds.
      const times = units.filter(({ arm }) => arm === "time").map(({ metrics }) => metrics.stepMilliseconds);
      const step = times.map((t) => t[SWEEP_ARMS.indexOf(name as SweepArm)]!).sort((x, y) => x - y)[
        times.length >> 1
      ]!;
      return first.friedmanTestCurve.map((_, i) => ({
        arm: label,
        epoch: i + 1,
        seconds: ((i + 1) * stepsPerEpoch * step) / 1000,
        error: mean(all.map((m) => m.friedmanTestCurve[i]!)),
      }));
    });
    const cells = units.flatMap(({ arm, metrics }) =>
      metrics.grid.flatMap((row, i) =>
        row.map((error, j) => ({
          arm: arms.find(({ name }) => name === arm)!.label,
          rate: GRID[i]![j]!.rate,
          damping: `λ = ${GRID[i]![j]!.second}`,
          error: error <= 1 ? error : 1,
        })),
      ),
    );
    const curves = (["epoch", "seconds"] as const).map((x) => ({
      title: `Test error on Friedman's function by ${x === "epoch" ? "epochs" : "time"}`,
      options: {
        width: 520,
        height: 320,
        x: { label: x, type: x === "epoch" ? ("linear" as const) : ("log" as const), grid: true },
        y: { label: "mean squared error", type: "log" as const, grid: true },
        // One legend for both, as wide as both.
        color: { legend: x === "epoch", domain: named.map(({ label }) => label) },
        marks: [Plot.line(points, { x, y: "error", stroke: "arm" })],
      },
    }));
    const grid = {
      title:
        "Test error on Friedman's function by (first) step size and damping: each seed, and the median; above 1 drawn at 1",
      options: {
        width: 860,
        height: 300,
        fx: { label: null },
        x: { label: "step size", type: "log" as const },
        y: { label: "mean squared error", type: "log" as const, grid: true },
        color: { legend: true },
        marks: [
          Plot.dot(cells, { fx: "arm", x: "rate", y: "error", stroke: "damping", opacity: 0.4 }),
          Plot.line(
            cells,
            Plot.groupX({ y: "median" }, { fx: "arm", x: "rate", y: "error", stroke: "damping" }),
          ),
        ],
      },
    };
    return cells.length > 0 ? [...curves, grid] : curves;
  },
});
