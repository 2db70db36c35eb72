import {
  decreasingOrder,
  type Groups,
  groupNorms,
  groupSize,
  softThreshold,
} from "@prior-art/toolkit/convex";

/**
 * The strong rule for a sorted ℓ1 norm (in the form of Larsson et al. 2020): entries that may be non-zero at the
 * next strength, if no gradient entry grows by more than the penalty shrinks.
 *
 * In order of decreasing size, entries are taken as soon as a run of `|z|_(i) + previous_i − 2 next_i` adds up to
 * at least zero.
 *
 * @param gradient Entries of the gradient (or norms of its groups) at the previous solution.
 * @param previous λ_k times the weights, decreasing, at least as long as the gradient.
 * @param next λ_{k+1} times the weights.
 * @returns indices of the entries to keep, by decreasing size.
 */
export function strongSet(
  gradient: ArrayLike<number>,
  previous: ArrayLike<number>,
  next: ArrayLike<number>,
): Int32Array {
  const order = decreasingOrder(gradient);
  let kept = 0;
  let sum = 0;
  for (let i = 0; i < order.length; i++) {
    sum += Math.abs(gradient[order[i]!]!) + previous[i]! - 2 * next[i]!;
    if (sum >= 0) {
      kept = i + 1;
      sum = 0;
    }
  }
  return order.slice(0, kept);
}

/**
 * Entries that break the optimality conditions of a sorted ℓ1 norm at zero: those in a leading run of the zero entries,
 * by decreasing size, whose sum exceeds that of the weights left for them (the KKT check of the paper).
 *
 * @param gradient Entries of the gradient (or norms of its groups).
 * @param active Entries that are not zero; they take the largest weights.
 * @param weights λ times the weights.
 */
export function violations(
  gradient: ArrayLike<number>,
  active: ReadonlySet<number>,
  weights: ArrayLike<number>,
): number[] {
  const zero = [...decreasingOrder(gradient)].filter((j) => !active.has(j));
  let excess = 0;
  let leading = 0;
  zero.forEach((j, i) => {
    excess += Math.abs(gradient[j]!) - weights[active.size + i]!;
    if (excess > 0) leading = i + 1;
  });
  return zero.slice(0, leading);
}

/** `p_g^(−1/2) ‖z_g‖` of every group: the norms that the weights of group SLOPE are compared with. */
export function scaledGroupNorms(groups: Groups, z: ArrayLike<number>): Float64Array {
  return groupNorms(groups, z).map((length, g) => length / Math.sqrt(groupSize(groups, g)));
}

/**
 * The gradient less what the variable penalty of sparse-group SLOPE absorbs, `S(z, v)`: the weight that meets an entry
 * is that of the coefficient's rank, and among zero coefficients that of the gradient's.
 *
 * @param weights λα times the variables' weights, decreasing.
 */
export function afterVariablePenalty(
  gradient: Float64Array,
  coefficients: Float64Array,
  weights: ArrayLike<number>,
): Float64Array {
  const rank = Int32Array.from(coefficients.keys()).sort(
    (i, j) =>
      Math.abs(coefficients[j]!) - Math.abs(coefficients[i]!) ||
      Math.abs(gradient[j]!) - Math.abs(gradient[i]!),
  );
  const left = new Float64Array(gradient.length);
  rank.forEach((j, i) => {
    left[j] = softThreshold(gradient[j]!, weights[i]!);
  });
  return left;
}
