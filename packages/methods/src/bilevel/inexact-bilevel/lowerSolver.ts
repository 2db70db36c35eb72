import { lbfgs } from "@prior-art/toolkit/convex";
import { norm } from "@prior-art/toolkit/linalg";

export interface FistaOptions {
  /** Lipschitz constant of the gradient, L. */
  readonly smoothness: number;
  /** μ. */
  readonly strongConvexity: number;
  /** Norm of the gradient at which to stop. */
  readonly tolerance: number;
  /** Most gradients to take. Default 100,000. */
  readonly maxIterations?: number;
}

export interface LowerSolution {
  readonly x: Float64Array;
  readonly gradientNorm: number;
  /** Gradients taken. */
  readonly iterations: number;
  readonly converged: boolean;
}

/**
 * Minimizes a smooth, strongly convex function by accelerated gradient steps of 1/L until its gradient is small: FISTA with
 * `q = μ/L`, `t₀ = 0`, `t_{k+1} = (1 − q t_k² + √((1 − q t_k²)² + 4 t_k²))/2` and the extrapolation
 * `(t_k − 1)(1 − t_{k+1} q)/(t_{k+1}(1 − q))` (Chambolle and Pock 2016). The gradient that is tested is the one that the step takes,
 * so that the test costs nothing; the point returned is the one it belongs to.
 *
 * @throws RangeError unless 0 < μ ≤ L. @throws Error when the iterates diverge: L is too small.
 */
export function fistaToTolerance(
  gradient: (x: Float64Array) => Float64Array,
  start: Float64Array,
  { smoothness, strongConvexity, tolerance, maxIterations = 100_000 }: FistaOptions,
): LowerSolution {
  if (!(strongConvexity > 0 && smoothness >= strongConvexity * (1 - 1e-12) && Number.isFinite(smoothness)))
    throw new RangeError(
      `fistaToTolerance: needs 0 < strongConvexity ≤ smoothness, got ${strongConvexity} and ${smoothness}`,
    );
  const q = Math.min(1, strongConvexity / smoothness);
  let x = start;
  let previous = start;
  let t = 0;
  let first = 0;
  for (let iterations = 1; ; iterations++) {
    const shrunk = 1 - q * t * t;
    const next = (shrunk + Math.sqrt(shrunk * shrunk + 4 * t * t)) / 2;
    const momentum = q === 1 ? 0 : ((t - 1) * (1 - next * q)) / (next * (1 - q));
    const y = x.map((value, i) => value + momentum * (value - previous[i]!));
    const g = gradient(y);
    const gradientNorm = norm(g);
    if (iterations === 1) first = gradientNorm;
    if (!(gradientNorm <= 1e8 * Math.max(first, tolerance)))
      throw new Error(
        `fistaToTolerance: the gradient grew from ${first} to ${gradientNorm} in ${iterations} iterations; is the smoothness ${smoothness} too small?`,
      );
    const converged = gradientNorm <= tolerance;
    if (converged || iterations >= maxIterations) return { x: y, gradientNorm, iterations, converged };
    previous = x;
    x = y.map((value, i) => value - g[i]! / smoothness);
    t = next;
  }
}

/** The same by L-BFGS, for problems whose smoothness is not known. */
export function lbfgsToTolerance(
  objective: (x: Float64Array) => { readonly value: number; readonly gradient: Float64Array },
  start: Float64Array,
  tolerance: number,
  maxIterations: number,
): LowerSolution {
  const { x, gradient, evaluations, converged } = lbfgs(objective, { start, tolerance, maxIterations });
  return { x, gradientNorm: norm(gradient), iterations: evaluations, converged };
}
