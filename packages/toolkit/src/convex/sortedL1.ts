/** Indices that sort values by decreasing size; equal sizes keep their order. */
export function decreasingOrder(values: ArrayLike<number>): Int32Array {
  const sizes = Float64Array.from(values, Math.abs);
  return Int32Array.from(sizes.keys()).sort((i, j) => sizes[j]! - sizes[i]! || i - j);
}

/** Σ w_i |x|_(i): the weights, decreasing, meet the entries in order of size. */
export function sortedL1Norm(x: ArrayLike<number>, weights: ArrayLike<number>): number {
  return Float64Array.from(x, Math.abs)
    .sort()
    .reverse()
    .reduce((sum, size, i) => sum + weights[i]! * size, 0);
}

/** The dual norm of the sorted ℓ1 norm: max over k of (|z|_(1) + … + |z|_(k))/(w_1 + … + w_k). */
export function sortedL1DualNorm(z: ArrayLike<number>, weights: ArrayLike<number>): number {
  const sizes = Float64Array.from(z, Math.abs).sort().reverse();
  let sizeSum = 0;
  let weightSum = 0;
  let largest = 0;
  sizes.forEach((size, i) => {
    sizeSum += size;
    weightSum += weights[i]!;
    if (sizeSum > 0) largest = Math.max(largest, sizeSum / weightSum);
  });
  return largest;
}

/**
 * The proximal operator of the sorted ℓ1 norm: `argmin_z ½‖z − x‖² + step Σ w_i |z|_(i)`, by pooling adjacent
 * violators of the decreasing order (Bogdan et al. 2015), O(n log n).
 *
 * @param weights At least as many as entries, decreasing, not negative.
 */
export function proxSortedL1(x: ArrayLike<number>, weights: ArrayLike<number>, step = 1): Float64Array {
  const order = decreasingOrder(x);
  const n = order.length;
  // Blocks of entries that end up equal: where each starts and what its entries become.
  const start = new Int32Array(n);
  const sum = new Float64Array(n);
  let blocks = 0;
  const meanOf = (b: number, end: number): number => sum[b]! / (end - start[b]!);
  for (let i = 0; i < n; i++) {
    start[blocks] = i;
    sum[blocks] = Math.abs(x[order[i]!]!) - step * weights[i]!;
    blocks++;
    while (blocks > 1 && meanOf(blocks - 2, start[blocks - 1]!) <= meanOf(blocks - 1, i + 1)) {
      sum[blocks - 2]! += sum[blocks - 1]!;
      blocks--;
    }
  }
  const result = new Float64Array(n);
  for (let b = 0; b < blocks; b++) {
    const end = b + 1 < blocks ? start[b + 1]! : n;
    const value = meanOf(b, end);
    if (value <= 0) break;
    for (let i = start[b]!; i < end; i++) result[order[i]!] = Math.sign(x[order[i]!]!) * value;
  }
  return result;
}
