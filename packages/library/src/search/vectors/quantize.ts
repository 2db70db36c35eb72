const LARGEST_CODE = 127;

/**
 * Rounds a vector to 8-bit codes, the largest component to ±127.
 *
 * Only the direction is kept, which is all that a cosine needs. The codes are what is stored and compared, so every
 * way of searching them gives the same answer to the last bit.
 */
export function quantize(vector: Float32Array): Int8Array {
  let largest = 0;
  for (const component of vector) largest = Math.max(largest, Math.abs(component));
  if (largest === 0 || !Number.isFinite(largest)) return new Int8Array(vector.length);
  return Int8Array.from(vector, (component) => Math.round((component / largest) * LARGEST_CODE));
}

/** Euclidean length of a code vector. */
export function codeLength(codes: Int8Array): number {
  let sum = 0;
  for (const code of codes) sum += code * code;
  return Math.sqrt(sum);
}
