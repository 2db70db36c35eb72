import type { Image, InverseProblem, Reconstructor } from "../family.ts";
import { type L2LqOptions, type L2LqResult, l2lq } from "../l2lq.ts";
import { type SparseMatrix, sparseOperator } from "../sparseOperator.ts";

export interface GraphOptions {
  /** R: pixels at most this far apart in each direction are joined. Default 4. */
  readonly radius?: number;
  /** σ of the weights `exp(−(x_i − x_j)²/σ)`, in grey levels squared. Default 1e-3. */
  readonly sigma?: number;
  /** Whether weights are divided by ‖W‖_F (default), which makes ε and α comparable between images. */
  readonly normalize?: boolean;
}

export interface GraphLaPlusOptions
  extends GraphOptions,
    Pick<L2LqOptions, "q" | "epsilon" | "alpha" | "tau" | "tolerance" | "maxIterations"> {
  /** Ψ: the first reconstruction, or how to make it. */
  readonly initial: Image | Reconstructor;
}

export interface GraphLaPlusResult extends Omit<L2LqResult, "x"> {
  readonly image: Image;
  /** Ψ(y), from which the graph was read. */
  readonly initial: Image;
}

/**
 * The Laplacian of the graph that an image draws on its pixels, `Δ = D − W`: neighbours of like grey level are joined strongly, so
 * that `Δ x` is small where x is constant on what the image shows as one piece.
 *
 * @param image Grey levels of about 0–1.
 * @returns `[size², size²]`, symmetric, positive semidefinite, with `Δ 1 = 0`.
 * @throws RangeError unless the radius is a whole number of at least 1 and σ > 0.
 */
export function imageGraphLaplacian(
  { size, values }: Image,
  { radius = 4, sigma = 1e-3, normalize = true }: GraphOptions = {},
): SparseMatrix {
  if (!(Number.isInteger(radius) && radius >= 1 && sigma > 0))
    throw new RangeError(`imageGraphLaplacian: needs radius ≥ 1 and sigma > 0, got ${radius} and ${sigma}`);
  const rows = Array.from({ length: values.length }, (_, at) => {
    const [i, j] = [Math.floor(at / size), at % size];
    const row: [column: number, weight: number][] = [];
    let degree = 0;
    for (let k = Math.max(0, i - radius); k <= Math.min(size - 1, i + radius); k++)
      for (let l = Math.max(0, j - radius); l <= Math.min(size - 1, j + radius); l++) {
        const other = k * size + l;
        if (other === at) continue;
        const weight = Math.exp(-((values[at]! - values[other]!) ** 2) / sigma);
        degree += weight;
        row.push([other, -weight]);
      }
    row.push([at, degree]);
    return row;
  });
  if (normalize) {
    let square = 0;
    rows.forEach((row, at) => {
      for (const [other, weight] of row) if (other !== at) square += weight * weight;
    });
    const scale = square > 0 ? 1 / Math.sqrt(square) : 1;
    for (const row of rows) for (const entry of row) entry[1] *= scale;
  }
  return sparseOperator(values.length, rows);
}

/**
 * graphLa+Ψ: reconstructs with the ℓ_q norm of the graph Laplacian of a first reconstruction as penalty,
 * `min ½ ‖K x − y‖² + (α/q) ‖Δ_{Ψ(y)} x‖_q^q`, α by the discrepancy principle unless it is given.
 *
 * @throws RangeError when an option is out of range.
 *
 * @example
 * const { image } = await graphLaPlus(problem, { initial: totalVariation });
 */
export async function graphLaPlus(
  problem: InverseProblem,
  { initial: psi, radius, sigma, normalize, alpha, ...solver }: GraphLaPlusOptions,
): Promise<GraphLaPlusResult> {
  const initial = typeof psi === "function" ? await psi(problem) : psi;
  const graph: GraphOptions = {
    ...(radius === undefined ? {} : { radius }),
    ...(sigma === undefined ? {} : { sigma }),
    ...(normalize === undefined ? {} : { normalize }),
  };
  const { x, ...rest } = l2lq({
    forward: problem.forward,
    data: problem.data,
    penalty: imageGraphLaplacian(initial, graph),
    ...(alpha === undefined ? { noiseNorm: problem.noiseNorm } : { alpha }),
    ...solver,
  });
  return { ...rest, image: { size: problem.size, values: x }, initial };
}
