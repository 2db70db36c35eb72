import {
  add,
  div,
  log,
  matmul,
  mul,
  scalar,
  sub,
  sum,
  type Tensor,
  TensorError,
  tensor,
  transpose,
  treeLeaves,
  treeMap,
  zerosLike,
} from "@prior-art/tensor";
import {
  choleskyFactor,
  choleskySolve,
  identity,
  logDeterminant,
  type Matrix,
  matrix,
} from "@prior-art/toolkit/linalg";
import { ravel } from "@prior-art/toolkit/optim";

/** Σ_p of a prior `N(μ_p, λ Σ_p)` by what the bound needs of it. */
export interface PriorCovariance {
  /** Σ_p⁻¹ v, `[weights]`. */
  readonly solve: (v: Tensor) => Tensor;
  readonly traceInverse: number;
  readonly logDeterminant: number;
}

/** I. */
export const isotropic = (weights: number): PriorCovariance => ({
  solve: (v) => v,
  traceInverse: weights,
  logDeterminant: 0,
});

/**
 * `diag(d) + F Fᵀ`, what a pre-trained posterior is often approximated by (PTYL), inverted by Woodbury's identity.
 *
 * @param diagonal `[weights]`, positive.
 * @param factor `[weights, rank]`.
 * @throws RangeError for sizes that differ or a diagonal that is not positive.
 */
export function lowRankPlusDiagonal(
  diagonal: Float64Array,
  factor: Matrix,
  dtype: "float32" | "float64" = "float32",
): PriorCovariance {
  const [size, rank] = [factor.rows, factor.columns];
  if (diagonal.length !== size)
    throw new RangeError(
      `lowRankPlusDiagonal: a diagonal of ${diagonal.length} for a factor of ${size} rows`,
    );
  if (!diagonal.every((value) => value > 0 && Number.isFinite(value)))
    throw new RangeError("lowRankPlusDiagonal: the diagonal must be positive and finite");
  const capacitance = identity(rank);
  const squared = matrix(rank, rank);
  for (let i = 0; i < size; i++)
    for (let a = 0; a < rank; a++)
      for (let b = 0; b < rank; b++) {
        const product = factor.values[i * rank + a]! * factor.values[i * rank + b]!;
        capacitance.values[a * rank + b]! += product / diagonal[i]!;
        squared.values[a * rank + b]! += product / diagonal[i]! ** 2;
      }
  const cholesky = choleskyFactor(capacitance);
  const inverse = matrix(rank, rank);
  for (let a = 0; a < rank; a++)
    inverse.values.set(
      choleskySolve(cholesky, identity(rank).values.slice(a * rank, (a + 1) * rank)),
      a * rank,
    );
  const traceInverse =
    diagonal.reduce((total, value) => total + 1 / value, 0) -
    inverse.values.reduce((total, value, at) => total + value * squared.values[at]!, 0);
  const [d, f, middle] = [
    tensor(diagonal, { dtype }),
    tensor(factor.values, { shape: [size, rank], dtype }),
    tensor(inverse.values, { shape: [rank, rank], dtype }),
  ];
  return {
    solve: (v) => {
      const scaled = div(v, d);
      const inner = matmul(middle, matmul(transpose(f), scaled));
      return sub(scaled, div(matmul(f, inner), d));
    },
    traceInverse,
    logDeterminant: diagonal.reduce((total, value) => total + Math.log(value), 0) + logDeterminant(cholesky),
  };
}

/** A block of weights with a prior variance of its own. */
export interface PriorBlock<P> {
  readonly name: string;
  /** Picks the block's weights out of the parameters. */
  readonly of: (params: P) => unknown;
  /** μ_p, parameters that `of` picks the block's from; zero by default. */
  readonly mean?: P;
  /** Σ_p of the block's weights in order; I by default. */
  readonly covariance?: PriorCovariance;
  /** λ held fixed; by default the best one, in closed form at every step. */
  readonly variance?: number;
}

export interface GaussianTerms {
  /** ŵ, `[weights]`. */
  readonly mean: Tensor;
  /** σ², a scalar. */
  readonly sigma2: Tensor;
  /** μ_p, `[weights]`; zero by default. */
  readonly priorMean?: Tensor;
  /** Default I. */
  readonly covariance?: PriorCovariance;
}

