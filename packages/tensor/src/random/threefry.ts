/**
 * Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a bijection of
 * two 32-bit words chosen by a key of two words.
 */
export function threefry(
  key0: number,
  key1: number,
  x0: number,
  x1: number,
  out: Uint32Array,
  at: number,
): void {
  const key2 = key0 ^ key1 ^ 0x1bd11bda;
  let a = (x0 + key0) | 0;
  let b = (x1 + key1) | 0;
  for (let group = 0; group < 5; group++) {
    if (group % 2 === 0) {
      a = (a + b) | 0;
      b = ((b << 13) | (b >>> 19)) ^ a;
      a = (a + b) | 0;
      b = ((b << 15) | (b >>> 17)) ^ a;
      a = (a + b) | 0;
      b = ((b << 26) | (b >>> 6)) ^ a;
      a = (a + b) | 0;
      b = ((b << 6) | (b >>> 26)) ^ a;
    } else {
      a = (a + b) | 0;
      b = ((b << 17) | (b >>> 15)) ^ a;
      a = (a + b) | 0;
      b = ((b << 29) | (b >>> 3)) ^ a;
      a = (a + b) | 0;
      b = ((b << 16) | (b >>> 16)) ^ a;
      a = (a + b) | 0;
      b = ((b << 24) | (b >>> 8)) ^ a;
    }
    const next = group % 3;
    const first = next === 0 ? key1 : next === 1 ? key2 : key0;
    const second = next === 0 ? key2 : next === 1 ? key0 : key1;
    a = (a + first) | 0;
    b = (b + second + group + 1) | 0;
  }
  out[at] = a;
  out[at + 1] = b;
}

/** `count` words of the stream of a key; `domain` keeps streams of different uses apart. */
export function randomWords(key0: number, key1: number, count: number, domain = 0): Uint32Array {
  const words = new Uint32Array(count + (count % 2));
  for (let i = 0; i < count; i += 2) threefry(key0, key1, i >>> 1, domain, words, i);
  return words;
}
