import { type Matrix, matrix, multiply, norm, transpose } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import { linearModel, lossOf, stepsToTolerance } from "./linearModel.ts";
import {
  type Factors,
  gradientStep,
  leftSubspace,
  loraGaInit,
  loraOneInit,
  preconditionedStep,
  subspaceAngle,
} from "./method.ts";

const DIMENSION = 60;
const RANK = 4;
const SAMPLES = 16 * DIMENSION;

/** Largest over smallest singular value of the shift; the largest is 1, the others in geometric steps. */
export const CONDITIONS = [1, 100] as const;
type Condition = (typeof CONDITIONS)[number];

const RATES = [0.2, 0.4, 0.6, 0.8, 1];
const spectral = { learningRate: RATES, gamma: [1, 16, 128] };
const METHODS = {
  lora: { label: "LoRA", space: { learningRate: RATES, deviation: [1e-3, 1e-2, 1 / Math.sqrt(DIMENSION)] } },
  loraGa: { label: "LoRA-GA", space: spectral },
  loraOne: { label: "LoRA-One", space: spectral },
  preconditioned: { label: "LoRA-One, preconditioned", space: spectral },
} as const;
type Method = keyof typeof METHODS;
export type LinearArm = `${Method}${Condition}`;

/** Each method at each condition number, tuned apart. */
export const LINEAR = Object.fromEntries(
  CONDITIONS.flatMap((kappa) =>
    Object.entries(METHODS).map(([name, { label, space }]) => [
      `${name}${kappa}`,
      { label: `${label}, κ = ${kappa}`, space },
    ]),
  ),
) as unknown as Record<
  LinearArm,
  { readonly label: string; readonly space: Readonly<Record<string, readonly number[]>> }
>;

export interface LinearHyperparameters {
  readonly learningRate: number;
  /** Standard deviation of LoRA's first A. */
  readonly deviation?: number;
  readonly gamma?: number;
}

const problem = (kappa: number, seed: number) =>
  linearModel({
    dimension: DIMENSION,
    singularValues: Array.from({ length: RANK }, (_, i) => kappa ** (-i / (RANK - 1))),
    samples: SAMPLES,
    seed,
  });

/** A Gaussian, B zero. */
function standardStart(rank: number, deviation: number, seed: number): Factors {
  const stream = randomStream(seed, "first A");
  const values = Float64Array.from({ length: DIMENSION * rank }, () => deviation * stream.normal());
  return { a: matrix(DIMENSION, rank, values), b: matrix(rank, DIMENSION) };
}

/** Steps until the shift is known to a relative error of 1e-3, the error on the way, and where A starts. */
export function recovery(arm: LinearArm, options: LinearHyperparameters, maxSteps: number, seed: number) {
  const [, method, kappa] = /^(\D+)(\d+)$/.exec(arm) as unknown as [string, Method, string];
  const { learningRate, deviation = 1e-3, gamma = 128 } = options;
  const model = problem(Number(kappa), seed);
  const start =
    method === "lora"
      ? standardStart(RANK, deviation, seed)
      : method === "loraGa"
        ? loraGaInit(model.descent, { rank: RANK, gamma })
        : loraOneInit(model.descent, { rank: RANK, gamma });
  const size = norm(model.shift.values);
  const errorCurve: number[] = [];
  const steps = stepsToTolerance(model, {
    start,
    ...(method === "loraGa" ? { offset: multiply(start.a, start.b) } : {}),
    step: (factors, gradient) =>
      method === "preconditioned"
        ? preconditionedStep(factors, gradient, { learningRate })
        : gradientStep(factors, gradient, learningRate),
    maxSteps,
    tolerance: 1e-3,
    onStep(step, _, error) {
      if (step % 4 === 0 && errorCurve.length <= 50) errorCurve.push(Math.log10(norm(error.values) / size));
    },
  });
  const startAngle = subspaceAngle(leftSubspace(start.a, RANK), leftSubspace(model.descent, RANK));
  return { steps, errorCurve, startAngle };
}

/** How A turns towards the first gradient, and what is learned meanwhile, from a start of deviation 1e-5. */
export function alignment(seed: number) {
  const model = problem(2, seed);
  const left = leftSubspace(model.descent, RANK);
  const right = leftSubspace(transpose(model.descent), RANK);
  const none: Matrix = matrix(
    DIMENSION,
    DIMENSION,
    model.shift.values.map((x) => -x),
  );
  const firstLoss = lossOf(model, none);
  const angleCurve: number[] = [];
  const lossCurve: number[] = [];
  let lossWhenAligned = 0;
  let rightAngle = 1;
  stepsToTolerance(model, {
    start: standardStart(2 * RANK, 1e-5, seed),
    step: (factors, gradient) => gradientStep(factors, gradient, 0.1),
    maxSteps: 301,
    tolerance: 0,
    onStep(step, { a, b }, error) {
      if (step === 1) rightAngle = subspaceAngle(leftSubspace(transpose(b), RANK), right);
      if (step % 5 !== 0) return;
      const angle = subspaceAngle(leftSubspace(a, RANK), left);
      const loss = lossOf(model, error) / firstLoss;
      if (angle <= 0.1 && lossWhenAligned === 0) lossWhenAligned = loss;
      angleCurve.push(angle);
      lossCurve.push(loss);
    },
  });
  return { lossWhenAligned, rightAngle, angleCurve, lossCurve };
}
