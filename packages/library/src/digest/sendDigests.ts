import { randomUUID } from "node:crypto";
import { sql } from "kysely";
import type { Paper } from "../collection/paper.ts";
import type { Library } from "../library.ts";
import type { Subscriber } from "../subscriptions/subscriber.ts";
import { toSubscriber } from "../subscriptions/subscriptions.ts";
import { localTime } from "../subscriptions/timeZone.ts";
import { DigestContent } from "./digestContent.ts";
import { DigestLetters, unsubscribeAddress } from "./digestMail.tsx";
import { type Letter, type Mailer, MailRefusedError } from "./mailer.ts";

export interface DigestOptions {
  readonly mailer: Mailer;
  /** Address of the site without a slash at the end. */
  readonly site: string;
  readonly now?: () => Date;
  readonly signal?: AbortSignal | undefined;
}

/** What a run did. */
export interface DigestReport {
  readonly sent: number;
  /** Due, but nothing of interest was trending. */
  readonly skipped: number;
  /** Refused addresses. */
  readonly bounced: number;
  /** Attempts that failed and will be repeated by the next run. */
  readonly failed: number;
  /** Why, each reason once, at most five. */
  readonly problems: readonly string[];
}

type Outcome = Exclude<keyof DigestReport, "problems">;

/** Ten minutes: longer than sending one letter can take, and the wait after a crash. */
const CLAIM_TIME = 600_000;
const BATCH = 20;
const PAGE = 500;
const MOST_PROBLEMS = 5;

/**
 * Sends the digests that are due, each once per subscriber and local day.
 *
 * A run claims (subscriber, day) in the database before it sends and marks it sent after the mailer took the letter.
 * Any number of runs may work at the same time; the claims of a killed one are taken over when they expire. What a
 * killed run may have handed over without marking is sent again under the same Message-ID: in the outbox it replaces
 * the file, and mail systems treat it as the same message.
 *
 * @throws the signal's reason when stopped; what was claimed and not sent is free for the next run at once
 */
export async function sendDigests(library: Library, options: DigestOptions): Promise<DigestReport> {
  const { now = () => new Date(), signal } = options;
  const run = new DigestRun(library, options, randomUUID(), now);
  const report: Record<Outcome, number> = { sent: 0, skipped: 0, bounced: 0, failed: 0 };
  for await (const due of dueSubscribers(library, now())) {
    for (let start = 0; start < due.length; start += BATCH) {
      signal?.throwIfAborted();
      const claimed = [...(await run.claim(due.slice(start, start + BATCH)))];
      for (const [index, [subscriber, recent]] of claimed.entries()) {
        if (signal?.aborted) {
          for (const [unsent] of claimed.slice(index)) await run.giveBack(unsent);
          throw signal.reason;
        }
        report[await run.send(subscriber, recent)]++;
      }
    }
  }
  return { ...report, problems: run.problems };
}

/** A subscriber with the local day for which a digest is due. */
export interface DueSubscriber extends Subscriber {
  readonly day: string;
}

/** Whose digest is due at a moment: active, the hour has come, and on the right weekday. */
export function dueDay(subscriber: Subscriber, now: Date): string | undefined {
  const { day, hour, weekday } = localTime(now, subscriber.timeZone);
  if (subscriber.state !== "active" || hour < subscriber.hour) return undefined;
  if (subscriber.frequency === "weekly" && weekday !== subscriber.weekday) return undefined;
  return day;
}

async function* dueSubscribers(library: Library, now: Date): AsyncGenerator<DueSubscriber[]> {
  let after = "";
  for (;;) {
    const rows = await library.database.sql
      .selectFrom("subscriber")
      .selectAll()
      .where("state", "=", "active")
      .where("id", ">", after)
      .orderBy("id")
      .limit(PAGE)
      .execute();
    yield rows.map(toSubscriber).flatMap((subscriber) => {
      const day = dueDay(subscriber, now);
      return day === undefined ? [] : [{ ...subscriber, day }];
    });
    if (rows.length < PAGE) return;
    after = rows.at(-1)!.id;
  }
}

class DigestRun {
  readonly #library: Library;
  readonly #options: DigestOptions;
  readonly #name: string;
  readonly #now: () => Date;
  readonly #content: DigestContent;
  readonly #desk: WritingDesk;
  readonly #problems = new Set<string>();

  constructor(library: Library, options: DigestOptions, name: string, now: () => Date) {
    this.#library = library;
    this.#options = options;
    this.#name = name;
    this.#now = now;
    this.#content = new DigestContent(library, now());
    this.#desk = new WritingDesk(library, options.site);
  }

