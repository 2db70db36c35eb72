import {
  addScaled,
  choleskyFactor,
  choleskySolve,
  dot,
  type Matrix,
  matrix,
  times,
  transposedTimes,
} from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";

export interface PosteriorOptions {
  /** κ. */
  readonly kappa: number;
  /** Deviation of the noise, s_n. */
  readonly noise: number;
  /** λ. */
  readonly priorVariance: number;
}

/**
 * The best `q(w) = N(ŵ, σ²I)` of `y = Φw + N(0, s_n²)` under `p(w) = N(0, λI)`, in closed form:
 * `ŵ = (κΦᵀΦ/s_n² + I/λ)⁻¹ κΦᵀy/s_n²` (by way of the smaller `ΦΦᵀ`) and `1/σ² = κ‖Φ‖_F²/(s_n² D) + 1/λ`.
 *
 * @param phi Φ, `[examples, weights]`.
 */
export function gaussianPosterior(
  phi: Matrix,
  y: Float64Array,
  { kappa, noise, priorVariance }: PosteriorOptions,
): { readonly mean: Float64Array; readonly sigma2: number } {
  const [n, d] = [phi.rows, phi.columns];
  const kernel = matrix(n, n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      const product =
        priorVariance * dot(phi.values.subarray(i * d, (i + 1) * d), phi.values.subarray(j * d, (j + 1) * d));
      kernel.values[i * n + j] = product;
      kernel.values[j * n + i] = product;
    }
  for (let i = 0; i < n; i++) kernel.values[i * n + i]! += noise ** 2 / kappa;
  const dual = choleskySolve(choleskyFactor(kernel), y);
  return {
    mean: transposedTimes(phi, dual).map((value) => priorVariance * value),
    sigma2: 1 / ((kappa * dot(phi.values, phi.values)) / (noise ** 2 * d) + 1 / priorVariance),
  };
}

export interface RandomFourierOptions {
  /** R. Default 1,024. */
  readonly features?: number;
  /** κ; `auto` is R/N, 1 the ordinary bound. Default `auto`. */
  readonly kappa?: "auto" | number;
  /** Deviation of the noise; `learned` starts at 0.3. Default 0.1. */
  readonly noise?: number | "learned";
  /** ℓ at the start. Default 1. */
  readonly lengthScale?: number;
  /** Default 400. */
  readonly steps?: number;
  /** Adam's, in log ℓ. Default 0.05. */
  readonly learningRate?: number;
  readonly seed: number;
}

export interface RandomFourierFit {
  readonly lengthScale: number;
  /** k², the prior's variance. */
  readonly outputScale: number;
  readonly noise: number;
  /** ŵ, `[features]`. */
  readonly mean: Float64Array;
  readonly sigma2: number;
  /** E_q of the log-likelihood, a training example on average. */
  readonly expectedLogLik: number;
  /** J after each step. */
  readonly history: readonly number[];
  /** Mean and variance (without the noise) of the function at `[points]`. */
  predict(x: Float64Array): { readonly mean: Float64Array; readonly variance: Float64Array };
}

/**
 * Regression on one input with random Fourier features `φ(x) = √(2/R) cos(ax/ℓ + b)` and a prior `N(0, k²I)` on their weights,
 * which stands for a Gaussian process with an RBF kernel; ŵ, σ², k² (and the noise) by their closed forms in turn and ℓ by Adam
 * on the data-emphasized bound.
 *
 * @throws RangeError for options out of range, or data that are empty, of different lengths or not finite.
 */
