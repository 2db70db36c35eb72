import { lbfgs } from "@prior-art/toolkit/convex";
import {
  choleskyFactor,
  choleskySolve,
  dot,
  logDeterminant,
  type Matrix,
  matrix,
  times,
} from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import { gaussianPosterior, randomFourierGp } from "./method.ts";

export interface Curve {
  readonly x: Float64Array;
  readonly y: Float64Array;
}

/** Deviation of the noise. */
export const NOISE = 0.1;

/** `y = sin(3x) + 0.1ε` at 20 points of `[−3, 0] ∪ [1, 3]`. */
export function gappedSine(seed: number, count = 20): Curve {
  const stream = randomStream(seed, "sine");
  const x = Float64Array.from({ length: count }, () => {
    const u = 5 * stream.uniform();
    return u < 3 ? u - 3 : u - 2;
  });
  return { x, y: x.map((value) => Math.sin(3 * value) + NOISE * stream.normal()) };
}

/** Where fits are compared with sin(3x): 121 points of [−3, 3]. */
export const GRID = Float64Array.from({ length: 121 }, (_, i) => -3 + i / 20);

export const rmse = (predicted: Float64Array): number =>
  Math.sqrt(
    predicted.reduce((sum, value, i) => sum + (value - Math.sin(3 * GRID[i]!)) ** 2, 0) / GRID.length,
  );

/** The exact Gaussian process with an RBF kernel, ℓ and k² by marginal likelihood (the best of a few starts), the noise known. */
export function exactGaussianProcess({ x, y }: Curve) {
  const n = x.length;
  const kernel = (a: number, b: number, log: Float64Array): number =>
    Math.exp(2 * log[1]! - 0.5 * ((a - b) / Math.exp(log[0]!)) ** 2);
  const factorAt = (log: Float64Array): Matrix => {
    const k = matrix(n, n);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        k.values[i * n + j] = kernel(x[i]!, x[j]!, log) + (i === j ? NOISE ** 2 : 0);
    return choleskyFactor(k);
  };
  const negative = (log: Float64Array): number => {
    const factor = factorAt(log);
    return 0.5 * (dot(y, choleskySolve(factor, y)) + logDeterminant(factor) + n * Math.log(2 * Math.PI));
  };
  const objective = (log: Float64Array) => ({
    value: negative(log),
    gradient: log.map((_, j) => {
      const at = (h: number): number => negative(log.map((value, k) => (k === j ? value + h : value)));
      return (at(1e-5) - at(-1e-5)) / 2e-5;
    }),
  });
  const fits = [0.2, 0.5, 1, 2].map((length) =>
    lbfgs(objective, { start: Float64Array.of(Math.log(length), 0), tolerance: 1e-5, maxIterations: 100 }),
  );
  const best = fits.reduce((a, b) => (a.value < b.value ? a : b)).x;
  const dual = choleskySolve(factorAt(best), y);
  const factor = factorAt(best);
  const rowAt = (point: number): Float64Array => x.map((value) => kernel(point, value, best));
  return {
    lengthScale: Math.exp(best[0]!),
    predict(points: Float64Array) {
      return {
        mean: points.map((point) => dot(rowAt(point), dual)),
        variance: points.map((point) => {
          const row = rowAt(point);
          return Math.exp(2 * best[1]!) - dot(row, choleskySolve(factor, row));
        }),
      };
    },
  };
}

/** Ridge regression on the random features with ℓ and k² from a 10 × 10 grid by a quarter of the data, then refit. */
export function validatedRidge({ x, y }: Curve, seed: number) {
  const held = Math.round(x.length / 4);
  const order = randomStream(seed, "validation").permutation(x.length);
  const part = (from: number, to: number): Curve => ({
    x: Float64Array.from(order.subarray(from, to), (i) => x[i]!),
    y: Float64Array.from(order.subarray(from, to), (i) => y[i]!),
  });
  const [validation, train] = [part(0, held), part(held, x.length)];
  const { featuresOf } = randomFourierGp({ seed });
  const fit = (data: Curve, lengthScale: number, priorVariance: number) => {
    const options = { kappa: 1, noise: NOISE, priorVariance };
    const { mean } = gaussianPosterior(featuresOf(data.x, lengthScale), data.y, options);
    return (points: Float64Array): Float64Array => times(featuresOf(points, lengthScale), mean);
  };
  let best = { error: Number.POSITIVE_INFINITY, lengthScale: 1, priorVariance: 1 };
  for (let a = 0; a < 10; a++)
    for (let b = 0; b < 10; b++) {
      const lengthScale = 0.1 * 40 ** (a / 9);
      const priorVariance = 0.01 * 1e6 ** (b / 9);
      const predicted = fit(train, lengthScale, priorVariance)(validation.x);
      const error = predicted.reduce((sum, value, i) => sum + (value - validation.y[i]!) ** 2, 0);
      if (error < best.error) best = { error, lengthScale, priorVariance };
    }
  const predict = fit({ x, y }, best.lengthScale, best.priorVariance);
  return { lengthScale: best.lengthScale, priorVariance: best.priorVariance, predict };
}
