import { type Matrix, matrix, thinSVD } from "../linalg/index.ts";

/** x towards zero by `threshold`: sign(x) max(|x| − threshold, 0). */
export function softThreshold(x: number, threshold: number): number {
  return x > threshold ? x - threshold : x < -threshold ? x + threshold : 0;
}

/** The proximal operator of `threshold ‖·‖₁`. */
export function proxL1(x: ArrayLike<number>, threshold: number): Float64Array {
  return Float64Array.from(x, (value) => softThreshold(value, threshold));
}

/** The proximal operator of `threshold ‖·‖₂`: the whole vector towards zero, `(1 − threshold/‖x‖)₊ x`. */
export function proxL2Norm(x: ArrayLike<number>, threshold: number): Float64Array {
  let square = 0;
  for (let i = 0; i < x.length; i++) square += x[i]! ** 2;
  const length = Math.sqrt(square);
  const scale = length > threshold ? 1 - threshold / length : 0;
  return Float64Array.from(x, (value) => scale * value);
}

/** The proximal operator of `l1 ‖·‖₁ + ½ l2 ‖·‖²`. */
export function proxElasticNet(x: ArrayLike<number>, l1: number, l2: number): Float64Array {
  return Float64Array.from(x, (value) => softThreshold(value, l1) / (1 + l2));
}

/** The proximal operator of `threshold ‖·‖_*`: soft-thresholds the singular values. */
export function proxNuclear(a: Matrix, threshold: number): Matrix {
  const { u, s, v } = thinSVD(a);
  const result = matrix(a.rows, a.columns);
  s.forEach((value, k) => {
    const kept = softThreshold(value, threshold);
    if (kept === 0) return;
    for (let i = 0; i < a.rows; i++)
      for (let j = 0; j < a.columns; j++)
        result.values[i * a.columns + j]! += kept * u.values[i * s.length + k]! * v.values[j * s.length + k]!;
  });
  return result;
}
