import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { doubleDescent, quadraticStability } from "./classics.ts";
import { contenders } from "./contenders.generated.ts";
import { type Contender, type Prediction, relativeError } from "./family.ts";

const entries: Readonly<Record<string, Contender>> = {
  quadraticStability: { label: "Stability of descent on a quadratic", phenomenon: quadraticStability },
  doubleDescent: { label: "Double descent of least squares", phenomenon: doubleDescent },
  ...contenders,
};

type Metrics = {
  /** Mean relative error of the predictions. */
  readonly relativeError: number;
  readonly predicted: readonly number[];
  readonly measured: readonly number[];
};

/** Laws of learning against measurements: how far off they are. Nothing is tuned; a law has no free parameter. */
export default defineExperiment({
  settings: { full: { brief: false }, quick: { brief: true } },
  seeds: { full: 10, quick: 2 },
  arms: Object.fromEntries(Object.entries(entries).map(([name, { label }]) => [name, { label }])),
  async *run({ arm, seed, settings }): AsyncGenerator<Progress, Metrics, void> {
    const predictions: readonly Prediction[] = yield* entries[arm]!.phenomenon.observe({ seed, ...settings });
    return {
      relativeError: mean(predictions.map(relativeError)),
      predicted: predictions.map(({ predicted }) => predicted),
      measured: predictions.map(({ measured }) => measured),
    };
  },
  claims: [],
  figure: ({ Plot, units, arms }) => {
    const points = units.flatMap(({ arm, metrics }) =>
      metrics.predicted.map((predicted, i) => ({
        law: arms.find(({ name }) => name === arm)!.label,
        predicted,
        measured: metrics.measured[i]!,
      })),
    );
    return {
      title: "Predicted and measured",
      options: {
        width: 520,
        height: 520,
        x: { type: "log", label: "predicted", grid: true },
        y: { type: "log", label: "measured", grid: true },
        color: { legend: true },
        marks: [
          Plot.line(points, { x: "predicted", y: "predicted", strokeOpacity: 0.4 }),
          Plot.dot(points, { x: "predicted", y: "measured", stroke: "law" }),
        ],
      },
    };
  },
  leaderboard: { metric: "relativeError", goal: "minimize" },
});
