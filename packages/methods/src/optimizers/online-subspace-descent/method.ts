import {
  add,
  cond,
  div,
  equal,
  eye,
  matmul,
  mul,
  sqrt,
  sub,
  sum,
  type Tensor,
  transpose,
  where,
  zeros,
} from "@prior-art/tensor";
import { adam, applyUpdates, type GradientTransformation, type LearningRate } from "@prior-art/toolkit/optim";
import {
  type LowRankOptions,
  type LowRankState,
  leadingVectors,
  lowRank,
  type SubspaceRule,
  type Subspaces,
} from "../lowRank.ts";

export { type GaloreOptions, galore, type LowRankOptions, type LowRankState } from "../lowRank.ts";

/** `G/‖G‖_F`, and 0 for a gradient of 0. */
function normalized(gradient: Tensor): Tensor {
  const norm = sqrt(sum(mul(gradient, gradient)));
  return div(gradient, where(equal(norm, 0), 1, norm));
}

/** `PᵀP - I`. */
function defect(projection: Tensor): Tensor {
  const gram = matmul(transpose(projection), projection);
  return sub(gram, eye(gram.shape[0]!, gram.shape[1]!, gram.dtype));
}

/**
 * `L_G(P) = ‖Ḡ - PPᵀḠ‖²_F + μ‖PᵀP - I‖²_F` with `Ḡ = G/‖G‖_F`: what the projection `[n, rank]` loses of the gradient
 * `[n, m]`, as a share of its squared norm, and how far it is from orthonormal; a scalar.
 */
export function onlinePcaLoss(projection: Tensor, gradient: Tensor, mu = 0.1): Tensor {
  const unit = normalized(gradient);
  const lost = sub(unit, matmul(projection, matmul(transpose(projection), unit)));
  const off = defect(projection);
  return add(sum(mul(lost, lost)), mul(mu, sum(mul(off, off))));
}

/**
 * The gradient of `onlinePcaLoss` in the projection, `[n, rank]`, by products with thin matrices only:
 * `-4SP + 2SP(PᵀP) + 2P(PᵀSP) + 4μP(PᵀP - I)` with `S = ḠḠᵀ`.
 */
export function onlinePcaGradient(projection: Tensor, gradient: Tensor, mu = 0.1): Tensor {
  const unit = normalized(gradient);
  const spread = matmul(unit, matmul(transpose(unit), projection));
  const off = defect(projection);
  const gram = matmul(transpose(projection), projection);
  // 2SP(PᵀP) - 4SP = 2(SP)(PᵀP - 2I); both terms in P on the left are gathered.
  const inner = add(mul(2, matmul(transpose(projection), spread)), mul(4 * mu, off));
  return add(sub(mul(2, matmul(spread, gram)), mul(4, spread)), matmul(projection, inner));
}

export interface PcaOptions<S> {
  /** Minimizes the loss of P; any optimizer, with a rate of its own. Adam at `learningRate` by default. */
  readonly optimizer?: GradientTransformation<readonly Tensor[], S>;
  /**
   * η_P of the default Adam, 5e-3 by default: 1/200, one over the steps between GaLore's projections. The authors' code lets
   * it follow the schedule of the weights' rate.
   */
  readonly learningRate?: LearningRate;
  /** μ of the orthogonality term, 0.1 by default as in the paper; the authors' code has none (0). */
  readonly mu?: number;
}

export interface OnlineSubspaces<S> extends Subspaces {
  readonly pca: S;
}

export interface OnlineSubspaceOptions<S> extends LowRankOptions {
  readonly pca?: PcaOptions<S>;
}

/**
 * How the projections move: from the leading singular vectors of the first gradients on, one step of online PCA after each
 * update of the weights.
 * @throws RangeError for a rate of P that is not positive, a rate beside an optimizer, or a negative μ.
 */
export function onlineSubspaces<S = unknown>({
  optimizer,
  learningRate,
  mu = 0.1,
}: PcaOptions<S> = {}): SubspaceRule<OnlineSubspaces<S>> {
  if (!(mu >= 0)) throw new RangeError(`onlineSubspaceDescent: mu must not be negative, got ${mu}`);
  if (optimizer && learningRate !== undefined)
    throw new RangeError(
      "onlineSubspaceDescent: learningRate is that of the default optimizer of P; an optimizer of P has its own",
    );
  const pca = (optimizer ?? adam({ learningRate: learningRate ?? 5e-3 })) as GradientTransformation<
    readonly Tensor[],
    S
  >;
  return {
    init: (matrices, rank) => {
      const projections: readonly Tensor[] = matrices.map((m) => zeros([m.shape[0]!, rank], m.dtype));
      return { projections, pca: pca.init(projections) };
    },
    refresh: (gradients, { projections, pca: memory }, step) => ({
      projections: cond(
        equal(step, 0),
        (g: readonly Tensor[], p: readonly Tensor[]) => g.map((x, i) => leadingVectors(x, p[i]!.shape[1]!)),
        (_: readonly Tensor[], p: readonly Tensor[]) => [...p],
        gradients,
        projections,
      ),
      pca: memory,
    }),
    advance: (gradients, { projections, pca: memory }) => {
      const slopes = projections.map((p, i) => onlinePcaGradient(p, gradients[i]!, mu));
      const [updates, next] = pca.update(slopes, memory, projections);
      return { projections: applyUpdates(projections, updates), pca: next };
    },
  };
}

/**
 * Online Subspace Descent: the base optimizer works on `PᵀG`, its update is projected back, `scale · P · update`, and
 * then P takes one step of online PCA on `onlinePcaLoss` of the same gradient. P starts at the leading singular
 * vectors of the first gradient; no other decomposition is made. Any base optimizer will do; tensors that are not
 * `select`ed (all matrices by default; the paper leaves out embedding and head) are the base optimizer's alone. Decay
 * of weights belongs behind, in a chain.
 *
 * `scale` is 1 by default (the paper's scripts have 0.25 to 1).
 * @throws RangeError from `init` for a rank larger than a chosen matrix; at once as `onlineSubspaces` does. @throws TensorError from `update` when gradients or state don't fit the parameters.
 * @example
 * const optimizer = onlineSubspaceDescent(adam<MlpParams>({ learningRate: 0.01 }), { rank: 8 });
 * let state = optimizer.init(params);
 * const [updates, next] = optimizer.update(gradients, state, params);
 */
export function onlineSubspaceDescent<P, B, S = unknown>(
  base: GradientTransformation<P, B>,
  { pca, ...options }: OnlineSubspaceOptions<S>,
): GradientTransformation<P, LowRankState<B, OnlineSubspaces<S>>> {
  return lowRank("onlineSubspaceDescent", base, options, onlineSubspaces(pca));
}
