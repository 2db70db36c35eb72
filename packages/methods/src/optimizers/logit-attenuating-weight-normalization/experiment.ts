import {
  defineExperiment,
  type Progress,
  type RunContext,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import {
  type Arm,
  type CellScores,
  type Regime,
  type RegimeScores,
  type Sizes,
  trainRegime,
} from "./sweep.ts";

const REGIMES = ["noisySmall", "noisyFull", "cleanSmall", "cleanFull"] as const satisfies readonly Regime[];

type OfRegimes<Name extends string> = { readonly [K in `${Name}${Capitalize<Regime>}`]: number };

/** NLL at the cell of the arm's grid that is best in validation NLL, accuracy at the one best in validation accuracy. */
type Metrics = OfRegimes<"nll"> &
  OfRegimes<"accuracy"> & {
    /** On the clean digits in small batches, at the cell best in validation accuracy, at the end. */
    readonly gradientNorm: number;
    readonly maxLogit: number;
    readonly trainLoss: number;
    /** The same by tenth of the training. */
    readonly gradientCurve: readonly number[];
    readonly logitCurve: readonly number[];
    /** Cells chosen by NLL and by accuracy, in each regime. */
    readonly chosen: readonly (readonly [number, number])[];
  };

/** Position of the best cell; cells that diverged never win. */
const best = (cells: readonly CellScores[], score: (cell: CellScores) => number): number =>
  cells.reduce((at, cell, i) => {
    const [now, top] = [score(cell), score(cells[at]!)];
    return now > top || Number.isNaN(top) ? i : at;
  }, 0);

const byNll = (cell: CellScores): number => -cell.validationNll;
/** Ties, of which 300 validation digits leave many, go to the lower NLL. */
const byAccuracy = (cell: CellScores): number => cell.validationAccuracy - 1e-6 * cell.validationNll;

const titled = (regime: Regime) => `${regime[0]!.toUpperCase()}${regime.slice(1)}` as Capitalize<Regime>;

interface Settings extends Sizes {
  /** The others' metrics are left at 0. */
  readonly regimes: readonly Regime[];
}

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const entries: [string, number][] = REGIMES.flatMap((regime) => [
    [`nll${titled(regime)}`, 0],
    [`accuracy${titled(regime)}`, 0],
  ]);
  const chosen: [number, number][] = [];
  let curves: readonly CellScores[] = [];
  for (const [i, regime] of settings.regimes.entries()) {
    const reports: RegimeScores[] = [];
    for await (const report of trainRegime(arm, regime, settings, seed)) {
      reports.push(report);
      const { epochs } = settings;
      const loss = Math.min(...report.cells.map(({ trainLoss }) => trainLoss));
      yield { step: i * epochs + report.epoch, of: settings.regimes.length * epochs, metrics: { loss } };
    }
    const { cells } = reports.at(-1)!;
    const [nll, accuracy] = [best(cells, byNll), best(cells, byAccuracy)];
    chosen.push([nll, accuracy]);
    entries.push([`nll${titled(regime)}`, cells[nll]!.testNll]);
    entries.push([`accuracy${titled(regime)}`, cells[accuracy]!.testAccuracy]);
    if (regime === "cleanSmall") curves = reports.map((report) => report.cells[accuracy]!);
  }
  const last = curves.at(-1)!;
  return {
    ...(Object.fromEntries(entries) as unknown as OfRegimes<"nll"> & OfRegimes<"accuracy">),
    gradientNorm: last.gradientNorm,
    maxLogit: last.maxLogit,
    trainLoss: last.trainLoss,
    gradientCurve: curves.map(({ gradientNorm }) => gradientNorm),
    logitCurve: curves.map(({ maxLogit }) => maxLogit),
    chosen,
  };
}

/** The accuracy that Adam loses from small batches to full ones, less what Adam-LAWN loses. */
const smallerDrop = (kind: "Noisy" | "Clean"): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id: `smaller-drop-${kind.toLowerCase()}`,
  of: "adam-matches-sgd",
  statement: `From batches of 32 to full batches, Adam-LAWN loses less test accuracy than Adam (${kind === "Noisy" ? "a quarter of the labels wrong" : "clean labels"})`,
  quantity: "difference of the drops in accuracy",
  modes: ["full"],
  arms: ["adam", "adamLawn"],
  perSeed: ({ adam, adamLawn }) => {
    const drop = (m: Metrics) => m[`accuracy${kind}Small`] - m[`accuracy${kind}Full`];
    return drop(adam) - drop(adamLawn);
  },
  pass: { min: 0 },
});

