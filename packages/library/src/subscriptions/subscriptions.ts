import { randomUUID } from "node:crypto";
import type { Selectable } from "kysely";
import * as v from "valibot";
import type { Database } from "../database/database.ts";
import type { SubscriberTable } from "../database/schema.ts";
import type { Tokens } from "../tokens/tokens.ts";
import type { Interests, Schedule, Subscriber } from "./subscriber.ts";
import { isTimeZone } from "./timeZone.ts";

const DAY = 86_400;
const CONFIRMATION_LIFETIME = 2 * DAY;
const LINK_LIFETIME = 365 * DAY;
const SECONDS_BETWEEN_CONFIRMATIONS = 600;
const BOUNCES_UNTIL_SUSPENSION = 3;

/** A wish that cannot be stored; the message is one line. */
export class InvalidSubscriptionError extends Error {
  override readonly name = "InvalidSubscriptionError";
}

const wordList = v.optional(
  v.pipe(
    v.array(v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(200))),
    v.maxLength(50, "has more than 50 entries"),
  ),
  [],
);

const schema = v.object({
  email: v.pipe(
    v.string("must be text"),
    v.trim(),
    v.toLowerCase(),
    v.maxLength(254, "is too long"),
    // No line breaks, brackets, commas or quotes: the address goes into mail headers.
    v.regex(/^[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)+$/u, "is not a mail address"),
  ),
  frequency: v.optional(v.picklist(["daily", "weekly"], "must be daily or weekly"), "daily"),
  weekday: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(7)), 1),
  hour: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(23)), 8),
  timeZone: v.optional(
    v.pipe(v.string(), v.maxLength(100), v.check(isTimeZone, "is not a known time zone")),
    "UTC",
  ),
  topics: wordList,
  families: wordList,
  searches: wordList,
});

/** What somebody asks for when subscribing, unchecked. */
export type SubscriptionRequest = v.InferInput<typeof schema>;

/** What to do after a request. Answer the person the same way in every case, so that addresses cannot be probed. */
export interface SubscriptionResult {
  readonly subscriberId: string;
  readonly email: string;
  /** Put it into the confirmation mail; absent when none is due. */
  readonly confirmation?: string;
}

/** Subscriptions with double opt-in: nothing is sent to an address before its owner followed a link. */
export class Subscriptions {
  readonly #database: Database;
  readonly #tokens: Tokens;

  constructor(database: Database, tokens: Tokens) {
    this.#database = database;
    this.#tokens = tokens;
  }

  /**
   * Takes a request. An active subscription stays as it is; its owner changes it through the link in every digest.
   *
   * At most one confirmation per address and ten minutes is handed out, so the form cannot be used to flood anybody.
   *
   * @throws InvalidSubscriptionError
   */
  async subscribe(request: unknown, now = new Date()): Promise<SubscriptionResult> {
    const wish = parse(request);
    const values = { ...columns(wish), email: wish.email };
    const id = randomUUID();
    await this.#database.sql
      .insertInto("subscriber")
      .values({ id, state: "pending", created_at: now, confirmed_at: null, ...values })
      .onConflict((conflict) => conflict.column("email").doNothing())
      .execute();
    const earliest = new Date(now.getTime() - SECONDS_BETWEEN_CONFIRMATIONS * 1000);
    const due = await this.#database.sql
      .updateTable("subscriber")
      .set({ ...values, state: "pending", confirmation_sent_at: now })
      .where("email", "=", wish.email)
      .where("state", "!=", "active")
      .where((where) =>
        where.or([where("confirmation_sent_at", "is", null), where("confirmation_sent_at", "<=", earliest)]),
      )
      .returning("id")
      .executeTakeFirst();
    if (!due) return { subscriberId: id, email: wish.email };
    const confirmation = this.#tokens.sign("confirm", due.id, CONFIRMATION_LIFETIME, now);
    return { subscriberId: due.id, email: wish.email, confirmation };
  }

