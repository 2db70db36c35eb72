/** Positions of the best `k` of the points asked about, the best first. */
export type Ranking = ArrayLike<number>;

/** @throws RangeError unless `m ≥ 2` and `1 ≤ k ≤ m`, both whole. */
export function requireSizes(op: string, m: number, k: number): void {
  if (!(Number.isInteger(m) && m >= 2 && Number.isInteger(k) && k >= 1 && k <= m))
    throw new RangeError(`${op}: needs whole numbers m ≥ 2 and 1 ≤ k ≤ m, got m = ${m} and k = ${k}`);
}

/** @throws RangeError unless `ranking` names `k` different points out of `m`. */
export function requireRanking(op: string, ranking: Ranking, m: number, k: number): void {
  if (ranking.length !== k)
    throw new RangeError(`${op}: the oracle ranked ${ranking.length} points where ${k} were asked for`);
  const seen = new Set<number>();
  for (const index of Array.from(ranking)) {
    if (!(Number.isInteger(index) && index >= 0 && index < m))
      throw new RangeError(`${op}: the oracle named point ${index}; points are 0 to ${m - 1}`);
    if (seen.has(index)) throw new RangeError(`${op}: the oracle named point ${index} twice`);
    seen.add(index);
  }
}

export interface DagStats {
  /** Comparisons that a ranking of the best `k` of `m` implies, `k(k-1)/2 + k(m-k)`. */
  readonly edges: number;
  /** Pairs of comparisons that share a point: what keeps the estimator's variance from falling as 1/edges. */
  readonly edgePairs: number;
}

/** The graph of comparisons (i → j: i is better than j) of an (m, k)-ranking oracle. */
export function dagStats(m: number, k: number): DagStats {
  requireSizes("dagStats", m, k);
  const pairs = (degree: number): number => (degree * (degree - 1)) / 2;
  return {
    edges: (k * (k - 1)) / 2 + k * (m - k),
    edgePairs: k * pairs(m - 1) + (m - k) * pairs(k),
  };
}

/**
 * Weights of the points in the estimator: (better ones − worse ones) / edges, which is `2r - (m-1)` for the point of rank
 * `r` (from 0) and `k` for those not ranked, over the edges. They sum to 0.
 * @throws RangeError when the ranking is none of different points out of `m`.
 */
export function rankWeights(ranking: Ranking, m: number): Float64Array {
  const k = ranking.length;
  requireSizes("rankWeights", m, k);
  requireRanking("rankWeights", ranking, m, k);
  const { edges } = dagStats(m, k);
  const weights = new Float64Array(m).fill(k / edges);
  Array.from(ranking).forEach((index, rank) => {
    weights[index] = (2 * rank - (m - 1)) / edges;
  });
  return weights;
}
