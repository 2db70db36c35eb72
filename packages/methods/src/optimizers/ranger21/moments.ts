import {
  add,
  div,
  equal,
  exp,
  greater,
  log,
  maximum,
  mod,
  mul,
  scalar,
  sqrt,
  sub,
  sum,
  type Tensor,
  treeLeaves,
  treeMap,
  where,
  zerosLike,
} from "@prior-art/tensor";
import {
  biasCorrection,
  type CountState,
  type GradientTransformation,
  type Mask,
  requireSameTree,
} from "@prior-art/toolkit/optim";

const counter = (params: unknown): Tensor => scalar(0, treeLeaves(params)[0]?.dtype ?? "float32");
const zerosOf = <P>(params: P): P => treeMap(zerosLike, params);

const requireShare = (op: string, name: string, value: number): void => {
  if (!(value >= 0 && value < 1)) throw new RangeError(`${op}: ${name} must be in [0, 1), got ${value}`);
};

export interface PositiveNegativeState<P> extends CountState {
  /** The buffer that the last step moved, and the other one. */
  readonly recent: P;
  readonly older: P;
}

/**
 * Positive–negative momentum (Xie et al., 2021): two buffers take turns, `m_t = β₁² m_{t-2} + (1 - β₁²) g`, and what is passed
 * on is `((1 + β₀) m_t - β₀ m_{t-1})/√((1 + β₀)² + β₀²)`, corrected for its start at 0. The difference amplifies the
 * gradient's noise without changing its mean's direction.
 * @param options β₁ = 0.9 and β₀ = 1 by default; `noiseNorm: false` leaves the root out.
 * @throws RangeError unless β₁ is in [0, 1) and β₀ is 0 or more.
 */
export function positiveNegativeMomentum<P>({
  beta1 = 0.9,
  beta0 = 1,
  noiseNorm = true,
}: {
  readonly beta1?: number;
  readonly beta0?: number;
  readonly noiseNorm?: boolean;
} = {}): GradientTransformation<P, PositiveNegativeState<P>> {
  requireShare("positiveNegativeMomentum", "β₁", beta1);
  if (!(beta0 >= 0)) throw new RangeError(`positiveNegativeMomentum: β₀ must be 0 or more, got ${beta0}`);
  const root = noiseNorm ? Math.hypot(1 + beta0, beta0) : 1;
  return {
    init: (params) => ({ step: counter(params), recent: zerosOf(params), older: zerosOf(params) }),
    update: (gradients, state, params) => {
      requireSameTree("positiveNegativeMomentum", gradients, params);
      requireSameTree("positiveNegativeMomentum", state.recent, params);
      const step = add(state.step, 1);
      const moved = treeMap(
        (m, g) => add(mul(beta1 ** 2, m), mul(1 - beta1 ** 2, g)),
        state.older,
        gradients,
      );
      const factor = div(1 / root, biasCorrection(beta1, step));
      const updates = treeMap(
        (m, other) => mul(factor, sub(mul(1 + beta0, m), mul(beta0, other))),
        moved,
        state.recent,
      );
      return [updates, { step, recent: moved, older: state.recent }];
    },
  };
}

export interface MeanState<P> extends CountState {
  readonly mean: P;
}

/** Adam's first moment, `m ← β₁m + (1 - β₁)g`, corrected for its start at 0. @throws RangeError unless β₁ is in [0, 1). */
export function exponentialMomentum<P>({
  beta1 = 0.9,
}: {
  readonly beta1?: number;
} = {}): GradientTransformation<P, MeanState<P>> {
  requireShare("exponentialMomentum", "β₁", beta1);
  return {
    init: (params) => ({ step: counter(params), mean: zerosOf(params) }),
    update: (gradients, state, params) => {
      requireSameTree("exponentialMomentum", gradients, params);
      requireSameTree("exponentialMomentum", state.mean, params);
      const step = add(state.step, 1);
      const mean = treeMap((m, g) => add(mul(beta1, m), mul(1 - beta1, g)), state.mean, gradients);
      const correction = biasCorrection(beta1, step);
      return [treeMap((m) => div(m, correction), mean), { step, mean }];
    },
  };
}

/** `log(1 + exp(βx))/β`, which is `x` where `βx > 20`. */
export function softplusOf(x: Tensor, beta = 50): Tensor {
  const scaled = mul(beta, x);
  const large = greater(scaled, 20);
  return where(large, x, div(log(add(1, exp(where(large, 0, scaled)))), beta));
}

export interface DenominatorState<P, S> extends CountState {
  readonly momentum: S;
  readonly square: P;
  /** The largest second moment so far; `null` without AMSGrad's maximum. */
  readonly largest: P | null;
  /** Mean of the corrected second moment over all parameters of all tensors, a scalar. */
  readonly meanSquare: Tensor;
}

export interface DenominatorOptions {
  /** β₂, 0.999 by default. */
  readonly beta2?: number;
  /** ε, added to the root; 1e-8 by default. */
  readonly eps?: number;
  /** Use the largest second moment so far; true by default. */
  readonly amsMax?: boolean;
  /** β of the softplus, 50 by default; `null` for the root itself. */
  readonly softplus?: number | null;
}

