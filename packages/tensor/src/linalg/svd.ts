import { equal, greater, where } from "../ops/compare.ts";
import { abs, add, div, mul, reciprocal, sqrt, sub } from "../ops/elementwise.ts";
import { argsort, takeAlongAxis } from "../ops/indexing.ts";
import { matmul } from "../ops/matmul.ts";
import { max, sum } from "../ops/reduce.ts";
import { broadcastTo, concat, expandDims, matrixTranspose, squeeze } from "../ops/shape.ts";
import { apply, applyAll, type Primitive, type Tensor } from "../tensor.ts";
import { inverseGaps } from "./eigh.ts";
import { orthogonalizedRows } from "./jacobi.ts";
import { diag, diagonal, identityLike, leadOf, requireMatrices, sliceMatrix } from "./matrices.ts";
import { qr } from "./qr.ts";
import { withColumns } from "./triangular.ts";

const columns = (values: Tensor): Tensor => expandDims(values, -2);

/** `1/x`, and 0 where `x` is. */
const inverseOrZero = (x: Tensor): Tensor => {
  const zero = equal(x, 0);
  return where(zero, 0, reciprocal(where(zero, 1, x)));
};

/** What lies outside the span of the orthonormal columns `q`. */
const outside = (x: Tensor, q: Tensor): Tensor => sub(x, matmul(q, matmul(matrixTranspose(q), x)));

/** Of matrices with at least as many rows as columns. Outputs: `U` `[…, m, n]`, `s` `[…, n]`, `V` `[…, n, n]`. */
const svdPrimitive: Primitive<null> = {
  name: "linalg.svd",
  infer: ([x]) => {
    const n = x!.shape.at(-1)!;
    const { dtype } = x!;
    return [x!, { shape: [...leadOf(x!), n], dtype }, { shape: [...leadOf(x!), n, n], dtype }];
  },
  // With F[i, j] = 1/(s[j]² - s[i]²), K = UᵀŪ and L = VᵀV̄ (Townsend 2016):
  // Ā = U ((F∘(K - Kᵀ)) S + S (F∘(L - Lᵀ)) + diag(s̄)) Vᵀ + (I - U Uᵀ) Ū S⁻¹ Vᵀ.
  vjp: ({ outputs: [u, s, v] }, [ctU, ctS, ctV]) => {
    const gaps = inverseGaps(mul(s!, s!));
    const skew = (basis: Tensor, ct: Tensor): Tensor => {
      const k = matmul(matrixTranspose(basis), ct);
      return mul(gaps, sub(k, matrixTranspose(k)));
    };
    const terms = [
      ctU && mul(skew(u!, ctU), columns(s!)),
      ctV && mul(expandDims(s!, -1), skew(v!, ctV)),
      ctS && diag(ctS),
    ].filter((t) => t !== undefined);
    if (terms.length === 0) return [undefined];
    const inner = matmul(u!, terms.reduce(add));
    const total =
      ctU && u!.shape.at(-2) !== u!.shape.at(-1)
        ? add(inner, mul(outside(ctU, u!), columns(inverseOrZero(s!))))
        : inner;
    return [matmul(total, matrixTranspose(v!))];
  },
  // With P = Uᵀ dA V: ds = diag(P), dU = U (F∘(P S + S Pᵀ)) + (I - U Uᵀ) dA V S⁻¹, dV = V (F∘(S P + Pᵀ S)).
  jvp: ({ outputs: [u, s, v] }, [t]) => {
    if (!t) return [];
    const turned = matmul(t, v!);
    const p = matmul(matrixTranspose(u!), turned);
    const gaps = inverseGaps(mul(s!, s!));
    const [right, left] = [mul(p, columns(s!)), mul(expandDims(s!, -1), p)];
    const within = matmul(u!, mul(gaps, add(right, matrixTranspose(right))));
    const beyond = mul(outside(turned, u!), columns(inverseOrZero(s!)));
    return [
      u!.shape.at(-2) === u!.shape.at(-1) ? within : add(within, beyond),
      diagonal(p),
      matmul(v!, mul(gaps, add(left, matrixTranspose(left)))),
    ];
  },
  batch: ([x], _, attrs) => applyAll(svdPrimitive, [x!], attrs),
  expand: ([x]) => {
    const [m, n] = [x!.shape.at(-2)!, x!.shape.at(-1)!];
    const size = max(abs(x!), [-2, -1], true);
    const scale = where(equal(size, 0), 1, size);
    const tall = m > n ? qr(x!) : undefined;
    const square = div(tall?.r ?? x!, scale);
    // Rows are the columns of the matrix times V, and V beside them.
    const rows = orthogonalizedRows(concat([matrixTranspose(square), identityLike(square)], -1), n);
    const first = sliceMatrix(rows, null, [0, n]);
    const lengths = sqrt(sum(mul(first, first), -1));
    const order = argsort(lengths, -1, true);
    const sorted = matrixTranspose(takeAlongAxis(rows, broadcastTo(expandDims(order, -1), rows.shape), -2));
    // Where singular values are 0, the factor Q completes the orthonormal columns.
    const left = qr(sliceMatrix(sorted, [0, n])).q;
    return [
      tall ? matmul(tall.q, left) : left,
      mul(takeAlongAxis(lengths, order, -1), squeeze(scale, -1)),
      sliceMatrix(sorted, [n, 2 * n]),
    ];
  },
};

