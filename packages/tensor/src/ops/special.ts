import type { Tensor } from "../tensor.ts";
import { equal, greater, greaterEqual, less, where } from "./compare.ts";
import { lift, liftAll, type TensorLike } from "./create.ts";
import {
  abs,
  add,
  cos,
  div,
  erf,
  exp,
  log,
  maximum,
  minimum,
  mul,
  neg,
  reciprocal,
  sigmoid,
  sign,
  sin,
  softplus,
  sqrt,
  sub,
  unary,
} from "./elementwise.ts";

/** `x²`. */
export const square = (x: TensorLike): Tensor => mul(x, x);
/** `1/√x`. */
export const rsqrt = (x: TensorLike): Tensor => reciprocal(sqrt(x));

/** `log(1 + x)`, accurate near 0. */
export const log1p = unary("log1p", null, {
  derivative: (x) => reciprocal(add(1, x)),
  composed: (x) => {
    const u = add(1, x);
    const exact = equal(u, 1);
    // log(u) and u - 1 lose the same digits, which cancel in the ratio (Kahan).
    const finite = mul(log(u), div(x, where(exact, 1, sub(u, 1))));
    return where(exact, x, where(equal(x, Number.POSITIVE_INFINITY), x, finite));
  },
});

/** `exp(x) - 1`, accurate near 0. */
export const expm1 = unary("expm1", null, {
  derivative: (_, y) => add(y, 1),
  composed: (x) => {
    const u = exp(x);
    const near = less(abs(x), 0.5);
    const exact = equal(u, 1);
    const safe = where(near, where(exact, 2, u), 2);
    return where(near, where(exact, x, mul(sub(safe, 1), div(x, log(safe)))), sub(u, 1));
  },
});

export const tan = unary("tan", null, {
  derivative: (_, y) => add(1, mul(y, y)),
  composed: (x) => div(sin(x), cos(x)),
});
export const sinh = unary("sinh", null, {
  derivative: (x) => cosh(x),
  composed: (x) => {
    const e = expm1(abs(x));
    const y = mul(0.5, add(e, div(e, add(e, 1))));
    return where(less(x, 0), neg(y), y);
  },
});
export const cosh = unary("cosh", null, {
  derivative: (x) => sinh(x),
  composed: (x) => mul(0.5, add(exp(x), exp(neg(x)))),
});
export const atan = unary("atan", "Atan", {
  derivative: (x) => reciprocal(add(1, mul(x, x))),
  composed: (x) => atanBySeries(x),
  composedFor: "float64",
});
export const asin = unary("asin", null, {
  derivative: (x) => rsqrt(sub(1, mul(x, x))),
  composed: (x) => atan2(x, sqrt(mul(sub(1, x), add(1, x)))),
});
export const acos = unary("acos", null, {
  derivative: (x) => neg(rsqrt(sub(1, mul(x, x)))),
  composed: (x) => atan2(sqrt(mul(sub(1, x), add(1, x))), x),
});
export const asinh = unary("asinh", null, {
  derivative: (x) => rsqrt(add(1, mul(x, x))),
  composed: (x) => {
    const a = abs(x);
    const y = log1p(add(a, div(mul(a, a), add(1, sqrt(add(1, mul(a, a)))))));
    return where(less(x, 0), neg(y), y);
  },
});
export const acosh = unary("acosh", null, {
  derivative: (x) => rsqrt(sub(mul(x, x), 1)),
  composed: (x) => log(add(x, sqrt(mul(sub(x, 1), add(x, 1))))),
});
export const atanh = unary("atanh", null, {
  derivative: (x) => reciprocal(sub(1, mul(x, x))),
  composed: (x) => mul(0.5, sub(log1p(x), log1p(neg(x)))),
});

/** The angle of the point `(x, y)`, in (-π, π]. */
export function atan2(y: TensorLike, x: TensorLike): Tensor {
  const [a, b] = liftAll("atan2", [y, x]) as [Tensor, Tensor];
  const constant = (value: number): Tensor => lift("atan2", value, a.dtype);
  const steep = greater(abs(a), abs(b));
  const denominator = where(steep, a, b);
  const flat = atan(div(where(steep, b, a), where(equal(denominator, 0), 1, denominator)));
  const quarter = where(greater(a, 0), constant(Math.PI / 2), constant(-Math.PI / 2));
  const half = where(greaterEqual(a, 0), constant(Math.PI), constant(-Math.PI));
  return where(steep, sub(quarter, flat), add(flat, where(less(b, 0), half, constant(0))));
}

/** Values limited to `[low, high]`; a missing bound doesn't limit. */
export function clip(x: TensorLike, low?: TensorLike, high?: TensorLike): Tensor {
  const t = lift("clip", x, "float32");
  const above = low === undefined ? t : maximum(t, low);
  return high === undefined ? above : minimum(above, high);
}

/** `x · sigmoid(x)`, also called swish. */
export const silu = (x: Tensor): Tensor => mul(x, sigmoid(x));
/** `(1 + erf(x/√2))/2`, the normal distribution function. */
const normalCdf = (x: Tensor): Tensor => add(mul(erf(mul(x, Math.SQRT1_2)), 0.5), 0.5);

/** `x · Φ(x)` with the normal distribution function Φ; exact, by erf. */
export const gelu = unary("gelu", null, {
  composed: (x) => mul(x, normalCdf(x)),
  derivative: (x) => {
    // x/√2 is there from the forward pass, and its square is the exponent of the density.
    const scaled = mul(x, Math.SQRT1_2);
    const density = mul(mul(scaled, 1 / Math.sqrt(Math.PI)), exp(neg(mul(scaled, scaled))));
    return add(normalCdf(x), density);
  },
});
/** `log(sigmoid(x))`, without overflow. */
export const logSigmoid = (x: Tensor): Tensor => neg(softplus(neg(x)));
/** `log(exp(x) + exp(y))`, without overflow. */
export const logAddExp = (x: Tensor, y: Tensor): Tensor =>
  add(maximum(x, y), log1p(exp(neg(abs(sub(x, y))))));

function atanBySeries(x: Tensor): Tensor {
  let reduced = x;
  const halvings = 3;
  for (let i = 0; i < halvings; i++) {
    const r = abs(reduced);
    // Large arguments are divided through by |x|, so that x² does not overflow.
    const big = greater(r, 1e8);
    const safe = where(big, 1, reduced);
    const y = div(safe, add(1, sqrt(add(1, mul(safe, safe)))));
    reduced = where(big, sign(reduced), y);
  }
  const z = mul(reduced, reduced);
  let series: Tensor = mul(z, 0);
  for (let n = 27; n >= 1; n -= 2) series = sub(1 / n, mul(z, series));
  return mul(2 ** halvings, mul(reduced, series));
}