/**
 * The momentum divided by `softplus(√v̂ + ε)`, which keeps it away from 0; `v̂ = max(v_1 … v_t)/(1 - β₂^t)`.
 * @param momentum what is divided; it sees the same gradients.
 * @throws RangeError unless β₂ is in [0, 1) and the softplus' β positive.
 */
export function softplusDenominator<P, S>(
  momentum: GradientTransformation<P, S>,
  { beta2 = 0.999, eps = 1e-8, amsMax = true, softplus = 50 }: DenominatorOptions = {},
): GradientTransformation<P, DenominatorState<P, S>> {
  requireShare("softplusDenominator", "β₂", beta2);
  if (softplus !== null && !(softplus > 0))
    throw new RangeError(`softplusDenominator: β must be positive, got ${softplus}`);
  return {
    init: (params) => ({
      step: counter(params),
      momentum: momentum.init(params),
      square: zerosOf(params),
      largest: amsMax ? zerosOf(params) : null,
      meanSquare: counter(params),
    }),
    update: (gradients, state, params) => {
      requireSameTree("softplusDenominator", gradients, params);
      requireSameTree("softplusDenominator", state.square, params);
      const step = add(state.step, 1);
      const [averaged, memory] = momentum.update(gradients, state.momentum, params);
      const square = treeMap(
        (v, g) => add(mul(beta2, v), mul(1 - beta2, mul(g, g))),
        state.square,
        gradients,
      );
      const largest = state.largest && treeMap((top, v) => maximum(top, v), state.largest, square);
      const correction = biasCorrection(beta2, step);
      const corrected = treeMap((v) => div(v, correction), largest ?? square);
      const leaves = treeLeaves(corrected);
      const count = leaves.reduce((n, v) => n + v.size, 0);
      const meanSquare = div(
        leaves.map((v) => sum(v)).reduce((a, b) => add(a, b)),
        count,
      );
      const updates = treeMap(
        (m, v) => {
          const root = add(sqrt(v), eps);
          return div(m, softplus === null ? root : softplusOf(root, softplus));
        },
        averaged,
        corrected,
      );
      return [updates, { step, momentum: memory, square, largest, meanSquare }];
    },
  };
}

export interface StableDecayOptions {
  /** λ, 1e-4 by default. */
  readonly rate?: number | Tensor;
  /** Divide by the root of the mean second moment; without it this is AdamW's decay. True by default. */
  readonly stable?: boolean;
  /** All tensors by default. */
  readonly mask?: Mask;
}

/**
 * Stable weight decay (Xie et al., 2020): adds `λ/√(mean v̂) · w` to the direction, so that decay keeps its proportion to the
 * step, which is divided by √v̂ too. Nothing is added while the mean is 0.
 * @throws RangeError for a negative rate.
 */
export function stableWeightDecay<P, S extends { readonly meanSquare: Tensor }>(
  direction: GradientTransformation<P, S>,
  { rate = 1e-4, stable = true, mask = () => true }: StableDecayOptions = {},
): GradientTransformation<P, S> {
  if (typeof rate === "number" && !(rate >= 0))
    throw new RangeError(`stableWeightDecay: the rate must be 0 or more, got ${rate}`);
  return {
    init: (params) => direction.init(params),
    update: (gradients, state, params) => {
      const [updates, next] = direction.update(gradients, state, params);
      const { meanSquare } = next;
      const some = greater(meanSquare, 0);
      const factor = stable ? where(some, div(rate, sqrt(where(some, meanSquare, 1))), 0) : rate;
      return [treeMap((u, w) => (mask(w) ? add(u, mul(factor, w)) : u), updates, params), next];
    },
  };
}

export interface LookaheadState<P> extends CountState {
  /** φ, the slow weights. */
  readonly slow: P;
}

/**
 * Lookahead (Zhang et al., 2019), the last part of a chain: every `period` steps the slow weights move by `share` of the way to
 * the fast ones, which start again from there.
 * @param options k = 5 and α = ½ by default. @throws RangeError unless the period is whole and the share in (0, 1].
 */
export function lookahead<P>({
  period = 5,
  share = 0.5,
}: {
  readonly period?: number;
  readonly share?: number;
} = {}): GradientTransformation<P, LookaheadState<P>> {
  if (!(Number.isInteger(period) && period >= 1 && share > 0 && share <= 1))
    throw new RangeError(
      `lookahead: needs a whole period of at least 1 and a share in (0, 1], got ${period} and ${share}`,
    );
  return {
    init: (params) => ({ step: counter(params), slow: params }),
    update: (updates, state, params) => {
      requireSameTree("lookahead", updates, params);
      requireSameTree("lookahead", state.slow, params);
      const step = add(state.step, 1);
      const merging = equal(mod(step, period), 0);
      const slow = treeMap(
        (phi, w, u) => where(merging, add(phi, mul(share, sub(add(w, u), phi))), phi),
        state.slow,
        params,
        updates,
      );
      return [treeMap((u, w, phi) => where(merging, sub(phi, w), u), updates, params, slow), { step, slow }];
    },
  };
}
