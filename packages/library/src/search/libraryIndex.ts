import type { Claim, Verdict } from "../collection/paper.ts";
import type { PaperFilter } from "../collection/readPapers.ts";
import type { Database } from "../database/database.ts";
import { textFields } from "./passages.ts";
import type { Ranked } from "./ranking.ts";
import { Spelling } from "./text/spelling.ts";
import { TextIndex, type WeightedStem } from "./text/textIndex.ts";
import { VectorIndex } from "./vectors/vectorIndex.ts";

/** What filters look at. */
interface Facts {
  readonly id: string;
  readonly family: string | null;
  readonly year: number | null;
  readonly authors: string;
  readonly verdict: Verdict | null;
}

interface IndexedRow {
  id: string;
  title: string;
  problem: string;
  summary: string;
  keywords: string[];
  claims: Claim[];
  authors: string[];
  family: string | null;
  year: number | null;
  verdict: string | null;
  revision: string;
  codes: Uint8Array | null;
}

const LOAD_BATCH = 2000;
const WORTH_REBUILDING = 0.3;
const SMALLEST_REBUILD = 1000;

/**
 * Full-text and vector indexes over all papers, in memory, kept up to date from the database.
 *
 * They are derived data: any number of processes hold their own, and each catches up with the revisions that it has
 * not seen before it answers.
 */
export class LibraryIndex {
  readonly #database: Database;
  readonly #documents = new Map<string, number>();
  #facts: (Facts | undefined)[] = [];
  #text = new TextIndex();
  #vectors: VectorIndex | undefined;
  #spelling: Spelling | undefined;
  #model: string | undefined;
  #revision = 0n;
  #refreshing: Promise<void> | undefined;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The newest change that the index contains. */
  get revision(): bigint {
    return this.#revision;
  }

  /** Name of the model whose vectors are indexed. */
  get model(): string | undefined {
    return this.#model;
  }

  get papers(): number {
    return this.#documents.size;
  }

  idOf(document: number): string {
    return this.#facts[document]!.id;
  }

  documentOf(id: string): number | undefined {
    return this.#documents.get(id);
  }

  hasStem(stem: string): boolean {
    return this.#text.has(stem);
  }

  /** The quantized vectors of a paper's passages. */
  vectorsOf(document: number): Int8Array[] {
    return this.#vectors?.vectorsOf(document) ?? [];
  }

  /** Words of the collection that a misspelt word may have meant. */
  get spelling(): Spelling {
    this.#spelling ??= new Spelling(this.#text.vocabulary());
    return this.#spelling;
  }

  /**
   * Catches up with the database. Callers at the same time share one pass.
   *
   * @param model vectors of which model to index
   * @param revision the newest in the database
   */
  async refresh(model: string | undefined, revision: bigint): Promise<void> {
    if (model === this.#model && revision <= this.#revision) return;
    if (model !== this.#model) {
      await this.#refreshing;
      if (model !== this.#model) this.#clear(model);
    }
    this.#refreshing ??= this.#catchUp().finally(() => {
      this.#refreshing = undefined;
    });
    await this.#refreshing;
  }

  /** Ranks papers by full text. */
  searchText(query: readonly WeightedStem[], limit: number, filter: PaperFilter): Ranked[] {
    return this.#text.search(query, limit, this.#accepts(filter));
  }

  /** Ranks papers by closeness to quantized vectors, best match over all of them. */
  nearest(codes: Int8Array, limit: number, filter: PaperFilter): Ranked[] {
    const accepts = this.#accepts(filter);
    return this.#vectors?.nearest(codes, limit, accepts ?? this.#isLive) ?? [];
  }

  #isLive = (document: number): boolean => this.#facts[document] !== undefined;

  #accepts(filter: PaperFilter): ((document: number) => boolean) | undefined {
    const { family, year, verdict } = filter;
    const author = filter.author?.toLowerCase();
    if (family === undefined && year === undefined && verdict === undefined && author === undefined)
      return undefined;
    return (document) => {
      const facts = this.#facts[document];
      return (
        facts !== undefined &&
        (family === undefined || facts.family === family) &&
        (year === undefined || facts.year === year) &&
        (verdict === undefined || facts.verdict === verdict) &&
        (author === undefined || facts.authors.includes(author))
      );
    };
  }

  #clear(model: string | undefined): void {
    this.#model = model;
    this.#documents.clear();
    this.#facts = [];
    this.#text = new TextIndex();
    this.#vectors = undefined;
    this.#spelling = undefined;
    this.#revision = 0n;
  }

  async #catchUp(): Promise<void> {
    for (;;) {
      const rows = await this.#changedRows();
      for (const row of rows) this.#index(row);
      if (rows.length > 0) this.#spelling = undefined;
      if (rows.length < LOAD_BATCH) break;
    }
    const removed = this.#facts.length - this.#documents.size;
    if (removed > SMALLEST_REBUILD && this.#text.garbage > WORTH_REBUILDING) {
      this.#clear(this.#model);
      await this.#catchUp();
    }
  }

  async #changedRows(): Promise<IndexedRow[]> {
    return this.#database.sql
      .selectFrom("paper")
      .leftJoin("embedding", (join) => join.onRef("paper_id", "=", "id").on("model", "=", this.#model ?? ""))
      .select(["id", "title", "problem", "summary", "keywords", "claims", "authors", "family", "year"])
      .select(["verdict", "revision", "codes"])
      .where("revision", ">", String(this.#revision))
      .orderBy("revision")
      .limit(LOAD_BATCH)
      .execute();
  }

  #index(row: IndexedRow): void {
    const previous = this.#documents.get(row.id);
    if (previous !== undefined) {
      this.#text.remove(previous);
      this.#facts[previous] = undefined;
    }
    const document = this.#text.add(textFields(row));
    this.#documents.set(row.id, document);
    this.#facts[document] = {
      id: row.id,
      family: row.family,
      year: row.year,
      authors: row.authors.join("\n").toLowerCase(),
      verdict: row.verdict as Verdict | null,
    };
    this.#indexVectors(document, row.codes);
    this.#revision = BigInt(row.revision);
  }

  #indexVectors(document: number, stored: Uint8Array | null): void {
    if (!stored || stored.length < 2) return;
    const { dimensions, vectors } = unpackCodes(stored);
    this.#vectors ??= new VectorIndex(dimensions);
    for (const codes of vectors) this.#vectors.add(document, codes);
  }
}

/** Stores the vectors of a paper's passages as one value: the dimensions in two bytes, then the codes. */
export function packCodes(vectors: readonly Int8Array[]): Uint8Array {
  const dimensions = vectors[0]?.length ?? 0;
  const packed = new Uint8Array(2 + dimensions * vectors.length);
  new DataView(packed.buffer).setUint16(0, dimensions);
  vectors.forEach((codes, index) => {
    packed.set(new Uint8Array(codes.buffer, codes.byteOffset, codes.length), 2 + index * dimensions);
  });
  return packed;
}

export function unpackCodes(packed: Uint8Array): { dimensions: number; vectors: Int8Array[] } {
  const dimensions = new DataView(packed.buffer, packed.byteOffset).getUint16(0);
  const vectors: Int8Array[] = [];
  for (let start = 2; dimensions > 0 && start + dimensions <= packed.length; start += dimensions)
    vectors.push(new Int8Array(packed.buffer, packed.byteOffset + start, dimensions));
  return { dimensions, vectors };
}