export function randomFourierGp({
  features = 1024,
  kappa = "auto",
  noise = 0.1,
  lengthScale = 1,
  steps = 400,
  learningRate = 0.05,
  seed,
}: RandomFourierOptions) {
  for (const [name, value] of Object.entries({ features, steps }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`randomFourierGp: ${name} must be a whole number from 1, got ${value}`);
  for (const [name, value] of Object.entries({
    lengthScale,
    learningRate,
    ...(noise === "learned" ? {} : { noise }),
    ...(kappa === "auto" ? {} : { kappa }),
  }))
    if (!(value > 0 && Number.isFinite(value)))
      throw new RangeError(`randomFourierGp: ${name} must be positive, got ${value}`);
  const stream = randomStream(seed, "random Fourier features");
  const frequencies = Float64Array.from({ length: features }, () => stream.normal());
  const phases = Float64Array.from({ length: features }, () => 2 * Math.PI * stream.uniform());
  const amplitude = Math.sqrt(2 / features);

  /** Φ, or its derivative in log ℓ, `√(2/R) sin(ax/ℓ + b) ax/ℓ`. */
  const featuresOf = (x: Float64Array, length: number, derivative = false): Matrix => {
    const phi = matrix(x.length, features);
    x.forEach((value, i) => {
      for (let j = 0; j < features; j++) {
        const angle = (frequencies[j]! * value) / length;
        phi.values[i * features + j] =
          amplitude * (derivative ? Math.sin(angle + phases[j]!) * angle : Math.cos(angle + phases[j]!));
      }
    });
    return phi;
  };

  return {
    featuresOf,
    fit(x: Float64Array, y: Float64Array): RandomFourierFit {
      const n = x.length;
      if (n === 0 || y.length !== n)
        throw new RangeError(`randomFourierGp: ${n} inputs and ${y.length} targets`);
      if (![...x, ...y].every(Number.isFinite))
        throw new RangeError("randomFourierGp: the data must be finite");
      const weight = kappa === "auto" ? features / n : kappa;
      let [logLength, scale, deviation] = [Math.log(lengthScale), 1, noise === "learned" ? 0.3 : noise];
      let [first, second] = [0, 0];
      const history: number[] = [];
      const state = () => {
        const phi = featuresOf(x, Math.exp(logLength));
        const { mean, sigma2 } = gaussianPosterior(phi, y, {
          kappa: weight,
          noise: deviation,
          priorVariance: scale,
        });
        const residual = addScaled(y.slice(), -1, times(phi, mean));
        const squares = dot(residual, residual) + sigma2 * dot(phi.values, phi.values);
        return { phi, mean, sigma2, residual, squares };
      };
      const expected = (squares: number): number =>
        -0.5 * Math.log(2 * Math.PI * deviation ** 2) - squares / (2 * n * deviation ** 2);
      for (let step = 1; step <= steps; step++) {
        const { phi, mean, sigma2, residual, squares } = state();
        scale = sigma2 + dot(mean, mean) / features;
        if (noise === "learned") deviation = Math.sqrt(squares / n);
        // At its optimum k² leaves ½D(log k² − log σ²) of the divergence.
        history.push(weight * n * expected(squares) - 0.5 * features * Math.log(scale / sigma2));
        const slope = featuresOf(x, Math.exp(logLength), true);
        const gradient =
          (dot(residual, times(slope, mean)) - sigma2 * dot(phi.values, slope.values)) / (n * deviation ** 2);
        first = 0.9 * first + 0.1 * gradient;
        second = 0.999 * second + 0.001 * gradient ** 2;
        const corrected = Math.sqrt(second / (1 - 0.999 ** step));
        logLength += (learningRate * first) / (1 - 0.9 ** step) / (corrected + 1e-8);
      }
      const { mean, sigma2, squares } = state();
      if (![logLength, scale, sigma2, squares].every(Number.isFinite))
        throw new Error(
          `randomFourierGp: the fit diverged, to a length-scale of ${Math.exp(logLength)} and an output scale of ${scale}`,
        );
      return {
        lengthScale: Math.exp(logLength),
        outputScale: scale,
        noise: deviation,
        mean,
        sigma2,
        expectedLogLik: expected(squares),
        history,
        predict(points) {
          const phi = featuresOf(points, Math.exp(logLength));
          return {
            mean: times(phi, mean),
            variance: Float64Array.from({ length: points.length }, (_, i) => {
              const row = phi.values.subarray(i * features, (i + 1) * features);
              return sigma2 * dot(row, row);
            }),
          };
        },
      };
    },
  };
}
