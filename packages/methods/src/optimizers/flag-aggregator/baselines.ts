import {
  abs,
  add,
  arange,
  argsort,
  cast,
  div,
  expandDims,
  eye,
  greaterEqual,
  less,
  linalg,
  logicalAnd,
  matmul,
  maximum,
  mean,
  mul,
  reshape,
  scan,
  sort,
  sqrt,
  sub,
  sum,
  type Tensor,
  TensorError,
  takeAlongAxis,
  transpose,
  where,
  zeros,
} from "@prior-art/tensor";

/** How many workers may be Byzantine: a number, or an int- or float-valued scalar tensor in sweeps under `vmap`. */
export type Faulty = number | Tensor;

/** Workers and coordinates. @throws TensorError naming `op` unless there are two workers or more. */
export function requireWorkers(op: string, gradients: Tensor): readonly [workers: number, size: number] {
  const [p, n] = gradients.shape;
  if (gradients.rank !== 2 || p === undefined || n === undefined || p < 2)
    throw new TensorError(op, `takes gradients [workers ≥ 2, parameters], got ${gradients}`);
  return [p, n];
}

/** @throws RangeError naming `op` when a number is no whole number from 0 to `most`. */
function requireFaulty(op: string, faulty: Faulty, most: number, workers: number): void {
  if (typeof faulty === "number" && !(Number.isInteger(faulty) && faulty >= 0 && faulty <= most))
    throw new RangeError(`${op}: of ${workers} workers, from 0 to ${most} may be Byzantine, not ${faulty}`);
}

/** 1 for ranks from `from` up to and without `to`, `[count, 1]`; the bounds may be tensors. */
function ranks(count: number, from: Faulty, to: Faulty, like: Tensor): Tensor {
  const rank = cast(reshape(arange(count), [count, 1]), like.dtype);
  const bound = (b: Faulty): Tensor => (typeof b === "number" ? add(mul(rank, 0), b) : cast(b, like.dtype));
  return cast(logicalAnd(greaterEqual(rank, bound(from)), less(rank, bound(to))), like.dtype);
}

/** Mean of the rows that have a weight; `[workers, 1]` weights. */
const weighted = (rows: Tensor, weights: Tensor): Tensor =>
  div(sum(mul(rows, weights), 0), maximum(sum(weights), 1));

/** Coordinate-wise median, the mean of the middle two of an even number. */
export function median(gradients: Tensor): Tensor {
  const [p] = requireWorkers("median", gradients);
  return weighted(sort(gradients, 0), ranks(p, Math.floor((p - 1) / 2), Math.floor(p / 2) + 1, gradients));
}

/** Coordinate-wise mean without the `faulty` smallest and largest. @throws RangeError when nothing would be left. */
export function trimmedMean(gradients: Tensor, faulty: Faulty): Tensor {
  const [p] = requireWorkers("trimmedMean", gradients);
  requireFaulty("trimmedMean", faulty, Math.floor((p - 1) / 2), p);
  return weighted(sort(gradients, 0), ranks(p, faulty, sub(p, faulty), gradients));
}

/** ‖g_i - g_j‖² of all pairs, `[workers, workers]`. */
function squaredDistances(gradients: Tensor): Tensor {
  const products = matmul(gradients, transpose(gradients));
  const squares = linalg.diagonal(products);
  return maximum(sub(add(expandDims(squares, 0), expandDims(squares, 1)), mul(2, products)), 0);
}

/** Krum's score of each worker: the sum of its squared distances to the p - f - 2 nearest others. */
function krumScores(gradients: Tensor, faulty: Faulty): Tensor {
  const [p] = gradients.shape as readonly [number, number];
  // The distance to itself, 0, is always the smallest, and has rank 0.
  const nearest = transpose(sort(squaredDistances(gradients), 1));
  return sum(mul(nearest, ranks(p, 1, sub(p - 1, faulty), gradients)), 0);
}

/** The gradients in order of their scores, best first. */
function ordered(gradients: Tensor, faulty: Faulty): Tensor {
  const order = argsort(krumScores(gradients, faulty), 0);
  return matmul(cast(rowsOf(order), gradients.dtype), gradients);
}

/** The permutation matrix whose product with a matrix has its rows in this order. */
function rowsOf(order: Tensor): Tensor {
  const identity = eye(order.shape[0]!);
  return takeAlongAxis(identity, mul(expandDims(order, 1), cast(add(mul(identity, 0), 1), "int32")), 0);
}

/**
 * The gradient with the smallest sum of squared distances to its p - f - 2 nearest (Blanchard et al., 2017).
 * @throws RangeError unless `p ≥ 2f + 3`.
 */
export function krum(gradients: Tensor, faulty: Faulty): Tensor {
  const [p] = requireWorkers("krum", gradients);
  requireFaulty("krum", faulty, Math.floor((p - 3) / 2), p);
  return weighted(ordered(gradients, faulty), ranks(p, 0, 1, gradients));
}

/** The mean of the p - f gradients with the best scores of Krum. @throws RangeError unless `p ≥ 2f + 3`. */
export function multiKrum(gradients: Tensor, faulty: Faulty): Tensor {
  const [p] = requireWorkers("multiKrum", gradients);
  requireFaulty("multiKrum", faulty, Math.floor((p - 3) / 2), p);
  return weighted(ordered(gradients, faulty), ranks(p, 0, sub(p, faulty), gradients));
}

/**
 * Of the p - 2f gradients with the best scores, coordinate by coordinate the mean of the p - 4f nearest to their median
 * (El Mhamdi et al., 2018; the selection is Multi-Krum's).
 * @throws RangeError unless `p ≥ 4f + 3`.
 */
export function bulyan(gradients: Tensor, faulty: Faulty): Tensor {
  const [p] = requireWorkers("bulyan", gradients);
  requireFaulty("bulyan", faulty, Math.floor((p - 3) / 4), p);
  const count = sub(p, mul(2, faulty));
  const selected = ranks(p, 0, count, gradients);
  const far = 1e30;
  // Those that are not selected are put out of reach, behind the others in every coordinate.
  const rows = where(greaterEqual(selected, 0.5), ordered(gradients, faulty), far);
  const inOrder = sort(rows, 0);
  const kept = where(greaterEqual(selected, 0.5), inOrder, 0);
  const half = div(sub(count, 1), 2);
  const middle = weighted(kept, ranks(p, sub(half, 0.5), add(half, 1), gradients));
  const distances = where(greaterEqual(selected, 0.5), abs(sub(kept, middle)), far);
  const nearest = takeAlongAxis(kept, argsort(distances, 0), 0);
  return weighted(nearest, ranks(p, 0, sub(count, mul(2, faulty)), gradients));
}

/**
 * The point with the smallest sum of distances to the gradients, by Weiszfeld's iterations from their mean.
 * @param iterations 20 by default.
 */
export function geometricMedian(gradients: Tensor, iterations = 20): Tensor {
  requireWorkers("geometricMedian", gradients);
  if (!(Number.isInteger(iterations) && iterations >= 1))
    throw new RangeError(
      `geometricMedian: iterations must be a whole number of at least 1, got ${iterations}`,
    );
  const [point] = scan(
    (at: Tensor, _: Tensor) => {
      const gaps = sub(gradients, at);
      const weights = div(1, maximum(sqrt(sum(mul(gaps, gaps), 1, true)), 1e-8));
      return [div(sum(mul(weights, gradients), 0), sum(weights)), null] as const;
    },
    mean(gradients, 0),
    zeros([iterations]),
  );
  return point;
}