/** `σ² tr(Σ_p⁻¹) + (μ_p − ŵ)ᵀ Σ_p⁻¹ (μ_p − ŵ)`. */
function spread({ mean, sigma2, priorMean, covariance = isotropic(mean.size) }: GaussianTerms): Tensor {
  if (priorMean && priorMean.shape.join() !== mean.shape.join())
    throw new TensorError("prior", `a mean ${priorMean.toString()} for weights ${mean.toString()}`);
  const gap = priorMean ? sub(mean, priorMean) : mean;
  return add(mul(sigma2, covariance.traceInverse), sum(mul(gap, covariance.solve(gap))));
}

/**
 * The prior variance that minimizes the divergence, `λ* = [σ² tr(Σ_p⁻¹) + (μ_p − ŵ)ᵀ Σ_p⁻¹ (μ_p − ŵ)] / D`.
 * @throws TensorError when the prior's mean has another shape than the weights.
 */
export const optimalPriorVariance = (terms: GaussianTerms): Tensor => div(spread(terms), terms.mean.size);

/**
 * `KL(N(ŵ, σ²I) ‖ N(μ_p, λΣ_p)) = ½[spread/λ − D + D log λ + log det Σ_p − D log σ²]`.
 * @throws TensorError when the prior's mean has another shape than the weights.
 */
export function gaussianDivergence(terms: GaussianTerms & { readonly variance: Tensor }): Tensor {
  const { mean, sigma2, variance, covariance = isotropic(mean.size) } = terms;
  const logs = mul(mean.size, sub(log(variance), log(sigma2)));
  const offset = covariance.logDeterminant - mean.size;
  return mul(0.5, add(add(div(spread(terms), variance), logs), offset));
}

/**
 * KL of all blocks, and their variances.
 * @throws TensorError when a tensor belongs to no block or to several.
 */
export function blockDivergence<P>(
  mean: P,
  sigma2: Tensor,
  blocks: readonly PriorBlock<P>[],
): { readonly kl: Tensor; readonly variances: Readonly<Record<string, Tensor>> } {
  requireOwners(mean, blocks);
  const variances: Record<string, Tensor> = {};
  let kl: Tensor | undefined;
  for (const block of blocks) {
    const weights = ravel(block.of(mean));
    const terms: GaussianTerms = {
      mean: weights,
      sigma2,
      ...(block.mean === undefined ? {} : { priorMean: ravel(block.of(block.mean)) }),
      ...(block.covariance && { covariance: block.covariance }),
    };
    const variance =
      block.variance === undefined
        ? optimalPriorVariance(terms)
        : scalar(block.variance, sigma2.dtype as "float32");
    variances[block.name] = variance;
    const part = gaussianDivergence({ ...terms, variance });
    kl = kl ? add(kl, part) : part;
  }
  return { kl: kl!, variances };
}

function requireOwners<P>(params: P, blocks: readonly PriorBlock<P>[]): void {
  for (const { name, variance } of blocks)
    if (variance !== undefined && !(variance > 0 && Number.isFinite(variance)))
      throw new RangeError(`prior: the variance of the block ${name} must be positive, got ${variance}`);
  // Marks, unlike parameters, are all different tensors.
  const marks = treeMap(zerosLike, params);
  const picked = blocks.flatMap((block) => treeLeaves(block.of(marks)));
  for (const mark of treeLeaves(marks)) {
    const owners = picked.filter((t) => t === mark).length;
    if (owners !== 1)
      throw new TensorError(
        "prior",
        `a parameter ${mark.toString()} belongs to ${owners} of the blocks ${blocks.map(({ name }) => name).join(", ")}`,
      );
  }
}

/**
 * The priors of transfer learning: a backbone around zero (`zero`), around its pre-trained weights (`sp`), or around them with a
 * covariance that pre-training has found (`ptyl`); a head around zero.
 *
 * @throws TypeError when `ptyl` gets no covariance.
 */
export function transferPrior<P>(
  kind: "zero" | "sp" | "ptyl",
  {
    backbone,
    head,
    pretrained,
    covariance,
  }: {
    readonly backbone: (params: P) => unknown;
    readonly head: (params: P) => unknown;
    readonly pretrained: P;
    readonly covariance?: PriorCovariance;
  },
): PriorBlock<P>[] {
  if (kind === "ptyl" && !covariance)
    throw new TypeError("transferPrior: ptyl needs the covariance of the pre-trained weights");
  return [
    {
      name: "backbone",
      of: backbone,
      ...(kind === "zero" ? {} : { mean: pretrained }),
      ...(kind === "ptyl" && covariance ? { covariance } : {}),
    },
    { name: "head", of: head },
  ];
}
