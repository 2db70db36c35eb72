import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { markovText } from "../markovText.ts";
import { fitScaling } from "./method.ts";
import { bestBatches, lossAtNorm, normDrift, type Optimum, optimaOf, optimumAlong } from "./optima.ts";
import { adamOf, type SweepPoint, scionOf, sweep } from "./sweep.ts";
import { normAt, transferErrors } from "./transfer.ts";

interface Settings {
  readonly width: number;
  /** D for the base width. */
  readonly horizons: readonly number[];
  readonly batches: readonly number[];
  /** log₂ of the rates. */
  readonly logRates: Readonly<Record<"scion" | "adam", readonly number[]>>;
  /** Other widths, at one D and some batches. */
  readonly widths: readonly number[];
  readonly widthHorizon: number;
  readonly widthBatches: readonly number[];
  /** log₂ of what the radius of one group is multiplied by, and the rate and batch meanwhile. */
  readonly multipliers: readonly number[];
  readonly groupLogRate: number;
  readonly groupBatch: number;
  readonly heldOut: number;
}

type Metrics = {
  /** Width, D, B, log₂ η, loss, log₂ norm of every model. */
  readonly points: readonly (readonly number[])[];
  /** Best batch for each D and width: width, D, B, log₂ n*, log₂ η*, loss, inside (norm, rate). */
  readonly optima: readonly (readonly number[])[];
  /** Standard deviations over D and widths, and the range of log₂ n*. */
  readonly normSpread: number;
  readonly rateSpread: number;
  readonly normRange: number;
  /** By optimum: slope of log₂ of the norm in log₂ η, and errors of the rate by the others' norm and by their rate, see `transferErrors`. */
  readonly normSlopes: readonly number[];
  readonly errorsByNorm: readonly number[];
  readonly errorsByRate: readonly number[];
  /** Change of log₂ n* from the smallest D to the largest by its slope, base width. */
  readonly normDrift: number;
  /** Loss at n*, base width: by D and batch. */
  readonly lossesAtNorm: readonly (readonly number[])[];
  /** Exponents of η* and B* in D at the best batch, and of η* in B and D over all. */
  readonly rateExponent: number;
  readonly batchExponent: number;
  readonly jointExponents: readonly number[];
  /** Loss by group (input, hidden, output) and multiplier. */
  readonly groups: readonly (readonly number[])[];
  /** Range of the loss from a quarter to four times the rate of one group. */
  readonly sensitivities: readonly number[];
  /** log₂ of the hidden layers' best multiplier. */
  readonly hiddenMultiplier: number;
};

const spread = (values: readonly number[]): number => {
  const center = mean(values);
  return Math.sqrt(values.reduce((total, value) => total + (value - center) ** 2, 0) / (values.length - 1));
};

const rootMeanSquare = (values: readonly number[]): number => Math.sqrt(mean(values.map((v) => v ** 2)));

const SOURCE = { vocabulary: 16, context: 4 };

