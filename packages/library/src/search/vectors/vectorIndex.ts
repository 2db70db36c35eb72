import type { Ranked } from "../ranking.ts";
import { TopK } from "../ranking.ts";
import { bindDotProducts, type DotProducts } from "./dotProducts.ts";
import { codeLength } from "./quantize.ts";

const LANES = 16;
const PAGE = 65_536;
const BLOCK_ROWS = 4096;
const QUERY_ADDRESS = 0;
const LONGEST_VECTOR = 8192;
const PRODUCTS_ADDRESS = 2 * LONGEST_VECTOR;
const VECTORS_ADDRESS = PRODUCTS_ADDRESS + 4 * BLOCK_ROWS;

/**
 * Exact search for the vectors with the highest cosine, in memory.
 *
 * Scanning beats an approximate index at the size of a research library: 100,000 vectors of 512 numbers are 51 MB of
 * codes, read in a few milliseconds, need no build time, and never miss a neighbour.
 */
export class VectorIndex {
  readonly dimensions: number;
  readonly #stride: number;
  readonly #memory = new WebAssembly.Memory({ initial: 2 });
  readonly #dotProducts: DotProducts = bindDotProducts(this.#memory);
  #documents = new Int32Array(1024);
  #inverseLengths = new Float64Array(1024);
  #rows = 0;

  /** @throws RangeError when a vector is longer than 8192 numbers */
  constructor(dimensions: number) {
    this.dimensions = dimensions;
    this.#stride = LANES * Math.ceil(dimensions / LANES);
    if (this.#stride > LONGEST_VECTOR) throw new RangeError(`vectors of ${dimensions} numbers are too long`);
  }

  /** Number of vectors held. */
  get size(): number {
    return this.#rows;
  }

  /**
   * Adds a vector of a document. Documents come in rising order, and one may have several vectors in a row: it is as
   * near as the nearest of them. A zero vector is near to nothing.
   */
  add(document: number, codes: Int8Array): void {
    const length = codeLength(codes);
    if (length === 0 || codes.length !== this.dimensions) return;
    const row = this.#rows++;
    this.#grow();
    new Int8Array(this.#memory.buffer, VECTORS_ADDRESS + row * this.#stride, this.#stride).set(codes);
    this.#documents[row] = document;
    this.#inverseLengths[row] = 1 / length;
  }

  /** The stored vectors of a document. */
  vectorsOf(document: number): Int8Array[] {
    const found: Int8Array[] = [];
    // Rows are in order of document numbers, so the first one can be found by halving.
    let low = 0;
    let high = this.#rows;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#documents[middle]! < document) low = middle + 1;
      else high = middle;
    }
    for (let row = low; row < this.#rows && this.#documents[row] === document; row++) {
      const address = VECTORS_ADDRESS + row * this.#stride;
      found.push(new Int8Array(this.#memory.buffer.slice(address, address + this.dimensions)));
    }
    return found;
  }

  /**
   * @param codes the query, quantized
   * @param limit how many documents to return
   * @param accepts which documents may appear
   * @returns documents by falling cosine, only positive ones, ties by number
   */
  nearest(codes: Int8Array, limit: number, accepts: (document: number) => boolean): Ranked[] {
    const length = codeLength(codes);
    if (length === 0) return [];
    const query = new Int16Array(this.#memory.buffer, QUERY_ADDRESS, this.#stride);
    query.fill(0);
    query.set(codes);
    const products = new Int32Array(this.#memory.buffer, PRODUCTS_ADDRESS, BLOCK_ROWS);
    const documents = this.#documents;
    const inverseLengths = this.#inverseLengths;
    const best = new TopK(limit);
    // Of rows that can enter at all, which are few, the best of the document that is being read.
    let candidate = -1;
    let highest = 0;
    const offer = () => {
      if (candidate >= 0 && accepts(candidate)) best.offer(candidate, highest);
    };
    for (let start = 0; start < this.#rows; start += BLOCK_ROWS) {
      const count = Math.min(BLOCK_ROWS, this.#rows - start);
      const block = VECTORS_ADDRESS + start * this.#stride;
      this.#dotProducts(QUERY_ADDRESS, block, PRODUCTS_ADDRESS, count, this.#stride);
      for (let index = 0; index < count; index++) {
        const cosine = (products[index]! * inverseLengths[start + index]!) / length;
        if (cosine <= best.threshold) continue;
        const document = documents[start + index]!;
        if (document === candidate) {
          highest = Math.max(highest, cosine);
          continue;
        }
        offer();
        candidate = document;
        highest = cosine;
      }
    }
    offer();
    return best.sorted();
  }

  #grow(): void {
    const needed = VECTORS_ADDRESS + this.#rows * this.#stride;
    const missing = needed - this.#memory.buffer.byteLength;
    // Growing by a quarter keeps the number of copies small without doubling a large library's memory.
    if (missing > 0) this.#memory.grow(Math.ceil(Math.max(missing, needed / 4) / PAGE));
    if (this.#rows <= this.#documents.length) return;
    const documents = new Int32Array(2 * this.#documents.length);
    documents.set(this.#documents);
    this.#documents = documents;
    const inverseLengths = new Float64Array(documents.length);
    inverseLengths.set(this.#inverseLengths);
    this.#inverseLengths = inverseLengths;
  }
}
