import { distance } from "fastest-levenshtein";

/** A word that a misspelt one may have meant. */
export interface Correction {
  readonly stem: string;
  /** Letters to insert, delete or replace. */
  readonly edits: number;
}

const SHORTEST_CORRECTED = 4;
const LONG_WORD = 8;
const MOST_CORRECTIONS = 3;

interface Entry {
  readonly stem: string;
  readonly documents: number;
  /** Bit per letter that occurs: two words n edits apart differ in at most 2n bits. */
  readonly letters: number;
}

/** Finds the words of the collection that are nearest to a word which it does not contain. */
export class Spelling {
  readonly #byLength: Entry[][] = [];

  constructor(vocabulary: Iterable<[stem: string, documents: number]>) {
    for (const [stem, documents] of vocabulary) {
      if (stem.length < SHORTEST_CORRECTED - 1) continue;
      (this.#byLength[stem.length] ??= []).push({ stem, documents, letters: letterSet(stem) });
    }
  }

  /** Corrections by rising number of edits, then by falling frequency; at most three, none for short words. */
  correct(stem: string): Correction[] {
    if (stem.length < SHORTEST_CORRECTED || /\d/u.test(stem)) return [];
    const limit = stem.length >= LONG_WORD ? 2 : 1;
    const letters = letterSet(stem);
    const found: (Correction & { documents: number })[] = [];
    for (let length = stem.length - limit; length <= stem.length + limit; length++) {
      for (const entry of this.#byLength[length] ?? []) {
        if (bitCount(entry.letters ^ letters) > 2 * limit) continue;
        const edits = editDistance(stem, entry.stem);
        if (edits <= limit) found.push({ stem: entry.stem, edits, documents: entry.documents });
      }
    }
    return found
      .sort((left, right) => left.edits - right.edits || right.documents - left.documents)
      .slice(0, MOST_CORRECTIONS)
      .map(({ stem, edits }) => ({ stem, edits }));
  }
}

/** Levenshtein distance, where swapping two neighbouring letters, the most common slip, counts once. */
function editDistance(left: string, right: string): number {
  const edits = distance(left, right);
  if (edits !== 2 || left.length !== right.length) return edits;
  const first = [...left].findIndex((letter, index) => letter !== right[index]);
  const swapped = left.slice(0, first) + left[first + 1] + left[first] + left.slice(first + 2);
  return swapped === right ? 1 : edits;
}

function letterSet(word: string): number {
  let letters = 0;
  for (let index = 0; index < word.length; index++) letters |= 1 << (word.charCodeAt(index) & 31);
  return letters;
}

function bitCount(bits: number): number {
  let count = bits - ((bits >>> 1) & 0x55555555);
  count = (count & 0x33333333) + ((count >>> 2) & 0x33333333);
  return (((count + (count >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}
