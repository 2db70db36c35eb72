import {
  add,
  div,
  greater,
  matmul,
  maximum,
  mul,
  sqrt,
  sub,
  sum,
  type Tensor,
  treeMap,
  where,
  zeros,
  zerosLike,
} from "@prior-art/tensor";
import {
  addDecayedWeights,
  biasCorrection,
  type CountState,
  chain,
  type GradientTransformation,
  type LearningRate,
  type Mask,
  requireSameTree,
  scaleByLearningRate,
} from "@prior-art/toolkit/optim";
import { spearman } from "@prior-art/toolkit/stats";
import {
  type LowRankState,
  lowRank,
  type ResidualRule,
  requireGap,
  type Subspaces,
  singularSubspaces,
} from "../lowRank.ts";

export { type GaloreOptions, galore } from "../lowRank.ts";

/** A factor for each column of the un-projected dimension, or one for the whole matrix. */
export type Granularity = "column" | "matrix";

const squares = (t: Tensor, granularity: Granularity): Tensor =>
  sum(mul(t, t), granularity === "column" ? 0 : undefined, true);

/** `φ = ‖ψ(R)‖/(‖R‖ + 1e-8)`: what the optimizer made of the projected gradient's norm; `[1, m]`, or `[1, 1]`. */
export const scalingFactors = (
  compact: Tensor,
  direction: Tensor,
  granularity: Granularity = "column",
): Tensor => div(sqrt(squares(direction, granularity)), add(sqrt(squares(compact, granularity)), 1e-8));

/**
 * Norm-based scaling: the residual `[n, m]`, each column multiplied by the factor by which the optimizer scaled that
 * column of the projected gradient `R` `[r, m]`, `‖ψ(R)_j‖/‖R_j‖`; with granularity `matrix`, by one factor.
 */
export const normBasedScaling = (
  compact: Tensor,
  direction: Tensor,
  residual: Tensor,
  granularity: Granularity = "column",
): Tensor => mul(residual, scalingFactors(compact, direction, granularity));

/**
 * Norm-growth limiter: the residual divided by `max(‖S‖/(previous + 1e-8), γ)/γ`, so that its norm is at most γ times the
 * previous one; and the norm for the next step, a scalar. A previous norm of 0 means that there is none: nothing is
 * limited (a limit of γ · 0 would never let a residual grow that starts at 0). A residual of 0 leaves it unchanged.
 */
export function normGrowthLimiter(
  residual: Tensor,
  previous: Tensor,
  gamma: number,
): readonly [limited: Tensor, norm: Tensor] {
  const norm = sqrt(sum(mul(residual, residual)));
  const growth = div(maximum(div(norm, add(previous, 1e-8)), gamma), gamma);
  const divisor = where(greater(previous, 0), growth, 1);
  return [div(residual, divisor), where(greater(norm, 0), div(norm, divisor), previous)];
}

/**
 * How alike two lists of scaling factors are: the cosine of the angle between them, its mean over all orders of one list
 * (which is high for any positive lists), and Spearman's rank correlation.
 * @throws RangeError unless they have the same length, at least 2.
 */
export function scalingSimilarity(
  lowRankFactors: readonly number[],
  fullRankFactors: readonly number[],
): { readonly cosine: number; readonly chance: number; readonly spearman: number } {
  if (lowRankFactors.length !== fullRankFactors.length || lowRankFactors.length < 2)
    throw new RangeError(
      `scalingSimilarity: takes two lists of the same length, at least 2, got ${lowRankFactors.length} and ${fullRankFactors.length}`,
    );
  const inner = (a: readonly number[], b: readonly number[]): number =>
    a.reduce((total, v, i) => total + v * b[i]!, 0);
  const total = (list: readonly number[]): number => list.reduce((sum, v) => sum + v, 0);
  const lengths = Math.sqrt(inner(lowRankFactors, lowRankFactors) * inner(fullRankFactors, fullRankFactors));
  return {
    cosine: inner(lowRankFactors, fullRankFactors) / lengths,
    chance: (total(lowRankFactors) * total(fullRankFactors)) / (lowRankFactors.length * lengths),
    spearman: spearman(lowRankFactors, fullRankFactors),
  };
}

export interface RawMoments<P> {
  /** `M ← β₁M + (1 - β₁)R` */
  readonly mean: P;
  /** `V ← β₂V + (1 - β₂)R²` */
  readonly square: P;
}

/** `ψ(R) = M/(√V + ε)`, moments without correction of their bias. */
const rawAdam = <P>(
  [beta1, beta2]: readonly [number, number],
  eps: number,
): GradientTransformation<P, RawMoments<P>> => ({
  init: (params) => ({ mean: treeMap(zerosLike, params), square: treeMap(zerosLike, params) }),
  update: (gradients, state, params) => {
    requireSameTree("fira", gradients, params);
    const mean = treeMap((m, g) => add(mul(beta1, m), mul(1 - beta1, g)), state.mean, gradients);
    const square = treeMap((v, g) => add(mul(beta2, v), mul(1 - beta2, mul(g, g))), state.square, gradients);
    return [treeMap((m, v) => div(m, add(sqrt(v), eps)), mean, square), { mean, square }];
  },
});

