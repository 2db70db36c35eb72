import { type Kysely, type Migration, type MigrationProvider, Migrator, sql } from "kysely";
import type { Schema } from "./schema.ts";

/** Statements of one forward step; each runs in the transaction of its migration. */
const step = (...statements: string[]): Migration => ({
  async up(database) {
    for (const statement of statements) await sql.raw(statement).execute(database);
  },
});

/**
 * All schema changes in order. A released step never changes: a mistake is mended by a later one.
 */
const MIGRATIONS: Record<string, Migration> = {
  "001-papers": step(
    "create sequence paper_revision",
    `create table paper (
      id text primary key,
      source text not null,
      title text not null,
      authors jsonb not null,
      year integer,
      published_at timestamptz,
      arxiv text unique,
      arxiv_version integer,
      doi text unique,
      code text,
      url text,
      family text,
      summary text not null,
      problem text not null,
      keywords jsonb not null,
      claims jsonb not null,
      verdict text,
      has_method boolean not null,
      content_hash text not null,
      revision bigint not null unique,
      added_at timestamptz not null
    )`,
    `create table embedding (
      paper_id text not null references paper on delete cascade,
      model text not null,
      codes bytea not null,
      primary key (paper_id, model)
    )`,
    "create table setting (key text primary key, value text not null)",
  ),
  "002-votes-and-runs": step(
    `create table vote (
      paper_id text not null references paper on delete cascade,
      voter text not null,
      voted_at timestamptz not null,
      primary key (paper_id, voter)
    )`,
    "create index vote_time on vote (voted_at)",
    `create table run (
      paper_id text not null references paper on delete cascade,
      runner text not null,
      day date not null,
      ran_at timestamptz not null,
      primary key (paper_id, runner, day)
    )`,
    "create index run_time on run (ran_at)",
    "create index paper_added on paper (added_at)",
  ),
  "003-sources": step(
    `create table source (
      name text primary key,
      etag text,
      last_modified text,
      position text,
      next_poll_at timestamptz not null,
      failures integer not null default 0
    )`,
  ),
  "004-subscriptions": step(
    `create table subscriber (
      id text primary key,
      email text not null unique,
      state text not null check (state in ('pending', 'active', 'suspended', 'unsubscribed')),
      frequency text not null check (frequency in ('daily', 'weekly')),
      weekday integer not null check (weekday between 1 and 7),
      hour integer not null check (hour between 0 and 23),
      time_zone text not null,
      interests jsonb not null,
      bounces integer not null default 0,
      created_at timestamptz not null,
      confirmed_at timestamptz,
      confirmation_sent_at timestamptz
    )`,
    `create table delivery (
      subscriber_id text not null references subscriber on delete cascade,
      day date not null,
      state text not null check (state in ('claimed', 'sent', 'skipped')),
      claimed_by text not null,
      claimed_until timestamptz not null,
      sent_at timestamptz,
      paper_ids jsonb not null,
      primary key (subscriber_id, day)
    )`,
  ),
};

const provider: MigrationProvider = { getMigrations: async () => MIGRATIONS };

/**
 * Brings the schema up to date. Safe to run from several processes at once.
 *
 * @throws Error when a step fails; the steps before it stay
 */
export async function migrate(database: Kysely<Schema>): Promise<void> {
  const migrator = new Migrator({ db: database, provider });
  const { error } = await migrator.migrateToLatest();
  if (error) throw new Error("The database could not be brought up to date", { cause: error });
}
