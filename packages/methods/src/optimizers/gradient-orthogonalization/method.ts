import {
  add,
  div,
  equal,
  minimum,
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
  type GradientTransformation,
  type LearningRate,
  requireLearningRate,
  requireSameTree,
  type Schedule,
} from "@prior-art/toolkit/optim";
import { type Geometry, geometry, type NormName } from "./geometry.ts";

export {
  dualNorm,
  type Geometry,
  geometry,
  lmo,
  muonGeometry,
  type NormName,
  type OrthogonalizeOptions,
  orthogonalize,
} from "./geometry.ts";

/** The minimizer of `⟨m, x⟩ + R(x)` over `‖x - x_k‖ ≤ radius`, for one tensor. */
export type TrustRegionStep = (momentum: Tensor, at: Tensor, radius: Tensor | number) => Tensor;

export interface TrustRegionOptions {
  /** Of each tensor by itself, so that the tree's is the largest of the tensors' norms; spectral by default (Muon). */
  readonly norm?: NormName | Geometry;
  /** η: the length of every step; a number, a scalar tensor or a schedule. */
  readonly radius: LearningRate;
  /** α, the share of the new gradient: `m ← (1 - α)m + αg`; 0.1 by default, 1 for no momentum. */
  readonly momentum?: number | Tensor;
  /** β of `x ← (1 - β)x - η lmo(m)`, in `[0, 1)`, 0 by default. */
  readonly weightDecay?: number | Tensor;
  /** Gradients at `x_k + (1 - α)/α (x_k - x_{k-1})` (Algorithm 2): see `iterate`. */
  readonly extrapolate?: boolean;
  /** Solves the step with a regularizer R; without decay only. */
  readonly prox?: TrustRegionStep;
}

export interface TrustRegionState<P> {
  /** Steps taken, a scalar of the parameters' dtype. */
  readonly step: Tensor;
  readonly momentum: P;
  /** With extrapolation, the iterate x_k that the parameters are ahead of; else null. */
  readonly point: P | null;
}

const rateAt = (rate: LearningRate): Schedule => (typeof rate === "function" ? rate : () => rate);
const start = (params: unknown): Tensor => scalar(0, treeLeaves(params)[0]?.dtype ?? "float32");

function requireShares(op: string, momentum: number | Tensor, weightDecay: number | Tensor): void {
  if (typeof momentum === "number" && !(momentum > 0 && momentum <= 1))
    throw new RangeError(
      `${op}: the momentum's share of the new gradient must be above 0 and at most 1, got ${momentum}`,
    );
  if (typeof weightDecay === "number" && !(weightDecay >= 0 && weightDecay < 1))
    throw new RangeError(`${op}: weightDecay must be from 0 to below 1, got ${weightDecay}`);
}

/** `(1 - α)m + αg`, and g itself at the first step. */
const averaged = <P>(alpha: number | Tensor, momentum: P, gradients: P, step: Tensor): P =>
  treeMap((m, g) => where(equal(step, 0), g, add(m, mul(alpha, sub(g, m)))), momentum, gradients);

/**
 * Stochastic trust-region gradient method with momentum in a norm of choice (Algorithm 1): each step minimizes the
 * linear model `⟨m, x⟩` in a ball of radius η around the iterate, `x ← x - η lmo(m)`. With the spectral norm it is Muon,
 * with ℓ∞ sign descent, with ℓ₂ normalized gradient descent, all with momentum; with `weightDecay`, Algorithm 3.
 *
 * It is a whole optimizer; clip before it, mask around it.
 * @throws RangeError for a radius, momentum or decay out of range, and for `prox` together with decay. @throws TensorError
 *   from `update` when gradients or state don't fit the parameters.
 * @example
 * const optimizer = trustRegionMomentum<MlpParams>({ norm: "spectral", radius: cosineDecay(0.05, 1000), momentum: 0.05 });
 */
export function trustRegionMomentum<P>({
  norm = "spectral",
  radius,
  momentum: alpha = 0.1,
  weightDecay = 0,
  extrapolate = false,
  prox,
}: TrustRegionOptions): GradientTransformation<P, TrustRegionState<P>> {
  requireLearningRate("trustRegionMomentum", radius);
  requireShares("trustRegionMomentum", alpha, weightDecay);
  if (prox && weightDecay !== 0)
    throw new RangeError("trustRegionMomentum: takes weightDecay or prox, not both");
  const { lmo } = geometry(norm);
  const radiusAt = rateAt(radius);
  const ahead = typeof alpha === "number" ? (1 - alpha) / alpha : div(sub(1, alpha), alpha);
  return {
    init: (params) => ({
      step: start(params),
      momentum: treeMap(zerosLike, params),
      point: extrapolate ? params : null,
    }),
    update: (gradients, state, params) => {
      requireSameTree("trustRegionMomentum", gradients, params);
      requireSameTree("trustRegionMomentum (state)", state.momentum, params);
      const momentum = averaged(alpha, state.momentum, gradients, state.step);
      const eta = radiusAt(state.step);
      const at = state.point ?? params;
      const moves = treeMap(
        (m, x) => {
          if (prox) return sub(prox(m, x, eta), x);
          const step = mul(eta, lmo(m));
          return mul(-1, weightDecay === 0 ? step : add(step, mul(weightDecay, x)));
        },
        momentum,
        at,
      );
      const next = { step: add(state.step, 1), momentum };
      if (state.point === null) return [moves, { ...next, point: null }];
      const point = treeMap(add, at, moves);
      const updates = treeMap((x, move, p) => sub(add(x, mul(ahead, move)), p), point, moves, params);
      return [updates, { ...next, point }];
    },
  };
}

