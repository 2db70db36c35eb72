import { sql } from "kysely";
import { afterAll, beforeAll, beforeEach, describe } from "vitest";
import type { LibraryOptions } from "../configuration.ts";
import { type Library, openLibrary } from "../library.ts";
import { hashingEmbedder } from "./hashingEmbedder.ts";
import { type PostgresServer, postgresPrograms, startPostgres } from "./postgresServer.ts";

const programs = postgresPrograms();
if (!programs) console.warn("No PostgreSQL server is installed here: only the embedded database is tested");

/** Gives each test an empty library. */
export interface TestBed {
  readonly library: Library;
  /** Opens the same database a second time, as another process would; only with a server. */
  openAgain(options?: LibraryOptions): Promise<Library>;
  readonly kind: "embedded" | "server";
}

/**
 * Runs a suite against the embedded database and against a PostgreSQL server; the latter only where one is installed.
 */
export function describeOnEachDatabase(name: string, suite: (bed: () => TestBed) => void): void {
  describe(`${name} (embedded)`, () => suite(useLibrary("embedded")));
  describe.skipIf(!programs)(`${name} (PostgreSQL server)`, () => suite(useLibrary("server")));
}

/** Runs a suite against a PostgreSQL server where one is installed. */
export function describeOnServer(name: string, suite: (bed: () => TestBed) => void): void {
  describe.skipIf(!programs)(`${name} (PostgreSQL server)`, () => suite(useLibrary("server")));
}

function useLibrary(kind: TestBed["kind"]): () => TestBed {
  let server: PostgresServer | undefined;
  let library: Library;
  let databaseUrl: string | undefined;
  const others: Library[] = [];
  const options: LibraryOptions = {
    embedder: "hashing",
    createEmbedder: async (model) => hashingEmbedder(model),
  };
  beforeAll(async () => {
    if (kind === "server") {
      server = await startPostgres(programs!);
      databaseUrl = server.createDatabase();
    }
    library = await openLibrary({ ...options, databaseUrl });
  });
  beforeEach(async () => {
    await Promise.all(others.splice(0).map((other) => other.close()));
    await emptyTables(library);
  });
  afterAll(async () => {
    await Promise.all(others.map((other) => other.close()));
    await library?.close();
    await server?.stop();
  });
  return () => ({
    library,
    kind,
    async openAgain(changed = {}) {
      const other = await openLibrary({ ...options, databaseUrl, ...changed });
      others.push(other);
      return other;
    },
  });
}

async function emptyTables(library: Library): Promise<void> {
  await sql`truncate paper, embedding, vote, run, source, subscriber, delivery`.execute(library.database.sql);
  await sql`delete from setting where key = 'embedding-model'`.execute(library.database.sql);
}
