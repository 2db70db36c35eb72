import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { type AdditionOptions, type AdditionPoint, additionCourse } from "./addition.ts";

interface Settings {
  readonly modulus: number;
  /** Of the arms that stall or generalize slowly. */
  readonly steps: number;
  /** Of ⊥Grad and weight decay, which take few. */
  readonly shortSteps: number;
  readonly every: number;
}

type Metrics = {
  readonly testAccuracy: number;
  /** Share of collapsed training sums, mean over the last tenth of the run. */
  readonly collapsed: number;
  /** First step at which a tenth of the training sums has collapsed; one past the run where it never happens. */
  readonly collapseStep: number;
  /** First step with a test accuracy of 95%; one past the run where it never happens. */
  readonly generalizationStep: number;
  /** Largest cosine of descent and weights after all training sums are right. */
  readonly alignment: number;
  readonly time: readonly number[];
  readonly testCurve: readonly number[];
  readonly collapseCurve: readonly number[];
};

const SETUPS = {
  softmax: { loss: "softmax32", orthogonal: false },
  softmax64: { loss: "softmax64", orthogonal: false },
  stableMax: { loss: "stableMax", orthogonal: false },
  orthogonal: { loss: "softmax32", orthogonal: true },
  decay: { loss: "softmax32", orthogonal: false },
} as const satisfies Readonly<Record<string, Pick<AdditionOptions, "loss" | "orthogonal">>>;
type Arm = keyof typeof SETUPS;

function metricsOf(points: readonly AdditionPoint[]): Metrics {
  const last = points.at(-1)!;
  const firstStep = (holds: (point: AdditionPoint) => boolean): number =>
    points.find(holds)?.step ?? last.step + 1;
  const fitted = points.filter((point) => point.trainAccuracy === 1);
  return {
    testAccuracy: last.testAccuracy,
    collapsed: mean(points.slice(-Math.ceil(points.length / 10)).map((point) => point.collapsed)),
    collapseStep: firstStep((point) => point.collapsed >= 0.1),
    generalizationStep: firstStep((point) => point.testAccuracy >= 0.95),
    alignment: Math.max(...fitted.map((point) => Math.abs(point.alignment)), 0),
    time: points.map((point) => point.step),
    testCurve: points.map((point) => point.testAccuracy),
    collapseCurve: points.map((point) => point.collapsed),
  };
}

interface Unit {
  readonly arm: Arm;
  readonly seed: number;
  readonly settings: Settings;
  /** `{ weightDecay }` in the arm that has one. */
  readonly hyperparameters: unknown;
}

async function* run({ arm, seed, settings, hyperparameters }: Unit): AsyncGenerator<Progress, Metrics, void> {
  const { weightDecay = 0 } = { ...(hyperparameters as { readonly weightDecay?: number }) };
  const { modulus, every, shortSteps } = settings;
  const steps = arm === "orthogonal" || arm === "decay" ? shortSteps : settings.steps;
  const points: AdditionPoint[] = [];
  for await (const point of additionCourse({ ...SETUPS[arm], weightDecay, modulus, steps, every, seed })) {
    points.push(point);
    const { step, testAccuracy, collapsed } = point;
    yield { step, of: steps, metrics: { testAccuracy, collapsed } };
  }
  return metricsOf(points);
}

