import {
  type DeterministicClaim,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { effectiveRateGap, recursionError, rescaledGap, unitNormSpread } from "./exact.ts";
import { coefficient, partialShare, spreadWithin } from "./regression.ts";
import { type CellResult, type Sizes, trainGrid } from "./sweep.ts";

interface Settings extends Sizes {
  readonly rates: readonly number[];
  /** ηλ of the cells; each goes with every rate. */
  readonly products: readonly number[];
  /** Steps of the exact comparisons. */
  readonly exactSteps: number;
}

type Arm = "normalized" | "plain" | "rescaled" | "unitNorm";

/** What an arm doesn't measure is 0 or empty. */
type Metrics = {
  /** Of the cells in order. */
  readonly rates: readonly number[];
  readonly penalties: readonly number[];
  readonly testNll: readonly number[];
  readonly firstNorms: readonly number[];
  readonly secondNorms: readonly number[];
  /** g̃² of the two layers. */
  readonly firstSquares: readonly number[];
  readonly secondSquares: readonly number[];
  readonly sgdGap: number;
  readonly momentumGap: number;
  readonly adamGap: number;
  /** log₁₀ of the gap when Adam's rate is scaled as SGD's. */
  readonly adamWrongGap: number;
  readonly recursion: number;
  readonly spread: number;
  readonly effectiveGap: number;
};

const NOTHING: Metrics = {
  rates: [],
  penalties: [],
  testNll: [],
  firstNorms: [],
  secondNorms: [],
  firstSquares: [],
  secondSquares: [],
  sgdGap: 0,
  momentumGap: 0,
  adamGap: 0,
  adamWrongGap: 0,
  recursion: 0,
  spread: 0,
  effectiveGap: 0,
};

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { rates, products, exactSteps, epochs } = settings;
  if (arm === "unitNorm") {
    yield { step: 0, of: 2 };
    const spread = await unitNormSpread(exactSteps, seed);
    yield { step: 1, of: 2 };
    return { ...NOTHING, spread, effectiveGap: await effectiveRateGap(exactSteps, seed) };
  }
  if (arm === "rescaled") {
    const alpha = 2.5;
    yield { step: 0, of: 5 };
    const sgdGap = await rescaledGap("sgd", alpha ** 2, exactSteps, seed);
    yield { step: 1, of: 5 };
    const momentumGap = await rescaledGap("momentum", alpha ** 2, exactSteps, seed);
    yield { step: 2, of: 5 };
    const adamGap = await rescaledGap("adam", alpha, exactSteps, seed);
    yield { step: 3, of: 5 };
    const adamWrongGap = Math.log10(await rescaledGap("adam", alpha ** 2, exactSteps, seed));
    yield { step: 4, of: 5 };
    const recursion = await recursionError(exactSteps, seed);
    return { ...NOTHING, sgdGap, momentumGap, adamGap, adamWrongGap, recursion };
  }
  const cells = products.flatMap((product) => rates.map((rate) => ({ rate, lambda: product / rate })));
  const training = trainGrid(cells, arm === "normalized", settings, seed);
  let turn = await training.next();
  for (; !turn.done; turn = await training.next())
    yield { step: turn.value.epoch, of: epochs, metrics: { loss: turn.value.loss } };
  const results: readonly CellResult[] = turn.value;
  return {
    ...NOTHING,
    rates: cells.map(({ rate }) => rate),
    penalties: cells.map(({ lambda }) => lambda),
    testNll: results.map(({ testNll }) => testNll),
    firstNorms: results.map((cell) => cell.norms[0]),
    secondNorms: results.map((cell) => cell.norms[1]),
    firstSquares: results.map((cell) => cell.squares[0]),
    secondSquares: results.map((cell) => cell.squares[1]),
  };
}

const averages = (lists: readonly (readonly number[])[]): number[] =>
  lists[0]!.map((_, i) => lists.reduce((total, list) => total + list[i]!, 0) / lists.length);

/** Cells whose mean test log loss over the seeds is a number, and its log. */
function losses(metrics: readonly Metrics[]) {
  const { rates, penalties } = metrics[0]!;
  return averages(metrics.map(({ testNll }) => testNll)).flatMap((nll, i) =>
    Number.isFinite(nll) ? [{ rate: rates[i]!, lambda: penalties[i]!, logLoss: Math.log(nll) }] : [],
  );
}

/** Partial R² of log η/λ, given a quadratic in log ηλ, for the log of the test log loss (the seeds' mean). */
function shareOfRatio(metrics: readonly Metrics[]): number {
  const cells = losses(metrics);
  const product = cells.map(({ rate, lambda }) => Math.log(rate * lambda));
  return partialShare(
    cells.map(({ logLoss }) => logLoss),
    cells.map(({ rate, lambda }) => Math.log(rate / lambda)),
    [product, product.map((v) => v * v)],
  );
}

