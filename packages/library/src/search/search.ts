import type { Paper } from "../collection/paper.ts";
import { type PaperFilter, papersById } from "../collection/readPapers.ts";
import type { Database } from "../database/database.ts";
import type { Embeddings } from "./embedding/embeddings.ts";
import { LibraryIndex } from "./libraryIndex.ts";
import { textFields } from "./passages.ts";
import { fuse } from "./ranking.ts";
import { highlight, type Segment, snippet } from "./snippet.ts";
import { expand } from "./text/expansion.ts";
import { stemsOf } from "./text/terms.ts";
import type { WeightedStem } from "./text/textIndex.ts";

export interface SearchRequest extends PaperFilter {
  readonly query: string;
  /** Results a page, 1–100; 10 when left out. */
  readonly limit?: number | undefined;
  /** `next` of the page before. */
  readonly after?: string | undefined;
  /** `fused` unless rankings are being compared: `text` is the typed words alone, `vectors` the embeddings alone. */
  readonly ranking?: "fused" | "text" | "vectors" | undefined;
}

export interface SearchHit {
  readonly paper: Paper;
  /** Fused score; comparable within one search only. */
  readonly score: number;
  readonly title: Segment[];
  readonly snippet: Segment[];
}

export interface SearchPage {
  readonly hits: SearchHit[];
  /** Number of papers in the ranking, up to 500. */
  readonly total: number;
  /** Pass it as `after` to get the next page; absent on the last one. */
  readonly next?: string;
  /** Words that were read as another word of the collection. */
  readonly corrections: readonly { readonly word: string; readonly readAs: string }[];
}

/** A request that cannot be answered; the message says why in one line. */
export class InvalidSearchError extends Error {
  override readonly name = "InvalidSearchError";
}

const LONGEST_QUERY = 1000;
const DEPTH = 300;
const DEEPEST = 500;
const REMEMBERED_RANKINGS = 200;
const REMEMBERED_PAPERS = 1000;

/** Embeddings find other words for the same thing but are less precise than words that do occur. */
const VECTOR_WEIGHT = 0.35;
const CORRECTION_WEIGHT = 0.8;

interface Ranking {
  readonly ids: readonly { id: string; score: number }[];
  readonly matched: ReadonlySet<string>;
  readonly corrections: SearchPage["corrections"];
}

/** Hybrid search over the library. */
export class Search {
  readonly #database: Database;
  readonly #embeddings: Embeddings;
  readonly #index: LibraryIndex;
  readonly #remembered = new Map<string, Ranking>();
  /** Papers shown lately, read at this revision or a newer one: reading them costs more than ranking them. */
  #shown = { revision: 0n, papers: new Map<string, Paper>() };

  constructor(database: Database, embeddings: Embeddings) {
    this.#database = database;
    this.#embeddings = embeddings;
    this.#index = new LibraryIndex(database);
  }

