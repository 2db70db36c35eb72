import {
  add,
  div,
  exp,
  greater,
  linalg,
  log,
  abs as magnitude,
  matmul,
  max,
  mul,
  neg,
  pow,
  random,
  reshape,
  sort,
  sqrt,
  stopGradient,
  sub,
  sum,
  type Tensor,
  TensorError,
  treeLeaves,
  where,
} from "@prior-art/tensor";
import type { ContinualLearner, Scalar } from "../family.ts";

/** Unit vectors that follow the first singular directions of a matrix `[rows, columns]`. */
export interface Directions {
  /** `[rows]` */
  readonly left: Tensor;
  /** `[columns]` */
  readonly right: Tensor;
}

/** A kernel `[out, in, …]` as the matrix `[out, in · …]`; matrices stay. */
const asMatrix = (weight: Tensor): Tensor =>
  weight.rank === 2 ? weight : reshape(weight, [weight.shape[0]!, weight.size / weight.shape[0]!]);

const length = (v: Tensor): Tensor => sqrt(sum(mul(v, v)));

/** `v / ‖v‖`, and 0 for 0. */
const unit = (v: Tensor): Tensor => {
  const size = length(v);
  return where(greater(size, 0), div(v, where(greater(size, 0), size, 1)), 0);
};

/** Random directions to start the power iteration from. */
export function initDirections(key: Tensor, weight: Tensor): Directions {
  const [rows, columns] = asMatrix(weight).shape as [number, number];
  const dtype = weight.dtype === "float64" ? "float64" : "float32";
  const [left, right] = random.keys(key) as [Tensor, Tensor];
  return {
    left: unit(random.normal(left, [rows], { dtype })),
    right: unit(random.normal(right, [columns], { dtype })),
  };
}

/** One step of power iteration: `v ← Wᵀu/‖Wᵀu‖`, `u ← Wv/‖Wv‖`. */
export function powerStep(weight: Tensor, { left }: Pick<Directions, "left">): Directions {
  const matrix = asMatrix(weight);
  const right = unit(matmul(left, matrix));
  return { left: unit(matmul(matrix, right)), right };
}

/** `σ₁ = uᵀWv`, whose gradient is `uvᵀ`: the directions count as constants. */
export const topSingularValue = (weight: Tensor, { left, right }: Directions): Tensor =>
  sum(mul(stopGradient(left), matmul(asMatrix(weight), stopGradient(right))));

export interface SpectralPenaltyOptions {
  /** k, 2 by default. */
  readonly exponent?: number;
  /** Directions of the weights (tensors of two axes or more) in order; without them, exact singular values. */
  readonly directions?: readonly Directions[];
  /** Whether a vector is a normalization gain, which acts as a diagonal matrix; none is by default. */
  readonly isGain?: (parameter: Tensor) => boolean;
}

/**
 * The spectral regularizer `Σ (σ₁(W)ᵏ - 1)² + Σ (‖b‖ᵏ)²`: weights and gains towards spectral norm 1, biases towards 0. It
 * bounds how far the signal and its gradients can shrink or grow in a layer, without tying any weight to a value.
 * @param params a tree of float tensors: weights have two axes or more, biases and gains one
 * @throws TensorError when directions and weights differ in number, or a parameter is a scalar.
 */
export function spectralPenalty(
  params: unknown,
  { exponent = 2, directions, isGain = () => false }: SpectralPenaltyOptions = {},
): Tensor {
  const leaves = treeLeaves(params);
  const weights = leaves.filter((t) => t.rank > 1);
  if (directions && directions.length !== weights.length)
    throw new TensorError("spectralPenalty", `${directions.length} directions for ${weights.length} weights`);
  let at = 0;
  const terms = leaves.map((t) => {
    if (t.rank === 0) throw new TensorError("spectralPenalty", `${t.toString()} is no weight, bias or gain`);
    if (t.rank === 1 && !isGain(t)) {
      // (‖b‖ᵏ)² = (Σb²)ᵏ, which is smooth at 0.
      const square = sum(mul(t, t));
      return exponent === 1 ? square : pow(square, exponent);
    }
    const norm =
      t.rank === 1
        ? max(magnitude(t))
        : directions
          ? topSingularValue(t, directions[at++]!)
          : max(linalg.singularValues(asMatrix(t)));
    const deviation = sub(pow(norm, exponent), 1);
    return mul(deviation, deviation);
  });
  return terms.reduce((a, b) => add(a, b));
}

/** The entries of each tensor of a tree, in ascending order. */
export const sortedEntries = (params: unknown): Tensor[] =>
  treeLeaves(params).map((t) => sort(reshape(t, [t.size])));

/**
 * Wasserstein regularizer (first version of the paper): `Σ_l Σ_i (θ_(i) - θ⁰_(i))²` over the sorted entries of each tensor,
 * that is entries times the squared 2-Wasserstein distance of their distributions.
 * @param initial what `sortedEntries` makes of the initial parameters
 * @throws TensorError when parameters and entries don't fit.
 */
export function wassersteinPenalty(params: unknown, initial: readonly Tensor[]): Tensor {
  const now = sortedEntries(params);
  if (now.length !== initial.length || now.some((t, i) => t.size !== initial[i]!.size))
    throw new TensorError("wassersteinPenalty", "parameters and initial entries differ in shape");
  return now
    .map((t, i) => {
      const gap = sub(t, initial[i]!);
      return sum(mul(gap, gap));
    })
    .reduce((a, b) => add(a, b));
}

/**
 * Effective rank (Roy & Vetterli, 2007): exp of the entropy of the singular values as shares of their sum, between 1 and the
 * rank; of per-example gradients it is the paper's gradient diversity. 0 for a matrix of zeros.
 */
export function effectiveRank(matrix: Tensor): Tensor {
  const values = linalg.singularValues(matrix);
  const mass = sum(values);
  const shares = div(values, where(greater(mass, 0), mass, 1));
  const surprise = where(greater(shares, 0), log(where(greater(shares, 0), shares, 1)), 0);
  return where(greater(mass, 0), exp(neg(sum(mul(shares, surprise)))), 0);
}

export interface SpectralOptions {
  /** λ */
  readonly strength: Scalar;
  /** k, 2 by default. */
  readonly exponent?: number;
}

/**
 * Learns with the spectral regularizer added to the loss at every step; σ₁ from one step of power iteration an update, with
 * directions that go on from step to step.
 */
export const spectralRegularization = <P>({
  strength,
  exponent = 2,
}: SpectralOptions): ContinualLearner<P, readonly Directions[]> => {
  const weightsOf = (params: P): Tensor[] => treeLeaves(params).filter((t) => t.rank > 1);
  const advance = (params: P, state: readonly Directions[]): Directions[] =>
    weightsOf(params).map((w, i) => powerStep(stopGradient(w), state[i]!));
  return {
    init: (params, { key }) =>
      advance(
        params,
        weightsOf(params).map((w, i) => initDirections(random.fold(key, i), w)),
      ),
    loss: (crossEntropy, { params }, directions) =>
      add(crossEntropy, mul(strength, spectralPenalty(params, { exponent, directions }))),
    afterStep: (state, { params }) => ({ state: advance(params, state), params }),
  };
};

/** Learns with the Wasserstein distance to the initial weights added to the loss. */
export const wassersteinInit = <P>({
  strength,
}: {
  readonly strength: Scalar;
}): ContinualLearner<P, readonly Tensor[]> => ({
  init: (params) => sortedEntries(params),
  loss: (crossEntropy, { params }, initial) =>
    add(crossEntropy, mul(strength, wassersteinPenalty(params, initial))),
});
