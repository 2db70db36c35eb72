import type { BuiltInPaper } from "../collection/builtIn.ts";
import { draftPaper, type PaperDraft } from "../collection/paper.ts";

const TITLE_WORDS = 9;
const SUMMARY_WORDS = 130;

/** A small generator with a seed (mulberry32): numbers in [0, 1). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * Makes papers of the words of real ones, each word as often as it is there, so that questions about the collection
 * match tens of thousands of papers.
 */
export function* syntheticPapers(
  collection: readonly BuiltInPaper[],
  count: number,
  now: Date,
): Generator<PaperDraft> {
  const random = seededRandom(7);
  const vocabulary = collection.flatMap(({ title, summary, problem }) =>
    `${title} ${summary} ${problem}`.split(/\s+/u).filter((word) => word !== ""),
  );
  const text = (length: number) =>
    Array.from({ length }, () => vocabulary[Math.floor(random() * vocabulary.length)]!).join(" ");
  for (let number = 0; number < count; number++) {
    yield draftPaper(
      {
        id: `synthetic-${number}`,
        title: text(TITLE_WORDS),
        authors: [`Author ${number % 5000}`],
        year: 2000 + (number % 26),
        summary: text(SUMMARY_WORDS),
      },
      now,
    );
  }
}
