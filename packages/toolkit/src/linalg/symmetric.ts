import { EigenvalueDecomposition, Matrix as MlMatrix, SingularValueDecomposition } from "ml-matrix";
import { type Matrix, matrix } from "./matrix.ts";

export interface SymmetricEigen {
  /** Ascending, `[n]`. */
  readonly values: Float64Array;
  /** Eigenvectors in the columns, in the order of the values. */
  readonly vectors: Matrix;
}

/**
 * Eigenvalues and orthonormal eigenvectors of a symmetric matrix.
 * @throws RangeError when it is not square.
 */
export function symmetricEigen(a: Matrix): SymmetricEigen {
  const n = a.rows;
  if (a.columns !== n) throw new RangeError(`symmetricEigen: needs a square matrix, got ${n} × ${a.columns}`);
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(toMl(a), {
    assumeSymmetric: true,
  });
  const order = realEigenvalues.map((_, i) => i).sort((i, j) => realEigenvalues[i]! - realEigenvalues[j]!);
  const vectors = matrix(n, n);
  order.forEach((from, to) => {
    for (let i = 0; i < n; i++) vectors.values[i * n + to] = eigenvectorMatrix.get(i, from);
  });
  return { values: Float64Array.from(order, (i) => realEigenvalues[i]!), vectors };
}

/** f(A) of a symmetric matrix: f applied to its eigenvalues. */
export function symmetricFunction(a: Matrix, f: (eigenvalue: number) => number): Matrix {
  const { values, vectors } = symmetricEigen(a);
  const n = a.rows;
  const mapped = values.map(f);
  const result = matrix(n, n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += vectors.values[i * n + k]! * mapped[k]! * vectors.values[j * n + k]!;
      result.values[i * n + j] = sum;
    }
  return result;
}

/** The positive semidefinite square root of A; eigenvalues below zero by rounding count as zero. */
export function squareRootSPD(a: Matrix): Matrix {
  return symmetricFunction(a, (value) => Math.sqrt(Math.max(0, value)));
}

/** A^(−1/2) of a positive definite matrix. */
export function inverseSquareRootSPD(a: Matrix): Matrix {
  return symmetricFunction(a, (value) => {
    if (!(value > 0)) throw new RangeError(`inverseSquareRootSPD: eigenvalue ${value} is not positive`);
    return 1 / Math.sqrt(value);
  });
}

export interface ThinSVD {
  /** `[rows, k]` with k = min(rows, columns). */
  readonly u: Matrix;
  /** Descending, `[k]`. */
  readonly s: Float64Array;
  /** `[columns, k]`. */
  readonly v: Matrix;
}

/** A = U diag(s) Vᵀ. */
export function thinSVD(a: Matrix): ThinSVD {
  const svd = new SingularValueDecomposition(toMl(a), { autoTranspose: true });
  const k = Math.min(a.rows, a.columns);
  return {
    u: fromMl(svd.leftSingularVectors, k),
    s: Float64Array.from(svd.diagonal.slice(0, k)),
    v: fromMl(svd.rightSingularVectors, k),
  };
}

function toMl({ rows, columns, values }: Matrix): MlMatrix {
  return MlMatrix.from1DArray(rows, columns, values);
}

function fromMl(a: MlMatrix, columns: number): Matrix {
  const copy = matrix(a.rows, columns);
  for (let i = 0; i < a.rows; i++)
    for (let j = 0; j < columns; j++) copy.values[i * columns + j] = a.get(i, j);
  return copy;
}
