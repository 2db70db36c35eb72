import { type Matrix, matrix } from "../linalg/index.ts";

/** Move the source's mass to the target's at least cost. */
export interface TransportProblem {
  /** C, `[m, n]`: cost of moving a unit from source i to target j. */
  readonly cost: Matrix;
  /** a, `[m]`, positive, adding up to the target's mass. */
  readonly source: Float64Array;
  /** b, `[n]`, positive. */
  readonly target: Float64Array;
}

/** A plan with how it was found. */
export interface TransportPlan {
  /** T, `[m, n]`, not negative. */
  readonly plan: Matrix;
  /** ⟨T, C⟩, without any regularization. */
  readonly cost: number;
  /** ‖T1 − a‖₁ + ‖Tᵀ1 − b‖₁. */
  readonly marginalError: number;
  readonly iterations: number;
  readonly converged: boolean;
  /** Dual variables, where the method has them: `[m]` and `[n]`. */
  readonly potentials?: { readonly source: Float64Array; readonly target: Float64Array };
}

/** The family's interface. */
export type TransportSolver = (problem: TransportProblem) => TransportPlan;

/**
 * The problem between two clouds of points under the squared Euclidean distance, with equal masses unless given.
 *
 * @param x `[m, dimensions]`.
 * @param y `[n, dimensions]`.
 */
export function pointProblem(
  x: Matrix,
  y: Matrix,
  masses: { readonly source?: Float64Array; readonly target?: Float64Array } = {},
): TransportProblem {
  return {
    cost: squaredDistances(x, y),
    source: masses.source ?? new Float64Array(x.rows).fill(1 / x.rows),
    target: masses.target ?? new Float64Array(y.rows).fill(1 / y.rows),
  };
}

/**
 * ‖x_i − y_j‖² of all pairs, `[m, n]`.
 * @throws RangeError when the dimensions differ.
 */
export function squaredDistances(x: Matrix, y: Matrix): Matrix {
  if (x.columns !== y.columns)
    throw new RangeError(`squaredDistances: points of ${x.columns} and ${y.columns} dimensions`);
  const d = x.columns;
  const result = matrix(x.rows, y.rows);
  for (let i = 0; i < x.rows; i++)
    for (let j = 0; j < y.rows; j++) {
      let sum = 0;
      for (let k = 0; k < d; k++) sum += (x.values[i * d + k]! - y.values[j * d + k]!) ** 2;
      result.values[i * y.rows + j] = sum;
    }
  return result;
}

/**
 * Throws a RangeError unless sizes fit, masses are positive and equal in sum (to 1e-9), and costs are finite.
 */
export function requireProblem(name: string, { cost, source, target }: TransportProblem): void {
  if (source.length !== cost.rows || target.length !== cost.columns)
    throw new RangeError(
      `${name}: costs of ${cost.rows} × ${cost.columns} for ${source.length} sources and ${target.length} targets`,
    );
  if (!(source.every((mass) => mass > 0) && target.every((mass) => mass > 0)))
    throw new RangeError(`${name}: masses must be positive`);
  const [from, to] = [total(source), total(target)];
  if (!(Math.abs(from - to) <= 1e-9 * Math.max(from, to)))
    throw new RangeError(`${name}: the source's mass is ${from}, the target's ${to}`);
  if (!cost.values.every(Number.isFinite)) throw new RangeError(`${name}: costs must be finite`);
}

/** A plan's cost and marginal error, with what else is known of it. */
export function describePlan(
  { cost, source, target }: TransportProblem,
  plan: Matrix,
  rest: Omit<TransportPlan, "plan" | "cost" | "marginalError">,
): TransportPlan {
  const { rows: m, columns: n } = plan;
  const left = source.slice();
  const missing = target.slice();
  let total = 0;
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      const mass = plan.values[i * n + j]!;
      if (mass === 0) continue;
      total += mass * cost.values[i * n + j]!;
      left[i]! -= mass;
      missing[j]! -= mass;
    }
  const error =
    left.reduce((sum, v) => sum + Math.abs(v), 0) + missing.reduce((sum, v) => sum + Math.abs(v), 0);
  return { plan, cost: total, marginalError: error, ...rest };
}

/** Number of entries of a plan above `threshold`. Default 0. */
export function countNonzeros(plan: Matrix, threshold = 0): number {
  return plan.values.reduce((count, mass) => count + (mass > threshold ? 1 : 0), 0);
}

/**
 * A plan of the same support or wider whose marginals are exact, by Altschuler, Weed and Rigollet's (2017) rounding: scales rows
 * and columns down to their masses and spreads what is left as a product.
 */
export function roundToMarginals({ source, target }: TransportProblem, plan: Matrix): Matrix {
  const { rows: m, columns: n } = plan;
  const rounded = matrix(m, n, plan.values.slice());
  const scale = (sums: Float64Array, masses: Float64Array): Float64Array =>
    sums.map((sum, i) => (sum > masses[i]! ? masses[i]! / sum : 1));
  const rows = scale(rowSums(rounded), source);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) rounded.values[i * n + j]! *= rows[i]!;
  const columns = scale(columnSums(rounded), target);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) rounded.values[i * n + j]! *= columns[j]!;
  const left = rowSums(rounded).map((sum, i) => Math.max(0, source[i]! - sum));
  const missing = columnSums(rounded).map((sum, j) => Math.max(0, target[j]! - sum));
  const mass = total(left);
  if (mass > 0)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) rounded.values[i * n + j]! += (left[i]! * missing[j]!) / mass;
  return rounded;
}

function rowSums({ rows, columns, values }: Matrix): Float64Array {
  return Float64Array.from({ length: rows }, (_, i) =>
    total(values.subarray(i * columns, (i + 1) * columns)),
  );
}

function columnSums({ rows, columns, values }: Matrix): Float64Array {
  const sums = new Float64Array(columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) sums[j]! += values[i * columns + j]!;
  return sums;
}

function total(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0);
}
