import type { Tensor } from "../tensor.ts";
import { equal, less, where } from "./compare.ts";
import { abs, add, div, exp, maximum, minimum, mul, neg, sub } from "./elementwise.ts";

/** erf in float64: a series of positive terms up to |x| = 3, the continued fraction of erfc beyond. */
export function erfDouble(x: Tensor): Tensor {
  const a = minimum(abs(x), 7);
  const inner = minimum(a, 3);
  const z = mul(2, mul(inner, inner));
  let series: Tensor = add(1, mul(z, 0));
  for (let n = 60; n >= 1; n--) series = add(1, mul(mul(z, 1 / (2 * n + 1)), series));
  const near = mul(mul(2 / Math.sqrt(Math.PI), inner), mul(exp(neg(mul(inner, inner))), series));
  const outer = maximum(a, 3);
  let fraction = outer;
  for (let n = 40; n >= 1; n--) fraction = add(outer, div(n / 2, fraction));
  const far = sub(1, div(exp(neg(mul(outer, outer))), mul(Math.sqrt(Math.PI), fraction)));
  const y = where(less(a, 3), near, far);
  return where(less(x, 0), neg(y), where(equal(x, x), y, x));
}
