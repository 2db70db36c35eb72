import { type Matrix, matrix } from "./matrix.ts";

/**
 * Lower triangular L with A = L Lᵀ.
 *
 * @param a Symmetric; only its lower triangle is read.
 * @throws RangeError when A is not square or not positive definite.
 */
export function choleskyFactor(a: Matrix): Matrix {
  const n = a.rows;
  if (a.columns !== n) throw new RangeError(`choleskyFactor: needs a square matrix, got ${n} × ${a.columns}`);
  const factor = matrix(n, n, a.values.slice());
  const l = factor.values;
  for (let j = 0; j < n; j++) {
    const rowJ = l.subarray(j * n, j * n + j);
    let pivot = l[j * n + j]!;
    for (const value of rowJ) pivot -= value * value;
    if (!(pivot > 0)) throw new RangeError(`choleskyFactor: pivot ${j} is ${pivot}; not positive definite`);
    pivot = Math.sqrt(pivot);
    l[j * n + j] = pivot;
    for (let i = j + 1; i < n; i++) {
      let sum = l[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * rowJ[k]!;
      l[i * n + j] = sum / pivot;
    }
    l.fill(0, j * n + j + 1, (j + 1) * n);
  }
  return factor;
}

/** Solves L Lᵀ x = b with the factor of `choleskyFactor`. */
export function choleskySolve({ rows: n, values: l }: Matrix, b: ArrayLike<number>): Float64Array {
  const x = Float64Array.from(b);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i]! -= l[i * n + k]! * x[k]!;
    x[i]! /= l[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    x[i]! /= l[i * n + i]!;
    for (let k = 0; k < i; k++) x[k]! -= l[i * n + k]! * x[i]!;
  }
  return x;
}

/** Solves A x = b for a symmetric positive definite matrix; throws as `choleskyFactor` does. */
export function solveSPD(a: Matrix, b: ArrayLike<number>): Float64Array {
  return choleskySolve(choleskyFactor(a), b);
}

/** log det A from A's Cholesky factor. */
export function logDeterminant({ rows: n, values }: Matrix): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += 2 * Math.log(values[i * n + i]!);
  return sum;
}
