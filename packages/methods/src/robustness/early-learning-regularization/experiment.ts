import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { type CoursePoint, noisyDigitsCourse } from "../noisyDigitsCourse.ts";
import { empiricalRisk } from "../objectives.ts";
import { digitsMetrics, linearMetrics, type Metrics } from "./courses.ts";
import { earlyLearningRegularization } from "./method.ts";

interface Settings {
  readonly trainSize: number;
  readonly epochs: number;
  readonly every: number;
}

const LEARNING_RATES = [0.01, 0.02, 0.05, 0.1];
/** The paper's, on CIFAR-10. */
const WEIGHT_DECAY = 1e-3;

export default defineExperiment({
  settings: {
    full: { trainSize: 900, epochs: 150, every: 3 },
    quick: { trainSize: 450, epochs: 100, every: 5 },
  },
  seeds: { full: 10, quick: 2 },
  arms: {
    crossEntropy: {
      label: "Cross-entropy",
      space: { learningRate: LEARNING_RATES },
      fixed: { weightDecay: WEIGHT_DECAY },
    },
    decayed: {
      label: "Cross-entropy, tuned decay",
      space: { learningRate: LEARNING_RATES, weightDecay: [3e-3, 1e-2, 3e-2] },
    },
    elr: {
      label: "ELR",
      space: { learningRate: LEARNING_RATES, strength: [3, 5, 8], momentum: [0.7, 0.9] },
      fixed: { weightDecay: WEIGHT_DECAY },
    },
    linear: { label: "Linear model, cross-entropy" },
  },
  async *run(context): AsyncGenerator<Progress, Metrics, void> {
    const { seed } = context;
    const settings: Settings = context.settings;
    if (context.arm === "linear") return linearMetrics(seed);
    const { learningRate, weightDecay } = context.hyperparameters;
    const points: CoursePoint[] = [];
    const shared = { ...settings, learningRate, weightDecay, rate: 0.6, seed };
    const course =
      context.arm === "elr"
        ? noisyDigitsCourse({ ...shared, objective: earlyLearningRegularization(context.hyperparameters) })
        : noisyDigitsCourse({ ...shared, objective: empiricalRisk() });
    for await (const point of course) {
      points.push(point);
      const { epoch, test, wrongTrue } = point;
      yield { step: epoch, of: settings.epochs, metrics: { testAccuracy: test, wrongTrue } };
    }
    return digitsMetrics(points);
  },
  tuning: {
    metric: "validationAccuracy",
    goal: "maximize",
    budget: { full: 12, quick: 2 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    {
      kind: "statistic",
      id: "linear-learns-early",
      of: "early-learning-then-memorization",
      statement:
        "On its way the linear model assigns at least 80% of the wrongly labelled examples to their true class, on every seed",
      quantity: "largest share assigned to the true class",
      arms: ["linear"],
      perSeed: ({ linear }) => linear.peakWrongTrue,
      seedsHolding: 1,
      pass: { min: 0.8 },
    },
    {
      kind: "statistic",
      id: "linear-descends-along-separator",
      of: "early-learning-then-memorization",
      statement:
        "Until θᵀv reaches 0.3 the cosine of the negative gradient and the true separator is at least 0.5, on every seed",
      quantity: "smallest cosine before T",
      arms: ["linear"],
      perSeed: ({ linear }) => linear.earlyAlignment[0]!,
      seedsHolding: 1,
      pass: { min: 0.5 },
    },
    {
      kind: "statistic",
      id: "linear-right-gradients-vanish",
      of: "early-learning-then-memorization",
      statement:
        "By then the squared coefficients of right examples have fallen, and those of wrong ones risen, by at least 0.05 (Proposition 5), on every seed",
      quantity: "smaller of fall and rise",
      arms: ["linear"],
      perSeed: ({ linear }) => Math.min(...linear.coefficientChanges),
      seedsHolding: 1,
      pass: { min: 0.05 },
    },
    {
      kind: "statistic",
      id: "linear-memorizes",
      of: "early-learning-then-memorization",
      statement:
        "At the end it fits at least 99% of all observed labels, the wrong ones included, on every seed",
      quantity: "share of observed labels fitted",
      arms: ["linear"],
      perSeed: ({ linear }) => linear.fitted[0]!,
      seedsHolding: 1,
      pass: { min: 0.99 },
    },
    {
      kind: "statistic",
      id: "cross-entropy-memorizes",
      of: "prevents-memorization",
      statement:
        "With cross-entropy the share of wrongly labelled digits assigned to their true class ends at least 0.2 below its peak",
      quantity: "end minus peak",
      arms: ["crossEntropy"],
      perSeed: ({ crossEntropy }) => crossEntropy.wrongTrue - crossEntropy.peakWrongTrue,
      pass: { max: -0.2 },
    },
    {
      kind: "statistic",
      id: "elr-stays",
      of: "prevents-memorization",
      statement: "With ELR it ends at most 0.05 below its peak",
      quantity: "end minus peak",
      arms: ["elr"],
      perSeed: ({ elr }) => elr.wrongTrue - elr.peakWrongTrue,
      pass: { min: -0.05 },
    },
    {
      kind: "comparison",
      id: "elr-true-classes",
      of: "prevents-memorization",
      statement: "At the end ELR assigns more of the wrongly labelled digits to their true class",
      metric: "wrongTrue",
      better: "elr",
      worse: "crossEntropy",
      goal: "maximize",
    },
    {
      kind: "comparison",
      id: "elr-test-accuracy",
      of: "higher-test-accuracy",
      statement:
        "With 60% wrong labels ELR's test accuracy at the end is more than 5 percentage points above tuned cross-entropy",
      metric: "testAccuracy",
      better: "elr",
      worse: "crossEntropy",
      goal: "maximize",
      margin: 0.05,
    },
    {
      kind: "comparison",
      id: "elr-beats-decay",
      of: "higher-test-accuracy",
      statement: "It is above that of cross-entropy whose weight decay is tuned too",
      metric: "testAccuracy",
      better: "elr",
      worse: "decayed",
      goal: "maximize",
    },
    {
      kind: "statistic",
      id: "elr-beats-stopping",
      of: "higher-test-accuracy",
      statement:
        "ELR's test accuracy at the end is above that of cross-entropy stopped where validation accuracy is highest",
      quantity: "difference of the accuracies",
      arms: ["elr", "crossEntropy"],
      perSeed: ({ elr, crossEntropy }) => elr.testAccuracy - crossEntropy.stoppedTestAccuracy,
      pass: { min: 0 },
    },
  ],
  figure: ({ Plot, units, arms }) => {
    const labelOf = (arm: string): string => arms.find(({ name }) => name === arm)!.label;
    const curves = (
      chosen: readonly string[],
      curve: "wrongTrueCurve" | "testCurve",
      name: (arm: string) => string,
    ) =>
      chosen.flatMap((arm) => {
        const group = units.filter((unit) => unit.arm === arm);
        return (group[0]?.metrics.time ?? []).map((time, i) => {
          const values = group.map(({ metrics }) => metrics[curve][i]!);
          return {
            series: name(arm),
            time,
            mean: mean(values),
            low: Math.min(...values),
            high: Math.max(...values),
          };
        });
      });
    const panel = (title: string, x: string, type: "linear" | "log", points: ReturnType<typeof curves>) => ({
      title,
      options: {
        width: 480,
        height: 320,
        x: { label: x, type },
        y: { label: "share", domain: [0, 1], grid: true },
        color: { legend: true },
        marks: [
          Plot.areaY(points, { x: "time", y1: "low", y2: "high", fill: "series", fillOpacity: 0.15 }),
          Plot.lineY(points, { x: "time", y: "mean", stroke: "series", strokeWidth: 2 }),
        ],
      },
    });
    const digits = ["crossEntropy", "decayed", "elr"];
    return [
      panel(
        "Wrongly labelled digits assigned to their true class",
        "epoch",
        "linear",
        curves(digits, "wrongTrueCurve", labelOf),
      ),
      panel("Test accuracy with 60% wrong labels", "epoch", "linear", curves(digits, "testCurve", labelOf)),
      panel("Linear model in 270 dimensions", "step", "log", [
        ...curves(["linear"], "wrongTrueCurve", () => "wrong labels, true class"),
        ...curves(["linear"], "testCurve", () => "fresh examples"),
      ]),
    ];
  },
  leaderboard: { metric: "testAccuracy", goal: "maximize" },
});
