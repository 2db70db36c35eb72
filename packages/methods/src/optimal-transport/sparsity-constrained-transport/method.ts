import { lbfgs, simplexThreshold } from "@prior-art/toolkit/convex";
import { type Matrix, matrix, transpose } from "@prior-art/toolkit/linalg";
import {
  type ColumnConjugate,
  describePlan,
  requireProblem,
  type SemiDualOptions,
  type SemiDualPlan,
  solveSemiDual,
  type TransportProblem,
  type TransportSolver,
} from "@prior-art/toolkit/transport";

export interface SparsityConstraint {
  /** k ≥ 1: the most entries of a column of the plan that may be non-zero. */
  readonly k: number;
  /** γ > 0: weight of `½ ‖T‖²`, in units of cost. */
  readonly gamma: number;
}

export interface SparseTransportOptions extends SparsityConstraint, SemiDualOptions {
  /**
   * Which concave problem is solved: in the source's potential alone (default), where every column has its mass exactly, or
   * in both potentials, where neither marginal does before convergence.
   */
  readonly formulation?: "semi-dual" | "dual";
}

export interface SparsePlan extends SemiDualPlan {
  /** Columns at whose end the k-th and the next score tie, so that the plan is one of several candidates. */
  readonly ties: number;
}

/**
 * The conjugate of `Ω(t) = ½ γ ‖t‖²` over `t ≥ 0` with at most k non-zeros: `(1/2γ) Σ_{i ≤ k} [s]₊²_(i)`; the maximizer keeps
 * the k largest scores, `[s]₊/γ`. For the dual.
 *
 * @throws RangeError unless k is a whole number of at least 1 and γ > 0.
 */
export function topKConjugate(
  constraint: SparsityConstraint,
): (scores: Float64Array, column: Float64Array) => number {
  requireConstraint(constraint);
  const { k, gamma } = constraint;
  return (scores, column) => {
    let value = 0;
    for (const i of largest(scores, k)) {
      const entry = Math.max(0, scores[i]!) / gamma;
      column[i] = entry;
      value += 0.5 * gamma * entry * entry;
    }
    return value;
  };
}

/**
 * The same conjugate with the mass fixed too, over the scaled simplex: the maximizer is the projection of the k largest scores
 * over γ on it. For the semi-dual.
 *
 * @throws RangeError unless k is a whole number of at least 1 and γ > 0.
 */
export function topKSimplexConjugate(constraint: SparsityConstraint): ColumnConjugate {
  requireConstraint(constraint);
  const { k, gamma } = constraint;
  return (scores, mass, column) => {
    const kept = largest(scores, k);
    const shift = simplexThreshold(
      Float64Array.from(kept, (i) => scores[i]!),
      gamma * mass,
    );
    let value = 0;
    for (const i of kept) {
      const entry = Math.max(0, scores[i]! - shift) / gamma;
      column[i] = entry;
      value += entry * (scores[i]! - 0.5 * gamma * entry);
    }
    return value;
  };
}

/**
 * Transport with at most k non-zeros in every column of the plan, regularized by `½ γ ‖T‖²`.
 *
 * The constraint is not convex, but the dual and the semi-dual are concave and solved here by L-BFGS. Their optimum is that of
 * the convexified problem, with the squared k-support norm in place of Ω; where the plan recovered from it has the right
 * marginals (`marginalError` near zero), it is optimal for the constrained problem itself, since its columns have at most k
 * non-zeros and on those both regularizers agree. Ties at the k-th score (`ties`) are where this can fail.
 *
 * The limits: k = 1 is unregularized transport up to the constant `½ γ ‖b‖²` (semi-dual), k = m quadratic regularization.
 *
 * @throws RangeError unless k is a whole number of at least 1, γ > 0 and the problem fits together.
 */
export function sparseTransport(problem: TransportProblem, options: SparseTransportOptions): SparsePlan {
  const { formulation = "semi-dual" } = options;
  const found =
    formulation === "dual"
      ? solveDual(problem, options)
      : solveSemiDual(problem, topKSimplexConjugate(options), options);
  return { ...found, ties: countTies(problem, found.plan, found.alpha, options) };
}