async function* run({
  arm,
  seed,
  settings,
}: RunContext<"scion" | "adam", Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { width, horizons, batches, widths, widthHorizon, widthBatches, multipliers, heldOut } = settings;
  const logRates = settings.logRates[arm];
  const others = arm === "scion" ? widths : [];
  const of = batches.length + others.length * widthBatches.length + 1;
  let step = 0;
  const sweepOf = (atWidth: number, batch: number, at: readonly number[]): Promise<SweepPoint[]> => {
    const common = {
      text: markovText({ ...SOURCE, width: atWidth }),
      batch,
      horizons: at,
      logRates,
      heldOut,
      seed,
    };
    return arm === "scion"
      ? sweep({ ...common, optimizer: scionOf })
      : sweep({ ...common, optimizer: adamOf });
  };
  const base: SweepPoint[] = [];
  for (const batch of batches) {
    base.push(...(await sweepOf(width, batch, horizons)));
    yield { step: ++step, of };
  }
  const all = base.map((point) => [width, point] as const);
  const optima = optimaOf(width, base);
  const best = bestBatches(optima);
  for (const other of others) {
    const points: SweepPoint[] = [];
    for (const batch of widthBatches) {
      points.push(...(await sweepOf(other, batch, [widthHorizon])));
      yield { step: ++step, of };
    }
    all.push(...points.map((point) => [other, point] as const));
    best.push(...bestBatches(optimaOf(other, points)));
  }
  const groups: number[][] = [];
  if (arm === "scion" && multipliers.length > 0) {
    const radii = (["input", "hidden", "output"] as const).flatMap((group) =>
      multipliers.map((log) => ({ input: 1, hidden: 1, output: 1, [group]: 2 ** log })),
    );
    const points = await sweep({
      text: markovText({ ...SOURCE, width }),
      optimizer: scionOf,
      batch: settings.groupBatch,
      logRates: radii.map(() => settings.groupLogRate),
      radii,
      horizons: [widthHorizon],
      heldOut,
      seed,
    });
    for (let g = 0; g < 3; g++)
      groups.push(points.slice(g * multipliers.length, (g + 1) * multipliers.length).map(({ loss }) => loss));
  }
  const atBase = best.filter((optimum) => optimum.width === width);
  const exponent = (value: (optimum: Optimum) => number): number =>
    fitScaling(atBase.map((optimum) => ({ at: { tokens: optimum.tokens }, value: value(optimum) }))).exponents
      .tokens!;
  const joint =
    batches.length > 1
      ? fitScaling(
          optima.map(({ tokens, batch, logRate }) => ({ at: { batch, tokens }, value: 2 ** logRate })),
        ).exponents
      : { batch: 0, tokens: 0 };
  const tuned = best.map((optimum) => ({
    optimum,
    points: all.flatMap(([at, point]) =>
      at === optimum.width && point.tokens === optimum.tokens && point.batch === optimum.batch ? [point] : [],
    ),
  }));
  const errors = transferErrors(tuned);
  const sensitivities = groups.map((losses) => {
    const near = losses.filter((_, i) => Math.abs(multipliers[i]!) <= 2);
    return Math.max(...near) - Math.min(...near);
  });
  return {
    points: all.map(([at, { tokens, batch, logRate, loss, logNorm }]) => [
      at,
      tokens,
      batch,
      logRate,
      loss,
      logNorm,
    ]),
    optima: best.map((optimum) => [
      optimum.width,
      optimum.tokens,
      optimum.batch,
      optimum.logNorm,
      optimum.logRate,
      optimum.loss,
      optimum.insideNorm,
      optimum.insideRate,
    ]),
    normSpread: spread(best.map(({ logNorm }) => logNorm)),
    rateSpread: spread(best.map(({ logRate }) => logRate)),
    normRange:
      Math.max(...best.map(({ logNorm }) => logNorm)) - Math.min(...best.map(({ logNorm }) => logNorm)),
    normSlopes: tuned.map(({ optimum, points }) => normAt(points, optimum.logRate).slope),
    errorsByNorm: errors.byNorm,
    errorsByRate: errors.byRate,
    normDrift: normDrift(atBase),
    lossesAtNorm: atBase.map(({ tokens, logNorm }) =>
      batches.map((batch) =>
        lossAtNorm(
          base.filter((point) => point.tokens === tokens && point.batch === batch),
          logNorm,
        ),
      ),
    ),
    rateExponent: exponent(({ logRate }) => 2 ** logRate),
    batchExponent: exponent(({ batch }) => batch),
    jointExponents: [joint.batch!, joint.tokens!],
    groups,
    sensitivities,
    hiddenMultiplier:
      groups.length > 0
        ? optimumAlong(
            groups[1]!.map((loss, i) => ({
              tokens: 0,
              batch: 0,
              logRate: 0,
              loss,
              logNorm: multipliers[i]!,
            })),
            ({ logNorm }) => logNorm,
          ).at
        : 0,
  };
}

