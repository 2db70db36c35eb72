/** ⟨a, b⟩ of two vectors of one length. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const n = a.length;
  // Four sums at a time: one alone waits for the addition before it.
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 3 < n; i += 4) {
    s0 += a[i]! * b[i]!;
    s1 += a[i + 1]! * b[i + 1]!;
    s2 += a[i + 2]! * b[i + 2]!;
    s3 += a[i + 3]! * b[i + 3]!;
  }
  for (; i < n; i++) s0 += a[i]! * b[i]!;
  return s0 + s1 + (s2 + s3);
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
