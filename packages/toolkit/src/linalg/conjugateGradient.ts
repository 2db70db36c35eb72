import { addScaled, dot, norm } from "./vectors.ts";

export interface ConjugateGradientOptions {
  /** Starting point. Default zero. */
  readonly start?: Float64Array;
  /** Stops when the residual's norm is at most this (absolute). Default 1e-10 ‖b‖. */
  readonly tolerance?: number;
  /** Default 10 times the size. */
  readonly maxIterations?: number;
  /** Multiplies by an approximate inverse, symmetric and positive definite. */
  readonly precondition?: (residual: Float64Array) => Float64Array;
}

export interface LinearSolution {
  readonly x: Float64Array;
  /** Steps taken: products with A, apart from one that the residual of a start needs. */
  readonly iterations: number;
  readonly residualNorm: number;
  readonly converged: boolean;
}

/**
 * Solves A x = b for a symmetric positive definite map by (preconditioned) conjugate gradients.
 *
 * @param apply Multiplies by A.
 * @throws RangeError when a step meets a direction of non-positive curvature: A is not positive definite.
 */
export function conjugateGradient(
  apply: (x: Float64Array) => Float64Array,
  b: Float64Array,
  { start, tolerance, maxIterations, precondition = (r) => r }: ConjugateGradientOptions = {},
): LinearSolution {
  const stop = tolerance ?? 1e-10 * norm(b);
  const limit = maxIterations ?? 10 * b.length;
  const x = start ? start.slice() : new Float64Array(b.length);
  const residual = start ? addScaled(b.slice(), -1, apply(x)) : b.slice();
  let residualNorm = norm(residual);
  let z = precondition(residual);
  const direction = z.slice();
  let decrease = dot(residual, z);
  let iterations = 0;
  for (; residualNorm > stop && iterations < limit; iterations++) {
    const image = apply(direction);
    const curvature = dot(direction, image);
    if (!(curvature > 0))
      throw new RangeError(`conjugateGradient: curvature ${curvature}; the matrix is not positive definite`);
    addScaled(x, decrease / curvature, direction);
    addScaled(residual, -decrease / curvature, image);
    residualNorm = norm(residual);
    z = precondition(residual);
    const next = dot(residual, z);
    for (let i = 0; i < direction.length; i++) direction[i] = z[i]! + (next / decrease) * direction[i]!;
    decrease = next;
  }
  return { x, iterations, residualNorm, converged: residualNorm <= stop };
}
