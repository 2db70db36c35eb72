/** Text to token ids and back. */
export interface Tokenizer {
  /** Number of token ids, 0 … vocabulary − 1. */
  readonly vocabulary: number;
  /** @throws RangeError when the text can't be written in this vocabulary. */
  encode(text: string): Int32Array;
  /** @throws RangeError for an id that is no token. */
  decode(tokens: ArrayLike<number>): string;
}

/** @throws RangeError for an id that is no token. */
export function requireTokens(name: string, tokens: ArrayLike<number>, vocabulary: number): void {
  for (let i = 0; i < tokens.length; i++) {
    const id = tokens[i]!;
    if (!(Number.isInteger(id) && id >= 0 && id < vocabulary))
      throw new RangeError(`${name}: ${id} at ${i} is not one of ${vocabulary} tokens`);
  }
}