/** Root mean square distance of the log of the test log loss (the seeds' mean) from its mean at the same ηλ. */
function spreadAtProduct(metrics: readonly Metrics[]): number {
  const cells = losses(metrics);
  return spreadWithin(
    cells.map(({ logLoss }) => logLoss),
    cells.map(({ rate, lambda }) => (rate * lambda).toPrecision(3)),
  );
}

const logs = (values: readonly number[]): number[] => values.map(Math.log);

/** The mean over the two layers of a statistic of the cells' log norms and log g̃². */
function ofLayers(
  { firstNorms, secondNorms, firstSquares, secondSquares }: Metrics,
  statistic: (norms: readonly number[], squares: readonly number[]) => number,
): number {
  return (
    (statistic(logs(firstNorms), logs(firstSquares)) + statistic(logs(secondNorms), logs(secondSquares))) / 2
  );
}

/** Log–log slope of the norms on `ηg̃²/4λ`. */
const lawSlope = (metrics: Metrics): number =>
  ofLayers(metrics, (norms, squares) =>
    coefficient(
      norms,
      squares.map((g, i) => g + Math.log(metrics.rates[i]! / (4 * metrics.penalties[i]!))),
    ),
  );

/** Exponent of η in the norms, λ being fixed, or of λ at a fixed η. */
function exponent(metrics: Metrics, of: "rates" | "penalties"): number {
  const other = of === "rates" ? "penalties" : "rates";
  return ofLayers(metrics, (norms) => coefficient(norms, logs(metrics[of]), [logs(metrics[other])]));
}

const same = (
  id: string,
  of: string,
  statement: string,
  metric: "sgdGap" | "momentumGap" | "adamGap",
): DeterministicClaim<Arm, typeof metric> => ({
  kind: "deterministic",
  id,
  of,
  statement,
  arm: "rescaled",
  metric,
  expected: 0,
  tolerance: 1e-6,
});

