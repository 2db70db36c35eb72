import type { Insertable, Transaction } from "kysely";
import { changePapers, type Database, nextRevision } from "../database/database.ts";
import type { PaperTable, Schema } from "../database/schema.ts";
import { contentHash, type PaperDraft } from "./paper.ts";

/** What became of one draft. `kept` means that the library knew it better already. */
export type WriteOutcome = "added" | "updated" | "unchanged" | "kept";

export const BUILT_IN = "built-in";

interface Known {
  readonly id: string;
  readonly source: string;
  readonly arxiv: string | null;
  readonly arxiv_version: number | null;
  readonly doi: string | null;
  readonly content_hash: string;
}

/**
 * Stores papers, all or none.
 *
 * A draft is the same paper as a stored one when arXiv id, DOI or id agree. The built-in collection is never changed
 * by other sources, and an older arXiv version never replaces a newer one.
 *
 * @param source who says so: `built-in`, `import`, or a source's name
 * @returns the outcomes in the order of the drafts
 */
export function writePapers(
  database: Database,
  drafts: readonly PaperDraft[],
  { source, now }: { source: string; now: Date },
): Promise<WriteOutcome[]> {
  return changePapers(database, async (transaction) => {
    const known = await KnownPapers.load(transaction, drafts);
    const rows = new Map<string, Insertable<PaperTable>>();
    const outcomes = drafts.map((draft): WriteOutcome => {
      const hash = contentHash(draft);
      const existing = known.find(draft);
      if (existing) {
        if (existing.content_hash === hash) return "unchanged";
        if (existing.source === BUILT_IN && source !== BUILT_IN) return "kept";
        if ((existing.arxiv_version ?? 0) > (draft.arxivVersion ?? 0) && source !== BUILT_IN) return "kept";
      }
      const row = toRow(draft, existing?.id ?? draft.id, hash, source, now);
      rows.set(row.id, row);
      known.remember(row);
      return existing ? "updated" : "added";
    });
    await upsert(transaction, [...rows.values()]);
    return outcomes;
  });
}

class KnownPapers {
  readonly #byKey = new Map<string, Known>();

  static async load(transaction: Transaction<Schema>, drafts: readonly PaperDraft[]): Promise<KnownPapers> {
    const known = new KnownPapers();
    if (drafts.length === 0) return known;
    const values = (pick: (draft: PaperDraft) => string | null) =>
      drafts.map(pick).filter((value) => value !== null);
    const arxivs = values(({ arxiv }) => arxiv);
    const dois = values(({ doi }) => doi);
    const rows = await transaction
      .selectFrom("paper")
      .select(["id", "source", "arxiv", "arxiv_version", "doi", "content_hash"])
      .where((where) =>
        where.or([
          where(
            "id",
            "in",
            values(({ id }) => id),
          ),
          ...(arxivs.length > 0 ? [where("arxiv", "in", arxivs)] : []),
          ...(dois.length > 0 ? [where("doi", "in", dois)] : []),
        ]),
      )
      .execute();
    for (const row of rows) known.remember(row);
    return known;
  }

  find({ arxiv, doi, id }: PaperDraft): Known | undefined {
    return (
      (arxiv ? this.#byKey.get(`arxiv ${arxiv}`) : undefined) ??
      (doi ? this.#byKey.get(`doi ${doi}`) : undefined) ??
      this.#byKey.get(`id ${id}`)
    );
  }

  remember(paper: Pick<Insertable<PaperTable>, keyof Known>): void {
    const known = { ...paper } as Known;
    this.#byKey.set(`id ${paper.id}`, known);
    if (paper.arxiv) this.#byKey.set(`arxiv ${paper.arxiv}`, known);
    if (paper.doi) this.#byKey.set(`doi ${paper.doi}`, known);
  }
}

function toRow(
  draft: PaperDraft,
  id: string,
  hash: string,
  source: string,
  now: Date,
): Insertable<PaperTable> {
  return {
    id,
    source,
    title: draft.title,
    authors: JSON.stringify(draft.authors),
    year: draft.year,
    published_at: draft.publishedAt,
    arxiv: draft.arxiv,
    arxiv_version: draft.arxivVersion,
    doi: draft.doi,
    code: draft.code,
    url: draft.url,
    family: draft.family,
    summary: draft.summary,
    problem: draft.problem,
    keywords: JSON.stringify(draft.keywords),
    claims: JSON.stringify(draft.claims),
    verdict: draft.verdict,
    has_method: draft.hasMethod,
    content_hash: hash,
    revision: nextRevision as unknown as string,
    added_at: now,
  };
}

async function upsert(transaction: Transaction<Schema>, rows: Insertable<PaperTable>[]): Promise<void> {
  if (rows.length === 0) return;
  const ids = rows.map(({ id }) => id);
  // Another source may have claimed the DOI or arXiv id of a row that is about to change; the newest word wins.
  await releaseIdentifiers(transaction, rows, ids);
  await transaction.deleteFrom("embedding").where("paper_id", "in", ids).execute();
  await transaction
    .insertInto("paper")
    .values(rows)
    .onConflict((conflict) =>
      conflict.column("id").doUpdateSet((update) => {
        const { id: _, added_at: __, ...columns } = rows[0]!;
        return Object.fromEntries(
          Object.keys(columns).map((column) => [
            column,
            update.ref(`excluded.${column as keyof PaperTable}`),
          ]),
        );
      }),
    )
    .execute();
}

async function releaseIdentifiers(
  transaction: Transaction<Schema>,
  rows: readonly Insertable<PaperTable>[],
  ids: readonly string[],
): Promise<void> {
  for (const column of ["arxiv", "doi"] as const) {
    const values = rows
      .map((row) => row[column])
      .filter((value): value is string => typeof value === "string");
    if (values.length === 0) continue;
    await transaction
      .updateTable("paper")
      .set({ [column]: null })
      .where(column, "in", values)
      .where("id", "not in", ids)
      .execute();
  }
}
