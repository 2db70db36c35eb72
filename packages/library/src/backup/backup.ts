import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { type Kysely, sql, type Transaction } from "kysely";
import { changePapers, type Database } from "../database/database.ts";
import type { Schema } from "../database/schema.ts";

/** A file that is no backup, is damaged, or does not fit this library. The message is one line. */
export class InvalidBackupError extends Error {
  override readonly name = "InvalidBackupError";
}

/** Tables in an order in which every row finds what it refers to, with the columns that order their rows. */
const TABLES = {
  paper: ["id"],
  embedding: ["paper_id", "model"],
  setting: ["key"],
  vote: ["paper_id", "voter"],
  run: ["paper_id", "runner", "day"],
  source: ["name"],
  subscriber: ["id"],
  delivery: ["subscriber_id", "day"],
} as const satisfies Record<keyof Schema, readonly string[]>;
type Table = keyof typeof TABLES;
const tables = Object.keys(TABLES) as Table[];

/** Rows of each table. */
export type RowCounts = Readonly<Record<string, number>>;

const FORMAT = "prior-art backup 1";
const BATCH = 500;

/**
 * Writes the whole library to a file as of one moment, while others go on working: gzipped JSON lines, a header first, then a
 * line for each row, and the number of rows last. The file appears when it is complete.
 *
 * The secret that signs links is part of it, so that links in mails outlive a move; keep the file as you keep a password.
 */
