import { concat, linalg, matmul, matrixTranspose, slice, sub, type Tensor } from "@prior-art/tensor";

/** Sizes up to which a factorization column by column is as fast. */
const LEAF = 40;

/**
 * `x` with `a·x = b` for symmetric positive definite `a` `[n, n]` and `b` `[n, m]`: Cholesky's factorization of small
 * blocks, and matrix products for the rest (block elimination by Schur complements).
 */
export function spdSolve(a: Tensor, b: Tensor): Tensor {
  const n = a.shape[0]!;
  if (n <= LEAF) {
    const lower = linalg.cholesky(a);
    return linalg.triangularSolve(lower, linalg.triangularSolve(lower, b), { transpose: true });
  }
  const half = n >> 1;
  const upperRight = slice(a, [0, half], [half, n]);
  const lowerLeft = matrixTranspose(upperRight);
  const eliminated = spdSolve(slice(a, [0, half], [0, half]), concat([upperRight, slice(b, [0, half])], 1));
  const [across, known] = [
    slice(eliminated, null, [0, n - half]),
    slice(eliminated, null, [n - half, n - half + b.shape[1]!]),
  ];
  const schur = sub(slice(a, [half, n], [half, n]), matmul(lowerLeft, across));
  const second = spdSolve(schur, sub(slice(b, [half, n]), matmul(lowerLeft, known)));
  return concat([sub(known, matmul(across, second)), second], 0);
}
