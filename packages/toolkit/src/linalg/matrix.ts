import type { LinearOperator } from "./operator.ts";

/** A dense float64 matrix, row after row. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  /** `[rows, columns]`, row-major. */
  readonly values: Float64Array;
}

/**
 * Wraps values as a matrix, without copying a Float64Array; zeros when there are none.
 *
 * @throws RangeError unless there are rows × columns values.
 */
export function matrix(
  rows: number,
  columns: number,
  values: ArrayLike<number> = new Float64Array(rows * columns),
): Matrix {
  if (values.length !== rows * columns)
    throw new RangeError(`matrix: ${rows} × ${columns} needs ${rows * columns} values, got ${values.length}`);
  return { rows, columns, values: values instanceof Float64Array ? values : Float64Array.from(values) };
}

/** I of the given size, times `scale`. */
export function identity(size: number, scale = 1): Matrix {
  const eye = matrix(size, size);
  for (let i = 0; i < size; i++) eye.values[i * size + i] = scale;
  return eye;
}

/** Aᵀ. */
export function transpose({ rows, columns, values }: Matrix): Matrix {
  const flipped = matrix(columns, rows);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) flipped.values[j * rows + i] = values[i * columns + j]!;
  return flipped;
}

/** A x, `[rows]`. */
export function times(
  { rows, columns, values }: Matrix,
  x: ArrayLike<number>,
  out: Float64Array = new Float64Array(rows),
): Float64Array {
  for (let i = 0; i < rows; i++) {
    let sum = 0;
    for (let j = 0, at = i * columns; j < columns; j++, at++) sum += values[at]! * x[j]!;
    out[i] = sum;
  }
  return out;
}

/** Aᵀ y, `[columns]`. */
export function transposedTimes(
  { rows, columns, values }: Matrix,
  y: ArrayLike<number>,
  out: Float64Array = new Float64Array(columns),
): Float64Array {
  out.fill(0);
  for (let i = 0; i < rows; i++) {
    const weight = y[i]!;
    if (weight === 0) continue;
    for (let j = 0, at = i * columns; j < columns; j++, at++) out[j]! += weight * values[at]!;
  }
  return out;
}

/**
 * A B.
 * @throws RangeError when the inner sizes differ.
 */
export function multiply(a: Matrix, b: Matrix): Matrix {
  if (a.columns !== b.rows)
    throw new RangeError(`multiply: ${a.rows} × ${a.columns} and ${b.rows} × ${b.columns} do not fit`);
  const product = matrix(a.rows, b.columns);
  for (let i = 0; i < a.rows; i++)
    transposedTimes(
      b,
      a.values.subarray(i * a.columns, (i + 1) * a.columns),
      product.values.subarray(i * b.columns, (i + 1) * b.columns),
    );
  return product;
}

/** AᵀA, `[columns, columns]`. */
export function gram({ rows, columns, values }: Matrix): Matrix {
  const product = matrix(columns, columns);
  for (let i = 0; i < rows; i++) {
    const row = values.subarray(i * columns, (i + 1) * columns);
    for (let j = 0; j < columns; j++) {
      const weight = row[j]!;
      if (weight === 0) continue;
      for (let k = 0; k <= j; k++) product.values[j * columns + k]! += weight * row[k]!;
    }
  }
  for (let j = 0; j < columns; j++)
    for (let k = 0; k < j; k++) product.values[k * columns + j] = product.values[j * columns + k]!;
  return product;
}

/** The matrix as an operator. */
export function denseOperator(a: Matrix): LinearOperator {
  return {
    rows: a.rows,
    columns: a.columns,
    apply: (x, out) => times(a, x, out),
    applyTransposed: (y, out) => transposedTimes(a, y, out),
  };
}
