import { stemmer } from "stemmer";

/** A word of a text: its stem, and where the word itself stands. */
export interface Term {
  readonly stem: string;
  /** Offsets into the original text, in UTF-16 units. */
  readonly start: number;
  readonly end: number;
}

/** Chinese characters are words of their own, since nothing separates them. */
const WORD = /\p{Script=Han}|[\p{L}\p{M}]+|\p{N}+/gu;
const LONGEST_WORD = 40;
const MEMORY_LIMIT = 200_000;

/** Words that carry the form of a question but nothing of its subject. */
const STOP_WORDS = new Set(
  `a about above after again against all also am an and any are as at be because been before being below between
  both but by can could did do does doing down during each few for from further get gets getting had has have having
  he her here hers him his how i if in into is it its itself just let like me more most much my myself no nor not
  now of off on once only or other our ours out over own really same she should so some such than that the their
  them then there these they this those through to too under until up us use used using very want was we were what
  when where which while who whom whose why will with would you your yours`
    .split(/\s+/u)
    .filter(Boolean),
);

const stems = new Map<string, string>();

/** The stem under which a word is indexed: without case, accents and English inflection. */
export function stem(word: string): string {
  const known = stems.get(word);
  if (known !== undefined) return known;
  const plain = word
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .toLowerCase()
    .replace(/isation/u, "ization")
    .replace(/is(e[sd]?|ing)$/u, "iz$1")
    .slice(0, LONGEST_WORD);
  const result = stemmer(plain);
  // The memory is emptied rather than grown without bound when texts are hostile.
  if (stems.size >= MEMORY_LIMIT) stems.clear();
  stems.set(word, result);
  return result;
}

/** All words of a text with their places, stop words included. */
export function words(text: string): Term[] {
  const found: Term[] = [];
  for (const match of text.matchAll(WORD)) {
    found.push({ stem: stem(match[0]), start: match.index, end: match.index + match[0].length });
  }
  return found;
}

const isStopWord = (text: string, { start, end }: Term): boolean =>
  STOP_WORDS.has(text.slice(start, end).toLowerCase());

/** The stems of a text in order, without stop words. */
export function stemsOf(text: string): string[] {
  return words(text)
    .filter((term) => !isStopWord(text, term))
    .map(({ stem }) => stem);
}
