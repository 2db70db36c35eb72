import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { PGlite, types } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";
import type { PostgresPool, PostgresPoolClient } from "kysely";

/**
 * Presents embedded PostgreSQL as a connection pool, so that the same queries run embedded and on a server.
 *
 * PGlite has one session. Clients queue for it, and one that has begun a transaction keeps it until release.
 */
export class EmbeddedPool implements PostgresPool {
  readonly #database: PGlite;
  #tail: Promise<void> = Promise.resolve();

  private constructor(database: PGlite) {
    this.#database = database;
  }

  /** Opens or creates the database below `dataDir`; without it the database lives in memory and ends with the process. */
  static async open(dataDir: string | undefined): Promise<EmbeddedPool> {
    const options = { extensions: { vector }, parsers: { [types.DATE]: (value: string) => value } };
    if (dataDir === undefined) return new EmbeddedPool(await PGlite.create(options));
    await mkdir(dataDir, { recursive: true });
    return new EmbeddedPool(await PGlite.create(join(dataDir, "postgres"), options));
  }

  async connect(): Promise<PostgresPoolClient> {
    const before = this.#tail;
    let release!: () => void;
    this.#tail = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    const query = (text: string, parameters: readonly unknown[]) => this.#run(text, parameters);
    return { query, release } as unknown as PostgresPoolClient;
  }

  async end(): Promise<void> {
    await this.#tail;
    await this.#database.close();
  }

  async #run(text: string, parameters: readonly unknown[] = []) {
    // Several statements in one text need the simple protocol, which takes no parameters.
    if (parameters.length === 0) {
      const results = await this.#database.exec(text);
      return asServerResult(text, results.at(-1));
    }
    return asServerResult(text, await this.#database.query(text, [...parameters]));
  }
}

function asServerResult(text: string, result: { rows: unknown[]; affectedRows?: number } | undefined) {
  const rows = result?.rows ?? [];
  const command = /^\s*(\w+)/u.exec(text)?.[1]?.toUpperCase() ?? "";
  return { command, rows, rowCount: result?.affectedRows || rows.length };
}
