import { add, data, grad, jit, matmul, mul, sub, type Tensor, tensor } from "@prior-art/tensor";
import {
  choleskyFactor,
  choleskySolve,
  gram,
  type Matrix,
  matrix,
  multiply,
  norm,
  thinSVD,
  transpose,
} from "@prior-art/toolkit/linalg";
import {
  type Adapter,
  denseWeights,
  type LoraFactors,
  loraScale,
  lossOn,
  mapPaths,
  matrixAdapter,
  type SequenceLoss,
  type TextBatch,
  type Transformer,
  type WeightChoice,
} from "@prior-art/toolkit/lm";
import type { TransformerParams } from "@prior-art/toolkit/nn";

/** Factors of a weight's change on the host. */
export interface Factors {
  /** A, `[inputs, rank]` */
  readonly a: Matrix;
  /** B, `[rank, outputs]` */
  readonly b: Matrix;
}

export interface LoraOneOptions {
  readonly rank: number;
  /** γ: the start is `1/γ` of the (normalized) gradient, 128 by default. */
  readonly gamma?: number;
  /** Divides the singular values by the largest, as the released code does; true by default. */
  readonly normalize?: boolean;
  /** Of the singular values in each factor: ½ makes their product the gradient's best approximation; default ½. */
  readonly exponent?: number;
}

/** Length of A's columns in directions that the gradient doesn't have, so that they can still be learned. */
const SPARE = 1e-3;

/**
 * The spectral start (Algorithm 1): `A₀ = γ^(−½) U_r Ŝ_r^½`, `B₀ = γ^(−½) Ŝ_r^½ V_rᵀ` from the singular value decomposition
 * `U S Vᵀ` of the first full fine-tuning step's direction, `Ŝ = S/S₁`. So `A₀B₀` is `1/γ` of the best rank-`r`
 * approximation, and `A₀ᵀA₀ = B₀B₀ᵀ`. Where the direction has a lower rank, spare columns of A get length 0.001 and rows
 * of B are 0.
 *
 * @param descent the negative gradient of the loss by the weight, `[inputs, outputs]`
 * @throws RangeError for a rank that the matrix cannot have, a γ that is not positive and finite (an infinite one is a
 *   start at 0, from which nothing moves), and a direction of zeros.
 */
export function loraOneInit(descent: Matrix, options: LoraOneOptions): Factors {
  const { rank, gamma = 128, normalize = true, exponent = 0.5 } = options;
  requireRank("loraOneInit", descent, rank);
  requireGamma("loraOneInit", gamma);
  const { u, s, v } = thinSVD(descent);
  if (!(s[0]! > 0)) throw new RangeError("loraOneInit: the gradient is 0, which gives no direction");
  const a = matrix(descent.rows, rank);
  const b = matrix(rank, descent.columns);
  for (let k = 0; k < rank; k++) {
    const ratio = s[k]! / s[0]!;
    const spare = ratio < 1e-12;
    const size = (normalize ? ratio : s[k]!) ** exponent / Math.sqrt(gamma);
    for (let i = 0; i < a.rows; i++)
      a.values[i * rank + k] = (spare ? SPARE : size) * u.values[i * u.columns + k]!;
    if (!spare)
      for (let j = 0; j < b.columns; j++) b.values[k * b.columns + j] = size * v.values[j * v.columns + k]!;
  }
  return { a, b };
}

/**
 * LoRA-GA's start (Wang et al., 2024, stable scale): left singular vectors `r … 2r` in A and right ones `0 … r` in B, both
 * times `outputs^¼ γ^(−½)`; the base weights lose `scale · A₀B₀`, so that the model starts unchanged.
 * @throws RangeError unless the matrix has at least `2r` singular vectors and γ is positive and finite.
 */
