import type { ColumnType, Generated, JSONColumnType } from "kysely";
import type { Claim } from "../collection/paper.ts";
import type { Interests } from "../subscriptions/subscriber.ts";

/** PostgreSQL returns `bigint` as text; the numbers stored here fit a double. */
type BigInteger = ColumnType<string, number | string, number | string>;
type Json<Value extends object | null> = JSONColumnType<Value, string, string>;

export interface PaperTable {
  id: string;
  /** `built-in`, `import`, or the name of the configured source. */
  source: string;
  title: string;
  authors: Json<string[]>;
  year: number | null;
  published_at: Date | null;
  arxiv: string | null;
  arxiv_version: number | null;
  doi: string | null;
  code: string | null;
  url: string | null;
  family: string | null;
  summary: string;
  problem: string;
  keywords: Json<string[]>;
  claims: Json<Claim[]>;
  /** `reproduced`, `partly`, `not reproduced`, or null when the method has not been run. */
  verdict: string | null;
  has_method: boolean;
  /** Digest of everything above; an import that changes nothing writes nothing. */
  content_hash: string;
  /** Position in the order of changes; indexes in memory catch up from here. */
  revision: BigInteger;
  added_at: Date;
}

export interface EmbeddingTable {
  paper_id: string;
  model: string;
  codes: Buffer | Uint8Array;
}

export interface SettingTable {
  key: string;
  value: string;
}

export interface VoteTable {
  paper_id: string;
  voter: string;
  voted_at: Date;
}

export interface RunTable {
  paper_id: string;
  runner: string;
  /** UTC day; a person's runs of one paper count once a day. */
  day: ColumnType<string, string, string>;
  ran_at: Date;
}

export interface SourceTable {
  name: string;
  etag: string | null;
  last_modified: string | null;
  /** Where the next page begins, when the last sync stopped half-way. */
  position: string | null;
  next_poll_at: Date;
  failures: Generated<number>;
}

export interface SubscriberTable {
  id: string;
  email: string;
  state: "pending" | "active" | "suspended" | "unsubscribed";
  frequency: "daily" | "weekly";
  /** ISO weekday of a weekly digest, 1 Monday to 7 Sunday. */
  weekday: number;
  /** Local hour from which the digest may go out, 0–23. */
  hour: number;
  time_zone: string;
  interests: Json<Interests>;
  bounces: Generated<number>;
  created_at: Date;
  confirmed_at: Date | null;
  confirmation_sent_at: Date | null;
}

export interface DeliveryTable {
  subscriber_id: string;
  /** The subscriber's local date, `YYYY-MM-DD`. */
  day: ColumnType<string, string, string>;
  state: "claimed" | "sent" | "skipped";
  claimed_by: string;
  claimed_until: Date;
  sent_at: Date | null;
  paper_ids: Json<string[]>;
}

export interface Schema {
  paper: PaperTable;
  embedding: EmbeddingTable;
  setting: SettingTable;
  vote: VoteTable;
  run: RunTable;
  source: SourceTable;
  subscriber: SubscriberTable;
  delivery: DeliveryTable;
}