export async function backup(database: Database, file: string): Promise<RowCounts> {
  const counts: Record<string, number> = {};
  const temporary = `${file}.${randomUUID()}.tmp`;
  try {
    await database.sql
      .transaction()
      .setIsolationLevel("repeatable read")
      .execute((transaction) =>
        pipeline(
          backupLines(transaction, counts),
          createGzip(),
          createWriteStream(temporary, { flags: "wx" }),
        ),
      );
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  return counts;
}

async function* backupLines(
  transaction: Transaction<Schema>,
  counts: Record<string, number>,
): AsyncGenerator<string> {
  yield `${JSON.stringify({ format: FORMAT, migrations: await migrationsOf(transaction) })}\n`;
  for (const table of tables) {
    counts[table] = 0;
    for await (const row of rowsOf(transaction, table)) {
      counts[table]++;
      // PostgreSQL wrote the row's JSON and reads it again, so that no value passes through a JavaScript number or date.
      yield `{"table":"${table}","row":${row}}\n`;
    }
  }
  yield `${JSON.stringify({ end: true, counts })}\n`;
}

async function* rowsOf(transaction: Transaction<Schema>, table: Table): AsyncGenerator<string> {
  const keys = TABLES[table].map((key) => sql.ref(key));
  let last: readonly unknown[] | undefined;
  for (;;) {
    const after = last ? sql`where (${sql.join(keys)}) > (${sql.join(last)})` : sql``;
    const { rows } = await sql<{ row: string; key: string }>`
      select row_to_json(t)::text as row, json_build_array(${sql.join(keys)})::text as key
      from ${sql.table(table)} t ${after} order by ${sql.join(keys)} limit ${sql.lit(BATCH)}`.execute(
      transaction,
    );
    for (const { row } of rows) yield row;
    if (rows.length < BATCH) return;
    last = JSON.parse(rows.at(-1)!.key);
  }
}

export interface RestoreOptions {
  /** Give up what the library holds now. Without it only an empty one is filled. */
  readonly replace?: boolean;
}

/**
 * Fills the library from a backup, embedded or on a server, whichever kind it came from. All of it or nothing.
 *
 * @throws InvalidBackupError when the file is damaged, cut short or of another version, or when the library is not empty
 */
export async function restore(
  database: Database,
  file: string,
  { replace = false }: RestoreOptions = {},
): Promise<RowCounts> {
  return changePapers(database, async (transaction) => {
    await requireEmpty(transaction, replace);
    const counts: Record<string, number> = Object.fromEntries(tables.map((table) => [table, 0]));
    const migrations = await migrationsOf(transaction);
    let batch: { table: Table; rows: unknown[] } | undefined;
    let ended = false;
    const flush = async () => {
      if (batch) await insertRows(transaction, batch.table, batch.rows);
      batch = undefined;
    };
    let line = 0;
    for await (const text of linesOf(file)) {
      line++;
      if (ended) throw new InvalidBackupError(`${file} goes on behind its end`);
      const record = parse(text, file, line);
      if (line === 1) {
        requireHeader(record, file, migrations);
      } else if (record.end === true) {
        await flush();
        if (JSON.stringify(record.counts) !== JSON.stringify(counts))
          throw new InvalidBackupError(`${file} does not hold the rows that it counts`);
        ended = true;
      } else {
        const table = tables.find((name) => name === record.table);
        if (!table || typeof record.row !== "object")
          throw new InvalidBackupError(`${file}, line ${line}: no row of a table`);
        if (batch && (batch.table !== table || batch.rows.length >= BATCH)) await flush();
        batch ??= { table, rows: [] };
        batch.rows.push(text);
        counts[table]!++;
      }
    }
    if (!ended) throw new InvalidBackupError(`${file} is cut short`);
    await sql`select setval('paper_revision', greatest(1, (select coalesce(max(revision), 1) from paper)))`.execute(
      transaction,
    );
    return counts;
  });
}

async function requireEmpty(transaction: Transaction<Schema>, replace: boolean): Promise<void> {
  const filled: string[] = [];
  for (const table of tables.filter((name) => name !== "setting")) {
    const { rows } = await sql`select 1 from ${sql.table(table)} limit 1`.execute(transaction);
    if (rows.length > 0) filled.push(table);
  }
  if (filled.length > 0 && !replace)
    throw new InvalidBackupError(
      `The library already has rows (${filled.join(", ")}); --replace gives them up for those of the backup`,
    );
  await sql`truncate ${sql.join(tables.map((table) => sql.table(table)))}`.execute(transaction);
}

/** @param rows lines of the file, whose rows are taken out by PostgreSQL */
async function insertRows(
  transaction: Transaction<Schema>,
  table: Table,
  rows: readonly unknown[],
): Promise<void> {
  const lines = `[${rows.join(",")}]`;
  await sql`
    insert into ${sql.table(table)}
    select t.* from json_array_elements(${lines}::json) line,
      json_populate_record(null::${sql.table(table)}, line -> 'row') t`
    .execute(transaction)
    .catch((cause: Error) => {
      throw new InvalidBackupError(`rows of ${table} do not fit: ${cause.message}`, { cause });
    });
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const source = createReadStream(file);
  const unzipped = createGunzip();
  source.on("error", (error) => unzipped.destroy(error));
  source.pipe(unzipped);
  try {
    yield* createInterface({ input: unzipped, crlfDelay: Number.POSITIVE_INFINITY });
    // A damaged stream ends the lines without a word; its error is kept here.
    if (unzipped.errored) throw unzipped.errored;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new InvalidBackupError(`There is no file ${file}`);
    if (code?.startsWith("Z_"))
      throw new InvalidBackupError(`${file} is no backup, or is damaged (${message})`);
    throw error;
  } finally {
    source.destroy();
  }
}

function parse(text: string, file: string, line: number): Record<string, unknown> {
  try {
    const record: unknown = JSON.parse(text);
    if (typeof record === "object" && record !== null) return record as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new InvalidBackupError(`${file}, line ${line}: not JSON`);
}

function requireHeader(header: Record<string, unknown>, file: string, migrations: readonly string[]): void {
  if (header.format !== FORMAT) throw new InvalidBackupError(`${file} is no backup of a library`);
  if (JSON.stringify(header.migrations) !== JSON.stringify(migrations))
    throw new InvalidBackupError(`${file} was made by a version with another database schema`);
}

async function migrationsOf(database: Kysely<Schema>): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(
    database,
  );
  return rows.map(({ name }) => name);
}
