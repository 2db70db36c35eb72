import type { Paper } from "../collection/paper.ts";
import { papersById } from "../collection/readPapers.ts";
import type { Database } from "../database/database.ts";
import { FORGOTTEN_AFTER, HALF_LIFE, type TrendingWindow, trendingScore } from "./trendingScore.ts";

export interface TrendingPaper {
  readonly paper: Paper;
  readonly score: number;
}

export interface TrendingRequest {
  readonly window?: TrendingWindow;
  readonly family?: string | undefined;
  readonly limit?: number;
  readonly now?: Date;
}

/** A paper's place in the list. */
export interface TrendingRank {
  readonly id: string;
  readonly family: string | null;
  readonly score: number;
}

/** Of the papers that nobody voted for or ran, only the newest can be in a list, and never more than this. */
const NEWEST = 500;

/** The papers that somebody voted for or ran lately and the newest ones, by falling score; equal ones by falling year, then id. */
export async function trendingRanks(
  database: Database,
  window: TrendingWindow,
  now: Date,
): Promise<TrendingRank[]> {
  const oldest = new Date(now.getTime() - FORGOTTEN_AFTER * HALF_LIFE[window]);
  const votes = await database.sql
    .selectFrom("vote")
    .select(["paper_id", "voted_at as at"])
    .where("voted_at", ">=", oldest)
    .where("voted_at", "<=", now)
    .execute();
  const runs = await database.sql
    .selectFrom("run")
    .select(["paper_id", "ran_at as at"])
    .where("ran_at", ">=", oldest)
    .where("ran_at", "<=", now)
    .execute();
  const ids = [...new Set([...votes, ...runs].map(({ paper_id }) => paper_id))];
  const fresh = database.sql
    .selectFrom("paper")
    .select(["id", "family", "year", "added_at"])
    .where("added_at", ">=", oldest)
    .where("added_at", "<=", now)
    .orderBy("added_at", "desc")
    .orderBy("year", (order) => order.desc().nullsLast())
    .orderBy("id")
    .limit(NEWEST);
  const papers = await (ids.length === 0
    ? fresh
    : database.sql
        .selectFrom(fresh.as("fresh"))
        .selectAll()
        .union(
          database.sql
            .selectFrom("paper")
            .select(["id", "family", "year", "added_at"])
            .where("id", "in", ids),
        )
  ).execute();
  const votesOf = groupTimes(votes);
  const runsOf = groupTimes(runs);
  return papers
    .map(({ id, family, year, added_at }) => {
      const events = { votes: votesOf.get(id) ?? [], runs: runsOf.get(id) ?? [], since: added_at };
      return { id, family, year: year ?? 0, score: trendingScore(events, now, window) };
    })
    .sort(
      (left, right) => right.score - left.score || right.year - left.year || (left.id < right.id ? -1 : 1),
    );
}

/** What is talked about: by default over a week, the ten highest. */
export async function trending(
  database: Database,
  { window = "week", family, limit = 10, now = new Date() }: TrendingRequest = {},
): Promise<TrendingPaper[]> {
  const ranks = await trendingRanks(database, window, now);
  const chosen = ranks.filter((rank) => family === undefined || rank.family === family).slice(0, limit);
  const papers = await papersById(
    database,
    chosen.map(({ id }) => id),
  );
  const scores = new Map(chosen.map(({ id, score }) => [id, score]));
  return papers.map((paper) => ({ paper, score: scores.get(paper.id)! }));
}

function groupTimes(rows: readonly { paper_id: string; at: Date }[]): Map<string, Date[]> {
  const groups = new Map<string, Date[]>();
  for (const { paper_id, at } of rows) {
    const times = groups.get(paper_id);
    if (times) times.push(at);
    else groups.set(paper_id, [at]);
  }
  return groups;
}