/** Last norm of each matrix's residual; 0 where there has been none. */
export interface LimiterState {
  readonly norms: readonly Tensor[];
}

export interface FiraDirectionOptions {
  /** At most the shorter side of every chosen matrix. */
  readonly rank: number;
  /** Steps between new projections, T = 200 by default. */
  readonly updateGap?: number;
  /** α of the update of chosen matrices, 0.25 by default as in pre-training. */
  readonly scale?: number;
  /** Whether α multiplies the residual too: so in the paper (default), not so in the authors' code. */
  readonly scaleResidual?: boolean;
  /** γ, 1.01 by default; `Infinity` sets no limit. */
  readonly limiter?: number;
  /** `"column"` by default; `"none"` adds the residual as it is, for ablations. */
  readonly granularity?: Granularity | "none";
  /** (0.9, 0.999) by default. */
  readonly betas?: readonly [number, number];
  /** 1e-6 by default. */
  readonly eps?: number;
  /** Which matrices are projected, all by default (the paper: those of attention and MLP); others get plain Adam. */
  readonly select?: Mask;
}

const residualRule = (
  alpha: number,
  gamma: number,
  granularity: Granularity | "none",
): ResidualRule<LimiterState> => ({
  init: (matrices) => ({ norms: matrices.map((m) => zeros([], m.dtype)) }),
  update: (parts, { norms }) => {
    const limited = parts.map(({ gradient, projection, compact, direction }, i) => {
      const residual = sub(gradient, matmul(projection, compact));
      const scaled =
        granularity === "none" ? residual : normBasedScaling(compact, direction, residual, granularity);
      return gamma === Number.POSITIVE_INFINITY
        ? ([scaled, norms[i]!] as const)
        : normGrowthLimiter(scaled, norms[i]!, gamma);
    });
    return [limited.map(([s]) => mul(alpha, s)), { norms: limited.map(([, norm]) => norm) }];
  },
});

export type FiraState<P> = LowRankState<RawMoments<P>, Subspaces, LimiterState>;

/**
 * Fira's direction: Adam's on the projected gradient, projected back, plus the rest of the gradient, scaled column by
 * column as Adam scaled the projected part and limited in the growth of its norm. Bias corrections multiply the whole, as
 * in a step size `√(1 - β₂ᵗ)/(1 - β₁ᵗ)`. For chains; a schedule, decay and clipping go beside it.
 *
 * A matrix `[n, m]`, `n ≤ m`, keeps `rn + 2rm + 1` numbers; a tall one is projected from the right. Its scaling factors
 * run along the longer side.
 * @throws RangeError for a γ below 1 or a gap that is not positive and whole; from `init` for a rank larger than a chosen
 *   matrix. @throws TensorError from `update` when gradients or state don't fit the parameters.
 */
export function scaleByFira<P>({
  updateGap = 200,
  scale = 0.25,
  scaleResidual = true,
  limiter = 1.01,
  granularity = "column",
  betas = [0.9, 0.999],
  eps = 1e-6,
  ...options
}: FiraDirectionOptions): GradientTransformation<P, FiraState<P>> {
  requireGap("fira", updateGap);
  if (!(limiter >= 1)) throw new RangeError(`fira: the limiter must be at least 1, got ${limiter}`);
  const inner = lowRank<P, RawMoments<P>, Subspaces, LimiterState>(
    "fira",
    rawAdam<P>(betas, eps),
    { ...options, scale },
    singularSubspaces(updateGap),
    residualRule(scaleResidual ? scale : 1, limiter, granularity),
  );
  return {
    init: inner.init,
    update: (gradients, state, params) => {
      const [updates, next] = inner.update(gradients, state, params);
      const correction = div(sqrt(biasCorrection(betas[1], next.step)), biasCorrection(betas[0], next.step));
      return [treeMap((u) => mul(correction, u), updates), next];
    },
  };
}

export interface FiraOptions extends FiraDirectionOptions {
  readonly learningRate: LearningRate;
  /** λ of `θ ← θ - ηλθ`, 0 by default. */
  readonly weightDecay?: number;
  /** Which tensors decay, all by default. */
  readonly decayMask?: Mask;
}

/**
 * Fira: full-rank updates from low-rank moments, `W ← W - η(α(P ψ(PᵀG) + S̃) + λW)` with S̃ the scaled and limited
 * residual `G - PPᵀG`; Adam for everything that is not projected.
 * @example
 * const optimizer = fira<MlpParams>({ learningRate: cosineDecay(0.01, 1000), rank: 8 });
 * let state = optimizer.init(params);
 * const [updates, next] = optimizer.update(gradients, state, params);
 * params = applyUpdates(params, updates);
 */
export const fira = <P>({
  learningRate,
  weightDecay = 0,
  decayMask,
  ...options
}: FiraOptions): GradientTransformation<P, readonly [FiraState<P>, null, CountState]> =>
  chain<
    P,
    readonly [
      GradientTransformation<P, FiraState<P>>,
      GradientTransformation<P, null>,
      GradientTransformation<P, CountState>,
    ]
  >(
    scaleByFira<P>(options),
    addDecayedWeights<P>(weightDecay, decayMask),
    scaleByLearningRate<P>(learningRate),
  );
