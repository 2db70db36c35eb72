import {
  abs,
  add,
  div,
  equal,
  linalg,
  max,
  mul,
  sign,
  slice,
  sqrt,
  sum,
  type Tensor,
  TensorError,
  where,
} from "@prior-art/tensor";
import type { GradientTransformation } from "@prior-art/toolkit/optim";
import {
  alignRms,
  type MatrixMomentumState,
  type MatrixOptimizerOptions,
  type MatrixOptimizerState,
  type MomentumOptions,
  matrixMomentum,
  onMatrices,
} from "../muon.ts";

export { type MatrixOptimizerOptions, type MatrixOptimizerState, type MuonOptions, muon } from "../muon.ts";

export interface RacsOptions {
  /**
   * Rows and then the columns of what comes out (default), the other way round, or both at once, each entry divided by
   * `√(rᵢcⱼ)` of the matrix as it is (Ruiz, 2001).
   */
  readonly order?: "row-col" | "col-row" | "symmetric";
  /** p of the norms, 2 by default. */
  readonly norm?: 1 | 2 | typeof Number.POSITIVE_INFINITY;
  /** How often, 1 by default; many make all rows alike and all columns alike. */
  readonly sweeps?: number;
  /** Added to each norm, 1e-8 by default. */
  readonly eps?: number;
}

const normAlong = (matrix: Tensor, axis: 0 | 1, p: number): Tensor => {
  if (p === 2) return sqrt(sum(mul(matrix, matrix), axis, true));
  return p === 1 ? sum(abs(matrix), axis, true) : max(abs(matrix), axis, true);
};

/**
 * Row-and-column scaling: rows divided by their norms, then columns by those of what came out. Signs and zeros stay
 * where they are; with the default order, columns end with norm 1 and rows that differ by positive factors end alike.
 * @throws TensorError unless `matrix` is one. @throws RangeError for sweeps that are not a whole number from 1 on, or a norm
 *   other than 1, 2 and `Infinity`.
 */
export function racs(
  matrix: Tensor,
  { order = "row-col", norm = 2, sweeps = 1, eps = 1e-8 }: RacsOptions = {},
): Tensor {
  if (matrix.rank !== 2) throw new TensorError("racs", `takes a matrix, got ${matrix.toString()}`);
  if (!(Number.isInteger(sweeps) && sweeps >= 1))
    throw new RangeError(`racs: sweeps must be a whole number of at least 1, got ${sweeps}`);
  if (norm !== 1 && norm !== 2 && norm !== Number.POSITIVE_INFINITY)
    throw new RangeError(`racs: the norm is 1, 2 or Infinity, got ${norm}`);
  const along = (m: Tensor, axis: 0 | 1): Tensor => add(normAlong(m, axis, norm), eps);
  const rows = (m: Tensor): Tensor => div(m, along(m, 1));
  const columns = (m: Tensor): Tensor => div(m, along(m, 0));
  const sweep = {
    "row-col": (m: Tensor) => columns(rows(m)),
    "col-row": (m: Tensor) => rows(columns(m)),
    symmetric: (m: Tensor) => div(m, sqrt(mul(along(m, 1), along(m, 0)))),
  }[order];
  let scaled = matrix;
  for (let i = 0; i < sweeps; i++) scaled = sweep(scaled);
  return scaled;
}

/** Entries divided by the largest, so that no gradient is too small for what is added to its norms. */
function unitSize(matrix: Tensor): Tensor {
  const size = max(abs(matrix));
  return div(matrix, where(equal(size, 0), 1, size));
}

export interface RegDirectionOptions extends MomentumOptions {
  /** κ, the root mean square of every update, 0.2 by default: that of a typical step of Adam's. */
  readonly rms?: number;
  readonly racs?: RacsOptions;
}

/**
 * REG's direction for a list of matrices: `κ · R(M)/rms(R(M))` with M the momentum and R row-and-column scaling. A
 * momentum of 0 gives 0. For `masked` and chains.
 * @throws RangeError for a momentum outside `[0, 1)` or an rms that is not positive.
 */
export function scaleByReg({
  rms = 0.2,
  racs: options = {},
  ...momentum
}: RegDirectionOptions = {}): GradientTransformation<Tensor[], MatrixMomentumState> {
  if (!(rms > 0)) throw new RangeError(`reg: rms must be positive, got ${rms}`);
  return matrixMomentum("reg", (m) => alignRms(racs(unitSize(m), options), rms), momentum);
}

export type RegOptions = MatrixOptimizerOptions & RegDirectionOptions;

const split = ({ momentum, nesterov, rms, racs: scaling, ...rest }: RegOptions) => ({
  direction: {
    ...(momentum !== undefined && { momentum }),
    ...(nesterov !== undefined && { nesterov }),
    ...(rms !== undefined && { rms }),
    ...(scaling && { racs: scaling }),
  },
  rest,
});

/**
 * REG: for each matrix `W ← W - η(O + λW)` with O the momentum, its rows and columns scaled, at root mean square κ; AdamW
 * for everything else, and for matrices that `select` leaves out (the paper: embeddings and head). Only the first moment of
 * the matrices is kept. β is 0.95, κ 0.2 and λ 0.1 by default, as is usual with Muon, and there is no Nesterov momentum;
 * what the paper takes is not verified.
 * @throws RangeError for rates, momenta, decays and rms out of range. @throws TensorError from `update` when trees don't fit.
 * @example
 * const optimizer = reg<MlpParams>({ learningRate: cosineDecay(3e-3, 1000), select: (t) => t.shape[1] !== 10 });
 */
export function reg<P>(options: RegOptions): GradientTransformation<P, MatrixOptimizerState> {
  const { direction, rest } = split(options);
  return onMatrices<P>(scaleByReg(direction), rest);
}

/** Momentum scaled to root mean square κ as it is, for comparison: normalized gradient descent. */
export function normalizedGradient<P>(
  options: Omit<RegOptions, "racs">,
): GradientTransformation<P, MatrixOptimizerState> {
  const { direction, rest } = split(options);
  const { rms = 0.2, ...momentum } = direction;
  return onMatrices<P>(
    matrixMomentum("normalizedGradient", (m) => alignRms(m, rms), momentum),
    rest,
  );
}

/** κ times the signs of the momentum, for comparison. */
export function signMomentum<P>(
  options: Omit<RegOptions, "racs">,
): GradientTransformation<P, MatrixOptimizerState> {
  const { direction, rest } = split(options);
  const { rms = 0.2, ...momentum } = direction;
  return onMatrices<P>(
    matrixMomentum("signMomentum", (m) => mul(rms, sign(m)), momentum),
    rest,
  );
}

/** How even a matrix's singular values are; scalars. */
export interface SpectrumStats {
  /** `‖M‖²_F/‖M‖²₂`, from 1 to the rank. */
  readonly stableRank: Tensor;
  /** Largest over smallest singular value, 1 for orthonormal rows or columns; infinite where one is 0. */
  readonly conditionNumber: Tensor;
}

/** @throws TensorError unless `matrix` is one. */
export function spectrumStats(matrix: Tensor): SpectrumStats {
  if (matrix.rank !== 2) throw new TensorError("spectrumStats", `takes a matrix, got ${matrix.toString()}`);
  const values = linalg.singularValues(matrix);
  const largest = slice(values, 0);
  return {
    stableRank: div(sum(mul(values, values)), mul(largest, largest)),
    conditionNumber: div(largest, slice(values, -1)),
  };
}
