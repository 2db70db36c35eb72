import type { Selectable } from "kysely";
import type { Database } from "../database/database.ts";
import type { PaperTable } from "../database/schema.ts";
import type { Paper, Verdict } from "./paper.ts";

/** Which papers a list or a search may contain. */
export interface PaperFilter {
  readonly family?: string | undefined;
  readonly year?: number | undefined;
  /** Part of an author's name, in any case. */
  readonly author?: string | undefined;
  readonly verdict?: Verdict | undefined;
}

/** Papers by id, in the order asked for; unknown ids are left out. */
export async function papersById(database: Database, ids: readonly string[]): Promise<Paper[]> {
  if (ids.length === 0) return [];
  const rows = await database.sql
    .selectFrom("paper")
    .selectAll()
    .where("id", "in", [...ids])
    .execute();
  const byId = new Map(rows.map((row) => [row.id, row]));
  return ids.flatMap((id) => {
    const row = byId.get(id);
    return row ? [fromRow(row)] : [];
  });
}

/** A paper by its id, arXiv id or DOI. */
export async function findPaper(database: Database, reference: string): Promise<Paper | undefined> {
  const row = await database.sql
    .selectFrom("paper")
    .selectAll()
    .where((where) =>
      where.or([
        where("id", "=", reference),
        where("arxiv", "=", reference),
        where("doi", "=", reference.toLowerCase()),
      ]),
    )
    .limit(1)
    .executeTakeFirst();
  return row && fromRow(row);
}

/** A page of a list. */
export interface PaperPage {
  readonly papers: Paper[];
  /** Pass it on to get the next page; absent on the last one. */
  readonly next?: string;
}

/**
 * Lists papers by id, in pages that neither repeat nor skip a paper while others are being added.
 *
 * @param after `next` of the page before
 */
export async function listPapers(
  database: Database,
  filter: PaperFilter = {},
  { limit = 50, after }: { limit?: number; after?: string | undefined } = {},
): Promise<PaperPage> {
  let query = database.sql.selectFrom("paper").selectAll();
  if (filter.family !== undefined) query = query.where("family", "=", filter.family);
  if (filter.year !== undefined) query = query.where("year", "=", filter.year);
  if (filter.verdict !== undefined) query = query.where("verdict", "=", filter.verdict);
  if (filter.author !== undefined) {
    const pattern = `%${filter.author.replace(/[\\%_]/gu, "\\$&")}%`;
    query = query.where((where) => where(where.cast<string>("authors", "text"), "ilike", pattern));
  }
  if (after !== undefined) query = query.where("id", ">", after);
  const rows = await query
    .orderBy("id")
    .limit(limit + 1)
    .execute();
  const papers = rows.slice(0, limit).map(fromRow);
  return rows.length > limit ? { papers, next: papers.at(-1)!.id } : { papers };
}

/** How many papers each family has, largest first. */
export async function families(database: Database): Promise<{ family: string; papers: number }[]> {
  const rows = await database.sql
    .selectFrom("paper")
    .select(({ fn }) => ["family", fn.countAll<string>().as("papers")])
    .where("family", "is not", null)
    .groupBy("family")
    .execute();
  return rows
    .map(({ family, papers }) => ({ family: family!, papers: Number(papers) }))
    .sort((left, right) => right.papers - left.papers || (left.family < right.family ? -1 : 1));
}

export function fromRow(row: Selectable<PaperTable>): Paper {
  return {
    id: row.id,
    source: row.source,
    title: row.title,
    authors: row.authors,
    year: row.year,
    publishedAt: row.published_at,
    arxiv: row.arxiv,
    arxivVersion: row.arxiv_version,
    doi: row.doi,
    code: row.code,
    url: row.url,
    family: row.family,
    summary: row.summary,
    problem: row.problem,
    keywords: row.keywords,
    claims: row.claims,
    verdict: row.verdict as Verdict | null,
    hasMethod: row.has_method,
    addedAt: row.added_at,
  };
}
