import { norm } from "../linalg/index.ts";

/**
 * The nearest point of the simplex `{z ≥ 0, Σ z = total}`, by sorting: `z = (x − τ)₊`.
 *
 * @throws RangeError unless the total is positive and there is an entry.
 */
export function projectSimplex(x: ArrayLike<number>, total = 1): Float64Array {
  if (!(total > 0)) throw new RangeError(`projectSimplex: total must be positive, got ${total}`);
  if (x.length === 0) throw new RangeError("projectSimplex: needs at least one entry");
  const shift = simplexThreshold(Float64Array.from(x).sort().reverse(), total);
  return Float64Array.from(x, (value) => Math.max(0, value - shift));
}

/** τ with Σ (x − τ)₊ = total, for x in decreasing order. */
export function simplexThreshold(decreasing: ArrayLike<number>, total: number): number {
  let sum = 0;
  let threshold = 0;
  for (let k = 0; k < decreasing.length; k++) {
    const value = decreasing[k]!;
    if (k > 0 && value <= threshold) break;
    sum += value;
    threshold = (sum - total) / (k + 1);
  }
  return threshold;
}

/** The nearest point with ‖z‖₁ ≤ radius. */
export function projectL1Ball(x: ArrayLike<number>, radius = 1): Float64Array {
  const sizes = Float64Array.from(x, Math.abs);
  if (sizes.reduce((sum, size) => sum + size, 0) <= radius) return Float64Array.from(x);
  const projected = projectSimplex(sizes, radius);
  return projected.map((size, i) => (x[i]! < 0 && size > 0 ? -size : size));
}

/** The nearest point with ‖z‖₂ ≤ radius. */
export function projectL2Ball(x: ArrayLike<number>, radius = 1): Float64Array {
  const length = norm(x);
  const scale = length > radius ? radius / length : 1;
  return Float64Array.from(x, (value) => scale * value);
}

/** The nearest point with low ≤ z ≤ high, entry by entry. */
export function projectBox(x: ArrayLike<number>, low: number, high: number): Float64Array {
  return Float64Array.from(x, (value) => Math.min(high, Math.max(low, value)));
}
