import { mul, random, type Tensor, where } from "@prior-art/tensor";

/**
 * `x` with each element 0 with probability `rate` and else divided by `1 - rate`, so that its mean stays (Srivastava et
 * al., 2014). Leave the call out for evaluation.
 * @throws RangeError unless `0 ≤ rate < 1`.
 */
export function dropout(key: Tensor, x: Tensor, rate: number): Tensor {
  if (!(rate >= 0 && rate < 1)) throw new RangeError(`dropout: the rate is in [0, 1), got ${rate}`);
  if (rate === 0) return x;
  return where(random.bernoulli(key, 1 - rate, x.shape), mul(x, 1 / (1 - rate)), 0);
}
