import { DivergedError } from "@prior-art/toolkit/experiment";
import { gram, type Matrix, matrix, multiply, norm, thinSVD, transpose } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import type { Factors } from "./method.ts";

/** Regression on Gaussian inputs, `y = (W₀ + Δ)ᵀ x` without noise, W₀ known: only Δ is to be learned. */
export interface LinearModel {
  /** Δ, `[dimension, dimension]`, of the rank of the given singular values. */
  readonly shift: Matrix;
  /** `XᵀX/N` */
  readonly covariance: Matrix;
  /** `G = −∇_W L(W₀) = XᵀX/N · Δ`, the first full fine-tuning step's direction. */
  readonly descent: Matrix;
}

export interface LinearModelOptions {
  readonly dimension: number;
  readonly singularValues: readonly number[];
  readonly samples: number;
  readonly seed: number;
}

export function linearModel({ dimension, singularValues, samples, seed }: LinearModelOptions): LinearModel {
  const stream = randomStream(seed, "linear model");
  const gaussian = (rows: number, columns: number): Matrix =>
    matrix(
      rows,
      columns,
      Float64Array.from({ length: rows * columns }, () => stream.normal()),
    );
  const rank = singularValues.length;
  const left = thinSVD(gaussian(dimension, rank)).u;
  const right = thinSVD(gaussian(dimension, rank)).u;
  const scaled = matrix(
    dimension,
    rank,
    left.values.map((x, i) => x * singularValues[i % rank]!),
  );
  const shift = multiply(scaled, transpose(right));
  const sum = gram(gaussian(samples, dimension));
  const covariance = matrix(
    dimension,
    dimension,
    sum.values.map((x) => x / samples),
  );
  return { shift, covariance, descent: multiply(covariance, shift) };
}

/** The error `A B − offset − Δ`, and gradients of the loss `½‖X(…)‖²/N` by the factors. */
export function gradientsAt(
  { shift, covariance }: LinearModel,
  { a, b }: Factors,
  offset?: Matrix,
): { readonly error: Matrix; readonly gradient: Factors } {
  const error = multiply(a, b);
  for (let i = 0; i < error.values.length; i++)
    error.values[i]! -= shift.values[i]! + (offset ? offset.values[i]! : 0);
  return {
    error,
    gradient: {
      a: multiply(covariance, multiply(error, transpose(b))),
      b: multiply(transpose(multiply(covariance, a)), error),
    },
  };
}

/** `½ tr(Eᵀ XᵀX/N E)` */
export function lossOf({ covariance }: LinearModel, error: Matrix): number {
  const weighed = multiply(covariance, error);
  return error.values.reduce((sum, e, i) => sum + e * weighed.values[i]!, 0) / 2;
}

export interface DescentOptions {
  readonly start: Factors;
  readonly step: (factors: Factors, gradient: Factors) => Factors;
  /** Taken off the product, as LoRA-GA does with its start. */
  readonly offset?: Matrix;
  readonly maxSteps: number;
  /** `‖error‖/‖Δ‖` at which to stop. */
  readonly tolerance: number;
  /** Called before each step. */
  readonly onStep?: (step: number, factors: Factors, error: Matrix) => void;
}

/**
 * Steps until the relative error is at the tolerance; `maxSteps` when it never gets there.
 * @throws DivergedError when the error grows a thousandfold.
 */
export function stepsToTolerance(model: LinearModel, options: DescentOptions): number {
  const { step, offset, maxSteps, tolerance, onStep } = options;
  const size = norm(model.shift.values);
  let factors = options.start;
  for (let t = 0; t < maxSteps; t++) {
    const { error, gradient } = gradientsAt(model, factors, offset);
    const relative = norm(error.values) / size;
    if (!(relative < 1e3)) throw new DivergedError(`the error is ${relative} times the shift in step ${t}`);
    onStep?.(t, factors, error);
    if (relative <= tolerance) return t;
    factors = step(factors, gradient);
  }
  return maxSteps;
}
