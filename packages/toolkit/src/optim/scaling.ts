import {
  add,
  clip,
  div,
  expm1,
  maximum,
  mean,
  minimum,
  mul,
  neg,
  scalar,
  sign,
  sqrt,
  sub,
  sum,
  type Tensor,
  TensorError,
  treeLeaves,
  treeMap,
  zerosLike,
} from "@prior-art/tensor";
import { requireLearningRate } from "./guards.ts";
import type { Schedule } from "./schedules.ts";
import { type GradientTransformation, requireSameTree, stateless } from "./transformation.ts";

/** A number, a scalar tensor (a sweep under `vmap`), or a schedule of the step. */
export type LearningRate = number | Tensor | Schedule;

/** Steps taken, a scalar of the parameters' dtype. */
export interface CountState {
  readonly step: Tensor;
}

const start = (params: unknown): Tensor => scalar(0, treeLeaves(params)[0]?.dtype ?? "float32");
const zerosOf = <P>(params: P): P => treeMap(zerosLike, params);

/** `factor · g`. */
export const scale = <P>(factor: number | Tensor): GradientTransformation<P, null> =>
  stateless((gradients) => treeMap((g) => mul(factor, g), gradients));

/**
 * `-learningRate · g`: the last part of an optimizer's chain.
 * @throws RangeError when the rate is a number of 0 or less, or not finite.
 */
export function scaleByLearningRate<P>(learningRate: LearningRate): GradientTransformation<P, CountState> {
  requireLearningRate("scaleByLearningRate", learningRate);
  const rateAt: Schedule = typeof learningRate === "function" ? learningRate : () => learningRate;
  return {
    init: (params) => ({ step: start(params) }),
    update: (gradients, { step }, params) => {
      requireSameTree("scaleByLearningRate", gradients, params);
      const rate = rateAt(step);
      const factor = typeof rate === "number" ? -rate : neg(rate);
      return [treeMap((g) => mul(factor, g), gradients), { step: add(step, 1) }];
    },
  };
}

export interface TraceState<P> {
  readonly trace: P;
}

/** Heavy-ball momentum: `m ← decay · m + g`, and `m` (or, Nesterov, `decay · m + g`) is passed on. */
export const trace = <P>(decay: number, nesterov = false): GradientTransformation<P, TraceState<P>> => ({
  init: (params) => ({ trace: zerosOf(params) }),
  update: (gradients, state, params) => {
    requireSameTree("trace", gradients, params);
    const next = treeMap((m, g) => add(mul(decay, m), g), state.trace, gradients);
    const updates = nesterov ? treeMap((m, g) => add(mul(decay, m), g), next, gradients) : next;
    return [updates, { trace: next }];
  },
});

export interface MomentsOptions {
  /** Decay rates of the moments, (0.9, 0.999) by default. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment, 1e-8 by default. */
  readonly eps?: number;
}

export interface AdamState<P> extends CountState {
  /** `m / (1 - β₁)` and `v / (1 - β₂)`: moments without the factor, which costs a pass over the parameters. */
  readonly mean: P;
  readonly square: P;
}

/** `1 - β^step`, what a moment of decay rate β is divided by; accurate for β near 1. */
export const biasCorrection = (beta: number, step: Tensor): Tensor =>
  beta === 0 ? add(mul(step, 0), 1) : neg(expm1(mul(step, Math.log(beta))));

/** Adam's direction `m̂ / (√v̂ + eps)` (Kingma & Ba, 2015). */
export const scaleByAdam = <P>({
  betas: [beta1, beta2] = [0.9, 0.999],
  eps = 1e-8,
}: MomentsOptions = {}): GradientTransformation<P, AdamState<P>> => ({
  init: (params) => ({ step: start(params), mean: zerosOf(params), square: zerosOf(params) }),
  update: (gradients, state, params) => {
    requireSameTree("scaleByAdam", gradients, params);
    const step = add(state.step, 1);
    const decayed = (beta: number, moment: Tensor): Tensor =>
      beta === 0 ? zerosLike(moment) : mul(beta, moment);
    const mean = treeMap((m, g) => add(decayed(beta1, m), g), state.mean, gradients);
    const square = treeMap((v, g) => add(decayed(beta2, v), mul(g, g)), state.square, gradients);
    // m̂/(√v̂ + eps) with all factors gathered into two scalars: a · m / (√v + b).
    const root = sqrt(div(biasCorrection(beta2, step), 1 - beta2));
    const factor = mul(div(1 - beta1, biasCorrection(beta1, step)), root);
    const floor = mul(root, eps);
    const updates = treeMap((m, v) => mul(factor, div(m, add(sqrt(v), floor))), mean, square);
    return [updates, { step, mean, square }];
  },
});