  /**
   * Confirms an address. Following the link twice is harmless.
   *
   * @throws InvalidTokenError when the link is forged, expired, or older than an unsubscription
   */
  async confirm(token: string, now = new Date()): Promise<Subscriber | undefined> {
    const id = this.#tokens.verify("confirm", token, now);
    await this.#database.sql
      .updateTable("subscriber")
      .set({ state: "active", confirmed_at: now, bounces: 0 })
      .where("id", "=", id)
      .where("state", "=", "pending")
      .execute();
    return this.get(id);
  }

  /** Ends a subscription at once. Following the link again is harmless. @throws InvalidTokenError */
  async unsubscribe(token: string, now = new Date()): Promise<Subscriber | undefined> {
    const id = this.#tokens.verify("unsubscribe", token, now);
    await this.#database.sql
      .updateTable("subscriber")
      .set({ state: "unsubscribed" })
      .where("id", "=", id)
      .execute();
    return this.get(id);
  }

  /** Whom a link for changing a subscription belongs to. @throws InvalidTokenError */
  async manage(token: string, now = new Date()): Promise<Subscriber | undefined> {
    return this.get(this.#tokens.verify("manage", token, now));
  }

  /**
   * Changes interests and schedule; the address stays.
   *
   * @throws InvalidTokenError
   * @throws InvalidSubscriptionError
   */
  async change(token: string, request: unknown, now = new Date()): Promise<Subscriber | undefined> {
    const id = this.#tokens.verify("manage", token, now);
    const current = await this.get(id);
    if (!current) return undefined;
    const wish = parse({ ...(request as object), email: current.email });
    await this.#database.sql.updateTable("subscriber").set(columns(wish)).where("id", "=", id).execute();
    return this.get(id);
  }

  /** Counts a refused mail; the third in a row suspends the subscription until the address is confirmed again. */
  async recordBounce(subscriberId: string): Promise<void> {
    await this.#database.sql
      .updateTable("subscriber")
      .set((update) => ({
        bounces: update("bounces", "+", 1),
        state: update
          .case()
          .when(
            update.and([
              update("state", "=", "active"),
              update("bounces", ">=", BOUNCES_UNTIL_SUSPENSION - 1),
            ]),
          )
          .then<"suspended" | SubscriberTable["state"]>("suspended")
          .else(update.ref("state"))
          .end(),
      }))
      .where("id", "=", subscriberId)
      .execute();
  }

  /** Forgets earlier bounces after a mail got through. */
  async recordDelivery(subscriberId: string): Promise<void> {
    await this.#database.sql
      .updateTable("subscriber")
      .set({ bounces: 0 })
      .where("id", "=", subscriberId)
      .where("bounces", ">", 0)
      .execute();
  }

  async get(id: string): Promise<Subscriber | undefined> {
    const row = await this.#database.sql
      .selectFrom("subscriber")
      .selectAll()
      .where("id", "=", id)
      .executeTakeFirst();
    return row && toSubscriber(row);
  }

  /** Tokens for the links of one mail; they last a year. */
  linkTokens(subscriberId: string, now: Date): { unsubscribe: string; manage: string } {
    return {
      unsubscribe: this.#tokens.sign("unsubscribe", subscriberId, LINK_LIFETIME, now),
      manage: this.#tokens.sign("manage", subscriberId, LINK_LIFETIME, now),
    };
  }
}

export function toSubscriber(row: Selectable<SubscriberTable>): Subscriber {
  return {
    id: row.id,
    email: row.email,
    state: row.state,
    frequency: row.frequency,
    weekday: row.weekday,
    hour: row.hour,
    timeZone: row.time_zone,
    interests: row.interests,
  };
}

function parse(request: unknown): v.InferOutput<typeof schema> {
  const result = v.safeParse(schema, request);
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new InvalidSubscriptionError(`${v.getDotPath(issue) ?? "The request"} ${issue.message}`);
}

function columns(wish: Schedule & Interests) {
  const { topics, families, searches } = wish;
  return {
    frequency: wish.frequency,
    weekday: wish.weekday,
    hour: wish.hour,
    time_zone: wish.timeZone,
    interests: JSON.stringify({ topics, families, searches }),
  };
}
