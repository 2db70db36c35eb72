import { scan } from "../control/scan.ts";
import { equal, greaterEqual, less, where } from "../ops/compare.ts";
import { eye, full } from "../ops/create.ts";
import { abs, add, div, mul, neg, sqrt, sub } from "../ops/elementwise.ts";
import { takeInRange, tril, triu } from "../ops/indexing.ts";
import { matmul } from "../ops/matmul.ts";
import { sum } from "../ops/reduce.ts";
import { broadcastTo, concat, expandDims, matrixTranspose } from "../ops/shape.ts";
import { applyAll, type Primitive, type Tensor } from "../tensor.ts";
import { diagonal, leadOf, numbers, positions, requireMatrices, sliceMatrix } from "./matrices.ts";
import { triangularSolve } from "./triangular.ts";

/** `X R⁻¹` and `X R⁻ᵀ` for upper triangular `R`. */
const overUpper = (x: Tensor, r: Tensor): Tensor =>
  matrixTranspose(triangularSolve(r, matrixTranspose(x), { lower: false, transpose: true }));
const overUpperTranspose = (x: Tensor, r: Tensor): Tensor =>
  matrixTranspose(triangularSolve(r, matrixTranspose(x), { lower: false }));

/** Of matrices with at least as many rows as columns. */
const qrPrimitive: Primitive<null> = {
  name: "linalg.qr",
  infer: ([x]) => {
    const n = x!.shape.at(-1)!;
    return [x!, { shape: [...leadOf(x!), n, n], dtype: x!.dtype }];
  },
  // Ā = (Q̄ + Q (tril(M) + tril(M, -1)ᵀ)) R⁻ᵀ with M = R R̄ᵀ - Q̄ᵀ Q.
  vjp: ({ outputs: [q, r] }, [ctQ, ctR]) => {
    const ofR = ctR && matmul(r!, matrixTranspose(ctR));
    const ofQ = ctQ && matmul(matrixTranspose(ctQ), q!);
    const m = ofR && ofQ ? sub(ofR, ofQ) : (ofR ?? (ofQ && neg(ofQ)));
    if (!m) return [undefined];
    const inner = matmul(q!, add(tril(m), matrixTranspose(tril(m, -1))));
    return [overUpperTranspose(ctQ ? add(ctQ, inner) : inner, r!)];
  },
  // With C = dA R⁻¹, S = Qᵀ C and Ω = tril(S, -1) - tril(S, -1)ᵀ: dQ = C + Q (Ω - S), dR = (S - Ω) R.
  jvp: ({ outputs: [q, r] }, [t]) => {
    if (!t) return [undefined, undefined];
    const c = overUpper(t, r!);
    const s = matmul(matrixTranspose(q!), c);
    const below = tril(s, -1);
    const rest = sub(s, sub(below, matrixTranspose(below)));
    return [sub(c, matmul(q!, rest)), matmul(triu(rest), r!)];
  },
  batch: ([x], _, attrs) => applyAll(qrPrimitive, [x!], attrs),
  // Householder reflections, first to reduce the matrix column by column, then in reverse to form Q.
  expand: ([x]) => {
    const [m, n] = [x!.shape.at(-2)!, x!.shape.at(-1)!];
    const [reduced, [reflectors, scaled]] = scan(
      (rest: Tensor, { at, keep, unit }: { at: Tensor; keep: Tensor; unit: Tensor }) => {
        const column = mul(takeInRange(rest, at, -1), keep);
        const length = sqrt(sum(mul(column, column), -2, true));
        const head = takeInRange(column, at, -2);
        const reflector = add(column, mul(unit, where(greaterEqual(head, 0), length, neg(length))));
        // Half the reflector's squared length; a zero column is left as it is.
        const half = mul(length, add(length, abs(head)));
        const scaledReflector = div(reflector, where(equal(half, 0), 1, half));
        return [reflected(rest, reflector, scaledReflector), [reflector, scaledReflector] as const] as const;
      },
      x!,
      {
        at: positions(n),
        keep: expandDims(
          numbers(n, m, x!.dtype, (j, i) => (i >= j ? 1 : 0)),
          -1,
        ),
        unit: expandDims(eye(n, m, x!.dtype), -1),
      },
    );
    const [q] = scan(
      (q: Tensor, [reflector, scaledReflector]: readonly [Tensor, Tensor]) =>
        [reflected(q, reflector, scaledReflector), null] as const,
      broadcastTo(eye(m, n, x!.dtype), x!.shape),
      [reflectors, scaled] as const,
      { reverse: true },
    );
    const r = triu(sliceMatrix(reduced, [0, n]));
    const pivots = diagonal(r);
    const signs = where(less(pivots, 0), full([], -1, x!.dtype), full([], 1, x!.dtype));
    return [mul(q, expandDims(signs, -2)), mul(r, expandDims(signs, -1))];
  },
};

/** `x - w (vᵀ x)`. */
const reflected = (x: Tensor, v: Tensor, w: Tensor): Tensor => sub(x, mul(w, matmul(matrixTranspose(v), x)));

/**
 * Reduced factors of matrices `[…, m, n]`: `x = q·r` with `q` `[…, m, k]` of orthonormal columns and `r` `[…, k, n]`
 * upper triangular, `k = min(m, n)`. The diagonal of `r` is not negative, so that the factors are unique. Derivatives
 * need linearly independent (first `k`) columns.
 */
export function qr(x: Tensor): { q: Tensor; r: Tensor } {
  requireMatrices("linalg.qr", x);
  const [m, n] = [x.shape.at(-2)!, x.shape.at(-1)!];
  if (m >= n) {
    const [q, r] = applyAll(qrPrimitive, [x], null);
    return { q: q!, r: r! };
  }
  const { q, r } = qr(sliceMatrix(x, null, [0, m]));
  return { q, r: concat([r, matmul(matrixTranspose(q), sliceMatrix(x, null, [m, n]))], -1) };
}