export default defineExperiment({
  settings: {
    full: {
      train: 600,
      epochs: 300,
      rates: [0.03, 0.1, 0.3],
      products: [1e-3, 2e-3, 4e-3, 8e-3],
      exactSteps: 200,
    },
    quick: { train: 600, epochs: 20, rates: [0.03, 0.3], products: [1e-3, 8e-3], exactSteps: 20 },
  },
  seeds: { full: 4, quick: 1 },
  arms: {
    normalized: { label: "Batch normalization" },
    plain: { label: "No normalization" },
    rescaled: { label: "Rescaled weights" },
    unitNorm: { label: "Weights of norm 1" },
  },
  run,
  claims: [
    same(
      "rescaled-sgd",
      "no-regularizing-effect",
      "SGD: (αw₀, λ/α², α²η) computes the same functions as (w₀, λ, η) to 1e-6, step by step, in float64",
      "sgdGap",
    ),
    same(
      "rescaled-momentum",
      "no-regularizing-effect",
      "SGD with momentum: (αw₀, λ/α², α²η) computes the same functions as (w₀, λ, η) to 1e-6",
      "momentumGap",
    ),
    {
      kind: "deterministic",
      id: "effective-rate",
      of: "no-regularizing-effect",
      statement:
        "SGD with penalties of 0 to 0.1 computes the same functions, to 1e-6, as SGD without a penalty on weights of norm 1 at the rates η/((1 - 2ηλ)‖w‖²)",
      arm: "unitNorm",
      metric: "effectiveGap",
      expected: 0,
      tolerance: 1e-6,
    },
    {
      kind: "deterministic",
      id: "unit-norm-spread",
      of: "no-regularizing-effect",
      statement:
        "With weights scaled back to norm 1 after every step, at rates η/(1 + 2ηλ), the test log loss is the same for penalties of 0 to 0.1, to 1e-6 (a check of the wrapper: normalization isn't needed for it)",
      arm: "unitNorm",
      metric: "spread",
      expected: 0,
      tolerance: 1e-6,
    },
    {
      kind: "statistic",
      id: "collapse",
      of: "collapse-on-effective-rate",
      statement:
        "With normalization, log η/λ explains less than 15% of what a quadratic in log ηλ leaves of the log test loss",
      quantity: "partial R² of log η/λ",
      modes: ["full"],
      arms: ["normalized"],
      acrossSeeds: (seeds) => shareOfRatio(seeds.map(({ normalized }) => normalized)),
      pass: { max: 0.15 },
    },
    {
      kind: "statistic",
      id: "no-collapse-without",
      of: "collapse-on-effective-rate",
      statement: "Without normalization, log η/λ explains more of it than with",
      quantity: "difference of the partial R²",
      modes: ["full"],
      arms: ["normalized", "plain"],
      acrossSeeds: (seeds) =>
        shareOfRatio(seeds.map(({ plain }) => plain)) -
        shareOfRatio(seeds.map(({ normalized }) => normalized)),
      pass: { min: 0 },
    },
    {
      kind: "statistic",
      id: "narrower-with",
      of: "collapse-on-effective-rate",
      statement:
        "At the same ηλ, log test losses of different η lie closer together with normalization than without",
      quantity: "root mean square distance from the mean at the same ηλ, without less with",
      modes: ["full"],
      arms: ["normalized", "plain"],
      acrossSeeds: (seeds) =>
        spreadAtProduct(seeds.map(({ plain }) => plain)) -
        spreadAtProduct(seeds.map(({ normalized }) => normalized)),
      pass: { min: 0 },
    },
    same(
      "rescaled-adam",
      "adam-partial-compensation",
      "Adam: (αw₀, λ/α², αη) computes the same functions as (w₀, λ, η) to 1e-6: the norm counts once",
      "adamGap",
    ),
    {
      kind: "statistic",
      id: "adam-not-squared",
      of: "adam-partial-compensation",
      statement: "Adam: with α²η the logits come to differ by more than 0.01",
      quantity: "log₁₀ of the largest difference",
      arms: ["rescaled"],
      perSeed: ({ rescaled }) => rescaled.adamWrongGap,
      pass: { min: -2 },
    },
    {
      kind: "statistic",
      id: "norm-law",
      of: "norm-equilibrium",
      statement:
        "Over cells with 4ηλ · steps > 10, ‖w‖ grows as ηg̃²/4λ to the power 0.25 ± 0.05, g̃² measured in the same training",
      quantity: "log–log slope of ‖w‖ on ηg̃²/4λ",
      modes: ["full"],
      arms: ["normalized"],
      perSeed: ({ normalized }) => lawSlope(normalized),
      pass: { min: 0.2, max: 0.3 },
    },
    {
      kind: "statistic",
      id: "norm-exponent-rate",
      of: "norm-equilibrium",
      statement: "At a fixed λ, with whatever g̃ comes of it, ‖w‖ grows as η to the power 0.25 ± 0.05",
      quantity: "exponent of η in ‖w‖",
      modes: ["full"],
      arms: ["normalized"],
      perSeed: ({ normalized }) => exponent(normalized, "rates"),
      pass: { min: 0.2, max: 0.3 },
    },
    {
      kind: "statistic",
      id: "norm-exponent-penalty",
      of: "norm-equilibrium",
      statement: "At a fixed η, with whatever g̃ comes of it, ‖w‖ falls as λ to the power -0.25 ± 0.05",
      quantity: "exponent of λ in ‖w‖",
      modes: ["full"],
      arms: ["normalized"],
      perSeed: ({ normalized }) => exponent(normalized, "penalties"),
      pass: { min: -0.3, max: -0.2 },
    },
    {
      kind: "deterministic",
      id: "norm-recursion",
      of: "norm-equilibrium",
      statement:
        "The recursion for ‖w‖² predicts the norms from the gradients' lengths to a relative 1e-9, in float64",
      arm: "rescaled",
      metric: "recursion",
      expected: 0,
      tolerance: 1e-9,
    },
  ],
  figure: ({ Plot, units }) => {
    const points = units.flatMap(({ arm, seed, metrics }) =>
      metrics.rates.map((rate, i) => ({
        arm,
        seed,
        product: rate * metrics.penalties[i]!,
        law: (rate * metrics.firstSquares[i]!) / (4 * metrics.penalties[i]!),
        rate: `η = ${rate}`,
        nll: metrics.testNll[i]!,
        norm: metrics.firstNorms[i]!,
      })),
    );
    const losses = (arm: Arm, title: string) => ({
      title,
      options: {
        width: 460,
        height: 300,
        x: { type: "log" as const, label: "ηλ", grid: true },
        y: { type: "log" as const, label: "test log loss", grid: true },
        color: { legend: true },
        marks: [
          Plot.dot(
            points.filter((p) => p.arm === arm && Number.isFinite(p.nll)),
            { x: "product", y: "nll", stroke: "rate", r: 2 },
          ),
        ],
      },
    });
    return [
      losses("normalized", "With batch normalization"),
      losses("plain", "Without normalization"),
      {
        title: "Norm of the first layer",
        options: {
          width: 460,
          height: 300,
          x: { type: "log" as const, label: "ηg̃²/4λ", grid: true },
          y: { type: "log" as const, label: "‖w‖", grid: true },
          color: { legend: true },
          marks: [
            Plot.dot(
              points.filter((p) => p.arm === "normalized"),
              { x: "law", y: "norm", stroke: "rate", r: 2 },
            ),
          ],
        },
      },
    ];
  },
});
