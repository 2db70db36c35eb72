import { backup, type RestoreOptions, type RowCounts, restore } from "./backup/backup.ts";
import { type BuiltInPaper, type CollectionChanges, syncCollection } from "./collection/builtIn.ts";
import type { Paper } from "./collection/paper.ts";
import {
  families,
  findPaper,
  listPapers,
  type PaperFilter,
  type PaperPage,
} from "./collection/readPapers.ts";
import type { LibraryOptions } from "./configuration.ts";
import { type Database, openDatabase } from "./database/database.ts";
import { type ImportFileOptions, type ImportReport, importFile } from "./import/importFile.ts";
import { Embeddings } from "./search/embedding/embeddings.ts";
import { Search, type SearchPage, type SearchRequest } from "./search/search.ts";
import { Subscriptions } from "./subscriptions/subscriptions.ts";
import { openTokens, type Tokens } from "./tokens/tokens.ts";
import { type TrendingPaper, type TrendingRequest, trending } from "./trending/trending.ts";
import { Votes } from "./trending/votes.ts";

/** An open library. */
export class Library {
  readonly database: Database;
  readonly tokens: Tokens;
  readonly votes: Votes;
  readonly subscriptions: Subscriptions;
  readonly embeddings: Embeddings;
  readonly #search: Search;

  /** Use {@link openLibrary}. */
  constructor(database: Database, tokens: Tokens, options: LibraryOptions) {
    this.database = database;
    this.tokens = tokens;
    this.votes = new Votes(database, tokens);
    this.subscriptions = new Subscriptions(database, tokens);
    this.embeddings = new Embeddings(database, options.embedder, options.createEmbedder);
    this.#search = new Search(database, this.embeddings);
  }

  /** Brings the stored built-in collection up to date with the given papers and embeds what is new. */
  async syncCollection(papers: readonly BuiltInPaper[], now = new Date()): Promise<CollectionChanges> {
    const changes = await syncCollection(this.database, papers, now);
    await this.embeddings.embedPending();
    return changes;
  }

  /**
   * Imports a file of papers and embeds what is new.
   *
   * @throws when the file cannot be read; broken records are reported, not thrown
   */
  async importFile(file: string, options?: ImportFileOptions): Promise<ImportReport> {
    const report = await importFile(this.database, file, options);
    await this.embeddings.embedPending();
    return report;
  }

  /** See {@link Search.search}. */
  search(request: SearchRequest): Promise<SearchPage> {
    return this.#search.search(request);
  }

  /** See {@link Search.similar}. */
  similar(id: string, limit?: number): Promise<Paper[]> {
    return this.#search.similar(id, limit);
  }

  /** A paper by its id, arXiv id or DOI. */
  paper(reference: string): Promise<Paper | undefined> {
    return findPaper(this.database, reference);
  }

  papers(filter?: PaperFilter, page?: { limit?: number; after?: string | undefined }): Promise<PaperPage> {
    return listPapers(this.database, filter, page);
  }

  families(): Promise<{ family: string; papers: number }[]> {
    return families(this.database);
  }

  trending(request?: TrendingRequest): Promise<TrendingPaper[]> {
    return trending(this.database, request);
  }

  /** See {@link backup}. */
  backup(file: string): Promise<RowCounts> {
    return backup(this.database, file);
  }

  /** See {@link restore}. */
  restore(file: string, options?: RestoreOptions): Promise<RowCounts> {
    return restore(this.database, file, options);
  }

  close(): Promise<void> {
    return this.database.close();
  }
}

/**
 * Opens a library: embedded below `dataDir`, or on a PostgreSQL server. Creates and migrates the database as needed.
 *
 * @example
 * const library = await openLibrary({ dataDir: "data" });
 * const { hits } = await library.search({ query: "my network memorizes wrong labels" });
 * await library.close();
 *
 * @throws FolderInUseError when another process has the folder open
 */
export async function openLibrary(options: LibraryOptions): Promise<Library> {
  const database = await openDatabase(options);
  try {
    return new Library(database, await openTokens(database, options.secret), options);
  } catch (error) {
    await database.close();
    throw error;
  }
}
