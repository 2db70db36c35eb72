import {
  dirichlet,
  drawFrom,
  type TokenPolicy,
  type TokenProcess,
  tokenPolicy,
  tokenProcess,
} from "@prior-art/toolkit/lm";
import { type RandomStream, randomStream } from "@prior-art/toolkit/stats";

/** Six tokens: A, four other letters, and the end. */
export const VOCABULARY = 6;
export const END = 5;
const LETTER_A = 0;
/** Letters of the longest word; a word that long needs no end mark. */
export const LONGEST = 8;

/** A word so far: what its end will be worth, and what comes next, depend on nothing else. */
export interface Word {
  readonly letters: number;
  /** −1 before the first. */
  readonly last: number;
  readonly countA: number;
}

export type WordReward = (word: Pick<Word, "letters" | "countA">) => number;

/** 1 for words of four to six letters, else 0. */
export const lengthReward: WordReward = ({ letters }) => (letters >= 4 && letters <= 6 ? 1 : 0);

/** A third for each A up to three, less a fifth for each above four. */
export const countReward: WordReward = ({ countA }) =>
  Math.min(countA, 3) / 3 - 0.2 * Math.max(0, countA - 4);

/** All words, with the reward on the token that ends them. */
export const wordProcess = (reward: WordReward): TokenProcess<Word> =>
  tokenProcess<Word>({
    vocabulary: VOCABULARY,
    start: { letters: 0, last: -1, countA: 0 },
    key: ({ letters, last, countA }) => `${letters}/${last}/${countA}`,
    step(word, token) {
      if (token === END) return { next: null, reward: reward(word) };
      const next = {
        letters: word.letters + 1,
        last: token,
        countA: word.countA + (token === LETTER_A ? 1 : 0),
      };
      return next.letters === LONGEST ? { next: null, reward: reward(next) } : { next, reward: 0 };
    },
  });

/** A first-order language: each token's distribution given the one before, `[1 + letters, vocabulary]`, start first. */
export type ChainRows = readonly Float64Array[];

/** Rows from a Dirichlet distribution of concentration 0.7, the end's probability at least 0.05. */
export function chainRows(seed: number): ChainRows {
  const stream = randomStream(seed, "chain language");
  return Array.from({ length: VOCABULARY }, () => {
    const row = dirichlet(stream, VOCABULARY, 0.7);
    row[END] = Math.max(row[END]!, 0.05);
    const total = row.reduce((sum, p) => sum + p, 0);
    return row.map((p) => p / total);
  });
}

/** The language as a policy over words. */
export const chainPolicy = (process: TokenProcess<Word>, rows: ChainRows): TokenPolicy =>
  tokenPolicy(process, ({ last }) => rows[last + 1]!);

/** One word's tokens, with the end mark unless it is as long as words get. */
export function drawWord(rows: ChainRows, stream: RandomStream): number[] {
  const tokens: number[] = [];
  for (let last = -1; tokens.length < LONGEST; ) {
    last = drawFrom(rows[last + 1]!, stream);
    tokens.push(last);
    if (last === END) break;
  }
  return tokens;
}

/** A word's letters and As from its tokens. */
export function readWord(tokens: ArrayLike<number>): Pick<Word, "letters" | "countA"> {
  let [letters, countA] = [0, 0];
  for (let i = 0; i < tokens.length && tokens[i] !== END && letters < LONGEST; i++) {
    letters++;
    if (tokens[i] === LETTER_A) countA++;
  }
  return { letters, countA };
}
