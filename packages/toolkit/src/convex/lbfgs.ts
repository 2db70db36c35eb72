import { addScaled, difference, dot, norm } from "../linalg/index.ts";

export interface LbfgsOptions {
  readonly start: Float64Array;
  /** Default 1,000. */
  readonly maxIterations?: number;
  /** Stops when the gradient's norm is at most this. Default 1e-8. */
  readonly tolerance?: number;
  /** Pairs of steps and gradient changes kept. Default 10. */
  readonly memory?: number;
  /** Called after every step; returning true stops. */
  readonly onIteration?: (state: {
    readonly x: Float64Array;
    readonly value: number;
    readonly evaluations: number;
  }) => boolean | undefined;
}

export interface LbfgsResult {
  readonly x: Float64Array;
  readonly value: number;
  readonly gradient: Float64Array;
  readonly iterations: number;
  /** Evaluations of value and gradient, those of the line search included. */
  readonly evaluations: number;
  /** Whether the gradient's norm fell below the tolerance. */
  readonly converged: boolean;
}

/**
 * Minimizes a differentiable function by limited-memory BFGS (Nocedal 1980) with a bisecting line search for the weak Wolfe
 * conditions, which also makes progress on functions with kinks (Lewis and Overton 2013).
 */
export function lbfgs(
  objective: (x: Float64Array) => { readonly value: number; readonly gradient: Float64Array },
  { start, maxIterations = 1000, tolerance = 1e-8, memory = 10, onIteration }: LbfgsOptions,
): LbfgsResult {
  let x: Float64Array = start.slice();
  let { value, gradient } = objective(x);
  let evaluations = 1;
  const pairs: { step: Float64Array; change: Float64Array; curvature: number }[] = [];
  let iterations = 0;
  while (norm(gradient) > tolerance && iterations < maxIterations) {
    let direction = quasiNewton(pairs, gradient);
    let slope = dot(direction, gradient);
    if (!(slope < 0)) {
      pairs.length = 0;
      direction = gradient.map((g) => -g);
      slope = dot(direction, gradient);
    }
    let [low, high] = [0, Number.POSITIVE_INFINITY];
    let size = pairs.length === 0 ? 1 / Math.max(1, norm(gradient)) : 1;
    let accepted: { x: Float64Array; value: number; gradient: Float64Array } | undefined;
    for (let trial = 0; trial < 40; trial++) {
      const candidate = addScaled(x.slice(), size, direction);
      const found = objective(candidate);
      evaluations++;
      // Near the optimum the decrease drowns in the rounding of the values.
      if (!(found.value <= value + 1e-4 * size * slope + 4 * Number.EPSILON * Math.abs(value))) high = size;
      else {
        accepted = { ...found, x: candidate };
        if (dot(found.gradient, direction) >= 0.9 * slope) break;
        low = size;
      }
      size = high === Number.POSITIVE_INFINITY ? 2 * low : (low + high) / 2;
    }
    // No step decreases the value: rounding, or a kink that the pairs know nothing of.
    if (!accepted) {
      if (pairs.length === 0) break;
      pairs.length = 0;
      continue;
    }
    iterations++;
    const step = difference(accepted.x, x);
    const change = difference(accepted.gradient, gradient);
    const curvature = dot(step, change);
    if (curvature > 1e-14 * norm(step) * norm(change)) {
      pairs.push({ step, change, curvature });
      if (pairs.length > memory) pairs.shift();
    }
    ({ x, value, gradient } = accepted);
    if (onIteration?.({ x, value, evaluations })) break;
  }
  return { x, value, gradient, iterations, evaluations, converged: norm(gradient) <= tolerance };
}

/** −H g by the two-loop recursion. */
function quasiNewton(
  pairs: readonly {
    readonly step: Float64Array;
    readonly change: Float64Array;
    readonly curvature: number;
  }[],
  gradient: Float64Array,
): Float64Array {
  const direction = gradient.map((g) => -g);
  const weights: number[] = [];
  for (let i = pairs.length - 1; i >= 0; i--) {
    const { step, change, curvature } = pairs[i]!;
    weights[i] = dot(step, direction) / curvature;
    addScaled(direction, -weights[i]!, change);
  }
  const last = pairs.at(-1);
  if (last) {
    const scale = last.curvature / dot(last.change, last.change);
    for (let i = 0; i < direction.length; i++) direction[i]! *= scale;
  }
  pairs.forEach(({ step, change, curvature }, i) => {
    addScaled(direction, weights[i]! - dot(change, direction) / curvature, step);
  });
  return direction;
}
