import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { mersenne } from "pure-rand/generator/mersenne";

/** A seeded stream of pseudo-random numbers (MT19937): the same seed and stream, the same numbers anywhere. */
export interface RandomStream {
  /** Uniform in [0, 1) with 53 random bits. */
  uniform(): number;
  /** Standard normal. */
  normal(): number;
  /** Uniform whole number in [0, n). */
  integer(n: number): number;
  /** A uniformly random ordering of 0 … n − 1. */
  permutation(n: number): Int32Array;
}

/**
 * Opens the stream called `stream` of `seed`; differently named streams of one seed are unrelated.
 *
 * @throws RangeError when the seed is not a safe integer.
 */
export function randomStream(seed: number, stream = ""): RandomStream {
  if (!Number.isSafeInteger(seed)) throw new RangeError(`seed must be a whole number, got ${seed}`);
  const generator = mersenne(hash(`${seed}/${stream}`));
  const integer = (n: number) => uniformInt(generator, 0, n - 1);
  const uniform = () => uniformFloat64(generator);
  return {
    uniform,
    // Box and Muller's transform; 1 − u keeps the logarithm away from zero.
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    integer,
    permutation(n) {
      const order = Int32Array.from({ length: n }, (_, i) => i);
      for (let i = n - 1; i > 0; i--) {
        const j = integer(i + 1);
        [order[i], order[j]] = [order[j]!, order[i]!];
      }
      return order;
    },
  };
}

/** FNV-1a followed by MurmurHash3's finalizer, so that neighbouring seeds start far apart. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
