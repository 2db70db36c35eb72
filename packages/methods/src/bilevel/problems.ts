import { breastCancer, diabetes, digits, stratifiedSplit } from "@prior-art/toolkit/data";
import { dot, gram, type Matrix, matrix, times, transposedTimes } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import type { BilevelProblem } from "./family.ts";

/** Rows of features with a response each. */
export interface Sample {
  /** `[examples, features]`. */
  readonly features: Matrix;
  /** ±1 or real, `[examples]`. */
  readonly response: Float64Array;
}

export interface Split {
  readonly train: Sample;
  readonly validation: Sample;
}

/** log(1 + eᵗ) without overflow. */
function softplus(t: number): number {
  return t > 0 ? t + Math.log1p(Math.exp(-t)) : Math.log1p(Math.exp(t));
}

function sigmoid(t: number): number {
  return t >= 0 ? 1 / (1 + Math.exp(-t)) : Math.exp(t) / (1 + Math.exp(t));
}

/**
 * ℓ2-logistic regression with one hyperparameter: `h = Σ log(1 + exp(−b a·x)) + ½ e^λ ‖x‖²`, g the same loss on
 * the validation data, `λ ∈ [−6, 6]`.
 */
export function logisticProblem({ train, validation }: Split): BilevelProblem {
  const d = train.features.columns;
  /** Loss, and its gradient with weights `−b σ(−b a·x)`. */
  const loss = ({ features, response }: Sample, x: Float64Array) => {
    const margins = times(features, x).map((value, i) => value * response[i]!);
    const value = margins.reduce((sum, margin) => sum + softplus(-margin), 0);
    return { value, weights: margins.map((margin, i) => -response[i]! * sigmoid(-margin)) };
  };
  return {
    parameters: d,
    lower: Float64Array.of(-6),
    upper: Float64Array.of(6),
    inner: {
      evaluate(x, lambda) {
        const penalty = Math.exp(lambda[0]!);
        const { value, weights } = loss(train, x);
        const gradient = transposedTimes(train.features, weights);
        for (let j = 0; j < d; j++) gradient[j]! += penalty * x[j]!;
        return { value: value + 0.5 * penalty * dot(x, x), gradient };
      },
      hessianProduct(x, lambda, v) {
        const scores = times(train.features, x);
        const image = times(train.features, v).map((value, i) => {
          const s = sigmoid(scores[i]!);
          return s * (1 - s) * value;
        });
        const product = transposedTimes(train.features, image);
        for (let j = 0; j < d; j++) product[j]! += Math.exp(lambda[0]!) * v[j]!;
        return product;
      },
      hessian(x, lambda) {
        const scores = times(train.features, x);
        const scaled = train.features.values.map((value, at) => {
          const s = sigmoid(scores[Math.floor(at / d)]!);
          return value * Math.sqrt(s * (1 - s));
        });
        return addDiagonal(gram({ ...train.features, values: scaled }), () => Math.exp(lambda[0]!));
      },
      strongConvexity: (lambda) => Math.exp(lambda[0]!),
      crossProduct: (x, lambda, q) => Float64Array.of(Math.exp(lambda[0]!) * dot(x, q)),
    },
    outer: {
      value: (x) => loss(validation, x).value,
      gradient: (x) => transposedTimes(validation.features, loss(validation, x).weights),
    },
  };
}

/**
 * Ridge regression with a penalty for each feature: `h = ½ ‖Ax − b‖² + ½ Σ e^{λ_j} x_j²`, g half the validation's squared
 * error, every `λ_j ∈ [−6, 6]`.
 *
 * @param shared One penalty for all features instead.
 */
