import {
  inverseSquareRootSPD,
  type Matrix,
  matrix,
  multiply,
  squareRootSPD,
  times,
} from "../linalg/index.ts";
import { type RandomStream, randomStream } from "../stats/index.ts";

/**
 * Where a plan sends each source on average: `T y / a`, `[m, dimensions]`.
 *
 * @param plan `[m, n]`.
 * @param targets `[n, dimensions]`.
 */
export function barycentricMap(plan: Matrix, targets: Matrix): Matrix {
  const image = multiply(plan, targets);
  for (let i = 0; i < plan.rows; i++) {
    let mass = 0;
    for (let j = 0; j < plan.columns; j++) mass += plan.values[i * plan.columns + j]!;
    for (let k = 0; k < targets.columns; k++) image.values[i * targets.columns + k]! /= mass;
  }
  return image;
}

export interface Gaussian {
  readonly mean: Float64Array;
  /** `[dimensions, dimensions]`, symmetric positive definite. */
  readonly covariance: Matrix;
}

/**
 * The 2-Wasserstein distance of two Gaussians: `W² = ‖μ − ν‖² + tr(A + B − 2 (A^½ B A^½)^½)`, the second part being the
 * Bures distance.
 */
export function gaussianDistance(p: Gaussian, q: Gaussian): number {
  const root = squareRootSPD(p.covariance);
  const cross = squareRootSPD(multiply(multiply(root, q.covariance), root));
  const means = p.mean.reduce((sum, value, i) => sum + (value - q.mean[i]!) ** 2, 0);
  return Math.sqrt(Math.max(0, means + trace(p.covariance) + trace(q.covariance) - 2 * trace(cross)));
}

/**
 * The optimal map between two Gaussians, `x ↦ ν + M (x − μ)` with `M = A^(−½) (A^½ B A^½)^½ A^(−½)`.
 * @throws RangeError when the first covariance is not positive definite.
 */
export function gaussianMap(p: Gaussian, q: Gaussian): (x: ArrayLike<number>) => Float64Array {
  const root = squareRootSPD(p.covariance);
  const inverse = inverseSquareRootSPD(p.covariance);
  const linear = multiply(
    multiply(inverse, squareRootSPD(multiply(multiply(root, q.covariance), root))),
    inverse,
  );
  return (x) =>
    times(
      linear,
      p.mean.map((value, i) => x[i]! - value),
    ).map((value, i) => value + q.mean[i]!);
}

/** Draws `count` points, `[count, dimensions]`. */
export function sampleGaussian({ mean, covariance }: Gaussian, count: number, stream: RandomStream): Matrix {
  const root = squareRootSPD(covariance);
  const points = matrix(count, mean.length);
  for (let i = 0; i < count; i++) {
    const point = times(
      root,
      Float64Array.from(mean, () => stream.normal()),
    );
    points.values.set(
      point.map((value, k) => value + mean[k]!),
      i * mean.length,
    );
  }
  return points;
}

/** Two Gaussians in general position: means from N(0, I), covariances `G Gᵀ/d + I/10` with G standard normal. */
export function gaussianPair(dimensions: number, seed: number): readonly [Gaussian, Gaussian] {
  const stream = randomStream(seed, "gaussian pair");
  const draw = (): Gaussian => {
    const normals = (count: number) => Float64Array.from({ length: count }, () => stream.normal());
    const g = matrix(dimensions, dimensions, normals(dimensions ** 2));
    const covariance = matrix(dimensions, dimensions);
    for (let i = 0; i < dimensions; i++)
      for (let j = 0; j < dimensions; j++) {
        let sum = i === j ? 0.1 : 0;
        for (let k = 0; k < dimensions; k++)
          sum += (g.values[i * dimensions + k]! * g.values[j * dimensions + k]!) / dimensions;
        covariance.values[i * dimensions + j] = sum;
      }
    return { mean: normals(dimensions), covariance };
  };
  return [draw(), draw()];
}

function trace({ rows, values }: Matrix): number {
  let sum = 0;
  for (let i = 0; i < rows; i++) sum += values[i * rows + i]!;
  return sum;
}
