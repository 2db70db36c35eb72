import { characterTokenizer } from "../tokenizers/character.ts";
import type { VerifiableTask } from "./task.ts";

export interface SortingOptions {
  /** Letters to sort. */
  readonly length: number;
  /** Different letters, from a on; at most 26. */
  readonly letters: number;
}

/** `"cabb>"` → `"abbc"`. @throws RangeError for counts out of range. */
export function sortingTask({ length, letters }: SortingOptions): VerifiableTask {
  if (
    !(Number.isInteger(length) && length >= 1 && Number.isInteger(letters) && letters >= 2 && letters <= 26)
  )
    throw new RangeError(`sortingTask: takes a length of at least 1 and 2 to 26 letters`);
  const alphabet = "abcdefghijklmnopqrstuvwxyz".slice(0, letters);
  const solve = (prompt: string): string => [...prompt.slice(0, -1)].sort().join("");
  return {
    tokenizer: characterTokenizer(`${alphabet}>.`),
    end: ".",
    promptLength: length + 1,
    answerLength: length,
    generate(stream) {
      const prompt = `${Array.from({ length }, () => alphabet[stream.integer(letters)]).join("")}>`;
      return { prompt, answer: solve(prompt) };
    },
    verify: (prompt, completion) => completion === solve(prompt),
  };
}
