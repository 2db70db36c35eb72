import {
  addScaled,
  choleskyFactor,
  choleskySolve,
  dot,
  type LinearOperator,
  matrix,
  norm,
} from "@prior-art/toolkit/linalg";

export interface L2LqOptions {
  /** K. */
  readonly forward: LinearOperator;
  /** y. */
  readonly data: Float64Array;
  /** L, whose output is to be sparse. */
  readonly penalty: LinearOperator;
  /** q in (0, 2]. Default 1. */
  readonly q?: number;
  /** ε > 0 in the smoothed `|t|^q ≈ (t² + ε²)^(q/2)`, in units of L x. Default 1e-3. */
  readonly epsilon?: number;
  /** Weight α of the penalty; without it, δ is needed. */
  readonly alpha?: number;
  /** δ: α is chosen so that `‖K x − y‖ = τ δ` (discrepancy principle). */
  readonly noiseNorm?: number;
  /** τ > 1. Default 1.01. */
  readonly tau?: number;
  /** Relative change of x at which to stop. Default 1e-4. */
  readonly tolerance?: number;
  /** Default 200. */
  readonly maxIterations?: number;
  /** Size of the basis at which it is restarted. Default 30. */
  readonly restart?: number;
}

export interface L2LqResult {
  readonly x: Float64Array;
  /** The weight in force at the end. */
  readonly alpha: number;
  /** ‖K x − y‖. */
  readonly residual: number;
  readonly iterations: number;
  readonly converged: boolean;
  /** `½ ‖K x − y‖² + (α/q) Σ ((L x)² + ε²)^(q/2)` after each iteration. */
  readonly objective: readonly number[];
}

/**
 * Minimizes `½ ‖K x − y‖² + (α/q) ‖L x‖_q^q` by majorization in a generalized Krylov space (Huang, Lanza, Morigi, Reichel and
 * Sgallari 2017, adaptive majorant): each iteration weighs the penalty as least squares at the last x, solves in the span of the
 * basis, and adds the residual of the normal equations to it.
 *
 * @throws RangeError when neither α nor δ is given, or a parameter is out of range.
 */