export function loraGaInit(
  descent: Matrix,
  { rank, gamma = 16 }: { readonly rank: number; readonly gamma?: number },
): Factors {
  requireRank("loraGaInit", descent, 2 * rank);
  requireGamma("loraGaInit", gamma);
  const { u, v } = thinSVD(descent);
  const size = descent.columns ** 0.25 / Math.sqrt(gamma);
  const a = matrix(descent.rows, rank);
  const b = matrix(rank, descent.columns);
  for (let k = 0; k < rank; k++) {
    for (let i = 0; i < a.rows; i++) a.values[i * rank + k] = size * u.values[i * u.columns + rank + k]!;
    for (let j = 0; j < b.columns; j++) b.values[k * b.columns + j] = size * v.values[j * v.columns + k]!;
  }
  return { a, b };
}

export interface StepOptions {
  readonly learningRate: number;
  /** λ, added to the diagonals, 1e-6 by default. */
  readonly damping?: number;
}

/**
 * A preconditioned step: `A ← A − η ∇_A (BBᵀ + λI)⁻¹`, `B ← B − η (AᵀA + λI)⁻¹ ∇_B`. Its rate does not depend on the
 * condition number of what is to be learned.
 * @throws RangeError when a factor is singular and λ is 0.
 */
export function preconditionedStep(
  { a, b }: Factors,
  gradient: Factors,
  { learningRate, damping = 1e-6 }: StepOptions,
): Factors {
  const bbT = damped(gram(transpose(b)), damping);
  const aTa = damped(gram(a), damping);
  // ∇_A M⁻¹ is solved row by row, M⁻¹ ∇_B column by column.
  const stepA = solveRows(bbT, gradient.a);
  const stepB = transpose(solveRows(aTa, transpose(gradient.b)));
  return { a: moved(a, stepA, learningRate), b: moved(b, stepB, learningRate) };
}

/** A plain gradient step on both factors. */
export const gradientStep = ({ a, b }: Factors, gradient: Factors, learningRate: number): Factors => ({
  a: moved(a, gradient.a, learningRate),
  b: moved(b, gradient.b, learningRate),
});

/**
 * One step of the linearized dynamics behind the alignment theorem, near a small start: `A ← A + η G Bᵀ`,
 * `B ← B + η Aᵀ G` with G the first descent direction.
 */
export const linearizedStep = ({ a, b }: Factors, descent: Matrix, learningRate: number): Factors => ({
  a: moved(a, multiply(descent, transpose(b)), -learningRate),
  b: moved(b, multiply(transpose(a), descent), -learningRate),
});

/**
 * Sine of the largest principal angle between two subspaces given by orthonormal columns: `‖(I − UUᵀ) V‖_op`.
 * @throws RangeError when they live in spaces of different dimensions.
 */
export function subspaceAngle(u: Matrix, v: Matrix): number {
  if (u.rows !== v.rows) throw new RangeError(`subspaceAngle: dimensions ${u.rows} and ${v.rows} differ`);
  const inside = multiply(u, multiply(transpose(u), v));
  const outside = matrix(
    v.rows,
    v.columns,
    v.values.map((x, i) => x - inside.values[i]!),
  );
  return norm(outside.values) === 0 ? 0 : thinSVD(outside).s[0]!;
}

/** The first `count` left singular vectors, in columns. */
export function leftSubspace(m: Matrix, count: number): Matrix {
  const { u } = thinSVD(m);
  const columns = matrix(m.rows, count);
  for (let i = 0; i < m.rows; i++)
    for (let k = 0; k < count; k++) columns.values[i * count + k] = u.values[i * u.columns + k]!;
  return columns;
}

function requireRank(name: string, { rows, columns }: Matrix, rank: number): void {
  if (!(Number.isInteger(rank) && rank >= 1 && rank <= Math.min(rows, columns)))
    throw new RangeError(`${name}: a ${rows} × ${columns} matrix has no ${rank} singular vectors`);
}

function requireGamma(name: string, gamma: number): void {
  if (!(gamma > 0 && Number.isFinite(gamma)))
    throw new RangeError(`${name}: γ must be positive and finite, got ${gamma}`);
}

const moved = (m: Matrix, direction: Matrix, learningRate: number): Matrix =>
  matrix(
    m.rows,
    m.columns,
    m.values.map((x, i) => x - learningRate * direction.values[i]!),
  );

function damped(m: Matrix, damping: number): Matrix {
  for (let i = 0; i < m.rows; i++) m.values[i * m.columns + i]! += damping;
  return m;
}