export default defineExperiment({
  settings: {
    full: {
      width: 32,
      horizons: [2 ** 14, 2 ** 15, 2 ** 16, 2 ** 17],
      batches: [32, 64, 128, 256],
      logRates: {
        scion: [-10, -9, -8, -7, -6, -5, -4, -3, -2],
        adam: [-11, -10, -9, -8, -7, -6, -5, -4, -3],
      },
      widths: [16, 64],
      widthHorizon: 2 ** 16,
      widthBatches: [64, 128],
      multipliers: [-3, -2, -1, 0, 1, 2, 3],
      groupLogRate: -6,
      groupBatch: 128,
      heldOut: 8192,
    },
    quick: {
      width: 32,
      horizons: [2 ** 13, 2 ** 14],
      batches: [128],
      logRates: { scion: [-7, -6, -5, -4, -3, -2], adam: [-8, -7, -6, -5, -4, -3] },
      widths: [],
      widthHorizon: 2 ** 13,
      widthBatches: [],
      multipliers: [],
      groupLogRate: -6,
      groupBatch: 128,
      heldOut: 4096,
    },
  },
  seeds: { full: 5, quick: 1 },
  arms: { scion: { label: "Scion" }, adam: { label: "Adam" } },
  run,
  claims: [
    {
      kind: "statistic",
      id: "norm-steadier-than-rate",
      of: "constant-optimal-norm",
      statement:
        "Over four D and three widths, at the best batch, log₂ of the optimal output norm varies at most half as much as log₂ of the optimal rate, each in its own unit",
      quantity: "ratio of standard deviations",
      arms: ["scion"],
      perSeed: ({ scion }) => scion.normSpread / scion.rateSpread,
      pass: { max: 0.5 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "norm-range",
      of: "constant-optimal-norm",
      statement: "and its range is at most 1",
      quantity: "range of log₂ n*",
      arms: ["scion"],
      perSeed: ({ scion }) => scion.normRange,
      pass: { max: 1 },
    },
    {
      kind: "statistic",
      id: "norm-transfers",
      of: "constant-optimal-norm",
      statement:
        "Over the same D and widths, the rate that ends at the others' optimal norm misses the best rate by at most half as much as the others' best rate does",
      quantity: "ratio of root mean square errors of log₂ η: with one norm over with one rate",
      arms: ["scion"],
      perSeed: ({ scion }) => rootMeanSquare(scion.errorsByNorm) / rootMeanSquare(scion.errorsByRate),
      pass: { max: 0.5 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "norm-without-drift",
      of: "constant-optimal-norm",
      statement:
        "At width 32 log₂ of the optimal norm drifts by at most 0.2, the fit error that the claim allows, from the smallest D to the largest",
      quantity: "change of log₂ n* over an eightfold D, by its slope",
      arms: ["scion"],
      perSeed: ({ scion }) => scion.normDrift,
      pass: { min: -0.2, max: 0.2 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "same-norm-other-loss",
      of: "necessary-not-sufficient",
      statement:
        "With D = 2¹⁵ the smallest and the largest batch reach the optimal norm with different losses: the largest is worse",
      quantity: "loss at n* with batch 256 minus that with batch 32",
      arms: ["scion"],
      perSeed: ({ scion: { lossesAtNorm } }) => {
        const losses = lossesAtNorm[1]!;
        // A batch that does not reach the norm speaks against the claim.
        return losses.every(Number.isFinite) ? losses.at(-1)! - losses[0]! : -1;
      },
      pass: { min: 0 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "rate-falls",
      of: "power-laws",
      statement: "At the best batch the optimal rate falls with D (the paper's exponent is −0.28)",
      quantity: "exponent of η* in D",
      arms: ["scion"],
      perSeed: ({ scion }) => scion.rateExponent,
      pass: { max: 0 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "batch-grows",
      of: "power-laws",
      statement: "and the best batch grows with D (the paper's exponent is 0.45)",
      quantity: "exponent of B* in D",
      arms: ["scion"],
      perSeed: ({ scion }) => scion.batchExponent,
      pass: { min: 0 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "output-most-sensitive",
      of: "output-group-most-sensitive",
      statement:
        "Between a quarter and four times one group's rate, the loss varies more for the output layer than for either other group",
      quantity: "range of the loss for the output layer minus the larger of the others'",
      arms: ["scion"],
      perSeed: ({ scion: { sensitivities } }) =>
        sensitivities[2]! - Math.max(sensitivities[0]!, sensitivities[1]!),
      pass: { min: 0 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "lower-hidden-rate",
      of: "output-group-most-sensitive",
      statement: "The best multiplier of the hidden layers' rate is below 1",
      quantity: "log₂ of the hidden layers' best multiplier",
      arms: ["scion"],
      perSeed: ({ scion }) => scion.hiddenMultiplier,
      pass: { max: 0 },
      modes: ["full"],
    },
  ],
  figure: ({ Plot, units }) => {
    const first = units.filter((unit) => unit.arm === "scion" && unit.seed === 0);
    const points = first.flatMap(({ metrics }) =>
      metrics.points.map(([width, tokens, batch, , loss, logNorm]) => ({
        curve: `${width}/${tokens}/${batch}`,
        width,
        tokens: `2^${Math.log2(tokens!)}`,
        loss,
        logNorm,
      })),
    );
    const optima = units
      .filter((unit) => unit.arm === "scion")
      .flatMap(({ metrics }) =>
        metrics.optima.map(([width, tokens, batch, logNorm, logRate, loss]) => ({
          width: `width ${width}`,
          tokens,
          batch,
          logNorm,
          logRate,
          loss,
        })),
      );
    return [
      {
        title: "Loss by output norm: a curve for each D and batch, width 32",
        options: {
          width: 560,
          height: 380,
          x: { label: "log₂ of the output norm →", grid: true },
          y: { label: "excess loss, nats", type: "log" as const, grid: true },
          color: { legend: true },
          marks: [
            Plot.line(
              points.filter(({ width }) => width === 32),
              { x: "logNorm", y: "loss", z: "curve", stroke: "tokens", sort: "logNorm" },
            ),
            Plot.dot(
              points.filter(({ width }) => width === 32),
              { x: "logNorm", y: "loss", fill: "tokens", r: 2 },
            ),
          ],
        },
      },
      {
        title: "Optimal norm and optimal rate, every seed",
        options: {
          width: 420,
          height: 340,
          x: { label: "D →", type: "log" as const, base: 2, grid: true },
          y: { label: "log₂ η* (circles), log₂ n* (dots)", grid: true },
          color: { legend: true },
          marks: [
            Plot.dot(optima, { x: "tokens", y: "logNorm", fill: "width", r: 3 }),
            Plot.dot(optima, { x: "tokens", y: "logRate", stroke: "width", r: 3 }),
          ],
        },
      },
    ];
  },
});
