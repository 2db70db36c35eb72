import { equal, where } from "../ops/compare.ts";
import { abs, add, div, mul, reciprocal, sqrt, sub } from "../ops/elementwise.ts";
import { argsort, takeAlongAxis } from "../ops/indexing.ts";
import { matmul } from "../ops/matmul.ts";
import { max, sum } from "../ops/reduce.ts";
import { broadcastTo, expandDims, matrixTranspose } from "../ops/shape.ts";
import { applyAll, type Primitive, type Tensor } from "../tensor.ts";
import { orthogonalizedRows } from "./jacobi.ts";
import { diag, diagonal, identityLike, requireSquare, symmetrized } from "./matrices.ts";

/** `1/(values[j] - values[i])` at `[i, j]`, and 0 where they are equal, as on the diagonal. */
export function inverseGaps(values: Tensor): Tensor {
  const gaps = sub(expandDims(values, -2), expandDims(values, -1));
  const none = equal(gaps, 0);
  return where(none, 0, reciprocal(where(none, 1, gaps)));
}

/** Outputs: eigenvalues in ascending order, and eigenvectors as columns. */
const eighPrimitive: Primitive<null> = {
  name: "linalg.eigh",
  infer: ([x]) => [{ shape: x!.shape.slice(0, -1), dtype: x!.dtype }, x!],
  // Ā = V (diag(w̄) + F ∘ VᵀV̄) Vᵀ with F = inverseGaps(w).
  vjp: ({ outputs: [w, v] }, [ctW, ctV]) => {
    const ofV = ctV && mul(inverseGaps(w!), matmul(matrixTranspose(v!), ctV));
    const ofW = ctW && diag(ctW);
    const inner = ofW && ofV ? add(ofW, ofV) : (ofW ?? ofV);
    return [inner && symmetrized(matmul(matmul(v!, inner), matrixTranspose(v!)))];
  },
  // dw = diag(Vᵀ dA V), dV = V (F ∘ Vᵀ dA V).
  jvp: ({ outputs: [w, v] }, [t]) => {
    if (!t) return [undefined, undefined];
    const turned = matmul(matmul(matrixTranspose(v!), t), v!);
    return [diagonal(turned), matmul(v!, mul(inverseGaps(w!), turned))];
  },
  batch: ([x], _, attrs) => applyAll(eighPrimitive, [x!], attrs),
  expand: ([x]) => {
    const size = max(abs(x!), [-2, -1], true);
    const unit = div(x!, where(equal(size, 0), 1, size));
    // Shifted until it is well inside the positive definite matrices, whose orthogonalized rows are eigenvectors.
    const shift = mul(2, sqrt(add(sum(mul(unit, unit), [-2, -1], true), 1)));
    const rows = orthogonalizedRows(add(unit, mul(shift, identityLike(unit))));
    const unsorted = mul(rows, reciprocal(sqrt(sum(mul(rows, rows), -1, true))));
    const quotients = sum(mul(matmul(unsorted, x!), unsorted), -1);
    const order = argsort(quotients, -1);
    const vectors = takeAlongAxis(unsorted, broadcastTo(expandDims(order, -1), x!.shape), -2);
    return [takeAlongAxis(quotients, order, -1), matrixTranspose(vectors)];
  },
};

/**
 * Eigenvalues `[…, n]` in ascending order and orthonormal eigenvectors (the columns of `[…, n, n]`) of symmetric
 * matrices, by Jacobi rotations; of others, the symmetric part `(x + xᵀ)/2` is taken. Eigenvectors are determined up
 * to sign; their derivatives need distinct eigenvalues (a pair of equal ones contributes 0).
 */
export function eigh(x: Tensor): { values: Tensor; vectors: Tensor } {
  requireSquare("linalg.eigh", x);
  const [values, vectors] = applyAll(eighPrimitive, [symmetrized(x)], null);
  return { values: values!, vectors: vectors! };
}
