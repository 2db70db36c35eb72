export { cholesky } from "./cholesky.ts";
export { eigh } from "./eigh.ts";
export { det, inverse, lu, slogdet, solve } from "./lu.ts";
export { diag, diagonal, trace } from "./matrices.ts";
export { type MatrixNorm, matrixNorm, matrixPower } from "./norms.ts";
export { qr } from "./qr.ts";
export { lstsq, pinv, type Svd, singularValues, svd } from "./svd.ts";
export { type TriangularOptions, triangularSolve } from "./triangular.ts";
