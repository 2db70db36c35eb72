import type { Paper } from "../collection/paper.ts";
import { papersById } from "../collection/readPapers.ts";
import type { Library } from "../library.ts";
import { stemsOf } from "../search/text/terms.ts";
import type { Interests, Subscriber } from "../subscriptions/subscriber.ts";
import { type TrendingRank, trendingRanks } from "../trending/trending.ts";

const PAPERS_A_DIGEST = 7;
const DAYS_WITHOUT_REPEATS = 30;
const SEARCH_DEPTH = 50;
const DAY = 86_400_000;

interface Candidate extends TrendingRank {
  readonly paper: Paper;
  readonly stems: ReadonlySet<string>;
}

/**
 * Chooses papers for digests. One instance serves one run: the trending list is computed once, and each saved search
 * runs once however many people saved it.
 */
export class DigestContent {
  readonly #library: Library;
  readonly #now: Date;
  readonly #trending = new Map<string, Promise<Candidate[]>>();
  readonly #searches = new Map<string, Promise<Set<string>>>();

  constructor(library: Library, now: Date) {
    this.#library = library;
    this.#now = now;
  }

  /**
   * The papers that trend among those of interest and were not in the subscriber's mails of the last 30 days.
   *
   * @param recentlySent ids of the papers in those mails
   */
  async papersFor(subscriber: Subscriber, recentlySent: ReadonlySet<string>): Promise<Paper[]> {
    const candidates = await this.#candidates(subscriber.frequency);
    const found = await this.#savedSearches(subscriber.interests);
    return candidates
      .filter(
        (candidate) => !recentlySent.has(candidate.id) && isWanted(candidate, subscriber.interests, found),
      )
      .slice(0, PAPERS_A_DIGEST)
      .map(({ paper }) => paper);
  }

  /** Ids of the papers in recent mails, by subscriber. */
  async recentlySent(subscriberIds: readonly string[]): Promise<Map<string, Set<string>>> {
    const since = new Date(this.#now.getTime() - DAYS_WITHOUT_REPEATS * DAY);
    const rows = await this.#library.database.sql
      .selectFrom("delivery")
      .select(["subscriber_id", "paper_ids"])
      .where("subscriber_id", "in", [...subscriberIds])
      .where("state", "=", "sent")
      .where("sent_at", ">=", since)
      .execute();
    const sent = new Map<string, Set<string>>();
    for (const { subscriber_id, paper_ids } of rows) {
      const papers = sent.get(subscriber_id) ?? new Set<string>();
      for (const id of paper_ids) papers.add(id);
      sent.set(subscriber_id, papers);
    }
    return sent;
  }

  #candidates(frequency: Subscriber["frequency"]): Promise<Candidate[]> {
    const window = frequency === "daily" ? "day" : "week";
    return remember(this.#trending, window, async () => {
      const { database } = this.#library;
      const ranks = await trendingRanks(database, window, this.#now);
      const papers = await papersById(
        database,
        ranks.map(({ id }) => id),
      );
      const rankOf = new Map(ranks.map((rank) => [rank.id, rank]));
      return papers.map((paper) => ({
        ...rankOf.get(paper.id)!,
        paper,
        stems: new Set(stemsOf([paper.title, ...paper.keywords, paper.problem, paper.summary].join(". "))),
      }));
    });
  }

  async #savedSearches({ searches }: Interests): Promise<Set<string>> {
    const found = await Promise.all(
      searches.map((query) =>
        remember(this.#searches, query, async () => {
          const { hits } = await this.#library.search({ query, limit: SEARCH_DEPTH });
          return new Set(hits.map(({ paper }) => paper.id));
        }),
      ),
    );
    return new Set(found.flatMap((ids) => [...ids]));
  }
}

/** Without any wish everything is wanted; otherwise one that is met is enough. */
function isWanted(candidate: Candidate, interests: Interests, found: ReadonlySet<string>): boolean {
  const { topics, families, searches } = interests;
  if (topics.length + families.length + searches.length === 0) return true;
  return (
    (candidate.family !== null && families.includes(candidate.family)) ||
    found.has(candidate.id) ||
    topics.some((topic) => {
      const stems = stemsOf(topic);
      return stems.length > 0 && stems.every((stem) => candidate.stems.has(stem));
    })
  );
}

function remember<Value>(memory: Map<string, Promise<Value>>, key: string, make: () => Promise<Value>) {
  let value = memory.get(key);
  if (!value) {
    value = make();
    memory.set(key, value);
  }
  return value;
}
