import { digits, stratifiedSplit } from "@prior-art/toolkit/data";
import {
  addScaled,
  choleskyFactor,
  choleskySolve,
  denseOperator,
  dot,
  gram,
  type Matrix,
  matrix,
  multiply,
  operatorNorm,
  times,
  transpose,
  transposedTimes,
} from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import type { BilevelProblem } from "../family.ts";
import type { BilevelConstants } from "./errorBound.ts";

export interface KnownProblem {
  readonly problem: BilevelProblem;
  readonly constants: BilevelConstants;
}

export interface QuadraticProblem extends KnownProblem {
  /** x̂(θ). */
  solution(theta: Float64Array): Float64Array;
  /** f(θ) = g(x̂(θ)) and its gradient, exactly. */
  exact(theta: Float64Array): { readonly value: number; readonly gradient: Float64Array };
  /** min f. */
  readonly least: number;
}

/**
 * `h = ½‖A₂x + A₃θ − b₂‖²`, `g = ½‖A₁x − b₁‖²` with matrices `[rows, size]` of uniform numbers, a uniform truth and noise of
 * deviation 0.01: the paper's test with a known solution. θ is unbounded.
 */
export function quadraticProblem(rows: number, size: number, seed: number): QuadraticProblem {
  const stream = randomStream(seed, "quadratic");
  const draw = (r: number, c: number): Matrix =>
    matrix(
      r,
      c,
      Float64Array.from({ length: r * c }, () => stream.uniform()),
    );
  const [a1, a2, a3] = [draw(rows, size), draw(rows, size), draw(rows, size)];
  const [x, theta] = [draw(size, 1).values, draw(size, 1).values];
  const noisy = (v: Float64Array): Float64Array => v.map((value) => value + 0.01 * stream.normal());
  const b1 = noisy(times(a1, x));
  const b2 = noisy(addScaled(times(a2, x), 1, times(a3, theta)));

  const normal = gram(a2);
  const factor = choleskyFactor(normal);
  const cross = multiply(transpose(a2), a3);
  const smoothness = operatorNorm(denseOperator(a2)) ** 2;
  const strongConvexity = 1 / operatorNorm(inverseOperator(factor, size));
  const residual = (at: Float64Array, hyper: Float64Array): Float64Array =>
    addScaled(addScaled(times(a2, at), 1, times(a3, hyper)), -1, b2);
  const outerResidual = (at: Float64Array): Float64Array => addScaled(times(a1, at), -1, b1);
  const solution = (hyper: Float64Array): Float64Array =>
    choleskySolve(factor, transposedTimes(a2, addScaled(b2.slice(), -1, times(a3, hyper))));
  const outerValue = (at: Float64Array): number => {
    const r = outerResidual(at);
    return 0.5 * dot(r, r);
  };
  return {
    problem: {
      parameters: size,
      lower: new Float64Array(size).fill(Number.NEGATIVE_INFINITY),
      upper: new Float64Array(size).fill(Number.POSITIVE_INFINITY),
      inner: {
        evaluate(at, hyper) {
          const r = residual(at, hyper);
          return { value: 0.5 * dot(r, r), gradient: transposedTimes(a2, r) };
        },
        hessianProduct: (_, __, v) => transposedTimes(a2, times(a2, v)),
        hessian: () => gram(a2),
        strongConvexity: () => strongConvexity,
        crossProduct: (_, __, q) => transposedTimes(a3, times(a2, q)),
      },
      outer: {
        value: outerValue,
        gradient: (at) => transposedTimes(a1, outerResidual(at)),
      },
    },
    constants: {
      smoothness: () => smoothness,
      outerSmoothness: operatorNorm(denseOperator(a1)) ** 2,
      crossNorm: (() => {
        const size2 = operatorNorm(denseOperator(cross));
        return () => size2;
      })(),
      crossLipschitz: () => 0,
      inverseLipschitz: () => 0,
    },
    solution,
    exact(hyper) {
      const at = solution(hyper);
      const q = choleskySolve(factor, transposedTimes(a1, outerResidual(at)));
      return {
        value: outerValue(at),
        gradient: transposedTimes(a3, times(a2, q)).map((value) => -value),
      };
    },
    // x̂ is affine in θ and onto, so that f reaches the least squares of g.
    least: outerValue(choleskySolve(choleskyFactor(gram(a1)), transposedTimes(a1, b1))),
  };
}

function inverseOperator(factor: Matrix, size: number) {
  const apply = (v: Float64Array): Float64Array => choleskySolve(factor, v);
  return { rows: size, columns: size, apply, applyTransposed: apply };
}

/** Rows of features with a class each. */
export interface LabelledSample {
  /** `[examples, features]`. */
  readonly features: Matrix;
  readonly labels: Int32Array;
}

/**
 * Multinomial logistic regression with a ridge weight for each feature: `h = mean CE(A_tr X) + ½ Σ_j e^{θ_j} ‖x_j‖²`, g the mean
 * cross-entropy of the validation data, every `θ_j ∈ [−9, 6]`. x is `[features, classes]`, row after row.
 */
