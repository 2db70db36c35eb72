import { setTimeout as wait } from "node:timers/promises";
import type { Insertable, Selectable } from "kysely";
import type { Database } from "../database/database.ts";
import type { SourceTable } from "../database/schema.ts";
import { readDocument } from "../import/importFile.ts";
import { type ImportReport, importRecords } from "../import/importRecords.ts";
import { UnreadableFileError } from "../import/record.ts";
import { FetchFailedError, type PoliteFetchOptions, politeFetch } from "./politeFetch.ts";
import type { Source } from "./sources.ts";

/** What became of one source. */
export interface SourceReport extends Omit<ImportReport, "problems"> {
  readonly name: string;
  /** `waiting`: polled too recently, or the server asked for a pause. */
  readonly state: "complete" | "unchanged" | "waiting" | "failed";
  readonly problem?: string;
  readonly nextPollAt: Date;
}

export interface SyncOptions {
  readonly now?: () => Date;
  /** Poll even when it is too early. */
  readonly force?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly fetch?: Pick<PoliteFetchOptions, "timeout" | "largest">;
  /** Waits between pages, in milliseconds. */
  readonly pause?: (milliseconds: number) => Promise<void>;
}

const MOST_PAGES = 50;
const FIRST_BACK_OFF = 60;
const LONGEST_BACK_OFF = 86_400;

/**
 * Polls the sources one after the other and stores what is new. A source that fails is left alone for twice as long
 * each time, and a paged one goes on where it stopped.
 */
export async function syncSources(
  database: Database,
  sources: readonly Source[],
  options: SyncOptions = {},
): Promise<SourceReport[]> {
  const reports: SourceReport[] = [];
  for (const source of sources) reports.push(await syncSource(database, source, options));
  return reports;
}

type State = Pick<
  Selectable<SourceTable>,
  "etag" | "last_modified" | "position" | "failures" | "next_poll_at"
>;

const NEVER_POLLED: State = {
  etag: null,
  last_modified: null,
  position: null,
  failures: 0,
  next_poll_at: new Date(0),
};

async function syncSource(database: Database, source: Source, options: SyncOptions): Promise<SourceReport> {
  const { now = () => new Date(), force = false } = options;
  const state = (await load(database, source.name)) ?? NEVER_POLLED;
  const counts = { added: 0, updated: 0, unchanged: 0, kept: 0, skipped: 0 };
  const report = (rest: Pick<SourceReport, "state" | "nextPollAt" | "problem">) => ({
    name: source.name,
    ...counts,
    ...rest,
  });
  if (!force && state.next_poll_at > now())
    return report({ state: "waiting", nextPollAt: state.next_poll_at });
  try {
    const changed = await readPages(database, source, state, options, counts);
    const nextPollAt = later(now(), source.everyMinutes * 60);
    await save(database, source.name, { ...changed, failures: 0, next_poll_at: nextPollAt });
    return report({ state: changed.isNew ? "complete" : "unchanged", nextPollAt });
  } catch (error) {
    if (!(error instanceof FetchFailedError || error instanceof UnreadableFileError)) throw error;
    const failures = state.failures + 1;
    const backOff = Math.min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2 ** (failures - 1));
    const asked = error instanceof FetchFailedError ? (error.retryAfter ?? 0) : 0;
    const nextPollAt = later(now(), Math.max(backOff, asked));
    const { position } = (await load(database, source.name)) ?? state;
    await save(database, source.name, { ...state, position, failures, next_poll_at: nextPollAt });
    return report({ state: "failed", problem: error.message, nextPollAt });
  }
}

type Counts = Record<keyof Omit<ImportReport, "problems">, number>;

async function readPages(
  database: Database,
  source: Source,
  state: State,
  options: SyncOptions,
  counts: Counts,
): Promise<Pick<State, "etag" | "last_modified" | "position"> & { isNew: boolean }> {
  const { now = () => new Date(), pause = wait, signal } = options;
  let start = Number(state.position ?? 0);
  let validators = { etag: state.etag, last_modified: state.last_modified };
  for (let page = 0; page < MOST_PAGES; page++) {
    signal?.throwIfAborted();
    if (page > 0) await pause(source.secondsBetweenPages * 1000);
    // Only the first page can tell whether anything is new; a resumed sync has to read on regardless.
    const conditional = start === 0 ? { etag: state.etag, lastModified: state.last_modified } : {};
    const response = await politeFetch(pageAddress(source, start), { ...options.fetch, ...conditional });
    if (start === 0) validators = { etag: response.etag, last_modified: response.lastModified };
    if (!response.body) return { ...validators, position: null, isNew: false };
    const records = readDocument(source.format, response.body, now());
    const imported = await importRecords(database, records, { source: source.name, now: now(), signal });
    for (const key of Object.keys(counts) as (keyof Counts)[]) counts[key] += imported[key];
    const { added, updated, unchanged, kept, skipped } = imported;
    const size = added + updated + unchanged + kept + skipped;
    // The newest papers come first, so a page without news means that the rest is known.
    if (!source.pageSize || size < source.pageSize || added + updated === 0)
      return { ...validators, position: null, isNew: true };
    start += source.pageSize;
    await save(database, source.name, { ...state, position: String(start) });
  }
  // The next sync goes on from here.
  return { ...validators, position: String(start), isNew: true };
}

function pageAddress(source: Source, start: number): string {
  if (!source.pageSize) return source.url;
  const address = new URL(source.url);
  address.searchParams.set("start", String(start));
  address.searchParams.set("max_results", String(source.pageSize));
  return address.href;
}

function load(database: Database, name: string): Promise<State | undefined> {
  return database.sql
    .selectFrom("source")
    .select(["etag", "last_modified", "position", "failures", "next_poll_at"])
    .where("name", "=", name)
    .executeTakeFirst();
}

async function save(database: Database, name: string, state: State): Promise<void> {
  const { etag, last_modified, position, failures, next_poll_at } = state;
  const row: Insertable<SourceTable> = { name, etag, last_modified, position, failures, next_poll_at };
  await database.sql
    .insertInto("source")
    .values(row)
    .onConflict((conflict) => conflict.column("name").doUpdateSet(row))
    .execute();
}

const later = (moment: Date, seconds: number): Date => new Date(moment.getTime() + seconds * 1000);
