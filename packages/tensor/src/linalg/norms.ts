import { TensorError } from "../errors.ts";
import { abs } from "../ops/elementwise.ts";
import { matmul } from "../ops/matmul.ts";
import { max, norm, sum } from "../ops/reduce.ts";
import { slice } from "../ops/shape.ts";
import type { Tensor } from "../tensor.ts";
import { inverse } from "./lu.ts";
import { identityLike, leadOf, requireMatrices, requireSquare } from "./matrices.ts";
import { singularValues } from "./svd.ts";

/**
 * `"fro"`: root of the sum of squares; `"nuclear"`: sum of the singular values; `"spectral"`: the largest of them;
 * `"1"`: largest column sum of absolute values; `"inf"`: largest row sum.
 */
export type MatrixNorm = "fro" | "nuclear" | "spectral" | "1" | "inf";

const norms: Record<MatrixNorm, (x: Tensor) => Tensor> = {
  fro: (x) => norm(x, [-2, -1]),
  nuclear: (x) => sum(singularValues(x), -1),
  spectral: (x) => slice(singularValues(x), ...leadOf(x).map(() => null), 0),
  1: (x) => max(sum(abs(x), -2), -1),
  inf: (x) => max(sum(abs(x), -1), -1),
};

/**
 * A norm `[…]` of matrices `[…, m, n]`; the Frobenius norm by default.
 * @throws TensorError when there is no norm of that name.
 */
export function matrixNorm(x: Tensor, kind: MatrixNorm = "fro"): Tensor {
  requireMatrices("linalg.matrixNorm", x);
  const of = norms[kind];
  if (of === undefined)
    throw new TensorError("linalg.matrixNorm", `no norm is called ${String(kind)}; ${Object.keys(norms)}`);
  return of(x);
}

/** Square matrices multiplied by themselves: `x^power`, of the inverse for a negative power. */
export function matrixPower(x: Tensor, power: number): Tensor {
  requireSquare("linalg.matrixPower", x);
  if (!Number.isInteger(power))
    throw new TensorError("linalg.matrixPower", `a power is a whole number, not ${power}`);
  if (power === 0) return identityLike(x);
  if (power < 0) return matrixPower(inverse(x), -power);
  if (power === 1) return x;
  const root = matrixPower(x, Math.floor(power / 2));
  const square = matmul(root, root);
  return power % 2 === 1 ? matmul(square, x) : square;
}
