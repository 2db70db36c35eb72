import { Kysely, PostgresDialect, type PostgresPool, sql, type Transaction } from "kysely";
import { EmbeddedPool } from "./embedded.ts";
import { lockFolder } from "./folderLock.ts";
import { migrate } from "./migrations.ts";
import type { Schema } from "./schema.ts";
import { serverPool } from "./server.ts";

/** Where the data live: a folder, or a PostgreSQL server. With neither, in memory until the process ends. */
export interface DatabaseLocation {
  /** Folder of the embedded database, created when missing. */
  readonly dataDir?: string | undefined;
  /** `postgres://user:password@host:port/name`; wins over `dataDir`. */
  readonly databaseUrl?: string | undefined;
}

/** An open database with its schema up to date. */
export interface Database {
  readonly kind: "embedded" | "server";
  readonly sql: Kysely<Schema>;
  /** Whether the pgvector extension is there. */
  readonly hasVectorType: boolean;
  /** Runs SQL of other libraries on the same connections. */
  execute(text: string, values?: readonly unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
  /** Runs work that creates tables; of processes that come to a server together, one at a time. */
  setUp<Result>(work: () => Promise<Result>): Promise<Result>;
  close(): Promise<void>;
}

/**
 * Opens the database and migrates it.
 *
 * @throws FolderInUseError when another process has the folder open
 * @throws DatabaseUnreachableError when the server cannot be reached
 * @throws Error when a migration fails
 */
export async function openDatabase({ dataDir, databaseUrl }: DatabaseLocation): Promise<Database> {
  const unlock = databaseUrl || dataDir === undefined ? () => undefined : lockFolder(dataDir);
  const pool: PostgresPool = databaseUrl ? serverPool(databaseUrl) : await EmbeddedPool.open(dataDir);
  const database = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  try {
    if (databaseUrl) await requireConnection(database, databaseUrl);
    await migrate(database);
    return {
      kind: databaseUrl ? "server" : "embedded",
      sql: database,
      hasVectorType: await enableVectorType(database),
      async execute(text, values = []) {
        const client = await pool.connect();
        try {
          const { rows } = await client.query<Record<string, unknown>>(text, values);
          return { rows };
        } finally {
          client.release();
        }
      },
      setUp(work) {
        // An embedded database has one process, and one connection, which the work needs.
        if (!databaseUrl) return work();
        return database.transaction().execute(async (transaction) => {
          await sql`select pg_advisory_xact_lock(${sql.lit(SET_UP_LOCK)})`.execute(transaction);
          return work();
        });
      },
      async close() {
        await database.destroy();
        unlock();
      },
    };
  } catch (error) {
    await database.destroy();
    unlock();
    throw error;
  }
}

/** The server cannot be reached or does not let us in. The message is one line, without the password. */
export class DatabaseUnreachableError extends Error {
  override readonly name = "DatabaseUnreachableError";
}

async function requireConnection(database: Kysely<Schema>, databaseUrl: string): Promise<void> {
  try {
    await sql`select 1`.execute(database);
  } catch (cause) {
    const { code = "", message } = cause as NodeJS.ErrnoException;
    const host = URL.canParse(databaseUrl) ? new URL(databaseUrl).host : "an unreadable address";
    throw new DatabaseUnreachableError(`No PostgreSQL at ${host} (${code || message}); see DATABASE_URL`, {
      cause,
    });
  }
}

/** Creates the extension where the server has it and the role may; its absence costs nothing but the SQL type. */
async function enableVectorType(database: Kysely<Schema>): Promise<boolean> {
  const { rows } = await sql<{ name: string }>`
    select name from pg_available_extensions where name = 'vector'`.execute(database);
  if (rows.length === 0) return false;
  try {
    await sql`create extension if not exists vector`.execute(database);
    return true;
  } catch {
    return false;
  }
}

const WRITER_LOCK = 7_164_001;
const SET_UP_LOCK = 7_164_003;

/**
 * Runs a change of papers. Such changes queue behind each other, so revisions become visible in their order and a
 * reader that has seen revision n has seen every lower one.
 */
export function changePapers<Result>(
  database: Database,
  change: (transaction: Transaction<Schema>) => Promise<Result>,
): Promise<Result> {
  return database.sql.transaction().execute(async (transaction) => {
    await sql`select pg_advisory_xact_lock(${sql.lit(WRITER_LOCK)})`.execute(transaction);
    return change(transaction);
  });
}

export const nextRevision = sql<string>`nextval('paper_revision')`;
