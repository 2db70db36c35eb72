import {
  add,
  cast,
  div,
  greater,
  linalg,
  matmul,
  max,
  maximum,
  mul,
  sqrt,
  sum,
  type Tensor,
  TensorError,
  transpose,
} from "@prior-art/tensor";

/** Coefficients (a, b, c) of Muon's quintic iteration (Jordan et al., 2024): fast, to singular values near 1. */
const QUINTIC = [3.4445, -4.775, 2.0315] as const;

const requireMatrix = (op: string, m: Tensor): void => {
  if (m.rank !== 2) throw new TensorError(op, `takes a matrix, got ${m.toString()}`);
};

/**
 * The nearest (semi-)orthogonal matrix, approximately, by Newton–Schulz iterations `X ← aX + (bXXᵀ + c(XXᵀ)²)X` from
 * `m/‖m‖_F`: singular values of at least about 0.01‖m‖_F end in [0.65, 1.25]. A zero matrix stays zero.
 * @throws TensorError unless `m` is a matrix.
 */
export function newtonSchulz(m: Tensor, { steps = 5 }: { readonly steps?: number } = {}): Tensor {
  requireMatrix("newtonSchulz", m);
  const [a, b, c] = QUINTIC;
  const tall = m.shape[0]! > m.shape[1]!;
  const wide = tall ? transpose(m) : m;
  let x = div(wide, maximum(sqrt(sum(mul(wide, wide))), 1e-30));
  for (let i = 0; i < steps; i++) {
    const gram = matmul(x, transpose(x));
    x = add(mul(a, x), matmul(add(mul(b, gram), mul(c, matmul(gram, gram))), x));
  }
  return tall ? transpose(x) : x;
}

/**
 * `UVᵀ` of the reduced decomposition `m = USVᵀ`, exactly: all singular values become 1, those below `tolerance` times the
 * largest become 0.
 * @throws TensorError unless `m` is a matrix.
 */
export function polarFactor(m: Tensor, { tolerance = 1e-6 }: { readonly tolerance?: number } = {}): Tensor {
  requireMatrix("polarFactor", m);
  const { u, s, v } = linalg.svd(m);
  const kept = cast(greater(s, mul(tolerance, max(s))), m.dtype);
  return matmul(mul(u, kept), transpose(v));
}