export default defineExperiment({
  settings: {
    full: { modulus: 31, steps: 6000, shortSteps: 1000, every: 50 },
    quick: { modulus: 31, steps: 500, shortSteps: 300, every: 50 },
  } as Readonly<Record<"full" | "quick", Settings>>,
  seeds: { full: 6, quick: 1 },
  arms: {
    softmax: { label: "Softmax (float32)" },
    softmax64: { label: "Softmax (float64)" },
    stableMax: { label: "StableMax" },
    orthogonal: { label: "⊥Grad, Softmax" },
    decay: { label: "Weight decay", space: { weightDecay: [0.3, 1, 3, 5, 10] } },
  },
  run,
  tuning: {
    metric: "generalizationStep",
    goal: "minimize",
    budget: { full: 5, quick: 2 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    {
      kind: "statistic",
      id: "softmax-stalls",
      of: "collapse-blocks-generalization",
      statement: "Softmax without decay: test accuracy ends at most at 0.1, on every seed",
      quantity: "test accuracy",
      arms: ["softmax"],
      perSeed: ({ softmax }) => softmax.testAccuracy,
      seedsHolding: 1,
      pass: { max: 0.1 },
    },
    {
      kind: "statistic",
      id: "softmax-collapses",
      of: "collapse-blocks-generalization",
      statement: "Softmax without decay: at least half of the training sums end collapsed",
      quantity: "share of collapsed sums over the last tenth",
      modes: ["full"],
      arms: ["softmax"],
      perSeed: ({ softmax }) => softmax.collapsed,
      pass: { min: 0.5 },
    },
    {
      kind: "comparison",
      id: "stable-max-generalizes",
      modes: ["full"],
      of: "collapse-blocks-generalization",
      statement: "StableMax, without regularization, ends more than 0.1 above Softmax in test accuracy",
      metric: "testAccuracy",
      better: "stableMax",
      worse: "softmax",
      goal: "maximize",
      margin: 0.1,
    },
    {
      kind: "deterministic",
      id: "stable-max-never-collapses",
      of: "collapse-blocks-generalization",
      statement: "StableMax: no training sum ends collapsed",
      arm: "stableMax",
      metric: "collapsed",
      expected: 0,
      tolerance: 0,
    },
    {
      kind: "statistic",
      id: "orthogonal-generalizes-at-once",
      of: "orthogonal-gradient-removes-delay",
      statement: "⊥Grad: test accuracy reaches 95% within 1000 steps, on at least four of five seeds",
      quantity: "first step at 95% test accuracy",
      arms: ["orthogonal"],
      perSeed: ({ orthogonal }) => orthogonal.generalizationStep,
      seedsHolding: 0.8,
      pass: { max: 1000 },
    },
    {
      kind: "comparison",
      id: "orthogonal-before-decay",
      of: "orthogonal-gradient-removes-delay",
      statement: "⊥Grad reaches 95% test accuracy in fewer steps than tuned weight decay",
      metric: "generalizationStep",
      better: "orthogonal",
      worse: "decay",
      goal: "minimize",
    },
    {
      kind: "deterministic",
      id: "orthogonal-never-collapses",
      of: "orthogonal-gradient-removes-delay",
      statement: "⊥Grad: no training sum ends collapsed",
      arm: "orthogonal",
      metric: "collapsed",
      expected: 0,
      tolerance: 0,
    },
    {
      kind: "statistic",
      id: "softmax-aligns",
      of: "gradients-align-with-weights",
      statement:
        "Softmax: once all training sums are right, the cosine of descent and weights exceeds 0.5, on every seed",
      quantity: "largest cosine after fitting",
      arms: ["softmax"],
      perSeed: ({ softmax }) => softmax.alignment,
      seedsHolding: 1,
      pass: { min: 0.5 },
    },
    {
      kind: "deterministic",
      id: "orthogonal-does-not-align",
      of: "gradients-align-with-weights",
      statement:
        "⊥Grad: the cosine of what the optimizer gets and the weights is 0 to 1e-4, float32's rounding",
      arm: "orthogonal",
      metric: "alignment",
      expected: 0,
      tolerance: 1e-4,
    },
    {
      kind: "comparison",
      id: "lower-precision-collapses-earlier",
      modes: ["full"],
      of: "gradients-align-with-weights",
      statement: "A tenth of the training sums has collapsed earlier in float32 than in float64",
      metric: "collapseStep",
      better: "softmax",
      worse: "softmax64",
      goal: "minimize",
    },
    {
      kind: "statistic",
      id: "float64-stalls-too",
      of: "precision-only-delays",
      statement:
        "Softmax in float64 does not generalize either: test accuracy ends at most at 0.1, on every seed",
      quantity: "test accuracy",
      arms: ["softmax64"],
      perSeed: ({ softmax64 }) => softmax64.testAccuracy,
      seedsHolding: 1,
      pass: { max: 0.1 },
    },
    {
      kind: "statistic",
      id: "float64-collapses-at-last",
      of: "precision-only-delays",
      statement: "Softmax in float64 collapses too before the end of the run, on every seed",
      quantity: "first step with a tenth of the sums collapsed",
      modes: ["full"],
      arms: ["softmax64"],
      perSeed: ({ softmax64 }) => softmax64.collapseStep,
      seedsHolding: 1,
      pass: { max: 6000 },
    },
  ],
  figure: ({ Plot, units, arms }) => {
    const labelOf = (arm: string): string => arms.find(({ name }) => name === arm)!.label;
    const curves = (names: readonly Arm[], curve: "testCurve" | "collapseCurve") =>
      names.flatMap((arm) => {
        const group = units.filter((unit) => unit.arm === arm);
        return (group[0]?.metrics.time ?? []).map((step, i) => ({
          series: labelOf(arm),
          step,
          mean: mean(group.map(({ metrics }) => metrics[curve][i]!)),
        }));
      });
    const panel = (title: string, y: string, points: ReturnType<typeof curves>) => ({
      title,
      options: {
        width: 680,
        height: 320,
        x: { type: "log" as const, label: "step", tickFormat: "~s" },
        y: { label: y, domain: [0, 1], grid: true },
        color: { legend: true, domain: arms.map(({ label }) => label) },
        marks: [Plot.lineY(points, { x: "step", y: "mean", stroke: "series", strokeWidth: 2 })],
      },
    });
    return [
      panel(
        "Addition modulo 31: test accuracy",
        "accuracy",
        curves(["softmax", "softmax64", "stableMax", "orthogonal", "decay"], "testCurve"),
      ),
      panel(
        "Collapsed training sums",
        "share",
        curves(["softmax", "softmax64", "stableMax", "orthogonal"], "collapseCurve"),
      ),
    ];
  },
  leaderboard: { metric: "testAccuracy", goal: "maximize" },
});