export function ridgeProblem({ train, validation }: Split, { shared = false } = {}): BilevelProblem {
  const d = train.features.columns;
  const at = (lambda: Float64Array, j: number): number => Math.exp(lambda[shared ? 0 : j]!);
  const residual = ({ features, response }: Sample, x: Float64Array): Float64Array =>
    times(features, x).map((value, i) => value - response[i]!);
  const size = shared ? 1 : d;
  return {
    parameters: d,
    lower: new Float64Array(size).fill(-6),
    upper: new Float64Array(size).fill(6),
    inner: {
      evaluate(x, lambda) {
        const r = residual(train, x);
        const gradient = transposedTimes(train.features, r);
        let value = 0.5 * dot(r, r);
        for (let j = 0; j < d; j++) {
          value += 0.5 * at(lambda, j) * x[j]! ** 2;
          gradient[j]! += at(lambda, j) * x[j]!;
        }
        return { value, gradient };
      },
      hessianProduct(_, lambda, v) {
        const product = transposedTimes(train.features, times(train.features, v));
        for (let j = 0; j < d; j++) product[j]! += at(lambda, j) * v[j]!;
        return product;
      },
      hessian: (_, lambda) => addDiagonal(gram(train.features), (j) => at(lambda, j)),
      strongConvexity: (lambda) => Math.exp(lambda.reduce((least, value) => Math.min(least, value))),
      crossProduct(x, lambda, q) {
        const each = x.map((value, j) => at(lambda, j) * value * q[j]!);
        return shared ? Float64Array.of(each.reduce((sum, value) => sum + value, 0)) : each;
      },
    },
    outer: {
      value: (x) => {
        const r = residual(validation, x);
        return 0.5 * dot(r, r);
      },
      gradient: (x) => transposedTimes(validation.features, residual(validation, x)),
    },
  };
}

/**
 * Kernel ridge regression with `λ = (log width, log ridge)`: `h = ½ xᵀ(K + e^{λ₂} I)x − bᵀx` with `K_ij = exp(−e^{λ₁} ‖a_i − a_j‖²)`,
 * whose minimizer is the dual solution, and g half the validation's squared error of `K_val x`.
 */
export function kernelRidgeProblem({ train, validation }: Split): BilevelProblem {
  const n = train.response.length;
  const within = distances(train.features, train.features);
  const across = distances(validation.features, train.features);
  const cache = { width: Number.NaN, within: matrix(n, n), across: matrix(validation.response.length, n) };
  const kernels = (lambda: Float64Array): typeof cache => {
    const width = lambda[0]!;
    if (cache.width !== width) {
      const scale = -Math.exp(width);
      within.values.forEach((value, i) => {
        cache.within.values[i] = Math.exp(scale * value);
      });
      across.values.forEach((value, i) => {
        cache.across.values[i] = Math.exp(scale * value);
      });
      cache.width = width;
    }
    return cache;
  };
  /** ∂K/∂λ₁ x, which multiplies each entry by −e^{λ₁} times its distance. */
  const widthDerivative = (
    kernel: Matrix,
    squared: Matrix,
    lambda: Float64Array,
    x: Float64Array,
  ): Float64Array => {
    const scale = -Math.exp(lambda[0]!);
    const entries = kernel.values.map((value, i) => scale * squared.values[i]! * value);
    return times({ ...kernel, values: entries }, x);
  };
  const product = (lambda: Float64Array, x: Float64Array): Float64Array =>
    times(kernels(lambda).within, x).map((value, i) => value + Math.exp(lambda[1]!) * x[i]!);
  const residual = (x: Float64Array, lambda: Float64Array): Float64Array =>
    times(kernels(lambda).across, x).map((value, i) => value - validation.response[i]!);
  return {
    parameters: n,
    lower: Float64Array.of(-7, -6),
    upper: Float64Array.of(2, 4),
    inner: {
      evaluate(x, lambda) {
        const image = product(lambda, x);
        return {
          value: 0.5 * dot(x, image) - dot(train.response, x),
          gradient: image.map((value, i) => value - train.response[i]!),
        };
      },
      hessianProduct: (_, lambda, v) => product(lambda, v),
      hessian: (_, lambda) =>
        addDiagonal(matrix(n, n, kernels(lambda).within.values.slice()), () => Math.exp(lambda[1]!)),
      strongConvexity: (lambda) => Math.exp(lambda[1]!),
      crossProduct: (x, lambda, q) =>
        Float64Array.of(
          dot(widthDerivative(kernels(lambda).within, within, lambda, x), q),
          Math.exp(lambda[1]!) * dot(x, q),
        ),
    },
    outer: {
      value: (x, lambda) => {
        const r = residual(x, lambda);
        return 0.5 * dot(r, r);
      },
      gradient: (x, lambda) => transposedTimes(kernels(lambda).across, residual(x, lambda)),
      hyperGradient: (x, lambda) =>
        Float64Array.of(
          dot(residual(x, lambda), widthDerivative(kernels(lambda).across, across, lambda, x)),
          0,
        ),
    },
  };
}

