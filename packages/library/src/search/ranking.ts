/** A document and its score. */
export interface Ranked {
  readonly document: number;
  readonly score: number;
}

/** Keeps the highest-scoring documents of a stream; among equal scores the lowest numbers. */
export class TopK {
  readonly #limit: number;
  readonly #heap: Ranked[] = [];

  /** Scores at or below this cannot enter, except for an equal score of a lower document. */
  threshold = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Offers documents in rising order of their number. */
  offer(document: number, score: number): void {
    if (this.#limit === 0) return;
    if (this.#heap.length < this.#limit) {
      this.#heap.push({ document, score });
      this.#rise(this.#heap.length - 1);
      if (this.#heap.length === this.#limit) this.threshold = this.#heap[0]!.score;
      return;
    }
    if (score <= this.threshold) return;
    this.#heap[0] = { document, score };
    this.#sink();
    this.threshold = this.#heap[0]!.score;
  }

  /** The kept documents by falling score, ties by rising number. */
  sorted(): Ranked[] {
    return this.#heap.toSorted((left, right) => right.score - left.score || left.document - right.document);
  }

  #rise(start: number): void {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!worse(this.#heap[index]!, this.#heap[parent]!)) return;
      this.#swap(index, parent);
      index = parent;
    }
  }

  #sink(): void {
    let index = 0;
    for (;;) {
      let worst = index;
      for (const child of [2 * index + 1, 2 * index + 2]) {
        if (child < this.#heap.length && worse(this.#heap[child]!, this.#heap[worst]!)) worst = child;
      }
      if (worst === index) return;
      this.#swap(index, worst);
      index = worst;
    }
  }

  #swap(first: number, second: number): void {
    const kept = this.#heap[first]!;
    this.#heap[first] = this.#heap[second]!;
    this.#heap[second] = kept;
  }
}

const worse = (left: Ranked, right: Ranked): boolean =>
  left.score < right.score || (left.score === right.score && left.document > right.document);

/** A ranking and how much it counts when rankings are fused. */
export interface WeightedRanking {
  readonly ranking: readonly Ranked[];
  readonly weight: number;
}

/**
 * Dampens the lead of the first ranks. The original paper uses 60 for rankings of equal worth; ours are unequal, and a
 * small offset keeps a paper that full text is sure of in its place.
 */
const RANK_OFFSET = 5;

/**
 * Fuses rankings by reciprocal rank (Cormack, Clarke & Büttcher, 2009): a document scores
 * `Σ weight / (offset + rank)` over the rankings that contain it, with ranks from 1.
 *
 * @returns documents by falling fused score, ties by rising number
 */
export function fuse(rankings: readonly WeightedRanking[]): Ranked[] {
  const scores = new Map<number, number>();
  for (const { ranking, weight } of rankings) {
    ranking.forEach(({ document }, index) => {
      scores.set(document, (scores.get(document) ?? 0) + weight / (RANK_OFFSET + index + 1));
    });
  }
  return [...scores]
    .map(([document, score]) => ({ document, score }))
    .sort((left, right) => right.score - left.score || left.document - right.document);
}
