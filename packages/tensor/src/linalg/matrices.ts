import { allocate, type DType, isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { where } from "../ops/compare.ts";
import { eye } from "../ops/create.ts";
import { add, mul } from "../ops/elementwise.ts";
import { sum } from "../ops/reduce.ts";
import { broadcastTo, expandDims, matrixTranspose, reshape, type SliceSpec, slice } from "../ops/shape.ts";
import { range, type Shape, showShape } from "../shape.ts";
import { constant, type Tensor } from "../tensor.ts";

/** Throws unless `x` holds float matrices `[…, m, n]` of at least one row and column. */
export function requireMatrices(op: string, x: Tensor): void {
  if (!isFloat(x.dtype))
    throw new TensorError(op, `takes float32 or float64, not ${x.dtype}${showShape(x.shape)}; cast it first`);
  if (x.rank < 2) throw new TensorError(op, `takes matrices […, m, n], not shape ${showShape(x.shape)}`);
  if (x.shape.at(-1) === 0 || x.shape.at(-2) === 0)
    throw new TensorError(op, `the matrices of shape ${showShape(x.shape)} are empty`);
}

/** Throws unless `x` holds square float matrices `[…, n, n]`. */
export function requireSquare(op: string, x: Tensor): void {
  requireMatrices(op, x);
  if (x.shape.at(-1) !== x.shape.at(-2))
    throw new TensorError(op, `takes square matrices […, n, n], not shape ${showShape(x.shape)}`);
}

/** The shape before the matrix axes. */
export const leadOf = (x: Tensor): number[] => x.shape.slice(0, -2);

/** Nothing selected along the leading axes, then the given ranges. */
export const sliceMatrix = (x: Tensor, rows: SliceSpec, columns: SliceSpec = null): Tensor =>
  slice(x, ...range(x.rank - 2).map(() => null), rows, columns);

/** Identity matrices of the size and leading shape of `x`. */
export const identityLike = (x: Tensor): Tensor =>
  broadcastTo(eye(x.shape.at(-1)!, x.shape.at(-1)!, x.dtype), x.shape);

/** Where a constant `[rows, columns]` mask holds. */
export const mask = (
  rows: number,
  columns: number,
  holds: (row: number, column: number) => boolean,
): Tensor => numbers(rows, columns, "bool", (i, j) => (holds(i, j) ? 1 : 0));

/** A constant `[rows, columns]` matrix. */
export function numbers(
  rows: number,
  columns: number,
  dtype: DType,
  at: (row: number, column: number) => number,
): Tensor {
  const value = allocate(dtype, rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) value[i * columns + j] = at(i, j);
  return constant(value, [rows, columns], dtype);
}

/** 0…n-1 as a sequence to scan over, each an index vector of one element. */
export const positions = (n: number): Tensor => constant(Int32Array.from(range(n)), [n, 1], "int32");

/** `(x + xᵀ)/2`. */
export const symmetrized = (x: Tensor): Tensor => mul(0.5, add(x, matrixTranspose(x)));

/**
 * The diagonal `[…, k]` of matrices `[…, m, n]`, `offset` above (or, negative, below) the main one.
 * @throws TensorError when the diagonal lies outside the matrix.
 */
export function diagonal(x: Tensor, offset = 0): Tensor {
  if (x.rank < 2)
    throw new TensorError("diagonal", `takes matrices […, m, n], not shape ${showShape(x.shape)}`);
  const [row, column] = offset < 0 ? [-offset, 0] : [0, offset];
  const k = Math.min(x.shape.at(-2)! - row, x.shape.at(-1)! - column);
  if (!Number.isInteger(offset) || k < 1)
    throw new TensorError("diagonal", `shape ${showShape(x.shape)} has no diagonal ${offset}`);
  const square = sliceMatrix(x, [row, row + k], [column, column + k]);
  const lead = leadOf(x);
  return slice(reshape(square, [...lead, k * k]), ...lead.map(() => null), [null, null, k + 1]);
}

/** Matrices `[…, n, n]` with the given diagonals `[…, n]`, and zeros elsewhere. */
export function diag(values: Tensor): Tensor {
  if (values.rank === 0) throw new TensorError("diag", "takes diagonals […, n], not a tensor without axes");
  const n = values.shape.at(-1)!;
  return where(
    mask(n, n, (i, j) => i === j),
    expandDims(values, -1),
    values.dtype === "bool" ? false : 0,
  );
}

/** The sum of each matrix's diagonal, `[…]`. */
export const trace = (x: Tensor): Tensor => sum(diagonal(x), -1);

/** A leading shape both of matrices and of what is solved for. */
export const withLead = (x: Tensor, lead: Shape): Tensor => broadcastTo(x, [...lead, ...x.shape.slice(-2)]);
