import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { claims, type Metrics } from "./claims.ts";
import { type Cell, equalCells, GRIDS } from "./grids.ts";
import { type Arm, type CellScores, type Regime, type Sizes, trainRegime } from "./sweep.ts";
import { chooseCells } from "./tuning.ts";

const REGIMES = ["noisySmall", "noisyFull", "cleanSmall", "cleanFull"] as const satisfies readonly Regime[];

const titled = (regime: Regime) => `${regime[0]!.toUpperCase()}${regime.slice(1)}`;

interface Settings extends Sizes {
  /** The others' metrics are left at 0. */
  readonly regimes: readonly Regime[];
  readonly tuningSeeds: number;
}

/** The mean, 0 of nothing. */
const mean = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0) / Math.max(values.length, 1);

const valuesOf = ({ rate, second }: Cell): readonly [number, number] => [rate, second];

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { regimes, epochs, tuningSeeds } = settings;
  const entries: [string, number][] = REGIMES.flatMap((regime) => [
    [`nll${titled(regime)}`, 0],
    [`accuracy${titled(regime)}`, 0],
  ]);
  const chosen: [number, number, number, number][] = [];
  let curves: readonly CellScores[] = [];
  let equal: readonly CellScores[] = [];
  for (const [i, regime] of regimes.entries()) {
    const choice = await chooseCells(arm, regime, settings, tuningSeeds);
    const cells = [GRIDS[arm][regime][choice.nll]!, GRIDS[arm][regime][choice.accuracy]!] as const;
    chosen.push([...valuesOf(cells[0]), ...valuesOf(cells[1])]);
    const reports: (readonly CellScores[])[] = [];
    const all = regime === "cleanSmall" ? [...cells, ...equalCells(arm)] : cells;
    for await (const report of trainRegime(arm, regime, settings, seed, all)) {
      reports.push(report.cells);
      const metrics = { loss: report.cells[0]!.trainLoss };
      yield { step: i * epochs + report.epoch, of: regimes.length * epochs, metrics };
    }
    const [byNll, byAccuracy, ...equals] = reports.at(-1)!;
    entries.push([`nll${titled(regime)}`, byNll!.nll], [`accuracy${titled(regime)}`, byAccuracy!.accuracy]);
    if (regime !== "cleanSmall") continue;
    curves = reports.map((scores) => scores[1]!);
    equal = equals;
  }
  const last = curves.at(-1)!;
  return {
    ...(Object.fromEntries(entries) as unknown as Metrics),
    gradientNorm: last.gradientNorm,
    maxLogit: last.maxLogit,
    trainLoss: last.trainLoss,
    equalGradient: mean(equal.map(({ gradientNorm }) => Math.log10(gradientNorm))),
    equalLogit: mean(equal.map(({ maxLogit }) => maxLogit)),
    equalLoss: mean(equal.map(({ trainLoss }) => Math.log10(trainLoss))),
    gradientCurve: curves.map(({ gradientNorm }) => gradientNorm),
    logitCurve: curves.map(({ maxLogit }) => maxLogit),
    chosen,
  };
}

export default defineExperiment({
  settings: {
    full: { noisy: 500, clean: 300, epochs: 100, regimes: REGIMES, tuningSeeds: 4 },
    quick: { noisy: 200, clean: 150, epochs: 10, regimes: ["noisyFull", "cleanSmall"], tuningSeeds: 1 },
  },
  seeds: { full: 8, quick: 1 },
  arms: {
    adam: { label: "Adam" },
    adamL2: { label: "Adam + L2" },
    adamw: { label: "AdamW" },
    adamLawn: { label: "Adam-LAWN" },
    sgd: { label: "SGD + L2" },
    sgdLawn: { label: "SGD-LAWN" },
  },
  run,
  claims,
  figure: ({ Plot, units, arms, mode }) => {
    const labelOf = (arm: string): string => arms.find(({ name }) => name === arm)!.label;
    const curve = (name: "gradientCurve" | "logitCurve") =>
      units
        .filter(({ arm }) => ["adam", "adamw", "adamLawn"].includes(arm))
        .flatMap(({ arm, seed, metrics }) =>
          metrics[name].map((value, i) => ({
            arm: labelOf(arm),
            line: `${arm} ${seed}`,
            tenth: i + 1,
            value,
          })),
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
          Plot.line(curve(name), { x: "tenth", y: "value", z: "line", stroke: "arm", opacity: 0.2 }),
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
