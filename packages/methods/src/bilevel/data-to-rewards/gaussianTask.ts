import { matmul, random, reshape, slice, type Tensor, tensor, transpose, treeMap } from "@prior-art/tensor";
import { choleskyFactor, choleskySolve, dot, type Matrix, matrix, norm } from "@prior-art/toolkit/linalg";
import { mean, randomStream } from "@prior-art/toolkit/stats";
import {
  bilevelReward,
  factorOf,
  gaussianPolicy,
  mahalanobisReward,
  optimalGaussianReward,
  type PolicyData,
  policyGradientLoss,
  residualCovariance,
  trainPolicies,
} from "./method.ts";

/** What U is: given (`identity`, `isotropic`, `optimal`), found by a solver, or without a part where a model is trained by likelihood. */
export type Arm =
  | "likelihood"
  | "identity"
  | "isotropic"
  | "optimal"
  | "heuristic"
  | "implicit"
  | "smoothing";

/** λ of the Gaussian policies. */
export const LAMBDA = 0.1;

/** Draws of N(0, Σ), row after row. */
export function correlated(
  count: number,
  [a, b, c]: readonly [number, number, number],
  seed: number,
  name: string,
) {
  const stream = randomStream(seed, name);
  const first = Math.sqrt(a);
  const [slope, rest] = [b / first, Math.sqrt(c - (b / first) ** 2)];
  const values = new Float64Array(2 * count);
  for (let at = 0; at < values.length; at += 2) {
    const z = stream.normal();
    values[at] = first * z;
    values[at + 1] = slope * z + rest * stream.normal();
  }
  return values;
}

export const rows = (values: Float64Array): Tensor =>
  tensor(Float32Array.from(values), { shape: [values.length / 2, 2] });

interface GaussianParams {
  readonly mean: Tensor;
  /** What `factorOf` makes the factor of the covariance of. */
  readonly free: Tensor;
}

const constantPolicy = ({ mean: center, free }: GaussianParams, x: Tensor) =>
  gaussianPolicy(broadcast(center, x), factorOf(free));

const broadcast = (center: Tensor, x: Tensor): Tensor =>
  matmul(tensor(new Float32Array(x.shape[0]!).fill(1), { shape: [x.shape[0]!, 1] }), reshape(center, [1, 2]));

/** Σ₁₁, Σ₁₂, Σ₂₂ of the data. */
export const SIGMA = [1, 0.8, 2] as const;

/** A constant-mean policy with a full covariance, fitted to draws of one Gaussian. */
export async function fitGaussian(
  arm: Arm,
  seed: number,
  {
    points,
    steps,
    outerSteps,
  }: { readonly points: number; readonly steps: number; readonly outerSteps: number },
) {
  const nothing = {
    loss: 0,
    covarianceError: 0,
    trace: 0,
    covariance: [],
    rewardError: 0,
    rewardErrors: [],
    sampleRewardError: 0,
  };
  if (arm === "smoothing") return nothing;
  const [train, held] = [
    correlated(points, SIGMA, seed, "training"),
    correlated(points, SIGMA, seed, "held out"),
  ];
  const centers = [0, 1].map((j) => mean(Array.from({ length: points }, (_, k) => train[2 * k + j]!)));
  const data = residualCovariance(
    train.map((value, at) => value - centers[at % 2]!),
    2,
  );
  let [center, covariance] = [Float64Array.from(centers), data];
  let us: readonly Matrix[] = [];
  if (arm !== "likelihood") {
    const init = { mean: tensor(new Float32Array(2)), free: tensor(new Float32Array(4), { shape: [2, 2] }) };
    const examples = { x: tensor(new Float32Array(points), { shape: [points, 1] }), y: rows(train) };
    const common = { init, data: examples, key: random.key(seed) };
    let params: GaussianParams;
    if (arm === "heuristic" || arm === "implicit") {
      const found = await bilevelReward({
        ...common,
        policy: constantPolicy,
        mean: ({ mean: m }, x) => broadcast(m, x),
        solver: arm,
        lambda: LAMBDA,
        steps,
        outerSteps,
      });
      params = found.params;
      us = found.history;
    } else {
      us = [rewardOf(arm, data)];
      const stack = await trainPolicies({
        ...common,
        steps,
        learningRates: [0.02],
        loss: (p, batch, key) => rewarded(constantPolicy(p, batch.x), batch, us[0]!, key),
      });
      params = treeMap((t) => slice(t, 0), stack);
    }
    center = Float64Array.from(await params.mean.data(), Number);
    const factor = factorOf(params.free);
    covariance = matrix(2, 2, Float64Array.from(await matmul(factor, transpose(factor)).data(), Number));
  }
  const truth = [SIGMA[0], SIGMA[1], SIGMA[1], SIGMA[2]];
  const errorsFrom = (of: Matrix): number[] => {
    const best = optimalGaussianReward(of, LAMBDA).values;
    return us.map(({ values }) => norm(values.map((value, at) => value - best[at]!)) / norm(best));
  };
  const errors = errorsFrom(matrix(2, 2, truth));
  return {
    loss: gaussianLoss(held, center, covariance),
    covarianceError: norm(covariance.values.map((value, at) => value - truth[at]!)) / norm(truth),
    trace: (covariance.values[0]! + covariance.values[3]!) / (data.values[0]! + data.values[3]!),
    covariance: [...covariance.values],
    rewardError: errors.at(-1) ?? 0,
    rewardErrors: errors,
    sampleRewardError: errorsFrom(data).at(-1) ?? 0,
  };
}

/** −E log N(y; m, Σ). */
function gaussianLoss(points: Float64Array, center: Float64Array, covariance: Matrix): number {
  const factor = choleskyFactor(covariance);
  const logDiagonal = Math.log(factor.values[0]!) + Math.log(factor.values[3]!);
  let squares = 0;
  for (let k = 0; k < points.length; k += 2) {
    const gap = Float64Array.of(points[k]! - center[0]!, points[k + 1]! - center[1]!);
    squares += dot(gap, choleskySolve(factor, gap));
  }
  return 0.5 * (squares / (points.length / 2)) + logDiagonal + Math.log(2 * Math.PI);
}

/** U of the arms that are told it, from the covariance of the noise. */
export function rewardOf(arm: "identity" | "isotropic" | "optimal", covariance: Matrix): Matrix {
  if (arm === "identity") return matrix(2, 2, [1, 0, 0, 1]);
  return optimalGaussianReward(covariance, LAMBDA, arm === "optimal" ? "full" : "isotropic");
}

export const rewarded = (
  dist: ReturnType<typeof gaussianPolicy>,
  { y }: PolicyData,
  u: Matrix,
  key: Tensor,
): Tensor =>
  policyGradientLoss({
    dist,
    target: y,
    reward: mahalanobisReward(tensor(Float32Array.from(u.values), { shape: [2, 2] })),
    entropyWeight: LAMBDA,
    reparametrized: true,
    key,
  });
