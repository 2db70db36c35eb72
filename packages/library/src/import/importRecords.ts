import type { PaperDraft } from "../collection/paper.ts";
import { type WriteOutcome, writePapers } from "../collection/writePapers.ts";
import type { Database } from "../database/database.ts";
import type { ImportRecord } from "./record.ts";

/** What an import did. */
export interface ImportReport {
  readonly added: number;
  readonly updated: number;
  readonly unchanged: number;
  /** Papers that the library knew better already. */
  readonly kept: number;
  /** Number of records that were not papers. */
  readonly skipped: number;
  /** What was wrong with the first hundred of them. */
  readonly problems: readonly { readonly line: number; readonly problem: string }[];
}

const BATCH = 250;
const MOST_PROBLEMS = 100;

/** Stores the good records of a file in batches, each whole or not at all, and lists the bad ones. */
export async function importRecords(
  database: Database,
  records: AsyncIterable<ImportRecord> | Iterable<ImportRecord>,
  { source, now, signal }: { source: string; now: Date; signal?: AbortSignal | undefined },
): Promise<ImportReport> {
  const counts: Record<WriteOutcome, number> = { added: 0, updated: 0, unchanged: 0, kept: 0 };
  const problems: { line: number; problem: string }[] = [];
  let skipped = 0;
  let batch: PaperDraft[] = [];
  const flush = async () => {
    signal?.throwIfAborted();
    for (const outcome of await writePapers(database, batch, { source, now })) counts[outcome]++;
    batch = [];
  };
  for await (const record of records) {
    if ("problem" in record) {
      skipped++;
      if (problems.length < MOST_PROBLEMS) problems.push(record);
      continue;
    }
    batch.push(record.draft);
    if (batch.length === BATCH) await flush();
  }
  if (batch.length > 0) await flush();
  return { ...counts, skipped, problems };
}
