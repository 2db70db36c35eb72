import {
  abs,
  argmax,
  div,
  equal,
  linalg,
  matmul,
  max,
  mul,
  oneHot,
  reshape,
  sign,
  slice,
  sqrt,
  sub,
  sum,
  type Tensor,
  transpose,
  where,
} from "@prior-art/tensor";
import { newtonSchulz, polarFactor } from "@prior-art/toolkit/optim";

/** A norm of tensors, what is dual to it, and its linear minimization oracle. */
export interface Geometry {
  /** `‖x‖`, a scalar. */
  norm(x: Tensor): Tensor;
  /** `‖m‖_* = max of ⟨m, x⟩ over ‖x‖ ≤ 1`, a scalar. */
  dual(m: Tensor): Tensor;
  /** A maximizer: `‖lmo(m)‖ = 1` and `⟨m, lmo(m)⟩ = ‖m‖_*`; 0 for m = 0. */
  lmo(m: Tensor): Tensor;
}

/**
 * `l2`: Euclidean (Frobenius), normalized gradient descent. `linf`: largest entry, sign descent. `l1`: greedy coordinate
 * descent. `spectral`: largest singular value of a matrix, Muon; of other tensors (a vector is a matrix of one column)
 * the Euclidean norm.
 */
export type NormName = "l2" | "linf" | "l1" | "spectral";

/** Anything but 0 in place of 0, where what is divided is 0 too. */
const safe = (x: Tensor): Tensor => where(equal(x, 0), 1, x);

/** With 1 as its largest entry, so that squares of tiny gradients don't underflow. */
const unitSize = (m: Tensor): Tensor => div(m, safe(max(abs(m))));

const euclidean: Geometry = {
  norm: (x) => sqrt(sum(mul(x, x))),
  dual: (m) => euclidean.norm(m),
  lmo: (m) => {
    const unit = unitSize(m);
    return div(unit, safe(euclidean.norm(unit)));
  },
};

const geometries: Readonly<Record<NormName, Geometry>> = {
  l2: euclidean,
  linf: { norm: (x) => max(abs(x)), dual: (m) => sum(abs(m)), lmo: sign },
  l1: {
    norm: (x) => sum(abs(x)),
    dual: (m) => max(abs(m)),
    lmo: (m) => {
      const flat = reshape(m, [m.size]);
      return reshape(mul(sign(flat), oneHot(argmax(abs(flat), 0), m.size, m.dtype)), m.shape);
    },
  },
  spectral: {
    norm: (x) => (x.rank === 2 ? slice(linalg.singularValues(x), 0) : euclidean.norm(x)),
    dual: (m) => (m.rank === 2 ? sum(linalg.singularValues(m)) : euclidean.norm(m)),
    lmo: (m) => (m.rank === 2 ? orthogonalize(m) : euclidean.lmo(m)),
  },
};

/** A geometry by its name, or the caller's own as it is. @throws RangeError for an unknown name. */
export function geometry(norm: NormName | Geometry): Geometry {
  const found = typeof norm === "string" ? geometries[norm] : norm;
  if (!found)
    throw new RangeError(`geometry: norms are ${Object.keys(geometries).join(", ")}, not ${String(norm)}`);
  return found;
}

/** The unit step that a linear function falls least along: `m ↦` a maximizer of `⟨m, x⟩` over `‖x‖ ≤ 1`. */
export const lmo = (norm: NormName | Geometry): ((m: Tensor) => Tensor) => geometry(norm).lmo;

/** `m ↦ ‖m‖_*`: ℓ₂ of ℓ₂, ℓ₁ of ℓ∞, ℓ∞ of ℓ₁, and the sum of singular values of the spectral norm. */
export const dualNorm = (norm: NormName | Geometry): ((m: Tensor) => Tensor) => geometry(norm).dual;

export interface OrthogonalizeOptions {
  /**
   * Exactly by singular vectors (default); nearly by Muon's Newton–Schulz iterations; or by ten of those and six of the
   * convergent cubic `X ← 1.5X - 0.5XXᵀX` (`"iterated"`): right to 1e-5 for singular values above 1e-4 of the largest,
   * and much faster than the exact way for small matrices.
   */
  readonly method?: "svd" | "newtonSchulz" | "iterated";
  /** Of Newton–Schulz, 5 by default (10 before the cubic ones). */
  readonly steps?: number;
}

/**
 * `UVᵀ` of `m = USVᵀ`, singular values of 0 left out. By Newton–Schulz, singular values end between 0.65 and 1.25.
 * @throws TensorError unless `m` is a matrix.
 */
export function orthogonalize(m: Tensor, { method = "svd", steps }: OrthogonalizeOptions = {}): Tensor {
  if (method === "svd") return polarFactor(unitSize(m));
  if (method === "newtonSchulz") return newtonSchulz(m, { steps: steps ?? 5 });
  const wide = m.shape[0]! <= m.shape[1]!;
  let x = newtonSchulz(wide ? m : transpose(m), { steps: steps ?? 10 });
  for (let i = 0; i < 6; i++) x = sub(mul(1.5, x), mul(0.5, matmul(matmul(x, transpose(x)), x)));
  return wide ? x : transpose(x);
}

/**
 * The spectral geometry for small matrices in long loops, by iterated orthogonalization; `⟨m, lmo(m)⟩` is its dual norm.
 */
export const iteratedSpectral: Geometry = {
  norm: (x) => geometries.spectral.norm(x),
  lmo: (m) => (m.rank === 2 ? orthogonalize(m, { method: "iterated" }) : euclidean.lmo(m)),
  dual: (m) => sum(mul(m, iteratedSpectral.lmo(m))),
};

/** The spectral geometry with Muon's own, approximate oracle. */
export const muonGeometry = (steps = 5): Geometry => ({
  ...geometries.spectral,
  lmo: (m) => (m.rank === 2 ? orthogonalize(m, { method: "newtonSchulz", steps }) : euclidean.lmo(m)),
});
