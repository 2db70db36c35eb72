import { difference, dot } from "../linalg/index.ts";

export interface AcceleratedOptions {
  /** The smooth part's value and gradient. */
  readonly smooth: (x: Float64Array) => { readonly value: number; readonly gradient: Float64Array };
  /** argmin_z ½‖z − x‖² + step g(z) of the other part g. Default: none. */
  readonly prox?: (x: Float64Array, step: number) => Float64Array;
  readonly start: Float64Array;
  /** First guess of the gradient's Lipschitz constant, doubled wherever it proves too small. Default 1. */
  readonly lipschitz?: number;
  readonly maxIterations: number;
  /** Stops when no coordinate moved by more than this times max(1, largest coordinate). Default 1e-10. */
  readonly tolerance?: number;
  /** Nesterov's momentum (default), forgotten whenever it points uphill; `false` is plain proximal gradient. */
  readonly momentum?: boolean;
}

export interface AcceleratedResult {
  readonly x: Float64Array;
  readonly iterations: number;
  readonly converged: boolean;
  /** The Lipschitz constant that sufficed. */
  readonly lipschitz: number;
}

/**
 * Minimizes a smooth convex function plus one with a proximal operator: FISTA (Beck and Teboulle 2009) with
 * backtracking and the gradient restart of O'Donoghue and Candès (2015).
 */
export function acceleratedProximalGradient({
  smooth,
  prox = (x) => x,
  start,
  lipschitz = 1,
  maxIterations,
  tolerance = 1e-10,
  momentum = true,
}: AcceleratedOptions): AcceleratedResult {
  let x: Float64Array = start.slice();
  let y: Float64Array = start.slice();
  let t = 1;
  let constant = lipschitz;
  for (let iterations = 1; iterations <= maxIterations; iterations++) {
    const { value, gradient } = smooth(y);
    let next: Float64Array;
    let step: Float64Array;
    for (;;) {
      next = prox(
        y.map((v, i) => v - gradient[i]! / constant),
        1 / constant,
      );
      step = difference(next, y);
      const bound = value + dot(gradient, step) + 0.5 * constant * dot(step, step);
      // Rounding of the values must not double the constant for ever.
      if (smooth(next).value <= bound + 1e-12 * Math.abs(value)) break;
      constant *= 2;
    }
    const move = difference(next, x);
    const scale = next.reduce((largest, v) => Math.max(largest, Math.abs(v)), 1);
    const settled = move.every((v) => Math.abs(v) <= tolerance * scale);
    if (!momentum || dot(step, move) < 0) t = 1;
    const following = momentum ? (1 + Math.sqrt(1 + 4 * t * t)) / 2 : 1;
    y = next.map((v, i) => v + ((t - 1) / following) * move[i]!);
    t = following;
    x = next;
    if (settled) return { x, iterations, converged: true, lipschitz: constant };
  }
  return { x, iterations: maxIterations, converged: false, lipschitz: constant };
}
