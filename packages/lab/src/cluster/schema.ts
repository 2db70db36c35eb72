import type { Sql } from "./connection.ts";

/** Keeps processes that start together from creating the tables at the same time. */
const SCHEMA_LOCK = 7_164_002;

/** Waits until no other process creates tables, and keeps others out until the transaction ends. */
export async function lockSchema({ query }: Sql): Promise<void> {
  await query(`select pg_advisory_xact_lock(${SCHEMA_LOCK})`);
}

/** Tables of the cluster beside pg-boss's own, created when missing. */
export async function ensureSchema(sql: Sql): Promise<void> {
  await lockSchema(sql);
  const statements = [
    "create schema if not exists lab",
    // A unit's key is the only one of its kind: whoever finishes it first, its result counts once.
    `create table if not exists lab.result (
      key text primary key,
      result json not null,
      worker text not null,
      finished_at timestamptz not null default now())`,
    // Units in work. A claim that is not renewed is a worker that died.
    `create table if not exists lab.claim (
      key text primary key,
      job uuid not null,
      worker text not null,
      seen_at timestamptz not null default now(),
      progress json)`,
    `create table if not exists lab.failure (
      key text not null,
      kind text not null,
      message text not null,
      worker text not null,
      failed_at timestamptz not null default now())`,
    "create index if not exists failure_of_key on lab.failure (key)",
    // Units that failed too often, out of the queue until somebody submits them again.
    `create table if not exists lab.parked (
      key text primary key,
      message text not null,
      parked_at timestamptz not null default now())`,
    `create table if not exists lab.worker (
      id text primary key,
      slots integer not null,
      started_at timestamptz not null default now(),
      seen_at timestamptz not null default now())`,
  ];
  for (const statement of statements) await sql.query(statement);
}
