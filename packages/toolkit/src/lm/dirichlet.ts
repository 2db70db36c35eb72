import type { RandomStream } from "../stats/index.ts";

/** A gamma variate of unit scale (Marsaglia & Tsang, 2000; shapes below 1 by Stuart's power of a uniform). */
function gamma(stream: RandomStream, shape: number): number {
  if (shape < 1) return gamma(stream, shape + 1) * (1 - stream.uniform()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = stream.normal();
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - stream.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** A draw from the symmetric Dirichlet distribution. @throws RangeError unless the concentration is positive. */
export function dirichlet(stream: RandomStream, size: number, concentration: number): Float64Array {
  if (!(concentration > 0))
    throw new RangeError(`dirichlet: the concentration is positive, got ${concentration}`);
  const draws = Float64Array.from({ length: size }, () => gamma(stream, concentration));
  const total = draws.reduce((sum, x) => sum + x, 0);
  // All draws of a tiny concentration may underflow; its limit is one random corner of the simplex.
  if (!(total > 0)) {
    const corner = stream.integer(size);
    return draws.map((_, i) => (i === corner ? 1 : 0));
  }
  return draws.map((x) => x / total);
}
