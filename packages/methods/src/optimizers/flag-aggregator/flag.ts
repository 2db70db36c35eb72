import {
  abs,
  add,
  arange,
  cast,
  concat,
  div,
  equal,
  expandDims,
  eye,
  floor,
  isFinite,
  less,
  linalg,
  matmul,
  maximum,
  min,
  mul,
  pow,
  random,
  reshape,
  scan,
  slice,
  sort,
  sqrt,
  stack,
  sub,
  sum,
  type Tensor,
  transpose,
  treeMap,
  where,
  zeros,
} from "@prior-art/tensor";
import { requireRank } from "@prior-art/toolkit/optim";
import { requireWorkers } from "./baselines.ts";

export interface FlagOptions {
  /** m, `⌈(p + 1)/2⌉` by default. Small ones (up to 4 of 15) tell Byzantine workers apart. */
  readonly subspaceDim?: number;
  /** λ, the weight of the differences between workers; 0 by default, up to p. */
  readonly lambda?: number;
  /** Decompositions: the first with the start's weights, each further one reweighted; 5 by default. */
  readonly iterations?: number;
  /** ε, keeps weights finite; 1e-7 by default. */
  readonly eps?: number;
  /**
   * Average the unit gradients, times the median of the norms, as the released code does up to the factor; true by default.
   * With the raw gradients a few long ones rule the mean even after the projection.
   */
  readonly normalizeInputs?: boolean;
  /** Starts from a random subspace, as the paper does; without one from equal weights, which turns with the gradients. */
  readonly key?: Tensor;
}

export interface FlagResult {
  /** `[parameters]`: what to step along. */
  readonly aggregate: Tensor;
  /** Y, `[parameters, m]`; orthonormal columns, zero ones where the gradients span less than m dimensions. */
  readonly basis: Tensor;
  /** v_i, the share of each unit gradient that the subspace reconstructs, `[workers]`; 0 for workers left out. */
  readonly reconstruction: Tensor;
  /** 1 for each worker with a finite gradient other than zero, `[workers]`; the others are left out. */
  readonly used: Tensor;
  /** The flag-median objective at the start and after each iteration, `[iterations + 1]`. */
  readonly objective: Tensor;
}

/** Directions with a smaller share of the largest variance than this are noise of the arithmetic. */
const RANK_TOLERANCE = 1e-6;

/** Orthonormal columns `[size, count]` from uniform numbers. */
const randomBasis = (key: Tensor, size: number, count: number, dtype: "float32" | "float64"): Tensor =>
  linalg.qr(random.uniform(key, [size, count], { low: -0.5, high: 0.5, dtype })).q;

/** ‖x_i - x_j‖² of all pairs, from inner products. */
function gapsOf(products: Tensor): Tensor {
  const squares = linalg.diagonal(products);
  return maximum(sub(add(expandDims(squares, 0), expandDims(squares, 1)), mul(2, products)), 0);
}

/** Median of the entries that are used, the lower of the middle two; of none, 0. */
function medianOf(values: Tensor, used: Tensor): Tensor {
  const inOrder = sort(where(less(0, used), values, 0), 0);
  const rank = cast(arange(values.size), values.dtype);
  // Those left out are 0 and come first, so the middle of the others is counted from the end.
  const middle = sub(values.size - 1, floor(div(sum(used), 2)));
  return sum(where(equal(rank, middle), inOrder, 0));
}

/**
 * The flag aggregator: finds the m-dimensional subspace Y that reconstructs the workers' unit gradients best in the sense of
 * the flag median, `Σ √(1 - ‖Yᵀg̃_i‖²)` plus λ times the mean of the same over the normalized differences of workers, by
 * iteratively reweighted decompositions, and returns the mean gradient projected on it. All of it is done with the workers' inner
 * products: `O(parameters · p²)`, and decompositions of `p × p` matrices.
 *
 * Weights are those of the released code: `(1 - v + ε)^(-1/4)`, with differences that are not normalized. From the second on, an
 * iteration that raises the objective is discarded.
 *
 * @param gradients `[workers, parameters]`, of any length each. Workers whose gradient is zero or holds a NaN or an infinity are
 *   left out; if none is left the aggregate is zero.
 * @throws TensorError unless there are two workers. @throws RangeError for a dimension not from 1 to the smaller side of the
 *   gradients, `λ < 0`, `ε ≤ 0`, or no iteration.
 * @example
 * const optimizer = chain(aggregateWorkers(aggregators.flag({ subspaceDim: 4 })), momentum({ learningRate: 0.1 }));
 */
