import { scan } from "../control/scan.ts";
import { whileLoop } from "../control/while.ts";
import { equal, greater, greaterEqual, less, logicalAnd, where } from "../ops/compare.ts";
import { full, scalar } from "../ops/create.ts";
import { abs, add, div, mul, neg, reciprocal, sqrt, sub } from "../ops/elementwise.ts";
import { takeInRange } from "../ops/indexing.ts";
import { matmul } from "../ops/matmul.ts";
import { max, sum } from "../ops/reduce.ts";
import { concat, expandDims, matrixTranspose, pad } from "../ops/shape.ts";
import { range } from "../shape.ts";
import { constant, type Tensor } from "../tensor.ts";
import { diagonal, mask, sliceMatrix } from "./matrices.ts";

const MOST_SWEEPS = 30;

/**
 * Rotates the rows of `x` `[…, n, width]` until their first `m` entries are orthogonal to each other (one-sided Jacobi,
 * Hestenes 1958): the same orthogonal transformation is applied to all entries of a row, so that what is appended to
 * the rows records it. Each round rotates n/2 disjoint pairs at once, row i of the upper half with row i of the lower;
 * rows then change places so that after n - 1 rounds each has met each other and all are back in place.
 */
export function orthogonalizedRows(x: Tensor, m = x.shape.at(-1)!): Tensor {
  const n = x.shape.at(-2)!;
  const lead = x.shape.slice(0, -2).map((): [number, number] => [0, 0]);
  // A row of zeros makes up the number: it is orthogonal to all, and never mixed with another.
  const even = n % 2 === 0 ? x : pad(x, [...lead, [0, 1], [0, 0]]);
  const half = even.shape.at(-2)! / 2;
  const order = constant(Int32Array.from(nextRound(half)), [2 * half], "int32");
  const round = (rows: Tensor): Tensor => {
    const [upper, lower] = [sliceMatrix(rows, [0, half]), sliceMatrix(rows, [half, 2 * half])];
    const [a, b] = [sliceMatrix(upper, null, [0, m]), sliceMatrix(lower, null, [0, m])];
    const { c, s } = rotation(inner(a, a), inner(a, b), inner(b, b));
    const turned = [sub(mul(c, upper), mul(s, lower)), add(mul(s, upper), mul(c, lower))];
    return takeInRange(concat(turned, -2), order, -2);
  };
  const start = { rows: even, cosine: full([], 1, x.dtype), sweeps: scalar(0, "int32") };
  // Convergence is quadratic: a sweep that starts below the root of the rounding error ends below it.
  const enough = x.dtype === "float64" ? 1e-9 : 5e-5;
  const { rows } = whileLoop(
    ({ cosine, sweeps }) => logicalAnd(greater(cosine, enough), less(sweeps, MOST_SWEEPS)),
    ({ rows, sweeps }) => ({
      rows: scan((now: Tensor) => [round(now), null] as const, rows, null, { length: 2 * half - 1 })[0],
      cosine: largestCosine(sliceMatrix(rows, null, [0, m])),
      sweeps: add(sweeps, 1),
    }),
    start,
  );
  return sliceMatrix(rows, [0, n]);
}

const inner = (a: Tensor, b: Tensor): Tensor => sum(mul(a, b), -1, true);

/** Cosine and sine of the smaller angle that makes two rows orthogonal, from their inner products. */
function rotation(aa: Tensor, ab: Tensor, bb: Tensor): { c: Tensor; s: Tensor } {
  const d = sub(bb, aa);
  const twice = mul(2, ab);
  const root = sqrt(add(mul(d, d), mul(twice, twice)));
  const denominator = add(d, where(greaterEqual(d, 0), root, neg(root)));
  const tangent = div(twice, where(equal(denominator, 0), 1, denominator));
  const c = reciprocal(sqrt(add(1, mul(tangent, tangent))));
  return { c, s: mul(c, tangent) };
}

/** The largest |cosine| between two rows, over all matrices. Rows of zeros are orthogonal to all. */
function largestCosine(x: Tensor): Tensor {
  const n = x.shape.at(-2)!;
  const products = matmul(x, matrixTranspose(x));
  const lengths = sqrt(diagonal(products));
  const scale = mul(expandDims(lengths, -1), expandDims(lengths, -2));
  const cosines = abs(div(products, where(equal(scale, 0), 1, scale)));
  return max(
    where(
      mask(n, n, (i, j) => i < j),
      cosines,
      0,
    ),
  );
}

/** Where each row of the next round comes from: all but the first move one place around the table of two halves. */
function nextRound(half: number): number[] {
  const circle = [...range(half).slice(1), ...range(half, half).reverse()];
  const order = new Array<number>(2 * half).fill(0);
  circle.forEach((place, i) => {
    order[circle[(i + 1) % circle.length]!] = place;
  });
  return order;
}
