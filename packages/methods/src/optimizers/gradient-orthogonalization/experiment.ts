import { item, jit, random, tensor } from "@prior-art/tensor";
import { digits, selectEntries, selectRows, stratifiedSplit } from "@prior-art/toolkit/data";
import {
  type Claim,
  DivergedError,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { adam, cosineDecay, fit, type GradientTransformation } from "@prior-art/toolkit/optim";
import { functionGaps, regression } from "./logistic.ts";
import { muonGeometry, orthogonalSgdm, trustRegionMomentum } from "./method.ts";
import { biasFloors, measureRates, type Norm, secondHalf } from "./problems.ts";

const powers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => 2 ** (from + i));

interface Settings {
  /** Numbers of steps, K. */
  readonly counts: readonly number[];
  readonly logisticCounts: readonly number[];
  /** Steps on noisy least squares with and without extrapolation, and on logistic regression with and without decay. */
  readonly steps: number;
  readonly epochs: number;
}
const settings: Record<"full" | "quick", Settings> = {
  full: { counts: powers(6, 12), logisticCounts: powers(7, 12), steps: 1000, epochs: 25 },
  quick: { counts: powers(6, 9), logisticCounts: powers(7, 9), steps: 200, epochs: 3 },
};

const shares = { radius: [0.0075, 0.015, 0.03, 0.06], momentum: [0.003, 0.01, 0.05, 0.25, 1] };

const digitRadii = [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32];

const arms = {
  rates: { label: "least squares, tuned by theory" },
  bias: { label: "lopsided noise" },
  plain: { label: "noisy least squares", space: shares },
  extrapolated: { label: "noisy least squares, extrapolated", space: shares },
  noDecay: {
    label: "logistic regression",
    space: { radius: [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064] },
  },
  decay: {
    label: "logistic regression, decay",
    space: { radius: [0.002, 0.004, 0.008, 0.016, 0.032], ball: [1, 4, 16, 64] },
  },
  decayTheory: { label: "logistic regression, decay tuned by theory" },
  digitsMuon: { label: "digits, Muon", space: { radius: digitRadii } },
  digitsOrthogonal: { label: "digits, Orthogonal-SGDM", space: { radius: digitRadii } },
  digitsAdam: { label: "digits, Adam", space: { radius: [3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.04, 0.08] } },
} as const;
type Arm = keyof typeof arms;

/** Every unit has these; what it doesn't measure is empty or 0. */
type Metrics = {
  /**
   * What is tuned for: the mean dual norm of the second half's gradients, the gap of function values in the last
   * twentieth, or the log loss of held-out digits.
   */
  readonly score: number;
  readonly curve: readonly number[];
  /** Least dual norms by K, and what the theory allows. */
  readonly l2: readonly number[];
  readonly l2Noisy: readonly number[];
  readonly linf: readonly number[];
  readonly linfNoisy: readonly number[];
  readonly spectral: readonly number[];
  readonly spectralNoisy: readonly number[];
  /** Rows in the order of the six above. */
  readonly bounds: readonly (readonly number[])[];
  /** Dual norms that are left under lopsided noise, by K. */
  readonly muonFloor: readonly number[];
  readonly orthogonalFloor: readonly number[];
  /** Gaps of function values by K. */
  readonly gaps: readonly number[];
};

const NOTHING: Metrics = {
  score: 0,
  curve: [],
  l2: [],
  l2Noisy: [],
  linf: [],
  linfNoisy: [],
  spectral: [],
  spectralNoisy: [],
  bounds: [],
  muonFloor: [],
  orthogonalFloor: [],
  gaps: [],
};

const NORMS: readonly Norm[] = ["l2", "linf", "spectral"];
const CASES = NORMS.flatMap((norm) => [
  { norm, noise: 0, metric: norm },
  { norm, noise: 1, metric: `${norm}Noisy` as const },
]);

async function* rates(seed: number, counts: readonly number[]): AsyncGenerator<Progress, Metrics, void> {
  const measured: Record<string, readonly number[]> = {};
  const bounds: (readonly number[])[] = [];
  for (const [i, { norm, noise, metric }] of CASES.entries()) {
    const result = await measureRates(norm, noise, counts, seed);
    measured[metric] = result.least;
    bounds.push(result.bounds);
    yield { step: i + 1, of: CASES.length };
  }
  return { ...NOTHING, ...measured, bounds };
}

async function* bias(seed: number, counts: readonly number[]): AsyncGenerator<Progress, Metrics, void> {
  const muonFloor = await biasFloors("muon", counts, seed);
  yield { step: 1, of: 2 };
  return { ...NOTHING, muonFloor, orthogonalFloor: await biasFloors("orthogonalFirst", counts, seed) };
}

/** β = ln K/K, η = βD with the minimizer well inside the ball, and α = K^(-2/3). */
async function* decayByTheory(
  seed: number,
  counts: readonly number[],
): AsyncGenerator<Progress, Metrics, void> {
  const problem = await regression(seed);
  const gaps: number[] = [];
  for (const steps of counts) {
    const weightDecay = Math.log(steps) / steps;
    const radius = weightDecay * 1.5 * problem.radius;
    const curve = await functionGaps(problem, { steps, radius, weightDecay, momentum: steps ** (-2 / 3) });
    gaps.push(curve.at(-1)!);
    yield { step: gaps.length, of: counts.length };
  }
  return { ...NOTHING, gaps };
}