export function l2lq({
  forward,
  data,
  penalty,
  q = 1,
  epsilon = 1e-3,
  alpha: fixed,
  noiseNorm,
  tau = 1.01,
  tolerance = 1e-4,
  maxIterations = 200,
  restart = 30,
}: L2LqOptions): L2LqResult {
  if (fixed === undefined && noiseNorm === undefined)
    throw new RangeError("l2lq: needs alpha, or noiseNorm to choose it by");
  if (!(q > 0 && q <= 2 && epsilon > 0))
    throw new RangeError(`l2lq: needs 0 < q ≤ 2 and epsilon > 0, got ${q}, ${epsilon}`);
  let basis: Float64Array[] = [];
  let projected: Float64Array[] = [];
  let penalized: Float64Array[] = [];
  const extend = (vector: Float64Array): boolean => {
    const direction = vector.slice();
    const before = norm(direction);
    // Twice is enough to stay orthogonal.
    for (let pass = 0; pass < 2; pass++) for (const v of basis) addScaled(direction, -dot(v, direction), v);
    const length = norm(direction);
    if (!(length > 1e-12 * before)) return false;
    const unit = direction.map((value) => value / length);
    basis.push(unit);
    projected.push(forward.apply(unit));
    penalized.push(penalty.apply(unit));
    return true;
  };
  extend(forward.applyTransposed(data));
  let x: Float64Array = new Float64Array(forward.columns);
  let u: Float64Array = new Float64Array(penalty.rows);
  let alpha = fixed ?? 0;
  let residual = norm(data);
  const objective: number[] = [];
  const dataSquare = dot(data, data);
  for (let iterations = 1; ; iterations++) {
    const weights = u.map((value) => (value * value + epsilon * epsilon) ** (q / 2 - 1));
    const k = basis.length;
    const normal = grams(projected);
    const weighted = grams(penalized, weights);
    const right = Float64Array.from(projected, (column) => dot(column, data));
    const solve = (eta: number): Float64Array => {
      const system = matrix(
        k,
        k,
        normal.map((value, i) => value + eta * weighted[i]!),
      );
      for (let i = 0; i < k; i++) system.values[i * (k + 1)]! *= 1 + 1e-13;
      return choleskySolve(choleskyFactor(system), right);
    };
    const misfit = (y: Float64Array): number => {
      let square = dataSquare - 2 * dot(right, y);
      for (let i = 0; i < k; i++) for (let j = 0; j < k; j++) square += y[i]! * normal[i * k + j]! * y[j]!;
      return Math.sqrt(Math.max(0, square));
    };
    if (fixed === undefined)
      alpha = discrepancy((eta) => misfit(solve(eta)), tau * noiseNorm!, normal, weighted);
    const y = solve(alpha);
    const old = x;
    x = combine(basis, y, forward.columns);
    u = combine(penalized, y, penalty.rows);
    const image = combine(projected, y, forward.rows);
    const difference = image.map((value, i) => value - data[i]!);
    residual = norm(difference);
    objective.push(
      0.5 * residual ** 2 +
        (alpha / q) * u.reduce((sum, value) => sum + (value * value + epsilon * epsilon) ** (q / 2), 0),
    );
    const change = norm(x.map((value, i) => value - old[i]!)) / Math.max(norm(x), Number.MIN_VALUE);
    // A single direction cannot change much; the basis must have had a chance to grow.
    const converged = change <= tolerance && iterations > 5;
    if (converged || iterations >= maxIterations)
      return { x, alpha, residual, iterations, converged, objective };
    if (basis.length >= restart) {
      [basis, projected, penalized] = [[], [], []];
      extend(x);
    }
    const gradient = addScaled(
      forward.applyTransposed(difference),
      alpha,
      penalty.applyTransposed(u.map((value) => value * (value * value + epsilon * epsilon) ** (q / 2 - 1))),
    );
    extend(gradient);
  }
}

/** The weight at which the misfit is the target, by bisection on its logarithm; the misfit grows with the weight. */
function discrepancy(
  misfit: (eta: number) => number,
  target: number,
  normal: Float64Array,
  weighted: Float64Array,
): number {
  const k = Math.round(Math.sqrt(normal.length));
  let [size, scale] = [0, 0];
  for (let i = 0; i < k; i++) {
    size += normal[i * (k + 1)]!;
    scale += weighted[i * (k + 1)]!;
  }
  const middle = Math.log(size / Math.max(scale, Number.MIN_VALUE));
  let [low, high] = [middle - 25, middle + 15];
  // A basis that cannot reach the target gets as little penalty as there is.
  if (misfit(Math.exp(low)) >= target) return Math.exp(low);
  if (misfit(Math.exp(high)) <= target) return Math.exp(high);
  for (let step = 0; step < 40; step++) {
    const at = (low + high) / 2;
    if (misfit(Math.exp(at)) < target) low = at;
    else high = at;
  }
  return Math.exp((low + high) / 2);
}

/** ⟨v_i, w v_j⟩ of all pairs, row-major. */
function grams(vectors: readonly Float64Array[], weights?: Float64Array): Float64Array {
  const k = vectors.length;
  const result = new Float64Array(k * k);
  vectors.forEach((v, i) => {
    const scaled = weights ? v.map((value, at) => value * weights[at]!) : v;
    for (let j = 0; j <= i; j++) {
      const product = dot(scaled, vectors[j]!);
      result[i * k + j] = product;
      result[j * k + i] = product;
    }
  });
  return result;
}

function combine(vectors: readonly Float64Array[], weights: Float64Array, size: number): Float64Array {
  const sum = new Float64Array(size);
  vectors.forEach((v, i) => {
    addScaled(sum, weights[i]!, v);
  });
  return sum;
}