  get problems(): string[] {
    return [...this.#problems].slice(0, MOST_PROBLEMS);
  }

  /** Claims those of the due that nobody has sent or is sending, with what they were sent lately. */
  async claim(due: readonly DueSubscriber[]): Promise<Map<DueSubscriber, ReadonlySet<string>>> {
    const now = this.#now();
    const claim = {
      state: "claimed" as const,
      claimed_by: this.#name,
      claimed_until: new Date(now.getTime() + CLAIM_TIME),
    };
    const rows = await this.#library.database.sql
      .insertInto("delivery")
      .values(
        due.map(({ id, day }) => ({ subscriber_id: id, day, paper_ids: "[]", sent_at: null, ...claim })),
      )
      .onConflict((conflict) =>
        conflict
          .columns(["subscriber_id", "day"])
          .doUpdateSet(claim)
          .where("delivery.state", "=", "claimed")
          .where("delivery.claimed_until", "<", now),
      )
      .returning("subscriber_id")
      .execute();
    const claimed = new Set(rows.map(({ subscriber_id }) => subscriber_id));
    const mine = due.filter(({ id }) => claimed.has(id));
    if (mine.length === 0) return new Map();
    const recent = await this.#content.recentlySent([...claimed]);
    return new Map(mine.map((subscriber) => [subscriber, recent.get(subscriber.id) ?? new Set()]));
  }

  async send(subscriber: DueSubscriber, recent: ReadonlySet<string>): Promise<Outcome> {
    const papers = await this.#content.papersFor(subscriber, recent);
    if (papers.length === 0) {
      await this.#finish(subscriber, "skipped", []);
      return "skipped";
    }
    // A run that was stopped for longer than its claim must not send what another run took over.
    if (!(await this.#renew(subscriber))) return "skipped";
    try {
      await this.#options.mailer.send(await this.#letter(subscriber, papers));
    } catch (error) {
      if (!(error instanceof MailRefusedError)) {
        this.#problems.add((error as Error).message);
        await this.giveBack(subscriber);
        return "failed";
      }
      await this.#finish(subscriber, "skipped", []);
      await this.#library.subscriptions.recordBounce(subscriber.id);
      return "bounced";
    }
    await this.#finish(subscriber, "sent", papers);
    await this.#library.subscriptions.recordDelivery(subscriber.id);
    return "sent";
  }

  #letter(subscriber: DueSubscriber, papers: readonly Paper[]): Promise<Letter> {
    return this.#desk.letter(subscriber, papers, this.#now());
  }

  async #renew({ id, day }: DueSubscriber): Promise<boolean> {
    const until = new Date(this.#now().getTime() + CLAIM_TIME);
    const { numUpdatedRows } = await this.#library.database.sql
      .updateTable("delivery")
      .set({ claimed_until: until })
      .where("subscriber_id", "=", id)
      .where("day", "=", day)
      .where("state", "=", "claimed")
      .where("claimed_by", "=", this.#name)
      .executeTakeFirst();
    return numUpdatedRows === 1n;
  }

  async #finish(
    { id, day }: DueSubscriber,
    state: "sent" | "skipped",
    papers: readonly Paper[],
  ): Promise<void> {
    await this.#library.database.sql
      .updateTable("delivery")
      .set({ state, sent_at: this.#now(), paper_ids: JSON.stringify(papers.map((paper) => paper.id)) })
      .where("subscriber_id", "=", id)
      .where("day", "=", day)
      .execute();
  }

  /** Lets the next run try at once instead of when the claim expires. */
  async giveBack({ id, day }: DueSubscriber): Promise<void> {
    await this.#library.database.sql
      .deleteFrom("delivery")
      .where("subscriber_id", "=", id)
      .where("day", "=", day)
      .where("claimed_by", "=", this.#name)
      .where("state", "=", sql.lit("claimed"))
      .execute();
  }
}

/** Writes and addresses letters. */
class WritingDesk {
  readonly #library: Library;
  readonly #site: string;
  readonly #letters: DigestLetters;

  constructor(library: Library, site: string) {
    this.#library = library;
    this.#site = site;
    this.#letters = new DigestLetters({ site });
  }

  async letter(subscriber: DueSubscriber, papers: readonly Paper[], now: Date): Promise<Letter> {
    const tokens = this.#library.subscriptions.linkTokens(subscriber.id, now);
    const { frequency, day } = subscriber;
    return {
      ...(await this.#letters.write({ papers, frequency, day, tokens })),
      to: subscriber.email,
      messageId: `digest.${day}.${subscriber.id}@${new URL(this.#site).hostname}`,
      unsubscribe: unsubscribeAddress({ site: this.#site }, tokens.unsubscribe),
      date: now,
    };
  }
}

/** The mails that a run at a moment would send, without sending or recording anything. */
export async function previewDigests(
  library: Library,
  { site, now }: { site: string; now: Date },
  limit = Number.POSITIVE_INFINITY,
): Promise<Letter[]> {
  const content = new DigestContent(library, now);
  const desk = new WritingDesk(library, site);
  const letters: Letter[] = [];
  for await (const due of dueSubscribers(library, now)) {
    if (due.length === 0) continue;
    const done = await deliveredDays(library, due);
    const recent = await content.recentlySent(due.map(({ id }) => id));
    for (const subscriber of due) {
      if (letters.length >= limit) return letters;
      if (done.has(`${subscriber.id} ${subscriber.day}`)) continue;
      const papers = await content.papersFor(subscriber, recent.get(subscriber.id) ?? new Set());
      if (papers.length > 0) letters.push(await desk.letter(subscriber, papers, now));
    }
  }
  return letters;
}

/** What somebody without special wishes would get now; for looking at, since its links belong to nobody. */
export async function sampleDigest(
  library: Library,
  { site, now }: { site: string; now: Date },
): Promise<Letter> {
  const subscriber: DueSubscriber = {
    id: "sample",
    email: "you@example.org",
    state: "active",
    frequency: "daily",
    weekday: 1,
    hour: 0,
    timeZone: "UTC",
    interests: { topics: [], families: [], searches: [] },
    day: localTime(now, "UTC").day,
  };
  const papers = await new DigestContent(library, now).papersFor(subscriber, new Set());
  return new WritingDesk(library, site).letter(subscriber, papers, now);
}

async function deliveredDays(library: Library, due: readonly DueSubscriber[]): Promise<Set<string>> {
  const rows = await library.database.sql
    .selectFrom("delivery")
    .select(["subscriber_id", "day"])
    .where(
      "subscriber_id",
      "in",
      due.map(({ id }) => id),
    )
    .where("state", "!=", "claimed")
    .execute();
  return new Set(rows.map(({ subscriber_id, day }) => `${subscriber_id} ${day}`));
}
