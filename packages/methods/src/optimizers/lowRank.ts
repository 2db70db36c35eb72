import {
  abs,
  add,
  cast,
  cond,
  div,
  equal,
  flip,
  floor,
  linalg,
  matmul,
  max,
  mod,
  mul,
  random,
  scalar,
  slice,
  type Tensor,
  TensorError,
  take,
  transpose,
  treeLeaves,
  treeMap,
  where,
  zeros,
} from "@prior-art/tensor";
import {
  type GradientTransformation,
  type Mask,
  requireRank,
  requireSameTree,
} from "@prior-art/toolkit/optim";

/** All matrices, the default choice of what is projected. */
export const everyMatrix: Mask = (t) => t.rank === 2;

/** A matrix with its shorter side first: `[n, m]`, `n ≤ m`. Its own inverse, given the shape to come back to. */
const wide = (matrix: Tensor, like: Tensor = matrix): Tensor =>
  like.shape[0]! <= like.shape[1]! ? matrix : transpose(matrix);

/**
 * The `rank` leading left singular vectors of a matrix `[n, m]`, the columns of `[n, rank]`, in order; orthonormal for
 * every matrix, zero included. By the eigenvectors of the Gram matrix.
 */
export function leadingVectors(matrix: Tensor, rank: number): Tensor {
  const n = matrix.shape[0]!;
  // Squares of small gradients must not underflow.
  const size = max(abs(matrix));
  const unit = div(matrix, where(equal(size, 0), 1, size));
  const { vectors } = linalg.eigh(matmul(unit, transpose(unit)));
  return flip(slice(vectors, null, [n - rank, n]), 1);
}

/** What a rule keeps: a projection `[n, rank]` for each projected matrix, and whatever else it needs. */
export interface Subspaces {
  readonly projections: readonly Tensor[];
}

/** How the projections move. Gradients are wide: `[n, m]` with `n ≤ m`. */
export interface SubspaceRule<R extends Subspaces> {
  /** From the wide parameters. */
  init(matrices: readonly Tensor[], rank: number): R;
  /** Before the gradients are projected; `step` counts from 0. */
  refresh(gradients: readonly Tensor[], subspaces: R, step: Tensor): R;
  /** After the update has been computed. */
  advance?(gradients: readonly Tensor[], subspaces: R): R;
}

const zeroProjections = (matrices: readonly Tensor[], rank: number): Tensor[] =>
  matrices.map((m) => zeros([m.shape[0]!, rank], m.dtype));

/** Leading singular vectors of the gradient every `gap` steps; only at the first for a gap of `Infinity`. */
export const singularSubspaces = (gap: number): SubspaceRule<Subspaces> => ({
  init: (matrices, rank) => ({ projections: zeroProjections(matrices, rank) }),
  refresh: (gradients, { projections }, step) => ({
    projections: cond(
      due(step, gap),
      (g: readonly Tensor[], p: readonly Tensor[]) => g.map((x, i) => leadingVectors(x, p[i]!.shape[1]!)),
      (_: readonly Tensor[], p: readonly Tensor[]) => [...p],
      gradients,
      projections,
    ),
  }),
});

/** Keeps the subspaces apart from other draws of the same seed. */
const SUBSPACES = 0x5b5;

/**
 * Uniformly random orthonormal columns, others every `gap` steps: what its seed tells need not be kept as state. The first
 * `draws` subspaces are independent, and then come again in the same order.
 */
export const randomSubspaces = (gap: number, seed: number, draws: number): SubspaceRule<Subspaces> => ({
  init: (matrices, rank) => ({ projections: zeroProjections(matrices, rank) }),
  refresh: (_, { projections }, step) => ({
    projections: cond(
      due(step, gap),
      (p: readonly Tensor[], now: Tensor) =>
        p.map((old, i) => {
          const { dtype } = old;
          const pool = random.normal(
            random.fold(random.fold(random.key(seed), SUBSPACES), i),
            [draws, ...old.shape],
            dtype === "float64" ? { dtype } : {},
          );
          const turn = mod(floor(div(now, Math.min(gap, Number.MAX_SAFE_INTEGER))), draws);
          return linalg.qr(take(pool, cast(turn, "int32"))).q;
        }),
      (p: readonly Tensor[]) => [...p],
      projections,
      step,
    ),
  }),
});