export interface Svd {
  /** Left singular vectors, the columns of `[…, m, k]`. */
  readonly u: Tensor;
  /** Singular values `[…, k]`, in descending order. */
  readonly s: Tensor;
  /** Right singular vectors, the columns of `[…, n, k]`. */
  readonly v: Tensor;
}

/**
 * The thin singular value decomposition `x = u·diag(s)·vᵀ` of matrices `[…, m, n]`, `k = min(m, n)`, by one-sided
 * Jacobi rotations. Vectors are determined up to sign; their derivatives need distinct singular values (a pair of equal
 * ones, or a zero, contributes 0), those of `s` alone don't.
 */
export function svd(x: Tensor): Svd {
  requireMatrices("linalg.svd", x);
  if (x.shape.at(-2)! < x.shape.at(-1)!) {
    const { u, s, v } = svd(matrixTranspose(x));
    return { u: v, s, v: u };
  }
  const [u, s, v] = applyAll(svdPrimitive, [x], null);
  return { u: u!, s: s!, v: v! };
}

/** Singular values `[…, min(m, n)]` of matrices, in descending order. */
export function singularValues(x: Tensor): Tensor {
  requireMatrices("linalg.singularValues", x);
  return svd(x).s;
}

const pinvPrimitive: Primitive<{ tolerance: number }> = {
  name: "linalg.pinv",
  infer: ([x]) => [{ shape: [...leadOf(x!), x!.shape.at(-1)!, x!.shape.at(-2)!], dtype: x!.dtype }],
  // The transpose of the terms of jvp.
  vjp: ({ inputs: [x], outputs: [p] }, [ct]) => {
    if (!ct) return [undefined];
    const [pT, ctT] = [matrixTranspose(p!), matrixTranspose(ct)];
    const direct = matmul(matmul(pT, ct), pT);
    const rows = matmul(beyondRange(ctT, x!, p!), matmul(p!, pT));
    const kernel = matmul(matmul(pT, p!), matrixTranspose(beyondRange(ct, p!, x!)));
    return [sub(add(rows, kernel), direct)];
  },
  // dP = -P dA P + P Pᵀ dAᵀ (I - A P) + (I - P A) dAᵀ Pᵀ P (Golub and Pereyra 1973), at constant rank.
  jvp: ({ inputs: [x], outputs: [p] }, [t]) => {
    if (!t) return [undefined];
    const [pT, tT] = [matrixTranspose(p!), matrixTranspose(t)];
    const direct = matmul(matmul(p!, t), p!);
    const left = matmul(matmul(p!, pT), matrixTranspose(beyondRange(t, x!, p!)));
    const right = matmul(beyondRange(tT, p!, x!), matmul(pT, p!));
    return [sub(add(left, right), direct)];
  },
  batch: ([x], _, attrs) => [apply(pinvPrimitive, [x!], attrs)],
  expand: ([x], { tolerance }) => {
    const { u, s, v } = svd(x!);
    const kept = greater(s, mul(tolerance, max(s, -1, true)));
    const inverse = where(kept, reciprocal(where(kept, s, 1)), 0);
    return [matmul(mul(v, columns(inverse)), matrixTranspose(u))];
  },
};

/** `(I - A B) x`; `A B` is a symmetric projection when one of the matrices is the pseudo-inverse of the other. */
const beyondRange = (x: Tensor, a: Tensor, b: Tensor): Tensor => sub(x, matmul(a, matmul(b, x)));

/**
 * The Moore–Penrose pseudo-inverses `[…, n, m]` of matrices `[…, m, n]`. Singular values up to `tolerance` times the
 * largest count as 0; by default `max(m, n)` times the rounding error of the dtype.
 */
export function pinv(x: Tensor, tolerance?: number): Tensor {
  requireMatrices("linalg.pinv", x);
  const rounding = x.dtype === "float64" ? 2 ** -52 : 2 ** -23;
  const limit = tolerance ?? Math.max(x.shape.at(-1)!, x.shape.at(-2)!) * rounding;
  return apply(pinvPrimitive, [x], { tolerance: limit });
}

/**
 * The `x` of least length among those that minimize `|a·x - b|`, for `a` `[…, m, n]` and `b` `[…, m, k]` or `[m]`.
 * @throws TensorError when shapes don't fit.
 */
export function lstsq(a: Tensor, b: Tensor): Tensor {
  requireMatrices("linalg.lstsq", a);
  return withColumns("linalg.lstsq", a, b, (right) => matmul(pinv(a), right));
}
