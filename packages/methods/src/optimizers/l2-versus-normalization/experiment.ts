import {
  type DeterministicClaim,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { linearSlope } from "@prior-art/toolkit/stats";
import {
  type CellResult,
  recursionError,
  rescaledGap,
  type Sizes,
  trainGrid,
  unitNormSpread,
} from "./sweep.ts";

const RATES = [0.01, 0.03, 0.1, 0.3];
const PENALTIES = [1e-5, 1e-4, 1e-3, 1e-2];
/** Only for the law of the norm, which asks for penalties that act within the training. */
const STRONG = [3e-2, 1e-1];
const BATCH = 64;

interface Settings extends Sizes {
  readonly rates: readonly number[];
  readonly penalties: readonly number[];
  readonly strong: readonly number[];
  /** Steps of the exact comparisons. */
  readonly exactSteps: number;
}

type Arm = "normalized" | "plain" | "rescaled" | "unitNorm";

/** What an arm doesn't measure is 0 or empty. */
type Metrics = {
  /** Of the cells in order: rates by penalties, then rates by strong penalties. */
  readonly rates: readonly number[];
  readonly penalties: readonly number[];
  readonly testNll: readonly number[];
  readonly firstNorms: readonly number[];
  readonly secondNorms: readonly number[];
  readonly sgdGap: number;
  readonly momentumGap: number;
  readonly adamGap: number;
  /** log₁₀ of the gap when Adam's rate is scaled as SGD's. */
  readonly adamWrongGap: number;
  readonly recursion: number;
  readonly spread: number;
};

const NOTHING: Metrics = {
  rates: [],
  penalties: [],
  testNll: [],
  firstNorms: [],
  secondNorms: [],
  sgdGap: 0,
  momentumGap: 0,
  adamGap: 0,
  adamWrongGap: 0,
  recursion: 0,
  spread: 0,
};

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { rates, penalties, strong, exactSteps, epochs } = settings;
  if (arm === "unitNorm") {
    yield { step: 0, of: 1 };
    return { ...NOTHING, spread: await unitNormSpread(Math.ceil(exactSteps / 4), seed) };
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
  const cells = [penalties, arm === "normalized" ? strong : []].flatMap((lambdas) =>
    rates.flatMap((rate) => lambdas.map((lambda) => ({ rate, lambda }))),
  );
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
  };
}

/** What is left of `y` after least squares on the columns, which are made orthogonal one by one. */
function residual(y: readonly number[], columns: readonly (readonly number[])[]): number[] {
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((t, v, i) => t + v * b[i]!, 0);
  const basis: (readonly number[])[] = [];
  const rest = (v: readonly number[]) =>
    basis.reduce<readonly number[]>((r, b) => {
      const c = dot(r, b) / dot(b, b);
      return r.map((value, i) => value - c * b[i]!);
    }, v);
  for (const column of columns) basis.push(rest(column));
  return [...rest(y)];
}

const averages = (lists: readonly (readonly number[])[]): number[] =>
  lists[0]!.map((_, i) => lists.reduce((total, list) => total + list[i]!, 0) / lists.length);

/**
 * Share of what a quadratic in log ηλ leaves of the log of the test log loss (the seeds' mean) that log η/λ explains;
 * strong penalties left out.
 */
function partialShare(metrics: readonly Metrics[]): number {
  const { rates, penalties } = metrics[0]!;
  const mean = averages(metrics.map(({ testNll }) => testNll));
  const used = mean.flatMap((nll, i) => (Number.isFinite(nll) && penalties[i]! <= 0.01 ? [i] : []));
  const y = used.map((i) => Math.log(mean[i]!));
  const u = used.map((i) => Math.log(rates[i]! * penalties[i]!));
  const z = used.map((i) => Math.log(rates[i]! / penalties[i]!));
  const known = [u.map(() => 1), u, u.map((v) => v * v)];
  const [left, extra] = [residual(y, known), residual(z, known)];
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((t, v, i) => t + v * b[i]!, 0);
  return dot(left, extra) ** 2 / (dot(left, left) * dot(extra, extra));
}

/** Log–log slope of the norms on η/λ over the cells with `4ηλ · steps > 2`, mean of the two layers. */
function normSlope({ rates, penalties, firstNorms, secondNorms }: Metrics, { train, epochs }: Sizes): number {
  const steps = epochs * Math.floor(train / BATCH);
  const settled = rates.flatMap((rate, i) => (4 * rate * penalties[i]! * steps > 2 ? [i] : []));
  const ratio = settled.map((i) => Math.log(rates[i]! / penalties[i]!));
  const slopes = [firstNorms, secondNorms].map(
    (norms) =>
      linearSlope(
        ratio,
        settled.map((i) => Math.log(norms[i]!)),
      ).slope,
  );
  return (slopes[0]! + slopes[1]!) / 2;
}

const FULL: Settings = {
  train: 600,
  epochs: 100,
  rates: RATES,
  penalties: PENALTIES,
  strong: STRONG,
  exactSteps: 200,
};

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
    full: FULL,
    quick: {
      train: 600,
      epochs: 20,
      rates: [0.03, 0.3],
      penalties: [1e-4, 1e-2],
      strong: [],
      exactSteps: 20,
    },
  },
  seeds: { full: 6, quick: 1 },
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
      id: "unit-norm-spread",
      of: "no-regularizing-effect",
      statement: "At norm 1 the test log loss is the same for penalties of 0 to 0.1, to 1e-6",
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
      acrossSeeds: (seeds) => partialShare(seeds.map(({ normalized }) => normalized)),
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
        partialShare(seeds.map(({ plain }) => plain)) -
        partialShare(seeds.map(({ normalized }) => normalized)),
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
      id: "norm-slope",
      of: "norm-equilibrium",
      statement: "Over the runs with 4ηλ · steps > 2, ‖w‖ grows as (η/λ) to the power 0.25 ± 0.05",
      quantity: "log–log slope of ‖w‖ on η/λ",
      modes: ["full"],
      arms: ["normalized"],
      perSeed: ({ normalized }) => normSlope(normalized, FULL),
      pass: { min: 0.2, max: 0.3 },
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
        ratio: rate / metrics.penalties[i]!,
        lambda: `λ = ${metrics.penalties[i]!.toExponential(0)}`,
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
            { x: "product", y: "nll", stroke: "lambda", r: 2 },
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
          x: { type: "log" as const, label: "η/λ", grid: true },
          y: { type: "log" as const, label: "‖w‖", grid: true },
          color: { legend: true },
          marks: [
            Plot.dot(
              points.filter((p) => p.arm === "normalized"),
              { x: "ratio", y: "norm", stroke: "lambda", r: 2 },
            ),
          ],
        },
      },
    ];
  },
});
