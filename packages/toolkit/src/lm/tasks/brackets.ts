import { characterTokenizer } from "../tokenizers/character.ts";
import type { VerifiableTask } from "./task.ts";

const CLOSING: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };
const OPENING = Object.keys(CLOSING);

export interface BracketOptions {
  /** Brackets in the prompt. */
  readonly length: number;
  /** Different pairs, 1 to 3. */
  readonly pairs: number;
  /** Characters that an answer may use besides those it needs, 0 by default: then the answer is unique. */
  readonly slack?: number;
}

/**
 * `"([]{|"` → `"})"`: what closes all open brackets. With slack, answers that open more and close them again are right
 * too. @throws RangeError for counts out of range.
 */
export function bracketTask({ length, pairs, slack = 0 }: BracketOptions): VerifiableTask {
  if (!(Number.isInteger(length) && length >= 1 && [1, 2, 3].includes(pairs) && slack >= 0))
    throw new RangeError("bracketTask: takes a length of at least 1, 1 to 3 pairs, and no negative slack");
  const opening = OPENING.slice(0, pairs);
  /** What is still to be closed, or `undefined` when a bracket closes what is not open. */
  const openAfter = (text: string): string[] | undefined => {
    const open: string[] = [];
    for (const c of text) {
      if (opening.includes(c)) open.push(c);
      else if (CLOSING[open.pop() ?? ""] !== c) return undefined;
    }
    return open;
  };
  const close = (open: readonly string[]): string =>
    [...open]
      .reverse()
      .map((c) => CLOSING[c])
      .join("");
  return {
    tokenizer: characterTokenizer(`${opening.join("")}${opening.map((c) => CLOSING[c]).join("")}|.`),
    end: ".",
    promptLength: length + 1,
    answerLength: length + slack,
    generate(stream) {
      const open: string[] = [];
      let text = "";
      for (let i = 0; i < length; i++) {
        const shut = open.length > 0 && stream.uniform() < 0.5;
        const c = shut ? CLOSING[open.pop()!]! : opening[stream.integer(pairs)]!;
        if (!shut) open.push(c);
        text += c;
      }
      return { prompt: `${text}|`, answer: close(open) };
    },
    verify(prompt, completion) {
      const open = openAfter(prompt.slice(0, -1));
      if (!open || completion.length > open.length + slack) return false;
      return openAfter(prompt.slice(0, -1) + completion)?.length === 0;
    },
  };
}
