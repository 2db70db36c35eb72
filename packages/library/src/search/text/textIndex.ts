import type { Ranked } from "../ranking.ts";
import { TopK } from "../ranking.ts";

/** A stem to look for and how much it counts; 1 is a word that the reader typed. */
export interface WeightedStem {
  readonly stem: string;
  readonly weight: number;
}

/** Stems of one part of a document and how much a match there counts. */
export interface WeightedField {
  readonly stems: readonly string[];
  readonly weight: number;
}

/** Saturation of repeated terms and strength of the length correction: the defaults of BM25 (Robertson, 2009). */
const SATURATION = 1.2;
const LENGTH_CORRECTION = 0.5;

/** Postings of one stem: growable parallel arrays, because a million small objects would not fit the latency. */
class Postings {
  documents = new Int32Array(2);
  frequencies = new Float32Array(2);
  length = 0;

  push(document: number, frequency: number): void {
    if (this.length === this.documents.length) {
      const documents = new Int32Array(2 * this.length);
      documents.set(this.documents);
      this.documents = documents;
      const frequencies = new Float32Array(2 * this.length);
      frequencies.set(this.frequencies);
      this.frequencies = frequencies;
    }
    this.documents[this.length] = document;
    this.frequencies[this.length++] = frequency;
  }
}

/**
 * Full-text index with field-weighted BM25 ranking, in memory.
 *
 * Documents are numbered from 0 in order of addition. A changed document is removed and added again under a new
 * number; its postings stay until `garbage` says that rebuilding pays.
 */
export class TextIndex {
  readonly #postings = new Map<string, Postings>();
  #lengths = new Float32Array(1024);
  #alive = new Uint8Array(1024);
  #scores = new Float32Array(1024);
  #size = 0;
  #live = 0;
  #totalLength = 0;

  /** Number of documents that a search can find. */
  get live(): number {
    return this.#live;
  }

  /** Share of documents that were removed but still take space. */
  get garbage(): number {
    return this.#size === 0 ? 0 : 1 - this.#live / this.#size;
  }

  /** All stems with the number of documents that contain each, removed documents included. */
  *vocabulary(): Iterable<[stem: string, documents: number]> {
    for (const [stem, postings] of this.#postings) yield [stem, postings.length];
  }

  has(stem: string): boolean {
    return this.#postings.has(stem);
  }

  /** Adds a document and returns its number. */
  add(fields: readonly WeightedField[]): number {
    const frequencies = new Map<string, number>();
    let length = 0;
    for (const { stems, weight } of fields) {
      length += weight * stems.length;
      for (const stem of stems) frequencies.set(stem, (frequencies.get(stem) ?? 0) + weight);
    }
    const document = this.#size++;
    this.#grow();
    this.#lengths[document] = length;
    this.#alive[document] = 1;
    this.#live++;
    this.#totalLength += length;
    for (const [stem, frequency] of frequencies) {
      let postings = this.#postings.get(stem);
      if (!postings) {
        postings = new Postings();
        this.#postings.set(stem, postings);
      }
      postings.push(document, frequency);
    }
    return document;
  }

  remove(document: number): void {
    if (!this.#alive[document]) return;
    this.#alive[document] = 0;
    this.#live--;
    this.#totalLength -= this.#lengths[document]!;
  }

  /**
   * Ranks documents that contain any of the stems.
   *
   * @param limit how many to return
   * @param accepts which documents may appear; all when left out
   * @returns documents by falling score, ties by number
   */
  search(query: readonly WeightedStem[], limit: number, accepts?: (document: number) => boolean): Ranked[] {
    const scores = this.#scores.subarray(0, this.#size);
    scores.fill(0);
    const averageLength = this.#totalLength / Math.max(1, this.#live);
    // The gains are in memory before the first loop: V8 would move their logarithm into it.
    const terms = query.flatMap(({ stem, weight }) => {
      const postings = this.#postings.get(stem);
      return postings ? [{ postings, gain: this.#gain(postings, weight) }] : [];
    });
    for (const { postings, gain } of terms) this.#accumulate(scores, postings, gain, averageLength);
    const best = new TopK(limit);
    for (let document = 0; document < this.#size; document++) {
      const score = scores[document]!;
      if (score > best.threshold && this.#alive[document] && (!accepts || accepts(document)))
        best.offer(document, score);
    }
    return best.sorted();
  }

  /** What a match counts at most: more for rare stems. */
  #gain({ length }: Postings, weight: number): number {
    const rarity = Math.log(1 + Math.max(0, this.#size - length + 0.5) / (length + 0.5));
    return weight * rarity * (SATURATION + 1);
  }

  #accumulate(scores: Float32Array, postings: Postings, gain: number, averageLength: number): void {
    const { documents, frequencies, length } = postings;
    const base = SATURATION * (1 - LENGTH_CORRECTION);
    const slope = (SATURATION * LENGTH_CORRECTION) / averageLength;
    for (let index = 0; index < length; index++) {
      const document = documents[index]!;
      const frequency = frequencies[index]!;
      scores[document]! += (gain * frequency) / (frequency + base + slope * this.#lengths[document]!);
    }
  }

  #grow(): void {
    if (this.#size <= this.#alive.length) return;
    const capacity = 2 * this.#alive.length;
    const lengths = new Float32Array(capacity);
    lengths.set(this.#lengths);
    this.#lengths = lengths;
    const alive = new Uint8Array(capacity);
    alive.set(this.#alive);
    this.#alive = alive;
    this.#scores = new Float32Array(capacity);
  }
}
