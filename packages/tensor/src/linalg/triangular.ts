import { scan } from "../control/scan.ts";
import { TensorError } from "../errors.ts";
import { alignRanks, unbroadcast } from "../ops/broadcast.ts";
import { where } from "../ops/compare.ts";
import { div, mul, neg, sub } from "../ops/elementwise.ts";
import { takeInRange } from "../ops/indexing.ts";
import { matmul } from "../ops/matmul.ts";
import { expandDims, matrixTranspose, moveAxis, reshape, squeeze } from "../ops/shape.ts";
import { broadcastShapes, sameShape } from "../shape.ts";
import { apply, type Primitive, type Tensor } from "../tensor.ts";
import { diagonal, leadOf, mask, positions, requireMatrices, requireSquare, withLead } from "./matrices.ts";

interface TriangularAttrs {
  readonly lower: boolean;
  readonly unitDiagonal: boolean;
}

/** The part of a matrix that a triangular solve reads. */
function triangle(x: Tensor, { lower, unitDiagonal }: TriangularAttrs): Tensor {
  const n = x.shape.at(-1)!;
  const keep = mask(n, n, (i, j) => (i === j ? !unitDiagonal : lower === i > j));
  return where(keep, x, 0);
}

const triangularPrimitive: Primitive<TriangularAttrs> = {
  name: "linalg.triangularSolve",
  infer: ([a, b]) => [{ shape: [...jointLead(a!, b!), ...b!.shape.slice(-2)], dtype: b!.dtype }],
  vjp: ({ inputs: [a, b], outputs: [x], attrs }, [ct], needed) => {
    if (!ct) return [undefined, undefined];
    const transposed = { ...attrs, lower: !attrs.lower };
    const ofB = apply(triangularPrimitive, [matrixTranspose(a!), ct], transposed);
    const ofA = needed[0] && neg(triangle(matmul(ofB, matrixTranspose(x!)), attrs));
    return [ofA ? unbroadcast(ofA, a!.shape) : undefined, unbroadcast(ofB, b!.shape)];
  },
  jvp: ({ inputs: [a], outputs: [x], attrs }, [ta, tb]) => {
    if (!ta && !tb) return [undefined];
    const moved = ta && matmul(triangle(ta, attrs), x!);
    const right = moved && tb ? sub(tb, moved) : (tb ?? neg(moved!));
    return [apply(triangularPrimitive, [a!, right], attrs)];
  },
  batch: (inputs, batched, attrs) => [apply(triangularPrimitive, alignRanks(inputs, batched), attrs)],
  // Substitution: each step finishes a row, and takes its multiples off the rest.
  expand: ([a, b], attrs) => {
    const lead = jointLead(a!, b!);
    const columns = expandDims(moveAxis(triangle(a!, { ...attrs, unitDiagonal: true }), -1, 0), -1);
    const pivots = attrs.unitDiagonal
      ? undefined
      : reshape(moveAxis(diagonal(a!), -1, 0), [a!.shape.at(-1)!, ...leadOf(a!), 1, 1]);
    const [, rows] = scan(
      (rest: Tensor, { at, column, pivot }: { at: Tensor; column: Tensor; pivot: Tensor | null }) => {
        const row = takeInRange(rest, at, -2);
        const x = pivot ? div(row, pivot) : row;
        return [sub(rest, mul(column, x)), x] as const;
      },
      withLead(b!, lead),
      { at: positions(a!.shape.at(-1)!), column: columns, pivot: pivots ?? null },
      { reverse: !attrs.lower },
    );
    return [moveAxis(squeeze(rows, -2), 0, -2)];
  },
};

const jointLead = (a: Tensor, b: Tensor): number[] =>
  broadcastShapes("linalg.triangularSolve", leadOf(a), leadOf(b));

/** `f` of matrices `[…, n, k]`, or of a vector `[n]` as a matrix of one column. */
export function withColumns(op: string, a: Tensor, b: Tensor, f: (b: Tensor) => Tensor): Tensor {
  if (b.rank === 1) return squeeze(withColumns(op, a, expandDims(b, -1), f), -1);
  requireMatrices(op, b);
  if (a.dtype !== b.dtype || a.shape.at(-2) !== b.shape.at(-2))
    throw new TensorError(op, `${a.toString()} and the right side ${b.toString()} don't fit together`);
  if (!sameShape(leadOf(a), leadOf(b))) broadcastShapes(op, leadOf(a), leadOf(b));
  return f(b);
}

export interface TriangularOptions {
  /** Read the lower triangle (the default) or the upper one; the rest of the matrix is taken as zeros. */
  readonly lower?: boolean;
  /** Solve with the transpose of that triangular matrix. */
  readonly transpose?: boolean;
  /** Take the diagonal as ones, whatever it holds. */
  readonly unitDiagonal?: boolean;
}

/**
 * The `x` with `a·x = b` for triangular `a` `[…, n, n]` and `b` `[…, n, k]` (leading axes broadcast) or `[n]`.
 * @throws TensorError when shapes don't fit.
 */
export function triangularSolve(
  a: Tensor,
  b: Tensor,
  { lower = true, transpose = false, unitDiagonal = false }: TriangularOptions = {},
): Tensor {
  const op = "linalg.triangularSolve";
  requireSquare(op, a);
  const matrix = transpose ? matrixTranspose(a) : a;
  const attrs = { lower: lower !== transpose, unitDiagonal };
  return withColumns(op, a, b, (columns) => apply(triangularPrimitive, [matrix, columns], attrs));
}
