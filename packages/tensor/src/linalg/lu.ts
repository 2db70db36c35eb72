import { scan } from "../control/scan.ts";
import { alignRanks, unbroadcast } from "../ops/broadcast.ts";
import { cast, equal, greater, logicalAnd, logicalNot, where } from "../ops/compare.ts";
import { arange, full } from "../ops/create.ts";
import { abs, add, div, log, mod, mul, neg, sign, sub } from "../ops/elementwise.ts";
import { stopGradient } from "../ops/identity.ts";
import { takeInRange, tril, triu } from "../ops/indexing.ts";
import { matmul } from "../ops/matmul.ts";
import { argmax, prod, sum } from "../ops/reduce.ts";
import { expandDims, matrixTranspose, moveAxis, squeeze } from "../ops/shape.ts";
import { broadcastShapes } from "../shape.ts";
import { apply, applyAll, type Primitive, type Tensor } from "../tensor.ts";
import { diagonal, identityLike, leadOf, mask, positions, requireSquare, trace } from "./matrices.ts";
import { triangularSolve, withColumns } from "./triangular.ts";

/** Outputs: the permutation matrix `P`, `L` and `U` with `P·A = L·U`. */
const luPrimitive: Primitive<null> = {
  name: "linalg.lu",
  infer: ([x]) => [x!, x!, x!],
  // Ā = Pᵀ L⁻ᵀ (tril(Lᵀ L̄, -1) + triu(Ū Uᵀ)) U⁻ᵀ.
  vjp: ({ outputs: [p, l, u] }, [, ctL, ctU]) => {
    const lower = ctL && tril(matmul(matrixTranspose(l!), ctL), -1);
    const upper = ctU && triu(matmul(ctU, matrixTranspose(u!)));
    const inner = lower && upper ? add(lower, upper) : (lower ?? upper);
    if (!inner) return [undefined];
    const left = triangularSolve(l!, inner, { transpose: true, unitDiagonal: true });
    const right = matrixTranspose(triangularSolve(u!, matrixTranspose(left), { lower: false }));
    return [matmul(matrixTranspose(p!), right)];
  },
  // With F = L⁻¹ P dA U⁻¹: dL = L tril(F, -1), dU = triu(F) U.
  jvp: ({ outputs: [p, l, u] }, [t]) => {
    if (!t) return [undefined, undefined, undefined];
    const left = triangularSolve(l!, matmul(p!, t), { unitDiagonal: true });
    const f = matrixTranspose(triangularSolve(u!, matrixTranspose(left), { lower: false, transpose: true }));
    return [undefined, matmul(l!, tril(f, -1)), matmul(triu(f), u!)];
  },
  batch: ([x], _, attrs) => applyAll(luPrimitive, [x!], attrs),
  // Rows stay where they are; each step picks the pivot among those not used yet, and P gathers them at the end.
  expand: ([x]) => {
    const n = x!.shape.at(-1)!;
    const rowNumbers = arange(n);
    const column = [...leadOf(x!), n, 1];
    const [, [pivots, multipliers, rows]] = scan(
      ([rest, free]: [Tensor, Tensor], at: Tensor) => {
        const here = takeInRange(rest, at, -1);
        const best = argmax(squeeze(where(free, abs(here), -1), -1), -1);
        const chosen = equal(rowNumbers, expandDims(best, -1));
        const pick = cast(expandDims(chosen, -2), x!.dtype);
        const row = matmul(pick, rest);
        const pivot = takeInRange(row, at, -1);
        const left = logicalAnd(free, logicalNot(expandDims(chosen, -1)));
        // Without a pivot, the column is zero below: nothing is left to take off.
        const multiplier = div(where(left, here, 0), where(equal(pivot, 0), 1, pivot));
        const next: [Tensor, Tensor] = [sub(rest, mul(multiplier, row)), left];
        return [next, [pick, multiplier, row] as const] as const;
      },
      [x!, full(column, true)] as [Tensor, Tensor],
      positions(n),
    );
    const permutation = moveAxis(squeeze(pivots, -2), 0, -2);
    const below = tril(matmul(permutation, moveAxis(squeeze(multipliers, -1), 0, -1)), -1);
    return [permutation, add(below, identityLike(x!)), triu(moveAxis(squeeze(rows, -2), 0, -2))];
  },
};

interface Factors {
  /** `P`: row `i` has its 1 in the column of the row of `x` that comes `i`-th. */
  readonly permutation: Tensor;
  /** Unit lower triangular. */
  readonly lower: Tensor;
  readonly upper: Tensor;
}

/**
 * Factors of square matrices `[…, n, n]` by Gaussian elimination with partial pivoting:
 * `permutation·x = lower·upper`. A singular matrix has a zero on the diagonal of `upper`, and no derivative.
 */
export function lu(x: Tensor): Factors {
  requireSquare("linalg.lu", x);
  const [permutation, lower, upper] = applyAll(luPrimitive, [x], null);
  return { permutation: permutation!, lower: lower!, upper: upper! };
}

/** A matrix, and its factors as constants: derivatives go through the matrix. */
function factored(x: Tensor): [x: Tensor, permutation: Tensor, lower: Tensor, upper: Tensor] {
  const { permutation, lower, upper } = lu(stopGradient(x));
  return [x, permutation, lower, upper];
}