/** Adds to the diagonal, in place. */
function addDiagonal(a: Matrix, value: (j: number) => number): Matrix {
  for (let j = 0; j < a.rows; j++) a.values[j * a.rows + j]! += value(j);
  return a;
}

function distances(a: Matrix, b: Matrix): Matrix {
  const d = a.columns;
  const result = matrix(a.rows, b.rows);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < b.rows; j++) {
      let sum = 0;
      for (let k = 0; k < d; k++) sum += (a.values[i * d + k]! - b.values[j * d + k]!) ** 2;
      result.values[i * b.rows + j] = sum;
    }
  return result;
}

/** Tumours, malignant −1 or benign +1: 284 for training, 142 for validation, standardized, with a constant feature. */
export async function tumourSplit(seed: number, { noiseFeatures = 0 } = {}): Promise<Split> {
  const { features, shape, labels } = await breastCancer();
  const split = stratifiedSplit(labels, { train: 284, validation: 142, test: 1, seed });
  const stream = randomStream(seed, "noise features");
  const noise = Float64Array.from({ length: shape[0] * noiseFeatures }, () => stream.normal());
  return standardizedSplit(
    shape[1] + noiseFeatures,
    (i, j) => (j < shape[1] ? features[i * shape[1] + j]! : noise[i * noiseFeatures + j - shape[1]]!),
    (i) => 2 * labels[i]! - 1,
    split,
  );
}

/** 8×8 digits, odd (+1) or even (−1): `size` for training and as many for validation. */
export async function digitSplit(seed: number, size = 400): Promise<Split> {
  const { features, shape, labels } = await digits();
  const split = stratifiedSplit(labels, { train: size, validation: size, test: 10, seed });
  return standardizedSplit(
    shape[1]!,
    (i, j) => features[i * shape[1]! + j]!,
    (i) => (labels[i]! % 2 === 1 ? 1 : -1),
    split,
  );
}

/** Progression of diabetes, standardized: 200 patients for training, 120 for validation. */
export async function diabetesSplit(seed: number): Promise<Split> {
  const { features, shape, targets } = await diabetes();
  const order = randomStream(seed, "diabetes").permutation(shape[0]);
  const center = targets.reduce((sum, value) => sum + value, 0) / targets.length;
  const spread = Math.sqrt(targets.reduce((sum, value) => sum + (value - center) ** 2, 0) / targets.length);
  return standardizedSplit(
    shape[1],
    (i, j) => features[i * shape[1] + j]!,
    (i) => (targets[i]! - center) / spread,
    { train: order.subarray(0, 200), validation: order.subarray(200, 320) },
  );
}

/** Standardizes by the training examples, and appends a constant feature. */
function standardizedSplit(
  columns: number,
  feature: (i: number, j: number) => number,
  response: (i: number) => number,
  { train, validation }: { readonly train: Int32Array; readonly validation: Int32Array },
): Split {
  const centers = new Float64Array(columns);
  const spreads = new Float64Array(columns);
  for (let j = 0; j < columns; j++) {
    for (const i of train) centers[j]! += feature(i, j) / train.length;
    for (const i of train) spreads[j]! += (feature(i, j) - centers[j]!) ** 2 / train.length;
  }
  const sample = (rows: Int32Array): Sample => {
    const features = matrix(rows.length, columns + 1);
    rows.forEach((i, row) => {
      for (let j = 0; j < columns; j++)
        features.values[row * (columns + 1) + j] =
          spreads[j]! > 1e-12 ? (feature(i, j) - centers[j]!) / Math.sqrt(spreads[j]!) : 0;
      features.values[row * (columns + 1) + columns] = 1;
    });
    return { features, response: Float64Array.from(rows, response) };
  };
  return { train: sample(train), validation: sample(validation) };
}
