import type { DatabaseLocation } from "./database/database.ts";
import type { EmbedderFactory } from "./search/embedding/embeddings.ts";

/** Everything that can be configured. The command line and the site fill it from flags and the environment. */
export interface LibraryOptions extends DatabaseLocation {
  /** Signs tokens; at least 16 bytes. Made and kept in the database when left out. */
  readonly secret?: string | undefined;
  /** Embedding model; the offline one when left out. */
  readonly embedder?: string | undefined;
  /** Replaces the known embedders, for tests and embedding services. */
  readonly createEmbedder?: EmbedderFactory | undefined;
}

/** A setting in the environment that makes no sense; the message is one line and names the variable. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
}

/** Reads the library's settings from environment variables; see docs/library.md for the list. */
export function libraryOptionsFrom(environment: NodeJS.ProcessEnv): LibraryOptions {
  return {
    databaseUrl: environment.DATABASE_URL || undefined,
    dataDir: environment.PRIOR_ART_DATA || "data",
    secret: environment.PRIOR_ART_SECRET || undefined,
    embedder: environment.PRIOR_ART_EMBEDDER || undefined,
  };
}