/** Inputs: `a`, its factors, `b`. Solves `a·x = b` or `aᵀ·x = b`. */
const solvePrimitive: Primitive<{ transpose: boolean }> = {
  name: "linalg.solve",
  infer: ([a, , , , b]) => [
    {
      shape: [...broadcastShapes("linalg.solve", leadOf(a!), leadOf(b!)), ...b!.shape.slice(-2)],
      dtype: b!.dtype,
    },
  ],
  vjp: ({ inputs: [a, p, l, u, b], outputs: [x], attrs: { transpose } }, [ct], needed) => {
    if (!ct) return [];
    const ofB = apply(solvePrimitive, [a!, p!, l!, u!, ct], { transpose: !transpose });
    const [left, right] = transpose ? [x!, ofB] : [ofB, x!];
    const ofA = needed[0] ? unbroadcast(neg(matmul(left, matrixTranspose(right))), a!.shape) : undefined;
    return [ofA, undefined, undefined, undefined, unbroadcast(ofB, b!.shape)];
  },
  jvp: ({ inputs: [a, p, l, u], outputs: [x], attrs }, [ta, , , , tb]) => {
    if (!ta && !tb) return [undefined];
    const moved = ta && matmul(attrs.transpose ? matrixTranspose(ta) : ta, x!);
    const right = moved && tb ? sub(tb, moved) : (tb ?? neg(moved!));
    return [apply(solvePrimitive, [a!, p!, l!, u!, right], attrs)];
  },
  batch: (inputs, batched, attrs) => [apply(solvePrimitive, alignRanks(inputs, batched), attrs)],
  expand: ([, p, l, u, b], { transpose }) => {
    if (!transpose) {
      const y = triangularSolve(l!, matmul(p!, b!), { unitDiagonal: true });
      return [triangularSolve(u!, y, { lower: false })];
    }
    const y = triangularSolve(u!, b!, { lower: false, transpose: true });
    const z = triangularSolve(l!, y, { transpose: true, unitDiagonal: true });
    return [matmul(matrixTranspose(p!), z)];
  },
};

/**
 * The `x` with `a·x = b` for square `a` `[…, n, n]` and `b` `[…, n, k]` (leading axes broadcast) or `[n]`. A singular
 * `a` gives infinities or NaN.
 * @throws TensorError when `a` is not square, or shapes don't fit.
 */
export function solve(a: Tensor, b: Tensor): Tensor {
  requireSquare("linalg.solve", a);
  return withColumns("linalg.solve", a, b, (columns) =>
    apply(solvePrimitive, [...factored(a), columns], { transpose: false }),
  );
}

/** The inverses of matrices `[…, n, n]`; a singular one gives infinities or NaN. */
export function inverse(x: Tensor): Tensor {
  requireSquare("linalg.inverse", x);
  return solve(x, identityLike(x));
}

/** `A⁻ᵀ` from the inputs of the determinant primitives. */
const inverseTranspose = (factors: readonly Tensor[]): Tensor =>
  apply(solvePrimitive, [...factors, identityLike(factors[0]!)], { transpose: true });

/** `tr(A⁻¹ dA)`, the derivative of `log |det A|`. */
const logTangent = (factors: readonly Tensor[], t: Tensor): Tensor =>
  trace(apply(solvePrimitive, [...factors, t], { transpose: false }));

/** The sign of permutations, from how many pairs are out of order. */
function parity(permutation: Tensor): Tensor {
  const n = permutation.shape.at(-1)!;
  const order = argmax(permutation, -1);
  const inverted = logicalAnd(
    greater(expandDims(order, -1), expandDims(order, -2)),
    mask(n, n, (i, j) => i < j),
  );
  const odd = mod(sum(cast(inverted, "int32"), [-2, -1]), 2);
  return cast(sub(1, mul(2, odd)), permutation.dtype);
}

const overMatrices = (value: Tensor): Tensor => expandDims(expandDims(value, -1), -1);

// A matrix and its factors are batched together, or not at all.
const detPrimitive: Primitive<null> = {
  name: "linalg.det",
  infer: ([a]) => [{ shape: leadOf(a!), dtype: a!.dtype }],
  vjp: ({ inputs, outputs: [det] }, [ct]) => [
    ct && mul(overMatrices(mul(ct, det!)), inverseTranspose(inputs)),
  ],
  jvp: ({ inputs, outputs: [det] }, [t]) => [t && mul(det!, logTangent(inputs, t))],
  batch: (inputs) => [apply(detPrimitive, inputs, null)],
  expand: ([, p, , u]) => [mul(parity(p!), prod(diagonal(u!), -1))],
};

const slogdetPrimitive: Primitive<null> = {
  name: "linalg.slogdet",
  infer: ([a]) => [
    { shape: leadOf(a!), dtype: a!.dtype },
    { shape: leadOf(a!), dtype: a!.dtype },
  ],
  vjp: ({ inputs }, [, ct]) => [ct && mul(overMatrices(ct), inverseTranspose(inputs))],
  jvp: ({ inputs }, [t]) => [undefined, t && logTangent(inputs, t)],
  batch: (inputs) => applyAll(slogdetPrimitive, inputs, null),
  expand: ([, p, , u]) => {
    const pivots = diagonal(u!);
    return [mul(parity(p!), prod(sign(pivots), -1)), sum(log(abs(pivots)), -1)];
  },
};

/** The determinants `[…]` of matrices `[…, n, n]`. The derivative at a singular matrix is NaN. */
export function det(x: Tensor): Tensor {
  requireSquare("linalg.det", x);
  return apply(detPrimitive, factored(x), null);
}

/** The sign of each determinant (0 for a singular matrix) and the logarithm of its absolute value (-∞). */
export function slogdet(x: Tensor): { sign: Tensor; logAbs: Tensor } {
  requireSquare("linalg.slogdet", x);
  const [signs, logAbs] = applyAll(slogdetPrimitive, factored(x), null);
  return { sign: signs!, logAbs: logAbs! };
}