const due = (step: Tensor, gap: number): Tensor =>
  Number.isFinite(gap) ? equal(mod(step, gap), 0) : equal(step, 0);

export interface LowRankOptions {
  /** Of the projected gradients; at most the shorter side of every projected matrix. */
  readonly rank: number;
  /** What the projected matrices' updates are multiplied by, besides the base optimizer's rate. */
  readonly scale?: number;
  /** Which matrices are projected, all by default; every other tensor is left to the base optimizer as it is. */
  readonly select?: Mask;
}

export interface LowRankState<B, R, E = null> {
  /** Steps taken, a scalar of the parameters' dtype. */
  readonly step: Tensor;
  /** The base optimizer's, of the tree with `[rank, m]` (or `[m, rank]`) in place of each projected matrix. */
  readonly base: B;
  readonly subspaces: R;
  /** What the residual rule keeps. */
  readonly residual: E;
}

/** What is known of one projected matrix within a step, in its wide orientation. */
export interface ProjectedGradient {
  /** `[n, m]` */
  readonly gradient: Tensor;
  /** `[n, rank]` */
  readonly projection: Tensor;
  /** `R = PᵀG`, `[rank, m]` */
  readonly compact: Tensor;
  /** The base optimizer's answer to it, `[rank, m]`. */
  readonly direction: Tensor;
}

/** Adds to the update what the projection leaves out. */
export interface ResidualRule<E> {
  init(matrices: readonly Tensor[]): E;
  /** Wide terms `[n, m]` to be added to the updates, not multiplied by the scale. */
  update(parts: readonly ProjectedGradient[], state: E): readonly [terms: readonly Tensor[], state: E];
}

/**
 * Runs `base` on gradients of which the chosen matrices are projected, `PᵀG` (from the right where there are more rows
 * than columns: always the shorter side), and projects its updates back, `scale · P · update`. The base optimizer
 * sees the parameters projected in the same way; decay of whole weights belongs behind, in a chain.
 *
 * `update` throws a TensorError when the gradients or the state don't fit the parameters, `init` a RangeError for a rank
 * that is larger than a chosen matrix. A single step works on NaNs as it does on numbers: `skipNonFinite` around the
 * whole keeps them out of the subspaces.
 */
