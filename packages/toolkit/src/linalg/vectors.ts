/** ⟨a, b⟩ of two vectors of one length. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** ‖a‖₂. */
export function norm(a: ArrayLike<number>): number {
  return Math.sqrt(dot(a, a));
}

/** ‖a‖_∞, 0 for an empty vector. */
export function maxAbs(a: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]!));
  return largest;
}

/** `y ← y + scale · x`, in place; returns y. */
export function addScaled(y: Float64Array, scale: number, x: ArrayLike<number>): Float64Array {
  for (let i = 0; i < y.length; i++) y[i]! += scale * x[i]!;
  return y;
}

/** a − b as a new vector. */
export function difference(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: a.length }, (_, i) => a[i]! - b[i]!);
}