export function ridgePerFeatureProblem(
  { train, validation }: { readonly train: LabelledSample; readonly validation: LabelledSample },
  classes: number,
): KnownProblem {
  const d = train.features.columns;
  /** Class probabilities `[examples, classes]` and the loss. */
  const predict = ({ features, labels }: LabelledSample, x: Float64Array) => {
    const probabilities = scoresOf(features, x, classes);
    let value = 0;
    for (let i = 0; i < features.rows; i++) {
      const row = probabilities.subarray(i * classes, (i + 1) * classes);
      const most = row.reduce((a, b) => Math.max(a, b));
      value += most - row[labels[i]!]!;
      let sum = 0;
      for (let c = 0; c < classes; c++) {
        row[c] = Math.exp(row[c]! - most);
        sum += row[c]!;
      }
      for (let c = 0; c < classes; c++) row[c]! /= sum;
      value += Math.log(sum);
    }
    return { value: value / features.rows, probabilities };
  };
  const lossGradient = (sample: LabelledSample, x: Float64Array) => {
    const { value, probabilities } = predict(sample, x);
    sample.labels.forEach((label, i) => {
      probabilities[i * classes + label]! -= 1;
    });
    return { value, gradient: pulledBack(sample.features, probabilities, classes) };
  };
  /** Training probabilities at the last x: conjugate gradients ask for many products at one. */
  let last: { readonly x: Float64Array; readonly probabilities: Float64Array } | undefined;
  const probabilitiesAt = (x: Float64Array): Float64Array => {
    if (!last?.x.every((value, at) => value === x[at]))
      last = { x: x.slice(), probabilities: predict(train, x).probabilities };
    return last.probabilities;
  };
  const penalty = (x: Float64Array, theta: Float64Array): Float64Array =>
    x.map((value, at) => Math.exp(theta[Math.floor(at / classes)]!) * value);
  // Softmax's Hessian is at most ½ in norm.
  const curvature = ({ features }: LabelledSample): number =>
    (0.5 * operatorNorm(denseOperator(features), { tolerance: 1e-6 }) ** 2) / features.rows;
  const inside = curvature(train);
  const strongest = (theta: Float64Array): number => Math.exp(theta.reduce((a, b) => Math.max(a, b)));
  return {
    problem: {
      parameters: d * classes,
      lower: new Float64Array(d).fill(-9),
      upper: new Float64Array(d).fill(6),
      inner: {
        evaluate(x, theta) {
          const { value, gradient } = lossGradient(train, x);
          const ridge = penalty(x, theta);
          return { value: value + 0.5 * dot(x, ridge), gradient: addScaled(gradient, 1, ridge) };
        },
        hessianProduct(x, theta, v) {
          const probabilities = probabilitiesAt(x);
          const image = scoresOf(train.features, v, classes);
          for (let i = 0; i < train.features.rows; i++) {
            let inner = 0;
            for (let at = i * classes; at < (i + 1) * classes; at++) inner += probabilities[at]! * image[at]!;
            for (let at = i * classes; at < (i + 1) * classes; at++)
              image[at] = probabilities[at]! * (image[at]! - inner);
          }
          return addScaled(pulledBack(train.features, image, classes), 1, penalty(v, theta));
        },
        strongConvexity: (theta) => Math.exp(theta.reduce((a, b) => Math.min(a, b))),
        crossProduct(x, theta, q) {
          const product = new Float64Array(d);
          x.forEach((value, at) => {
            product[Math.floor(at / classes)]! += value * q[at]!;
          });
          return product.map((value, j) => Math.exp(theta[j]!) * value);
        },
      },
      outer: {
        value: (x) => predict(validation, x).value,
        gradient: (x) => lossGradient(validation, x).gradient,
      },
    },
    constants: {
      smoothness: (theta) => inside + strongest(theta),
      // Column j of B is e^{θ_j} x_j in the places of feature j alone, so that columns are orthogonal.
      crossNorm(x, theta) {
        let most = 0;
        for (let j = 0; j < d; j++) {
          const weights = x.subarray(j * classes, (j + 1) * classes);
          most = Math.max(most, Math.exp(theta[j]!) * Math.sqrt(dot(weights, weights)));
        }
        return most;
      },
      crossLipschitz: strongest,
    },
  };
}

/** A X for X `[columns, classes]`, row after row as `[rows, classes]`. */
function scoresOf({ rows, columns, values }: Matrix, x: Float64Array, classes: number): Float64Array {
  const product = new Float64Array(rows * classes);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      const weight = values[i * columns + j]!;
      if (weight === 0) continue;
      const from = j * classes;
      const to = i * classes;
      for (let c = 0; c < classes; c++) product[to + c]! += weight * x[from + c]!;
    }
  return product;
}

/** AᵀR/rows for R `[rows, classes]`, row after row as `[columns, classes]`. */
function pulledBack({ rows, columns, values }: Matrix, r: Float64Array, classes: number): Float64Array {
  const product = new Float64Array(columns * classes);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      const weight = values[i * columns + j]!;
      if (weight === 0) continue;
      const from = i * classes;
      const to = j * classes;
      for (let c = 0; c < classes; c++) product[to + c]! += weight * r[from + c]!;
    }
  for (let at = 0; at < product.length; at++) product[at]! /= rows;
  return product;
}

/** 8×8 digits with pixels in [0, 1], `noise` Gaussian columns that say nothing, and a constant. */
export async function noisyDigits(seed: number, size: number, noise: number) {
  const { features, shape, labels } = await digits();
  const split = stratifiedSplit(labels, { train: size, validation: size, test: 10, seed });
  const stream = randomStream(seed, "noise columns");
  const pixels = shape[1]!;
  const largest = features.reduce((a, b) => Math.max(a, b), 0);
  const sample = (rows: Int32Array): LabelledSample => {
    const columns = pixels + noise + 1;
    const table = matrix(rows.length, columns);
    rows.forEach((i, row) => {
      for (let j = 0; j < pixels; j++) table.values[row * columns + j] = features[i * pixels + j]! / largest;
      for (let j = 0; j < noise; j++) table.values[row * columns + pixels + j] = stream.normal();
      table.values[row * columns + columns - 1] = 1;
    });
    return { features: table, labels: Int32Array.from(rows, (i) => labels[i]!) };
  };
  return { train: sample(split.train), validation: sample(split.validation) };
}
