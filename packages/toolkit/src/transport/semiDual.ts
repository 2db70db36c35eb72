import { lbfgs, simplexThreshold } from "../convex/index.ts";
import { matrix, transpose } from "../linalg/index.ts";
import { describePlan, requireProblem, type TransportPlan, type TransportProblem } from "./problem.ts";

/**
 * The conjugate of a regularizer on a scaled simplex: `max ⟨s, t⟩ − Ω(t)` over the allowed `t ≥ 0` with `Σ t = mass`.
 *
 * @param scores s, `[m]`.
 * @param column Where the maximizer t goes, `[m]`; it arrives filled with zeros.
 * @returns the maximum.
 */
export type ColumnConjugate = (scores: Float64Array, mass: number, column: Float64Array) => number;

export interface SemiDualOptions {
  /** Norm of the gradient, the error of the source's marginal, at which to stop. Default 1e-7. */
  readonly tolerance?: number;
  /** Default 1,000. */
  readonly maxIterations?: number;
  /** Default zero. */
  readonly start?: Float64Array;
  /** Told the semi-dual objective after every step, with the evaluations so far. */
  readonly onIteration?: (objective: number, evaluations: number) => void;
}

export interface SemiDualPlan extends TransportPlan {
  /** The concave objective `⟨α, a⟩ − Σ_j Ω*_{b_j}(α − c_j)`, a lower bound of the regularized cost. */
  readonly objective: number;
  /** α, `[m]`. */
  readonly alpha: Float64Array;
  readonly evaluations: number;
}

/**
 * Regularized transport through its semi-dual, in the source's potential α alone, by L-BFGS: every column of the plan has
 * its mass exactly, and the gradient is what the rows lack (Blondel, Seguy and Rolet 2018).
 */
export function solveSemiDual(
  problem: TransportProblem,
  conjugate: ColumnConjugate,
  { tolerance = 1e-7, maxIterations = 1000, start, onIteration }: SemiDualOptions = {},
): SemiDualPlan {
  requireProblem("solveSemiDual", problem);
  const { cost, source, target } = problem;
  const { rows: m, columns: n } = cost;
  const byTarget = transpose(cost).values;
  const scores = new Float64Array(m);
  const column = new Float64Array(m);
  const fill = (alpha: Float64Array, j: number): number => {
    for (let i = 0, at = j * m; i < m; i++, at++) scores[i] = alpha[i]! - byTarget[at]!;
    column.fill(0);
    return conjugate(scores, target[j]!, column);
  };
  const negative = (alpha: Float64Array): { value: number; gradient: Float64Array } => {
    let value = 0;
    const gradient = new Float64Array(m);
    for (let i = 0; i < m; i++) {
      value -= alpha[i]! * source[i]!;
      gradient[i] = -source[i]!;
    }
    for (let j = 0; j < n; j++) {
      value += fill(alpha, j);
      for (let i = 0; i < m; i++) gradient[i]! += column[i]!;
    }
    return { value, gradient };
  };
  const result = lbfgs(negative, {
    start: start ?? new Float64Array(m),
    tolerance,
    maxIterations,
    onIteration: ({ value, evaluations }) => {
      onIteration?.(-value, evaluations);
      return false;
    },
  });
  const plan = matrix(m, n);
  for (let j = 0; j < n; j++) {
    fill(result.x, j);
    for (let i = 0; i < m; i++) plan.values[i * n + j] = column[i]!;
  }
  const described = describePlan(problem, plan, {
    iterations: result.iterations,
    converged: result.converged,
  });
  return { ...described, objective: -result.value, alpha: result.x, evaluations: result.evaluations };
}

/**
 * The column conjugate of `½ γ ‖t‖²`: the projection of s/γ on the scaled simplex.
 * @throws RangeError unless γ > 0.
 */
export function quadraticConjugate(gamma: number): ColumnConjugate {
  if (!(gamma > 0)) throw new RangeError(`quadratic regularization: gamma must be positive, got ${gamma}`);
  return (scores, mass, column) => {
    const sorted = scores.slice().sort().reverse();
    const shift = simplexThreshold(sorted, gamma * mass);
    let value = 0;
    for (let i = 0; i < scores.length; i++) {
      const entry = Math.max(0, scores[i]! - shift) / gamma;
      column[i] = entry;
      value += entry * (scores[i]! - 0.5 * gamma * entry);
    }
    return value;
  };
}

/**
 * Transport regularized by `½ γ ‖T‖²`: a smooth semi-dual like entropy's, yet a sparse plan (Blondel, Seguy and Rolet 2018).
 *
 * @throws RangeError unless γ > 0.
 */
export function quadraticTransport(
  problem: TransportProblem,
  { gamma, ...options }: SemiDualOptions & { readonly gamma: number },
): SemiDualPlan {
  return solveSemiDual(problem, quadraticConjugate(gamma), options);
}

/** The unregularized semi-dual `⟨α, a⟩ + Σ_j b_j min_i (C_ij − α_i)`: a lower bound of the cost, tight at the best α. */
export function semiDualValue({ cost, source, target }: TransportProblem, alpha: Float64Array): number {
  let value = 0;
  for (let i = 0; i < source.length; i++) value += alpha[i]! * source[i]!;
  for (let j = 0; j < target.length; j++) {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < source.length; i++)
      least = Math.min(least, cost.values[i * target.length + j]! - alpha[i]!);
    value += target[j]! * least;
  }
  return value;
}