/** The iterate x_k itself: with extrapolation, the parameters are ahead of it. */
export const iterate = <P>(params: P, state: TrustRegionState<P>): P => state.point ?? params;

/**
 * The step with `R(x) = λ/2 ‖x‖²` in the Euclidean norm: the projection of `-m/λ` onto the ball.
 * @throws RangeError unless λ is positive.
 */
export function squaredNormStep(lambda: number): TrustRegionStep {
  if (!(lambda > 0)) throw new RangeError(`squaredNormStep: λ must be positive, got ${lambda}`);
  return (momentum, at, radius) => {
    const move = sub(div(momentum, -lambda), at);
    const length = sqrt(sum(mul(move, move)));
    return add(at, mul(minimum(1, div(radius, where(equal(length, 0), 1, length))), move));
  };
}

export interface OrthogonalSgdmState<P> {
  readonly step: Tensor;
  readonly momentum: P;
}

/**
 * Orthogonal-SGDM, for comparison: orthogonalizes each stochastic gradient and averages afterwards, `m ← (1 - α)m + α
 * lmo(g)`, `x ← x - ηm`. The average of oracles is not the oracle of the average, so it may settle beside the minimum.
 * @throws RangeError for a radius or momentum out of range. @throws TensorError from `update` when trees don't fit.
 */
export function orthogonalSgdm<P>({
  norm = "spectral",
  radius,
  momentum: alpha = 0.1,
}: Pick<TrustRegionOptions, "norm" | "radius" | "momentum">): GradientTransformation<
  P,
  OrthogonalSgdmState<P>
> {
  requireLearningRate("orthogonalSgdm", radius);
  requireShares("orthogonalSgdm", alpha, 0);
  const { lmo } = geometry(norm);
  const radiusAt = rateAt(radius);
  return {
    init: (params) => ({ step: start(params), momentum: treeMap(zerosLike, params) }),
    update: (gradients, state, params) => {
      requireSameTree("orthogonalSgdm", gradients, params);
      requireSameTree("orthogonalSgdm (state)", state.momentum, params);
      const momentum = averaged(alpha, state.momentum, treeMap(lmo, gradients), state.step);
      const eta = radiusAt(state.step);
      return [treeMap((m) => mul(eta, mul(-1, m)), momentum), { step: add(state.step, 1), momentum }];
    },
  };
}

export interface ProblemConstants {
  /** L: `‖∇f(x) - ∇f(y)‖_* ≤ L‖x - y‖`. */
  readonly smoothness: number;
  /** Δ = F(x₀) - inf F. */
  readonly gap: number;
  /** σ: root of the mean squared Euclidean error of a gradient. */
  readonly noise: number;
  /** ρ: `‖·‖_* ≤ ρ‖·‖₂`. */
  readonly equivalence: number;
  /** K, steps. */
  readonly steps: number;
}

export interface TheoreticalTuning {
  /** α */
  readonly momentum: number;
  /** η */
  readonly radius: number;
}

/**
 * α = min(1, √(LΔ)/(ρσ√K)) and η = √(αΔ/(LK)), which give rates of K^(-1/4), or K^(-1/2) without noise.
 * @throws RangeError unless L, Δ, ρ and K are positive and σ is not negative.
 */
export function tuneFromTheory({
  smoothness,
  gap,
  noise,
  equivalence,
  steps,
}: ProblemConstants): TheoreticalTuning {
  if (!(smoothness > 0 && gap > 0 && noise >= 0 && equivalence > 0 && steps > 0))
    throw new RangeError(
      `tuneFromTheory: needs positive constants and noise of at least 0, got ${JSON.stringify({ smoothness, gap, noise, equivalence, steps })}`,
    );
  const momentum = Math.min(1, Math.sqrt(smoothness * gap) / (equivalence * noise * Math.sqrt(steps)));
  return { momentum, radius: Math.sqrt((momentum * gap) / (smoothness * steps)) };
}

/** `Δ/(ηK) + Lη/2 + 2Lη/α + 2ρσ(1/(αK) + √α)`: bounds the least dual norm of K gradients in expectation. */
export const stationarityBound = (
  { smoothness, gap, noise, equivalence, steps }: ProblemConstants,
  { momentum, radius }: TheoreticalTuning,
): number =>
  gap / (radius * steps) +
  (smoothness * radius) / 2 +
  (2 * smoothness * radius) / momentum +
  2 * equivalence * noise * (1 / (momentum * steps) + Math.sqrt(momentum));