export default defineExperiment({
  settings: {
    full: { noisy: 500, clean: 300, epochs: 100, regimes: REGIMES },
    quick: { noisy: 200, clean: 150, epochs: 10, regimes: ["noisyFull", "cleanSmall"] },
  },
  seeds: { full: 6, quick: 1 },
  arms: {
    adam: { label: "Adam" },
    adamL2: { label: "Adam + L2" },
    adamw: { label: "AdamW" },
    adamLawn: { label: "Adam-LAWN" },
    sgd: { label: "SGD + L2" },
    sgdLawn: { label: "SGD-LAWN" },
  },
  run,
  claims: [
    {
      kind: "comparison",
      id: "full-batch-nll-noisy",
      of: "adam-matches-sgd",
      statement: "In full batches, a quarter of the labels wrong: Adam-LAWN's test NLL is below Adam's",
      metric: "nllNoisyFull",
      better: "adamLawn",
      worse: "adam",
      goal: "minimize",
    },
    {
      kind: "comparison",
      id: "full-batch-nll-clean",
      of: "adam-matches-sgd",
      statement: "In full batches of clean digits: Adam-LAWN's test NLL is below Adam's",
      modes: ["full"],
      metric: "nllCleanFull",
      better: "adamLawn",
      worse: "adam",
      goal: "minimize",
    },
    {
      kind: "comparison",
      id: "full-batch-accuracy-adamw",
      of: "adam-matches-sgd",
      statement:
        "In full batches, a quarter of the labels wrong: Adam-LAWN's accuracy is at least AdamW's less half a point",
      metric: "accuracyNoisyFull",
      better: "adamLawn",
      worse: "adamw",
      goal: "maximize",
      margin: -0.005,
    },
    {
      kind: "comparison",
      id: "full-batch-accuracy-sgd",
      of: "adam-matches-sgd",
      statement:
        "In full batches, a quarter of the labels wrong: Adam-LAWN's accuracy is at least that of SGD with decay less half a point",
      metric: "accuracyNoisyFull",
      better: "adamLawn",
      worse: "sgd",
      goal: "maximize",
      margin: -0.005,
    },
    smallerDrop("Noisy"),
    smallerDrop("Clean"),
    {
      kind: "statistic",
      id: "gradient-norm",
      of: "logits-stay-bounded",
      statement:
        "On clean digits in batches of 32, Adam-LAWN's last training gradient is at least 100 times as long as Adam's",
      quantity: "log₁₀ of the ratio of gradient norms",
      modes: ["full"],
      arms: ["adam", "adamLawn"],
      perSeed: ({ adam, adamLawn }) => Math.log10(adamLawn.gradientNorm / adam.gradientNorm),
      pass: { min: 2 },
    },
    {
      kind: "comparison",
      id: "lower-logits",
      of: "logits-stay-bounded",
      statement:
        "On clean digits in batches of 32, the mean largest logit at the end is lower under Adam-LAWN than under Adam",
      metric: "maxLogit",
      better: "adamLawn",
      worse: "adam",
      goal: "minimize",
    },
    {
      kind: "comparison",
      id: "sgd-lawn",
      of: "works-across-optimizers",
      statement:
        "In full batches, a quarter of the labels wrong: SGD-LAWN's test NLL is below that of SGD with decay",
      metric: "nllNoisyFull",
      better: "sgdLawn",
      worse: "sgd",
      goal: "minimize",
    },
  ],
  figure: ({ Plot, units, arms, mode }) => {
    const labelOf = (arm: string): string => arms.find(({ name }) => name === arm)!.label;
    const curve = (name: "gradientCurve" | "logitCurve") =>
      units
        .filter(({ arm }) => ["adam", "adamw", "adamLawn"].includes(arm))
        .flatMap(({ arm, seed, metrics }) =>
          metrics[name].map((value, i) => ({ arm: labelOf(arm), seed, tenth: i + 1, value })),
        );
    const drawn = (name: "gradientCurve" | "logitCurve", title: string) => ({
      title,
      options: {
        width: 460,
        height: 280,
        x: { label: "tenth of the training" },
        y: { label: null, type: "log" as const, grid: true },
        color: { legend: true },
        marks: [
          Plot.line(curve(name), { x: "tenth", y: "value", z: "seed", stroke: "arm", opacity: 0.2 }),
          Plot.line(
            curve(name),
            Plot.groupX({ y: "median" }, { x: "tenth", y: "value", stroke: "arm", strokeWidth: 2 }),
          ),
        ],
      },
    });
    const bars = units.flatMap(({ arm, metrics }) =>
      (mode === "full" ? (["Small", "Full"] as const) : (["Full"] as const)).map((batches) => ({
        arm: labelOf(arm),
        batches: batches === "Small" ? "32" : "full",
        accuracy: metrics[`accuracyNoisy${batches}`],
      })),
    );
    return [
      drawn("logitCurve", "Mean largest logit, clean digits"),
      drawn("gradientCurve", "Norm of the training gradient, clean digits"),
      {
        title: "Test accuracy, a quarter of the training labels wrong",
        options: {
          width: 560,
          height: 280,
          fx: { label: null },
          x: { label: "batch size", type: "band" },
          y: { label: "accuracy", grid: true },
          marks: [
            Plot.dot(bars, { fx: "arm", x: "batches", y: "accuracy", opacity: 0.4 }),
            Plot.tickY(
              bars,
              Plot.groupX({ y: "mean" }, { fx: "arm", x: "batches", y: "accuracy", strokeWidth: 2 }),
            ),
          ],
        },
      },
    ];
  },
});