const model = mlp({ sizes: [64, 128, 128, 10] });

async function* digitsLoss(
  optimizer: GradientTransformation<MlpParams, unknown>,
  seed: number,
  epochs: number,
  tune: boolean,
): AsyncGenerator<Progress, Metrics, void> {
  const { features, shape, labels } = await digits();
  const split = stratifiedSplit(labels, { train: 900, validation: 300, test: 500, seed });
  const part = (indices: Int32Array) => ({
    x: tensor(
      selectRows(features, shape, indices).map((v) => v / 16),
      { shape: [indices.length, 64] },
    ),
    labels: tensor(selectEntries(labels, indices)),
  });
  const lossOf = (p: MlpParams, batch: ReturnType<typeof part>) =>
    crossEntropy(model.apply(p, batch.x), batch.labels);
  const score = jit((p: MlpParams) => lossOf(p, part(tune ? split.validation : split.test)));
  const training = fit({
    loss: lossOf,
    optimizer,
    params: model.init(random.key(seed)),
    data: part(split.train),
    batchSize: 32,
    epochs,
    epochsPerRun: epochs,
    key: random.fold(random.key(seed), 1),
  });
  let loss = Number.NaN;
  for await (const { epoch, params } of training) {
    loss = await item(await score(params));
    if (!Number.isFinite(loss)) throw new DivergedError(`the loss is ${loss} after ${epoch} epochs`);
    yield { step: epoch, of: epochs, metrics: { loss } };
  }
  await score.release();
  return { ...NOTHING, score: loss };
}

interface Chosen {
  readonly radius: number;
  readonly momentum: number;
  readonly ball: number;
}

