import { scan } from "../control/scan.ts";
import { div, mul, sqrt, sub } from "../ops/elementwise.ts";
import { takeInRange, tril } from "../ops/indexing.ts";
import { matmul } from "../ops/matmul.ts";
import { matrixTranspose, moveAxis, reshape } from "../ops/shape.ts";
import { apply, type Primitive, type Tensor } from "../tensor.ts";
import { numbers, positions, requireSquare, symmetrized } from "./matrices.ts";
import { triangularSolve } from "./triangular.ts";

/** The lower triangle with its diagonal halved. */
function halfLower(x: Tensor): Tensor {
  const n = x.shape.at(-1)!;
  return mul(
    x,
    numbers(n, n, x.dtype, (i, j) => (i > j ? 1 : i === j ? 0.5 : 0)),
  );
}

const choleskyPrimitive: Primitive<null> = {
  name: "linalg.cholesky",
  infer: ([x]) => [x!],
  // Ā = L⁻ᵀ Φ(Lᵀ L̄) L⁻¹, symmetrized (Murray 2016, "Differentiation of the Cholesky decomposition", eq. 10).
  vjp: ({ outputs: [l] }, [ct]) => {
    if (!ct) return [undefined];
    const inner = halfLower(matmul(matrixTranspose(l!), ct));
    const left = triangularSolve(l!, inner, { transpose: true });
    return [symmetrized(matrixTranspose(triangularSolve(l!, matrixTranspose(left), { transpose: true })))];
  },
  // dL = L Φ(L⁻¹ dA L⁻ᵀ).
  jvp: ({ outputs: [l] }, [t]) => {
    if (!t) return [undefined];
    const left = triangularSolve(l!, t);
    return [matmul(l!, halfLower(matrixTranspose(triangularSolve(l!, matrixTranspose(left)))))];
  },
  batch: ([x], _, attrs) => [apply(choleskyPrimitive, [x!], attrs)],
  // Each step finishes a column, and takes its outer product off the rest.
  expand: ([x]) => {
    const n = x!.shape.at(-1)!;
    const below = numbers(n, n, x!.dtype, (j, row) => (row >= j ? 1 : 0));
    const [, columns] = scan(
      (rest: Tensor, { at, keep }: { at: Tensor; keep: Tensor }) => {
        const row = takeInRange(rest, at, -2);
        const column = div(mul(row, keep), sqrt(takeInRange(row, at, -1)));
        const outer = mul(reshape(column, [...x!.shape.slice(0, -2), n, 1]), column);
        return [sub(rest, outer), column] as const;
      },
      x!,
      { at: positions(n), keep: below },
    );
    return [tril(matrixTranspose(reshape(moveAxis(columns, 0, -2), x!.shape)))];
  },
};

/**
 * The lower triangular `L` with `L·Lᵀ = x`, for symmetric positive definite matrices `[…, n, n]`; of others, the
 * symmetric part `(x + xᵀ)/2` is taken. Where a matrix is not positive definite, `L` holds NaN from the first column
 * that shows it.
 * @throws TensorError when the matrices are not square, or not floats.
 */
export function cholesky(x: Tensor): Tensor {
  requireSquare("linalg.cholesky", x);
  return apply(choleskyPrimitive, [symmetrized(x)], null);
}
