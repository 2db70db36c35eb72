import { type Groups, groupSize } from "@prior-art/toolkit/convex";
import { chiSquareCdf, chiSquareQuantile, normalQuantile } from "@prior-art/toolkit/stats";

/**
 * Weights of SLOPE that control the false discovery rate under orthogonal designs: `v_i = Φ⁻¹(1 − i q/2p)` (Bogdan et
 * al. 2015).
 *
 * @throws RangeError unless q is in (0, 1).
 */
export function slopeWeights(count: number, falseDiscoveryRate = 0.05): Float64Array {
  requireRate(falseDiscoveryRate);
  return Float64Array.from({ length: count }, (_, i) =>
    normalQuantile(1 - ((i + 1) * falseDiscoveryRate) / (2 * count)),
  );
}

/**
 * Weights of group SLOPE that control the false discovery rate of groups under orthogonal designs (Brzyski et al. 2019):
 * `w_i = F⁻¹(1 − i q/m)`, F the mean over the m groups of the distributions of χ_{p_g}/√p_g.
 *
 * @throws RangeError unless q is in (0, 1).
 */
export function groupSlopeWeights(groups: Groups, falseDiscoveryRate = 0.05): Float64Array {
  requireRate(falseDiscoveryRate);
  const counts = new Map<number, number>();
  for (let g = 0; g < groups.count; g++) {
    const size = groupSize(groups, g);
    counts.set(size, (counts.get(size) ?? 0) + 1);
  }
  const share = (x: number): number => {
    let sum = 0;
    for (const [size, count] of counts) sum += count * chiSquareCdf(size * x * x, size);
    return sum / groups.count;
  };
  return Float64Array.from({ length: groups.count }, (_, i) => {
    const probability = 1 - ((i + 1) * falseDiscoveryRate) / groups.count;
    const quantiles = [...counts.keys()].map((size) =>
      Math.sqrt(chiSquareQuantile(probability, size) / size),
    );
    let [low, high] = [Math.min(...quantiles), Math.max(...quantiles)];
    while (high - low > 1e-10 * high) {
      const middle = (low + high) / 2;
      if (share(middle) < probability) low = middle;
      else high = middle;
    }
    return high;
  });
}

/**
 * Weights of OSCAR, which fall linearly to their last: `w_i = 1 + slope (count − i)`.
 *
 * @param slope Default 1/count, which doubles the first weight.
 */
export function oscarWeights(count: number, slope = 1 / count): Float64Array {
  return Float64Array.from({ length: count }, (_, i) => 1 + slope * (count - 1 - i));
}

function requireRate(rate: number): void {
  if (!(rate > 0 && rate < 1)) throw new RangeError(`false discovery rate must be in (0, 1), got ${rate}`);
}