async function* run({
  arm,
  seed,
  phase,
  settings: { counts, logisticCounts, steps, epochs },
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { radius, momentum, ball } = hyperparameters as unknown as Chosen;
  switch (arm) {
    case "rates":
      return yield* rates(seed, counts);
    case "bias":
      return yield* bias(seed, counts);
    case "decayTheory":
      return yield* decayByTheory(seed, logisticCounts);
    case "plain":
    case "extrapolated": {
      const score = await secondHalf({ seed, radius, momentum, steps, extrapolate: arm === "extrapolated" });
      return { ...NOTHING, score };
    }
    case "noDecay":
    case "decay": {
      const problem = await regression(seed);
      // The ball of radius η/β is a multiple of the smallest that holds the minimizer.
      const weightDecay = arm === "decay" ? radius / (ball * problem.radius) : 0;
      const curve = await functionGaps(problem, { steps, radius, weightDecay, momentum: 0.1 });
      return { ...NOTHING, score: curve.at(-1)!, curve };
    }
    default: {
      const schedule = cosineDecay(radius, epochs * Math.floor(900 / 32));
      const options = { norm: muonGeometry(), radius: schedule, momentum: 0.1 };
      const makers: Record<typeof arm, () => GradientTransformation<MlpParams, unknown>> = {
        digitsMuon: () => trustRegionMomentum(options),
        digitsOrthogonal: () => orthogonalSgdm(options),
        digitsAdam: () => adam({ learningRate: schedule }),
      };
      return yield* digitsLoss(makers[arm](), seed, epochs, phase === "tune");
    }
  }
}

type Claims = Claim<Arm, Metrics>;
const NAMES: Readonly<Record<Norm, string>> = { l2: "Euclidean", linf: "ℓ∞", spectral: "spectral" };
const ONE = "one-algorithm-one-bound";
const ORDER = "momentum-before-orthogonalization";
const DECAY = "decay-gives-function-values";

const rateClaims: readonly Claims[] = CASES.map(({ norm, noise, metric }) => ({
  kind: "scaling",
  id: `rate-${norm}${noise ? "-noisy" : ""}`,
  of: ONE,
  statement: `${NAMES[norm]} norm, ${noise ? "noise: the least dual norm falls as K to a power from -0.45 to -0.15" : "no noise: the least dual norm falls as K to a power from -0.75 to -0.4"}`,
  arm: "rates",
  x: settings.full.counts,
  y: metric,
  slope: noise ? { min: -0.45, max: -0.15 } : { min: -0.75, max: -0.4 },
  modes: ["full"],
}));

export default defineExperiment({
  settings,
  seeds: { full: 8, quick: 2 },
  arms,
  run,
  tuning: { metric: "score", goal: "minimize", budget: { full: 20, quick: 1 }, seeds: { full: 2, quick: 1 } },
  claims: [
    {
      kind: "statistic",
      id: "bound-holds",
      of: ONE,
      statement:
        "In all three norms, with and without noise and for every K, the mean of the least dual norms is within the bound",
      quantity: "largest share of the bound",
      arms: ["rates"],
      acrossSeeds: (seeds) =>
        Math.max(
          ...CASES.flatMap(({ metric }, i) =>
            seeds[0]!.rates[metric].map(
              (_, k) =>
                seeds.reduce((total, { rates: r }) => total + r[metric][k]! / r.bounds[i]![k]!, 0) /
                seeds.length,
            ),
          ),
        ),
      pass: { max: 1 },
    },
    ...rateClaims,
    {
      kind: "statistic",
      id: "floor-ratio",
      of: ORDER,
      statement:
        "Lopsided noise: at the largest K, orthogonalizing first leaves at least five times Muon's dual norm",
      quantity: "ratio of dual norms",
      modes: ["full"],
      arms: ["bias"],
      perSeed: ({ bias: { muonFloor, orthogonalFloor } }) => orthogonalFloor.at(-1)! / muonFloor.at(-1)!,
      pass: { min: 5 },
    },
    {
      kind: "scaling",
      id: "orthogonal-first-stalls",
      of: ORDER,
      statement: "Lopsided noise: what orthogonalizing first leaves does not fall with K (power above -0.05)",
      arm: "bias",
      x: settings.full.counts,
      y: "orthogonalFloor",
      slope: { min: -0.05 },
      modes: ["full"],
    },
    {
      kind: "scaling",
      id: "muon-converges",
      of: ORDER,
      statement: "Lopsided noise: what Muon leaves falls with K (power below -0.1)",
      arm: "bias",
      x: settings.full.counts,
      y: "muonFloor",
      slope: { max: -0.1 },
      modes: ["full"],
    },
    {
      kind: "comparison",
      id: "digits",
      of: ORDER,
      statement: "Digits: Muon's test log loss is below that of orthogonalizing first (paired, p ≤ .05)",
      metric: "score",
      better: "digitsMuon",
      worse: "digitsOrthogonal",
      goal: "minimize",
    },
    {
      kind: "statistic",
      id: "decay-halves-the-gap",
      of: DECAY,
      statement:
        "Logistic regression, both tuned: the gap of function values with decay is at most half of that without",
      quantity: "gap with decay over gap without",
      arms: ["noDecay", "decay"],
      perSeed: ({ noDecay, decay }) => decay.score / noDecay.score,
      pass: { max: 0.5 },
    },
    {
      kind: "scaling",
      id: "decay-converges",
      of: DECAY,
      statement:
        "Logistic regression, decay tuned by theory: the gap of function values falls as K to a power of -1/3 or less",
      arm: "decayTheory",
      x: settings.full.logisticCounts,
      y: "gaps",
      slope: { max: -1 / 3 },
      modes: ["full"],
    },
    {
      kind: "comparison",
      id: "extrapolation",
      of: "extrapolation-speeds-up",
      statement:
        "Noisy least squares: gradients at extrapolated points leave a smaller dual norm (paired, p ≤ .05)",
      metric: "score",
      better: "extrapolated",
      worse: "plain",
      goal: "minimize",
    },
  ],
  figure: ({ Plot, units, mode }) => {
    const { counts } = settings[mode];
    const meanOf = (arm: Arm, of: (m: Metrics) => readonly number[]): number[] => {
      const rows = units.filter((unit) => unit.arm === arm).map(({ metrics }) => of(metrics));
      return counts.map((_, i) => rows.reduce((total, row) => total + row[i]!, 0) / rows.length);
    };
    const line = (name: string, values: readonly number[]) =>
      values.map((value, i) => ({ name, steps: counts[i]!, value }));
    const plotOf = (title: string, lines: ReturnType<typeof line>, dashed: ReturnType<typeof line> = []) => ({
      title,
      options: {
        width: 560,
        height: 340,
        marginLeft: 60,
        color: { legend: true },
        x: { label: "steps K", type: "log" as const },
        y: { label: "dual norm of the gradient", type: "log" as const, grid: true },
        marks: [
          Plot.line(dashed, { x: "steps", y: "value", stroke: "name", strokeDasharray: "4 4" }),
          Plot.line(lines, { x: "steps", y: "value", stroke: "name" }),
          Plot.dot(lines, { x: "steps", y: "value", stroke: "name" }),
        ],
      },
    });
    const noisy = CASES.filter(({ noise }) => noise > 0);
    return [
      plotOf("Lopsided noise: what is left of the gradient", [
        ...line(
          "momentum, then orthogonalize (Muon)",
          meanOf("bias", (m) => m.muonFloor),
        ),
        ...line(
          "orthogonalize, then momentum",
          meanOf("bias", (m) => m.orthogonalFloor),
        ),
      ]),
      plotOf(
        "Noisy least squares tuned by theory: least gradient, and its bound (dashed)",
        noisy.flatMap(({ norm, metric }) =>
          line(
            NAMES[norm],
            meanOf("rates", (m) => m[metric]),
          ),
        ),
        noisy.flatMap(({ norm, metric }) =>
          line(
            NAMES[norm],
            meanOf("rates", (m) => m.bounds[CASES.findIndex((c) => c.metric === metric)]!),
          ),
        ),
      ),
    ];
  },
});
