import type { Progress, RunContext } from "@prior-art/toolkit/experiment";
import { digitsLoss } from "./digitsTask.ts";
import { curvedNetwork, curvedRegression, gradientsLeft } from "./extrapolation.ts";
import { functionGaps, regression } from "./logistic.ts";
import { biasFloors, measureRates, type Norm, secondHalf } from "./problems.ts";

const powers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => 2 ** (from + i));

/** `count` numbers from `first`, each `factor` times the one before. */
const geometric = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

export interface Settings {
  /** Numbers of steps, K: of least squares and lopsided noise, of decay, of extrapolation. */
  readonly counts: readonly number[];
  readonly logisticCounts: readonly number[];
  readonly curvedCounts: readonly number[];
  /** Steps on noisy least squares with and without extrapolation, and on logistic regression with and without decay. */
  readonly steps: number;
  readonly epochs: number;
}
export const settings: Record<"full" | "quick", Settings> = {
  full: {
    counts: powers(6, 12),
    logisticCounts: powers(7, 12),
    curvedCounts: powers(6, 10),
    steps: 1000,
    epochs: 25,
  },
  quick: {
    counts: powers(6, 9),
    logisticCounts: powers(7, 9),
    curvedCounts: powers(6, 8),
    steps: 200,
    epochs: 3,
  },
};

// Arms that are compared have grids of equal size, with the optimum inside; α = 1, no momentum, is a natural end.
const onSquares = { radius: geometric(0.0075, 2, 4), momentum: [0.003, 0.01, 0.05, 0.25, 1] };
const onRegression = { radius: geometric(0.004, 2, 4), momentum: geometric(1 / 256, 4, 5) };
const onCurved = { radiusScale: geometric(0.5, 2, 4), momentumScale: geometric(1 / 4, 4, 5) };
const digitRadii = geometric(0.00125, 2, 9);

export const arms = {
  rates: { label: "least squares, tuned by theory" },
  bias: { label: "lopsided noise" },
  plain: { label: "noisy least squares", space: onSquares },
  extrapolated: { label: "noisy least squares, extrapolated", space: onSquares },
  logisticPlain: { label: "logistic regression, batches of 4", space: onCurved },
  logisticPlainFast: { label: "logistic regression, batches of 4, powers of extrapolation", space: onCurved },
  logisticExtrapolated: { label: "logistic regression, batches of 4, extrapolated", space: onCurved },
  networkPlain: { label: "tanh network", space: onCurved },
  networkPlainFast: { label: "tanh network, powers of extrapolation", space: onCurved },
  networkExtrapolated: { label: "tanh network, extrapolated", space: onCurved },
  noDecay: { label: "logistic regression", space: onRegression },
  decay: { label: "logistic regression, decay", space: onRegression },
  decayWide: { label: "logistic regression, decay to a wide ball", space: onRegression },
  noDecayTheory: { label: "logistic regression, the same without decay" },
  decayTheory: { label: "logistic regression, decay tuned by theory" },
  digitsMuon: { label: "digits, Muon", space: { radius: digitRadii } },
  digitsOrthogonal: { label: "digits, Orthogonal-SGDM", space: { radius: digitRadii } },
  digitsAdam: { label: "digits, Adam", space: { radius: geometric(3e-4, 2, 9) } },
} as const;
export type Arm = keyof typeof arms;

/** Radius η/β of the ball that decay keeps iterates in, in sizes of the minimizer. */
const BALLS = { decay: 1.5, decayWide: 6, decayTheory: 1.5 } as const;

/** Every unit has these; what it doesn't measure is empty or 0. */
export type Metrics = {
  /**
   * What is tuned for: the mean dual norm of the second half's gradients (of several K, the mean of its logarithms), the
   * gap of function values in the last twentieth, or the log loss of held-out digits.
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
  /** Mean dual norms of the second half by K. */
  readonly left: readonly number[];
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
  left: [],
};

const NORMS: readonly Norm[] = ["l2", "linf", "spectral"];
export const CASES = NORMS.flatMap((norm) => [
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

/** `η = ln K/K D` with the minimizer well inside the ball of radius D, and `α = K^(-2/3)`; `β = η/D`, or 0 as a control. */
async function* decayByTheory(
  arm: "decayTheory" | "noDecayTheory",
  seed: number,
  counts: readonly number[],
): AsyncGenerator<Progress, Metrics, void> {
  const problem = await regression(seed);
  const gaps: number[] = [];
  for (const steps of counts) {
    const share = Math.log(steps) / steps;
    const curve = await functionGaps(problem, {
      steps,
      radius: share * BALLS.decayTheory * problem.radius,
      weightDecay: arm === "decayTheory" ? share : 0,
      momentum: steps ** (-2 / 3),
    });
    gaps.push(curve.at(-1)!);
    yield { step: gaps.length, of: counts.length };
  }
  return { ...NOTHING, score: gaps.at(-1)!, gaps };
}

interface Chosen {
  readonly radius: number;
  readonly momentum: number;
  readonly radiusScale: number;
  readonly momentumScale: number;
}

export async function* run({
  arm,
  seed,
  phase,
  settings: { counts, logisticCounts, curvedCounts, steps, epochs },
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { radius, momentum, radiusScale, momentumScale } = hyperparameters as unknown as Chosen;
  switch (arm) {
    case "rates":
      return yield* rates(seed, counts);
    case "bias":
      return yield* bias(seed, counts);
    case "noDecayTheory":
    case "decayTheory":
      return yield* decayByTheory(arm, seed, logisticCounts);
    case "plain":
    case "extrapolated": {
      const score = await secondHalf({ seed, radius, momentum, steps, extrapolate: arm === "extrapolated" });
      return { ...NOTHING, score };
    }
    case "logisticPlain":
    case "logisticPlainFast":
    case "logisticExtrapolated":
    case "networkPlain":
    case "networkPlainFast":
    case "networkExtrapolated": {
      const options = {
        seed,
        counts: curvedCounts,
        radiusScale,
        momentumScale,
        powers: arm.endsWith("Plain") ? ("slow" as const) : ("fast" as const),
        extrapolate: arm.endsWith("Extrapolated"),
      };
      const left = arm.startsWith("logistic")
        ? await gradientsLeft(await curvedRegression(seed), options)
        : await gradientsLeft(await curvedNetwork(seed), options);
      return { ...NOTHING, score: left.reduce((total, v) => total + Math.log(v), 0) / left.length, left };
    }
    case "noDecay":
    case "decay":
    case "decayWide": {
      const problem = await regression(seed);
      const weightDecay = arm === "noDecay" ? 0 : radius / (BALLS[arm] * problem.radius);
      const curve = await functionGaps(problem, { steps, radius, weightDecay, momentum });
      return { ...NOTHING, score: curve.at(-1)!, curve };
    }
    default: {
      const score = yield* digitsLoss({ method: arm, rate: radius, seed, epochs, tune: phase === "tune" });
      return { ...NOTHING, score };
    }
  }
}
