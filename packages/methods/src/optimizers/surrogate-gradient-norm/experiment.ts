import {
  type ArmSpec,
  defineExperiment,
  type Mode,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import type { MlpParams } from "@prior-art/toolkit/nn";
import { adam, addDecayedWeights, chain } from "@prior-art/toolkit/optim";
import { ignite } from "./method.ts";
import { offlineTask, TASKS, type TaskName } from "./offlineTasks.ts";
import { lossSharpness, type SearchOptions, type SearchResult, searchOffline } from "./search.ts";

const geometric = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

const RATE = 1e-3;
/** All surrogates are fitted alike, but for what an arm adds. */
const plain = () => adam<MlpParams>({ learningRate: RATE });

type Arm = "ascent" | "decay" | "ensemble" | "lossSharpness" | "ignite" | "ignite2";

/** What the arm's one scalar, tuned on other draws of the tasks' data, is; the first two have none. */
const OPTIMIZERS: Readonly<Record<Arm, (scalar: number) => Pick<SearchOptions, "optimizer" | "members">>> = {
  ascent: () => ({ optimizer: plain(), members: 1 }),
  ensemble: () => ({ optimizer: plain(), members: 5 }),
  decay: (strength) => ({ optimizer: chain(addDecayedWeights<MlpParams>(strength), plain()), members: 1 }),
  lossSharpness: (rho) => ({ optimizer: lossSharpness(rho, plain()), members: 1 }),
  ignite: (dualRate) => ({ optimizer: ignite({ dualRate }, plain()), members: 1 }),
  ignite2: (lambda0) => ({ optimizer: ignite({ lambda0, adaptive: false }, plain()), members: 1 }),
};

const ARMS: Readonly<Record<Arm, ArmSpec>> = {
  ascent: { label: "gradient ascent" },
  ensemble: { label: "least of five" },
  decay: { label: "L2 decay", space: { scalar: geometric(2.5e-3, 5, 5) } },
  lossSharpness: { label: "SAM on the loss", space: { scalar: geometric(1.6e-3, 4, 5) } },
  ignite: { label: "IGNITE", space: { scalar: geometric(1e-5, 10, 5) } },
  ignite2: { label: "IGNITE-2", space: { scalar: geometric(1e-3, 10, 5) } },
};

interface Settings {
  readonly tasks: readonly TaskName[];
  readonly arms: readonly Arm[];
  readonly epochs: number;
  readonly steps: number;
}
const SETTINGS: Readonly<Record<Mode, Settings>> = {
  full: { tasks: TASKS, arms: Object.keys(ARMS) as Arm[], epochs: 200, steps: 200 },
  quick: { tasks: ["branin"], arms: ["ascent", "ignite"], epochs: 60, steps: 100 },
};

/** Means over the tasks, and each task on its own. */
type Metrics = {
  readonly median: number;
  readonly best: number;
  readonly overestimate: number;
  /** Log of the held-out sharpness. */
  readonly logSharpness: number;
  readonly medians: readonly number[];
  readonly bests: readonly number[];
  readonly sharpnesses: readonly number[];
  /** Along the ascent on the first task. */
  readonly predicted: readonly number[];
  readonly truth: readonly number[];
};

const NOTHING: Metrics = {
  median: 0,
  best: 0,
  overestimate: 0,
  logSharpness: 0,
  medians: [],
  bests: [],
  sharpnesses: [],
  predicted: [],
  truth: [],
};

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

async function* run({
  arm,
  seed,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  if (!settings.arms.includes(arm)) return NOTHING;
  const { scalar = 0 } = hyperparameters as { readonly scalar?: number };
  const results: SearchResult[] = [];
  for (const name of settings.tasks) {
    const { epochs, steps } = settings;
    results.push(
      await searchOffline(offlineTask(name, seed), { ...OPTIMIZERS[arm](scalar), epochs, steps, seed }),
    );
    yield { step: results.length, of: settings.tasks.length };
  }
  return {
    median: mean(results.map((r) => r.median)),
    best: mean(results.map((r) => r.best)),
    overestimate: mean(results.map((r) => r.overestimate)),
    logSharpness: mean(results.map((r) => Math.log(r.sharpness))),
    medians: results.map((r) => r.median),
    bests: results.map((r) => r.best),
    sharpnesses: results.map((r) => r.sharpness),
    predicted: results[0]!.predicted,
    truth: results[0]!.truth,
  };
}

export default defineExperiment({
  settings: SETTINGS,
  seeds: { full: 10, quick: 2 },
  arms: ARMS,
  run,
  tuning: { metric: "median", goal: "maximize", budget: { full: 5, quick: 2 }, seeds: { full: 2, quick: 1 } },
  claims: [
    {
      kind: "comparison",
      id: "median-score",
      of: "raises-baseline-scores",
      statement:
        "Mean over the tasks of the median final design's true score: IGNITE above plain gradient ascent",
      metric: "median",
      better: "ignite",
      worse: "ascent",
      goal: "maximize",
    },
    {
      kind: "comparison",
      id: "best-score",
      of: "raises-baseline-scores",
      statement:
        "Mean over the tasks of the best final design's true score: IGNITE above plain gradient ascent",
      metric: "best",
      better: "ignite",
      worse: "ascent",
      goal: "maximize",
    },
    {
      kind: "comparison",
      id: "overestimate",
      of: "raises-baseline-scores",
      statement: "The surrogate overrates its final designs less with IGNITE than without",
      metric: "overestimate",
      better: "ignite",
      worse: "ascent",
      goal: "minimize",
    },
    {
      kind: "statistic",
      id: "held-out-sharpness-falls",
      statement: "On held-out designs, IGNITE's sharpness is at most 0.7 of the plain surrogate's",
      quantity: "ratio of sharpnesses, geometric mean of the tasks",
      arms: ["ignite", "ascent"],
      perSeed: ({ ignite: ours, ascent }) => Math.exp(ours.logSharpness - ascent.logSharpness),
      pass: { max: 0.7 },
    },
    {
      kind: "comparison",
      id: "adaptive-multiplier",
      statement:
        "Mean over the tasks of the median score: IGNITE at most 0.01 below IGNITE-2 with its fixed multiplier",
      modes: ["full"],
      metric: "median",
      better: "ignite",
      worse: "ignite2",
      goal: "maximize",
      margin: -0.01,
    },
  ],
  figure: ({ Plot, units, arms, mode }) => {
    const shown = arms.filter(({ name }) => SETTINGS[mode].arms.includes(name));
    const curves = (["ascent", "ignite"] as const).flatMap((arm) => {
      const all = units.filter((unit) => unit.arm === arm).map(({ metrics }) => metrics);
      return (["predicted", "truth"] as const).flatMap((kind) =>
        (all[0]?.[kind] ?? []).map((_, i) => ({
          step: 10 * i,
          value: mean(all.map((m) => m[kind][i]!)),
          arm: ARMS[arm].label,
          kind,
        })),
      );
    });
    const scores = units
      .filter(({ arm }) => shown.some(({ name }) => name === arm))
      .flatMap(({ arm, metrics }) =>
        metrics.medians.map((score, i) => ({ score, arm: ARMS[arm].label, task: SETTINGS[mode].tasks[i]! })),
      );
    return [
      {
        title: "Branin: what the surrogate says (dashed) and what is true",
        options: {
          width: 460,
          height: 320,
          x: { label: "steps of ascent" },
          y: { label: "value, standardized", grid: true },
          color: { legend: true },
          marks: [
            Plot.line(
              curves.filter(({ kind }) => kind === "truth"),
              { x: "step", y: "value", stroke: "arm" },
            ),
            Plot.line(
              curves.filter(({ kind }) => kind === "predicted"),
              { x: "step", y: "value", stroke: "arm", strokeDasharray: "4,3" },
            ),
          ],
        },
      },
      {
        title: "Median true score of the final designs",
        options: {
          width: 520,
          height: 320,
          marginLeft: 110,
          x: { label: "normalized score", grid: true, ticks: 3 },
          y: { label: null, domain: shown.map(({ label }) => label) },
          fx: { label: null },
          marks: [Plot.dot(scores, { x: "score", y: "arm", fx: "task" })],
        },
      },
    ];
  },
});
