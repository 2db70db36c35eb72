import { add, div, equal, mean, mul, sqrt, type Tensor, where, zerosLike } from "@prior-art/tensor";
import {
  type AdamState,
  addDecayedWeights,
  type CountState,
  chain,
  type GradientTransformation,
  type LearningRate,
  type Mask,
  masked,
  newtonSchulz,
  requireSameTree,
  scaleByAdam,
  scaleByLearningRate,
} from "@prior-art/toolkit/optim";

export interface MomentumOptions {
  /** β, 0.95 by default. */
  readonly momentum?: number;
  /** Pass on `βM + (1 - β)G` instead of M. */
  readonly nesterov?: boolean;
}

export interface MatrixMomentumState {
  /** `M ← βM + (1 - β)G`, one for each matrix. */
  readonly momentum: readonly Tensor[];
}

/**
 * `direction(M)` of each matrix's momentum, for optimizers with a first moment only.
 * @throws RangeError for a momentum outside `[0, 1)`. @throws TensorError, naming `op`, when gradients, state and
 *   parameters don't fit.
 */
export function matrixMomentum(
  op: string,
  direction: (momentum: Tensor) => Tensor,
  { momentum: beta = 0.95, nesterov = false }: MomentumOptions = {},
): GradientTransformation<Tensor[], MatrixMomentumState> {
  if (!(beta >= 0 && beta < 1))
    throw new RangeError(`${op}: the momentum must be from 0 to below 1, got ${beta}`);
  const averaged = (m: Tensor, g: Tensor): Tensor => add(mul(beta, m), mul(1 - beta, g));
  return {
    init: (params) => ({ momentum: params.map(zerosLike) }),
    update: (gradients, state, params) => {
      requireSameTree(op, gradients, params);
      requireSameTree(`${op} (state)`, state.momentum, params);
      const momentum = gradients.map((g, i) => averaged(state.momentum[i]!, g));
      const looked = nesterov ? momentum.map((m, i) => averaged(m, gradients[i]!)) : momentum;
      return [looked.map(direction), { momentum }];
    },
  };
}

/** A matrix scaled to this root mean square; 0 stays 0. */
export function alignRms(matrix: Tensor, rms: number): Tensor {
  const own = sqrt(mean(mul(matrix, matrix)));
  return mul(matrix, div(rms, where(equal(own, 0), 1, own)));
}

export interface MatrixOptimizerOptions {
  readonly learningRate: LearningRate;
  /** λ of `θ ← θ - ηλθ` on everything that `decayMask` chooses, 0.1 by default. */
  readonly weightDecay?: number;
  /** Everything by default. */
  readonly decayMask?: Mask;
  /** Which matrices are the optimizer's own, all by default; other tensors get Adam. */
  readonly select?: Mask;
  /** Decay rates of Adam's moments, (0.9, 0.95) by default. */
  readonly betas?: readonly [number, number];
}

export type MatrixOptimizerState = readonly [MatrixMomentumState, AdamState<Tensor[]>, null, CountState];

/** One optimizer for the chosen matrices and Adam for the rest, with one rate and one decay: `θ ← θ - η(O + λθ)`. */
export function onMatrices<P>(
  matrices: GradientTransformation<Tensor[], MatrixMomentumState>,
  {
    learningRate,
    weightDecay = 0.1,
    decayMask,
    select = (t) => t.rank === 2,
    betas = [0.9, 0.95],
  }: MatrixOptimizerOptions,
): GradientTransformation<P, MatrixOptimizerState> {
  if (!(weightDecay >= 0))
    throw new RangeError(`onMatrices: weightDecay must not be negative, got ${weightDecay}`);
  const own: Mask = (t) => t.rank === 2 && select(t);
  return chain<
    P,
    readonly [
      GradientTransformation<P, MatrixMomentumState>,
      GradientTransformation<P, AdamState<Tensor[]>>,
      GradientTransformation<P, null>,
      GradientTransformation<P, CountState>,
    ]
  >(
    masked(matrices, own),
    masked(scaleByAdam<Tensor[]>({ betas }), (t) => !own(t)),
    addDecayedWeights<P>(weightDecay, decayMask),
    scaleByLearningRate<P>(learningRate),
  );
}

export interface MuonOptions extends MatrixOptimizerOptions, MomentumOptions {
  /** Newton–Schulz iterations, 5 by default. */
  readonly steps?: number;
  /** Root mean square of an update with all singular values at 1, 0.2 by default: that of a typical step of Adam's. */
  readonly rms?: number;
}

/**
 * Muon (Jordan et al., 2024): the momentum of each matrix made (nearly) orthogonal by Newton–Schulz iterations, scaled by
 * `0.2 √max(m, n)` so that Adam's rates can be used (Liu et al., 2025). Nesterov by default; AdamW for everything else.
 * @throws RangeError for rates, momenta and decays out of range. @throws TensorError from `update` when trees don't fit.
 * @example
 * const optimizer = muon<MlpParams>({ learningRate: 3e-3, select: (t) => t.shape[1] !== 10 });
 */
export const muon = <P>({
  momentum = 0.95,
  nesterov = true,
  steps = 5,
  rms = 0.2,
  ...options
}: MuonOptions): GradientTransformation<P, MatrixOptimizerState> =>
  onMatrices<P>(
    matrixMomentum("muon", (m) => mul(rms * Math.sqrt(Math.max(...m.shape)), newtonSchulz(m, { steps })), {
      momentum,
      nesterov,
    }),
    options,
  );