export interface SquareState<P> {
  readonly square: P;
}

/** `g / (√v + eps)` with `v ← decay · v + (1 - decay) g²` (RMSProp; Tieleman & Hinton, 2012). */
export const scaleByRms = <P>(decay = 0.9, eps = 1e-8): GradientTransformation<P, SquareState<P>> => ({
  init: (params) => ({ square: zerosOf(params) }),
  update: (gradients, state, params) => {
    requireSameTree("scaleByRms", gradients, params);
    const square = treeMap((v, g) => add(mul(decay, v), mul(1 - decay, mul(g, g))), state.square, gradients);
    return [treeMap((g, v) => div(g, add(sqrt(v), eps)), gradients, square), { square }];
  },
});

/** `g / (√Σg² + eps)` (Adagrad; Duchi, Hazan & Singer, 2011). */
export const scaleByAdagrad = <P>(initial = 0.1, eps = 1e-7): GradientTransformation<P, SquareState<P>> => ({
  init: (params) => ({ square: treeMap((p) => add(zerosLike(p), initial), params) }),
  update: (gradients, state, params) => {
    requireSameTree("scaleByAdagrad", gradients, params);
    const square = treeMap((v, g) => add(v, mul(g, g)), state.square, gradients);
    return [treeMap((g, v) => div(g, add(sqrt(v), eps)), gradients, square), { square }];
  },
});

/** The sign of an interpolation of gradient and momentum (Lion; Chen et al., 2023). */
export const scaleByLion = <P>({
  betas: [beta1, beta2] = [0.9, 0.99],
}: MomentsOptions = {}): GradientTransformation<P, TraceState<P>> => ({
  init: (params) => ({ trace: zerosOf(params) }),
  update: (gradients, state, params) => {
    requireSameTree("scaleByLion", gradients, params);
    const updates = treeMap((m, g) => sign(add(mul(beta1, m), mul(1 - beta1, g))), state.trace, gradients);
    return [
      updates,
      { trace: treeMap((m, g) => add(mul(beta2, m), mul(1 - beta2, g)), state.trace, gradients) },
    ];
  },
});

/** Which tensors a transformation touches: `(t) => t.rank > 1` leaves biases and norms alone. */
export type Mask = (parameter: Tensor) => boolean;

/** `g + rate · θ` where the mask says so. */
export const addDecayedWeights = <P>(
  rate: number | Tensor,
  mask: Mask = () => true,
): GradientTransformation<P, null> =>
  stateless((gradients, params) =>
    treeMap((g, p) => (mask(p) ? add(g, mul(rate, p)) : g), gradients, params),
  );

/** Euclidean norm of all tensors of a tree together. */
export function globalNorm(tree: unknown): Tensor {
  const squares = treeLeaves(tree).map((t) => sum(mul(t, t)));
  if (squares.length === 0) throw new TensorError("globalNorm", "the tree holds no tensor");
  return sqrt(squares.reduce((total, s) => add(total, s)));
}

/** Gradients scaled down together, so that their global norm is at most `limit`. */
export const clipByGlobalNorm = <P>(limit: number): GradientTransformation<P, null> =>
  stateless((gradients) => {
    const factor = minimum(1, div(limit, maximum(globalNorm(gradients), 1e-16)));
    return treeMap((g) => mul(g, factor), gradients);
  });

/** Each element limited to `[-limit, limit]`. */
export const clipByValue = <P>(limit: number): GradientTransformation<P, null> =>
  stateless((gradients) => treeMap((g) => clip(g, -limit, limit), gradients));

/** Gradients of matrices and filters with the mean over their inputs taken off (Yong et al., 2020). */
export const centralize = <P>(): GradientTransformation<P, null> =>
  stateless((gradients) =>
    treeMap(
      (g) => (g.rank > 1 ? sub(g, mean(g, g.rank === 2 ? 0 : [...g.shape.keys()].slice(1), true)) : g),
      gradients,
    ),
  );