export function flagAggregate(gradients: Tensor, options: FlagOptions = {}): FlagResult {
  const [p, n] = requireWorkers("flagAggregate", gradients);
  const {
    subspaceDim = Math.min(Math.ceil((p + 1) / 2), n),
    lambda = 0,
    iterations = 5,
    eps = 1e-7,
    normalizeInputs = true,
    key,
  } = options;
  requireRank("flagAggregate", subspaceDim, [p, n]);
  if (!(lambda >= 0 && Number.isInteger(iterations) && iterations >= 1 && eps > 0))
    throw new RangeError(
      `flagAggregate: needs λ ≥ 0, a whole number of iterations from 1 and eps > 0, got ${JSON.stringify({ lambda, iterations, eps })}`,
    );
  const dtype = gradients.dtype as "float32" | "float64";
  const identity = eye(p, p, dtype);

  const finite = min(cast(isFinite(gradients), dtype), 1);
  const clean = mul(where(isFinite(gradients), gradients, 0), expandDims(finite, 1));
  const norms = sqrt(sum(mul(clean, clean), 1));
  const used = cast(less(0, norms), dtype);
  const unit = mul(clean, expandDims(div(used, where(less(0, norms), norms, 1)), 1));
  const products = matmul(unit, transpose(unit));

  const differ = gapsOf(products);
  const distinct = less(1e-12, differ);
  const pairs = mul(mul(expandDims(used, 0), expandDims(used, 1)), sub(1, identity));
  const pairShare = lambda / (p * (p - 1));

  /** What is left of gradients and differences, from the coordinates `[m, p]` of the gradients in a basis. */
  const fit = (coordinates: Tensor) => {
    const inner = matmul(transpose(coordinates), coordinates);
    const reconstruction = linalg.diagonal(inner);
    const gaps = gapsOf(inner);
    const left = (share: Tensor): Tensor => sqrt(maximum(sub(1, share), 0));
    const pairsLeft = where(distinct, mul(pairs, left(div(gaps, where(distinct, differ, 1)))), 0);
    const objective = add(sum(mul(used, left(reconstruction))), mul(pairShare, sum(pairsLeft)));
    return { reconstruction, gaps, objective };
  };
  type Fit = ReturnType<typeof fit>;

  /** The best basis for the weights that a fit asks for, as coefficients `[p, m]` of the unit gradients. */
  const reweighted = ({ reconstruction, gaps }: Fit): Tensor => {
    const squaredWeight = (share: Tensor): Tensor => pow(add(abs(sub(1, share)), eps), -0.5);
    const pairWeights = mul(mul(pairShare ** 2, pairs), squaredWeight(gaps));
    const laplacian = sub(mul(identity, expandDims(sum(pairWeights, 1), 1)), pairWeights);
    // Every pair counts in both orders.
    const metric = add(mul(identity, expandDims(squaredWeight(reconstruction), 1)), mul(2, laplacian));
    const factor = lambda > 0 ? linalg.cholesky(metric) : sqrt(metric);
    const { values, vectors } = linalg.eigh(matmul(matmul(transpose(factor), products), factor));
    const top = slice(values, [p - subspaceDim, p]);
    const kept = less(maximum(mul(RANK_TOLERANCE, slice(values, [p - 1, p])), 1e-30), top);
    const scale = where(kept, div(1, sqrt(where(kept, top, 1))), 0);
    return mul(matmul(factor, slice(vectors, [0, p], [p - subspaceDim, p])), scale);
  };

  const start = key
    ? matmul(transpose(randomBasis(key, n, subspaceDim, dtype)), transpose(unit))
    : zeros([subspaceDim, p], dtype);
  const atStart = fit(start);
  const fitted = (coefficients: Tensor) => fit(matmul(transpose(coefficients), products));
  const first = reweighted(atStart);
  const afterFirst = fitted(first);
  const [[coefficients, now], later] = scan(
    ([held, reached]: readonly [Tensor, Fit], _: Tensor) => {
      const next = reweighted(reached);
      const found = fitted(next);
      const better = less(found.objective, reached.objective);
      const kept = treeMap((a, b) => where(better, a, b), found, reached);
      return [[where(better, next, held), kept] as const, kept.objective] as const;
    },
    [first, afterFirst] as const,
    zeros([iterations - 1]),
  );
  const objective = concat([stack([atStart.objective, afterFirst.objective]), later]);

  const lengths = mul(used, normalizeInputs ? medianOf(norms, used) : norms);
  const coordinates = matmul(matmul(transpose(coefficients), products), reshape(lengths, [p, 1]));
  const weights = div(matmul(coefficients, coordinates), maximum(sum(used), 1));
  return {
    aggregate: reshape(matmul(transpose(weights), unit), [n]),
    basis: matmul(transpose(unit), coefficients),
    reconstruction: mul(used, now.reconstruction),
    used,
    objective,
  };
}