export function lowRank<P, B, R extends Subspaces, E = null>(
  op: string,
  base: GradientTransformation<P, B>,
  { rank, scale = 1, select = everyMatrix }: LowRankOptions,
  rule: SubspaceRule<R>,
  residual?: ResidualRule<E>,
): GradientTransformation<P, LowRankState<B, R, E>> {
  const chosen = (tree: P, params: P): Tensor[] => {
    const keep = treeLeaves(params).map((p) => select(p) && p.rank === 2);
    return treeLeaves(tree).filter((_, i) => keep[i]);
  };
  /** The tree with `f` of each chosen matrix; others as they are. */
  const mapChosen = (tree: P, params: P, f: (t: Tensor, like: Tensor, i: number) => Tensor): P => {
    let i = 0;
    return treeMap((t, like) => (select(like) && like.rank === 2 ? f(t, like, i++) : t), tree, params);
  };
  const requireStateOf = (params: P, { projections }: R): void => {
    const matrices = chosen(params, params);
    if (
      matrices.length !== projections.length ||
      matrices.some((m, i) => projections[i]!.shape[0] !== Math.min(...m.shape))
    )
      throw new TensorError(
        op,
        `the state has projections ${projections.join(", ") || "of nothing"}, which don't fit the matrices ${matrices.join(", ") || "(none)"}; has the tree of parameters changed since init?`,
      );
  };
  return {
    init: (params) => {
      const matrices = chosen(params, params);
      for (const m of matrices) requireRank(op, rank, m.shape);
      const widened = matrices.map((m) => wide(m));
      const compact = mapChosen(params, params, (p) => wide(zeros([rank, Math.max(...p.shape)], p.dtype), p));
      return {
        step: scalar(0, treeLeaves(params)[0]?.dtype ?? "float32"),
        base: base.init(compact),
        subspaces: rule.init(widened, rank),
        residual: (residual ? residual.init(widened) : null) as E,
      };
    },
    update: (gradients, state, params) => {
      requireSameTree(op, gradients, params);
      requireStateOf(params, state.subspaces);
      const matrices = chosen(params, params);
      const widened = chosen(gradients, params).map((g) => wide(g));
      const subspaces = rule.refresh(widened, state.subspaces, state.step);
      const { projections } = subspaces;
      const project = (t: Tensor, like: Tensor, i: number): Tensor =>
        wide(matmul(transpose(projections[i]!), wide(t, like)), like);
      const compact = mapChosen(gradients, params, project);
      const [answer, memory] = base.update(compact, state.base, mapChosen(params, params, project));
      const directions = chosen(answer, params).map((d, i) => wide(d, matrices[i]));
      let updates = directions.map((d, i) => mul(scale, matmul(projections[i]!, d)));
      let next = state.residual;
      if (residual) {
        const compacts = chosen(compact, params).map((c, i) => wide(c, matrices[i]));
        const parts = widened.map((gradient, i) => ({
          gradient,
          projection: projections[i]!,
          compact: compacts[i]!,
          direction: directions[i]!,
        }));
        const [terms, after] = residual.update(parts, state.residual);
        updates = updates.map((u, i) => add(u, terms[i]!));
        next = after;
      }
      return [
        mapChosen(answer, params, (_, like, i) => wide(updates[i]!, like)),
        {
          step: add(state.step, 1),
          base: memory,
          subspaces: rule.advance ? rule.advance(widened, subspaces) : subspaces,
          residual: next,
        },
      ];
    },
  };
}

export interface GaloreOptions extends LowRankOptions {
  /** Steps between new projections, 200 by default; `Infinity` keeps the first. */
  readonly updateGap?: number;
  /** Leading singular vectors of the current gradient (default), or random ones. */
  readonly projection?: "svd" | "random";
  /** Of random projections; 0 by default. */
  readonly seed?: number;
  /**
   * Random projections drawn ahead, 64 by default. After `draws · updateGap` steps they come again in the same order, so that a
   * longer training needs more: the steps over the gap.
   */
  readonly draws?: number;
}

/**
 * GaLore (Zhao et al., 2024): the base optimizer works on `PᵀG` with P the leading left singular vectors of the gradient
 * every `updateGap` steps; its state is kept, unrotated, when P changes. `scale` is 0.25 by default, as in pre-training.
 * @throws RangeError for a gap that is not a positive whole number (or `Infinity`), for `draws` that is not a positive whole
 *   number, and as `lowRank` does.
 * @example
 * const optimizer = galore(adam<MlpParams>({ learningRate: 0.01 }), { rank: 8, select: (t) => t.shape[0] === 64 });
 */
export function galore<P, B>(
  base: GradientTransformation<P, B>,
  { updateGap = 200, projection = "svd", seed = 0, draws = 64, scale = 0.25, ...options }: GaloreOptions,
): GradientTransformation<P, LowRankState<B, Subspaces>> {
  requireGap("galore", updateGap);
  if (!(draws >= 1 && Number.isInteger(draws)))
    throw new RangeError(`galore: draws must be a positive whole number, got ${draws}`);
  const rule = projection === "svd" ? singularSubspaces(updateGap) : randomSubspaces(updateGap, seed, draws);
  return lowRank("galore", base, { ...options, scale }, rule);
}

/** @throws RangeError naming `op` unless `gap` is a whole number from 1 on, or `Infinity`. */
export function requireGap(op: string, gap: number): void {
  if (!(gap >= 1 && (Number.isInteger(gap) || gap === Number.POSITIVE_INFINITY)))
    throw new RangeError(`${op}: updateGap must be a positive whole number, or Infinity, got ${gap}`);
}
