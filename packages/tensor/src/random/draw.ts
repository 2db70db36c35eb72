import { allocate, type DType, type TypedArray } from "../dtype.ts";
import { randomWords } from "./threefry.ts";

export type Distribution = "uniform" | "normal" | "gumbel" | "randint" | "permutation";

export interface DrawAttrs {
  readonly distribution: Distribution;
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** For `randint`: values are in `[low, high)`. */
  readonly low?: number;
  readonly high?: number;
}

const UNIT32 = 2 ** -24;
const UNIT64 = 2 ** -53;

/** Uniform numbers in (0, 1) as doubles, one word each for float32, two for float64. */
function fillUniform(
  out: TypedArray,
  at: number,
  count: number,
  k0: number,
  k1: number,
  open: boolean,
): void {
  if (out instanceof Float64Array) {
    const words = randomWords(k0, k1, 2 * count);
    for (let i = 0; i < count; i++) {
      const bits = (words[2 * i]! >>> 5) * 67108864 + (words[2 * i + 1]! >>> 6);
      out[at + i] = (bits + (open ? 0.5 : 0)) * UNIT64;
    }
    return;
  }
  const words = randomWords(k0, k1, count);
  for (let i = 0; i < count; i++) out[at + i] = ((words[i]! >>> 8) + (open ? 0.5 : 0)) * UNIT32;
}

function fillNormal(out: TypedArray, at: number, count: number, k0: number, k1: number): void {
  const pairs = Math.ceil(count / 2);
  const words = randomWords(k0, k1, 4 * pairs);
  for (let p = 0; p < pairs; p++) {
    const u = ((words[4 * p]! >>> 5) * 67108864 + (words[4 * p + 1]! >>> 6) + 0.5) * UNIT64;
    const v = ((words[4 * p + 2]! >>> 5) * 67108864 + (words[4 * p + 3]! >>> 6)) * UNIT64;
    const radius = Math.sqrt(-2 * Math.log(u));
    out[at + 2 * p] = radius * Math.cos(2 * Math.PI * v);
    if (2 * p + 1 < count) out[at + 2 * p + 1] = radius * Math.sin(2 * Math.PI * v);
  }
}

/** A whole number in [0, n) from two words, without measurable bias. */
const below = (n: number, high: number, low: number): number =>
  Math.floor(((high >>> 5) * 67108864 + (low >>> 6)) * UNIT64 * n);

function fillPermutation(out: TypedArray, at: number, count: number, k0: number, k1: number): void {
  const words = randomWords(k0, k1, 2 * count);
  for (let i = 0; i < count; i++) out[at + i] = i;
  for (let i = count - 1; i > 0; i--) {
    const j = below(i + 1, words[2 * i]!, words[2 * i + 1]!);
    const held = out[at + i]!;
    out[at + i] = out[at + j]!;
    out[at + j] = held;
  }
}

/** Draws for each of `keys` (two words each), one after the other. */
export function draw(keys: Uint32Array, attrs: DrawAttrs): TypedArray {
  const count = attrs.shape.reduce((product, n) => product * n, 1);
  const out = allocate(attrs.dtype, (keys.length / 2) * count);
  for (let k = 0; k < keys.length / 2; k++) {
    const k0 = keys[2 * k]!;
    const k1 = keys[2 * k + 1]!;
    const at = k * count;
    if (attrs.distribution === "uniform") fillUniform(out, at, count, k0, k1, false);
    else if (attrs.distribution === "normal") fillNormal(out, at, count, k0, k1);
    else if (attrs.distribution === "gumbel") {
      fillUniform(out, at, count, k0, k1, true);
      for (let i = at; i < at + count; i++) out[i] = -Math.log(-Math.log(out[i]!));
    } else if (attrs.distribution === "randint") {
      const words = randomWords(k0, k1, 2 * count);
      const span = attrs.high! - attrs.low!;
      for (let i = 0; i < count; i++)
        out[at + i] = attrs.low! + below(span, words[2 * i]!, words[2 * i + 1]!);
    } else fillPermutation(out, at, count, k0, k1);
  }
  return out;
}