  /**
   * Ranks papers for a question in plain words.
   *
   * Pages continue the ranking of their first page, so papers that arrive in between neither repeat nor hide others.
   *
   * @throws InvalidSearchError when the query is empty or longer than 1000 characters, or `after` is not from here
   */
  async search(request: SearchRequest): Promise<SearchPage> {
    const query = request.query.trim();
    if (query === "") throw new InvalidSearchError("The search is empty");
    if (query.length > LONGEST_QUERY)
      throw new InvalidSearchError(`The search is longer than ${LONGEST_QUERY} characters`);
    const limit = Math.min(100, Math.max(1, Math.trunc(request.limit ?? 10)));
    const cursor = request.after === undefined ? undefined : readCursor(request.after);
    const question = { ...request, query };
    const expected = this.#index.model;
    const keyOf = (known: string | undefined) =>
      rankingKey(question, cursor?.revision ?? this.#index.revision, known);
    // The question is embedded while the index catches up, with the model of the search before.
    const early = this.#remembered.has(keyOf(expected)) ? undefined : this.#embed(question, expected);
    const [model, codes] = await Promise.all([this.#refresh(), early]);
    const key = keyOf(model);
    const ranking =
      this.#remembered.get(key) ??
      this.#rank(question, early && model === expected ? codes : await this.#embed(question, model));
    this.#remember(key, ranking);
    const start = cursor?.offset ?? 0;
    const page = ranking.ids.slice(start, start + limit);
    const papers = await this.#papersById(page.map(({ id }) => id));
    const scores = new Map(page.map(({ id, score }) => [id, score]));
    const end = start + limit;
    const revision = cursor?.revision ?? this.#index.revision;
    return {
      hits: papers.map((paper) => ({
        paper,
        score: scores.get(paper.id)!,
        title: highlight(paper.title, ranking.matched),
        snippet: snippet([paper.problem, paper.summary], ranking.matched),
      })),
      total: ranking.ids.length,
      ...(end < ranking.ids.length ? { next: writeCursor({ revision, offset: end }) } : {}),
      corrections: ranking.corrections,
    };
  }

  /**
   * Papers about the same thing as a given one.
   *
   * @returns at most `limit` papers by falling similarity, without the paper itself; empty when it is unknown
   */
  async similar(id: string, limit = 6): Promise<Paper[]> {
    await this.#refresh();
    const [paper] = await this.#papersById([id]);
    const document = this.#index.documentOf(id);
    if (document === undefined || !paper) return [];
    const text = this.#index.searchText(characteristicStems(paper), DEPTH, {});
    const vectors = this.#index
      .vectorsOf(document)
      .map((codes) => ({ ranking: this.#index.nearest(codes, DEPTH, {}), weight: VECTOR_WEIGHT }));
    const ranked = fuse([{ ranking: text, weight: 1 }, ...vectors]).filter(
      (entry) => entry.document !== document,
    );
    return this.#papersById(ranked.slice(0, limit).map((entry) => this.#index.idOf(entry.document)));
  }

  async #refresh(): Promise<string | undefined> {
    const { model, revision } = await this.#embeddings.state();
    await this.#index.refresh(model, revision);
    return model;
  }

  async #embed(request: SearchRequest, model: string | undefined): Promise<Int8Array | undefined> {
    if (request.ranking === "text" || model === undefined) return undefined;
    return this.#embeddings.embedQuestion(model, request.query);
  }

  /** Nothing waits in here, so the document numbers stay those of one state of the index. */
  #rank(request: SearchRequest, codes: Int8Array | undefined): Ranking {
    const { ranking = "fused" } = request;
    const { weighted, corrections } = this.#interpret(stemsOf(request.query), ranking === "fused");
    const text = ranking === "vectors" ? [] : this.#index.searchText(weighted, DEPTH, request);
    const vectors = codes ? this.#index.nearest(codes, DEPTH, request) : [];
    const fused = fuse([
      { ranking: text, weight: 1 },
      { ranking: vectors, weight: VECTOR_WEIGHT },
    ]);
    return {
      ids: fused.slice(0, DEEPEST).map(({ document, score }) => ({ id: this.#index.idOf(document), score })),
      matched: new Set(weighted.map(({ stem }) => stem)),
      corrections,
    };
  }

  /** Words that no paper contains are replaced by the nearest ones; then synonyms join. */
  #interpret(stems: readonly string[], withSynonyms: boolean) {
    const corrected: WeightedStem[] = [];
    const corrections: { word: string; readAs: string }[] = [];
    const known = stems.filter((stem) => {
      if (this.#index.hasStem(stem)) return true;
      const found = this.#index.spelling.correct(stem);
      if (found.length > 0) corrections.push({ word: stem, readAs: found[0]!.stem });
      corrected.push(
        ...found.map((entry, rank) => ({ stem: entry.stem, weight: CORRECTION_WEIGHT / (rank + 1) })),
      );
      return false;
    });
    const typed = withSynonyms ? expand(known) : known.map((stem) => ({ stem, weight: 1 }));
    const weights = new Map(typed.map(({ stem, weight }) => [stem, weight]));
    for (const { stem, weight } of corrected) weights.set(stem, Math.max(weights.get(stem) ?? 0, weight));
    return { weighted: [...weights].map(([stem, weight]) => ({ stem, weight })), corrections };
  }

  /** See {@link papersById}; of the revision that the index has, or newer. */
  async #papersById(ids: readonly string[]): Promise<Paper[]> {
    const { revision } = this.#index;
    // Replaced, not emptied: searches that are still reading go on with theirs.
    if (this.#shown.revision !== revision || this.#shown.papers.size > REMEMBERED_PAPERS)
      this.#shown = { revision, papers: new Map() };
    const { papers } = this.#shown;
    const missing = ids.filter((id) => !papers.has(id));
    for (const paper of await papersById(this.#database, missing)) papers.set(paper.id, paper);
    return ids.flatMap((id) => papers.get(id) ?? []);
  }

  #remember(key: string, ranking: Ranking): void {
    this.#remembered.delete(key);
    this.#remembered.set(key, ranking);
    if (this.#remembered.size > REMEMBERED_RANKINGS) {
      const [oldest] = this.#remembered.keys();
      this.#remembered.delete(oldest!);
    }
  }
}

/** The words that a paper uses for its subject, not for its findings. */
function characteristicStems(paper: Paper): WeightedStem[] {
  const fields = textFields({ ...paper, claims: [], authors: [], summary: "" });
  const weights = new Map<string, number>();
  for (const { stems, weight } of fields) {
    for (const stem of stems) weights.set(stem, Math.max(weights.get(stem) ?? 0, weight));
  }
  return [...weights].map(([stem, weight]) => ({ stem, weight }));
}

interface Cursor {
  readonly revision: bigint;
  readonly offset: number;
}

const writeCursor = ({ revision, offset }: Cursor): string =>
  Buffer.from(`${revision}.${offset}`).toString("base64url");

function readCursor(after: string): Cursor {
  const found = /^(\d{1,18})\.(\d{1,3})$/u.exec(Buffer.from(after, "base64url").toString());
  if (!found) throw new InvalidSearchError("The page mark is not valid; start from the first page");
  return { revision: BigInt(found[1]!), offset: Number(found[2]) };
}

const rankingKey = (request: SearchRequest, revision: bigint, model: string | undefined): string =>
  JSON.stringify([
    request.query.trim(),
    request.family,
    request.year,
    request.author,
    request.verdict,
    request.ranking,
    String(revision),
    model,
  ]);
