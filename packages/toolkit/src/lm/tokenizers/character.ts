import { requireTokens, type Tokenizer } from "./tokenizer.ts";

export interface CharacterTokenizer extends Tokenizer {
  /** The characters in the order of their ids. */
  readonly characters: readonly string[];
  /** Id of one character. @throws RangeError when it is not in the alphabet. */
  id(character: string): number;
}

/**
 * One token a character (a Unicode code point).
 * @param alphabet all characters, or a text that holds them; ids follow the order of first appearance.
 * @throws RangeError for an empty alphabet.
 * @example
 * const tokenizer = characterTokenizer("0123456789+=.");
 * tokenizer.encode("1+1="); // Int32Array [1, 10, 1, 11]
 */
export function characterTokenizer(alphabet: string): CharacterTokenizer {
  const characters = [...new Set(alphabet)];
  if (characters.length === 0) throw new RangeError("characterTokenizer: the alphabet is empty");
  const ids = new Map(characters.map((c, i) => [c, i]));
  const id = (character: string): number => {
    const found = ids.get(character);
    if (found === undefined)
      throw new RangeError(`characterTokenizer: ${JSON.stringify(character)} is not in the alphabet`);
    return found;
  };
  return {
    vocabulary: characters.length,
    characters,
    id,
    encode: (text) => Int32Array.from([...text], id),
    decode(tokens) {
      requireTokens("characterTokenizer", tokens, characters.length);
      return Array.from(tokens, (t) => characters[t]!).join("");
    },
  };
}