/** Rows of `m` times the inverse of a symmetric matrix. */
function solveRows(symmetric: Matrix, m: Matrix): Matrix {
  const factor = choleskyFactor(symmetric);
  const solved = matrix(m.rows, m.columns);
  for (let i = 0; i < m.rows; i++)
    solved.values.set(
      choleskySolve(factor, m.values.subarray(i * m.columns, (i + 1) * m.columns)),
      i * m.columns,
    );
  return solved;
}

export interface GradientOptions {
  readonly model: Transformer;
  readonly base: TransformerParams;
  /** The batch that the gradient is taken on; the paper takes 8 sequences. */
  readonly texts: TextBatch;
  readonly loss?: SequenceLoss;
  readonly targets?: WeightChoice;
}

/** The first full fine-tuning step's direction, `−∇_W L`, of each adapted weight, by path. */
export async function descentDirections(options: GradientOptions): Promise<Readonly<Record<string, Matrix>>> {
  const { model, base, texts, loss, targets = denseWeights } = options;
  const gradients = jit(grad(lossOn(model, loss)));
  const tree = await gradients(base, texts);
  await gradients.release();
  const chosen: [string, Tensor][] = [];
  mapPaths(tree, (path, gradient) => {
    if (targets(path, gradient)) chosen.push([path, gradient]);
    return gradient;
  });
  const directions: Record<string, Matrix> = {};
  for (const [path, gradient] of chosen) {
    const [rows, columns] = gradient.shape as [number, number];
    directions[path] = matrix(
      rows,
      columns,
      Float64Array.from(await data(gradient), (g) => -g),
    );
  }
  return directions;
}

export interface SpectralAdapterOptions extends Pick<LoraOneOptions, "rank" | "gamma"> {
  /** α, 16 by default. */
  readonly alpha?: number;
  /** `"root"` (α/√r, as in the paper) by default. */
  readonly scaling?: "rank" | "root";
}

/** The family's `Adapter`: low-rank factors that start where `start` says. */
function spectralAdapter(
  directions: Readonly<Record<string, Matrix>>,
  { alpha = 16, scaling = "root", rank }: SpectralAdapterOptions,
  start: (descent: Matrix) => Factors,
  offset: boolean,
): Adapter<TransformerParams, Readonly<Record<string, LoraFactors>>> {
  const scale = loraScale({ rank, alpha, scaling });
  const starts = new Map(
    Object.entries(directions).map(([path, descent]) => {
      const { a, b } = start(descent);
      return [path, { a: tensorOf(a), b: tensorOf(b) }];
    }),
  );
  const product = ({ a, b }: LoraFactors): Tensor => mul(matmul(a, b), scale);
  return matrixAdapter<TransformerParams, LoraFactors>({
    targets: (path) => starts.has(path),
    init: (_weight, _key, path) => starts.get(path)!,
    merge: (weight, factors, _key, path) => {
      const changed = add(weight, product(factors));
      return offset ? sub(changed, product(starts.get(path)!)) : changed;
    },
  });
}

const tensorOf = ({ rows, columns, values }: Matrix): Tensor =>
  tensor(Float32Array.from(values), { shape: [rows, columns] });

/**
 * LoRA-One for a transformer: each adapted weight is `W + α/√r · A B` with the spectral start; W itself is unchanged.
 * @example
 * const directions = await descentDirections({ model, base, texts });
 * const adapter = loraOneAdapter(directions, { rank: 4 });
 */
export const loraOneAdapter = (
  directions: Readonly<Record<string, Matrix>>,
  options: SpectralAdapterOptions & LoraOneOptions,
): Adapter<TransformerParams, Readonly<Record<string, LoraFactors>>> =>
  spectralAdapter(directions, options, (descent) => loraOneInit(descent, options), false);

/** LoRA-GA for a transformer. */
export const loraGaAdapter = (
  directions: Readonly<Record<string, Matrix>>,
  options: SpectralAdapterOptions,
): Adapter<TransformerParams, Readonly<Record<string, LoraFactors>>> =>
  spectralAdapter(directions, options, (descent) => loraGaInit(descent, options), true);
