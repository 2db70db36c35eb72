import { type Shape, type Tensor, tensor } from "../index.ts";

/** Numbers in [0, 1) from a whole number (mulberry32), independent of the engine's own generator. */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * float64 tensors whose elements, taken together, are spread evenly over an interval in random order: no two are close
 * to each other, and none is close to the middle, so that finite differences stay clear of kinks.
 */
export function spreadNumbers(
  shapes: readonly Shape[],
  [low, high]: readonly [number, number],
  seed: number,
): Tensor[] {
  const sizes = shapes.map((s) => s.reduce((a, b) => a * b, 1));
  const total = sizes.reduce((a, b) => a + b, 0);
  const next = generator(seed);
  const values = Array.from({ length: total }, (_, i) => low + ((high - low) * (i + 0.3)) / total);
  for (let i = total - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [values[i], values[j]] = [values[j]!, values[i]!];
  }
  let from = 0;
  return shapes.map((shape, i) => {
    from += sizes[i]!;
    return tensor(Float64Array.from(values.slice(from - sizes[i]!, from)), { shape });
  });
}