/** The family's interface. */
export function sparseTransportSolver(options: SparseTransportOptions): TransportSolver {
  return (problem) => sparseTransport(problem, options);
}

/** Maximizes `⟨α, a⟩ + ⟨β, b⟩ − Σ_j Ω*(α + β_j − c_j)` over both potentials. */
function solveDual(
  problem: TransportProblem,
  { tolerance = 1e-7, maxIterations = 1000, start, onIteration, ...constraint }: SparseTransportOptions,
): SemiDualPlan {
  requireProblem("sparseTransport", problem);
  const conjugate = topKConjugate(constraint);
  const { cost, source, target } = problem;
  const { rows: m, columns: n } = cost;
  const byTarget = transpose(cost).values;
  const scores = new Float64Array(m);
  const column = new Float64Array(m);
  const fill = (x: Float64Array, j: number): number => {
    for (let i = 0, at = j * m; i < m; i++, at++) scores[i] = x[i]! + x[m + j]! - byTarget[at]!;
    column.fill(0);
    return conjugate(scores, column);
  };
  const result = lbfgs(
    (x) => {
      const gradient = Float64Array.from([...source, ...target], (mass) => -mass);
      let value = gradient.reduce((sum, g, i) => sum + g * x[i]!, 0);
      for (let j = 0; j < n; j++) {
        value += fill(x, j);
        for (let i = 0; i < m; i++) {
          gradient[i]! += column[i]!;
          gradient[m + j]! += column[i]!;
        }
      }
      return { value, gradient };
    },
    {
      start: start ?? new Float64Array(m + n),
      tolerance,
      maxIterations,
      onIteration: ({ value, evaluations }) => {
        onIteration?.(-value, evaluations);
        return false;
      },
    },
  );
  const plan = matrix(m, n);
  for (let j = 0; j < n; j++) {
    fill(result.x, j);
    for (let i = 0; i < m; i++) plan.values[i * n + j] = column[i]!;
  }
  const { iterations, converged, evaluations } = result;
  return {
    ...describePlan(problem, plan, { iterations, converged }),
    objective: -result.value,
    alpha: result.x.slice(0, m),
    evaluations,
  };
}

/** Columns with k non-zeros whose smallest score is also that of an entry left out. */
function countTies(
  { cost, target }: TransportProblem,
  plan: Matrix,
  alpha: Float64Array,
  { k, gamma }: SparsityConstraint,
): number {
  const { rows: m, columns: n } = cost;
  let ties = 0;
  for (let j = 0; j < n; j++) {
    let least = Number.POSITIVE_INFINITY;
    let excluded = Number.NEGATIVE_INFINITY;
    let kept = 0;
    for (let i = 0; i < m; i++) {
      const score = alpha[i]! - cost.values[i * n + j]!;
      if (plan.values[i * n + j]! > 0) {
        kept++;
        least = Math.min(least, score);
      } else excluded = Math.max(excluded, score);
    }
    if (kept === k && excluded >= least - 1e-6 * gamma * target[j]!) ties++;
  }
  return ties;
}

/** Indices of the k largest scores, by decreasing score; of equal scores the first. */
function largest(scores: Float64Array, k: number): number[] {
  if (k >= scores.length) return [...scores.keys()].sort((i, j) => scores[j]! - scores[i]! || i - j);
  const best: number[] = [];
  for (let i = 0; i < scores.length; i++) {
    if (best.length === k && !(scores[i]! > scores[best[k - 1]!]!)) continue;
    let at = Math.min(best.length, k - 1);
    for (; at > 0 && scores[i]! > scores[best[at - 1]!]!; at--) best[at] = best[at - 1]!;
    best[at] = i;
  }
  return best;
}

function requireConstraint({ k, gamma }: SparsityConstraint): void {
  if (!(Number.isInteger(k) && k >= 1))
    throw new RangeError(`sparse transport: k must be a whole number of at least 1, got ${k}`);
  if (!(gamma > 0)) throw new RangeError(`sparse transport: gamma must be positive, got ${gamma}`);
}
