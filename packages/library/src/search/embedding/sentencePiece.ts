/** A vocabulary entry: the piece and its log probability. */
export type Piece = readonly [text: string, score: number];

const SPACE = "\u2581";
const UNKNOWN = 0;

/** The first pieces of the vocabulary are control symbols that no text contains. */
const CONTROL_SYMBOLS = 6;

interface TrieNode {
  id: number;
  readonly children: Map<string, TrieNode>;
}

/**
 * Splits text into the most probable sequence of pieces under a unigram language model (SentencePiece, Kudo 2018).
 */
export class SentencePiece {
  readonly #root: TrieNode = { id: -1, children: new Map() };
  readonly #vocabulary: readonly Piece[];

  constructor(vocabulary: readonly Piece[]) {
    this.#vocabulary = vocabulary;
    for (let id = CONTROL_SYMBOLS; id < vocabulary.length; id++) this.#insert(vocabulary[id]![0], id);
  }

  /**
   * @param text any text; letter case matters
   * @returns piece ids, where a run of characters outside the vocabulary becomes one id 0
   */
  encode(text: string): number[] {
    const symbols = [...normalize(text)];
    const best = new Float64Array(symbols.length + 1).fill(Number.NEGATIVE_INFINITY);
    const lengths = new Int32Array(symbols.length + 1);
    const ids = new Int32Array(symbols.length + 1);
    best[0] = 0;
    const extend = (start: number, length: number, id: number, score: number) => {
      const total = best[start]! + score;
      if (total < best[start + length]!) return;
      best[start + length] = total;
      lengths[start + length] = length;
      ids[start + length] = id;
    };
    for (let start = 0; start < symbols.length; start++) {
      let node = this.#root.children.get(symbols[start]!);
      let known = false;
      for (let length = 1; node; length++) {
        if (node.id >= 0) {
          known = true;
          extend(start, length, node.id, this.#vocabulary[node.id]![1]);
        }
        node = this.#root === node ? undefined : node.children.get(symbols[start + length] ?? "");
      }
      if (!known) extend(start, 1, UNKNOWN, 0);
    }
    const pieces: number[] = [];
    for (let end = symbols.length; end > 0; end -= Math.max(1, lengths[end]!)) {
      const id = ids[end]!;
      if (id !== UNKNOWN || pieces.at(-1) !== UNKNOWN) pieces.push(id);
    }
    return pieces.reverse();
  }

  #insert(piece: string, id: number): void {
    let node = this.#root;
    for (const symbol of piece) {
      let child = node.children.get(symbol);
      if (!child) {
        child = { id: -1, children: new Map() };
        node.children.set(symbol, child);
      }
      node = child;
    }
    node.id = id;
  }
}

const normalize = (text: string): string => {
  const clean = text.normalize("NFKC").replace(/\s+/gu, " ").trim();
  return clean === "" ? "" : SPACE + clean.replaceAll(" ", SPACE);
};
