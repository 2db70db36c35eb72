import type { Database } from "../database/database.ts";
import { type Claim, draftPaper, VERDICTS, type Verdict } from "./paper.ts";
import { BUILT_IN, writePapers } from "./writePapers.ts";

/** `paper.json` of a paper's room. */
export interface BuiltInPaper {
  readonly slug: string;
  readonly title: string;
  readonly family: string;
  readonly authors: readonly string[];
  readonly year?: number | null;
  readonly arxiv?: string | null;
  readonly code?: string | null;
  readonly summary: string;
  readonly problem: string;
  readonly keywords: readonly string[];
  readonly claims: readonly { readonly id: string; readonly text: string }[];
  /** Whether the room exports a method. */
  readonly hasMethod?: boolean;
  /** `results.json` of the room as it stands, when there is one. */
  readonly results?: unknown;
}

/** Counts of a synchronization. */
export interface CollectionChanges {
  readonly added: number;
  readonly updated: number;
  readonly unchanged: number;
}

const BATCH = 200;

/**
 * Brings the stored built-in collection up to date with the rooms. Doing it again changes nothing; a room that is gone
 * stays stored, with its votes.
 *
 * @throws InvalidPaperError when a room's metadata is broken; nothing of its batch is stored
 */
export async function syncCollection(
  database: Database,
  papers: readonly BuiltInPaper[],
  now = new Date(),
): Promise<CollectionChanges> {
  const counts = { added: 0, updated: 0, unchanged: 0 };
  for (let start = 0; start < papers.length; start += BATCH) {
    const drafts = papers.slice(start, start + BATCH).map((paper) => toDraft(paper, now));
    for (const outcome of await writePapers(database, drafts, { source: BUILT_IN, now })) {
      if (outcome !== "kept") counts[outcome]++;
    }
  }
  return counts;
}

function toDraft(paper: BuiltInPaper, now: Date) {
  const { slug, results, authors, keywords, claims, ...rest } = paper;
  const { verdict, claimVerdicts } = readResults(results);
  return draftPaper(
    {
      ...rest,
      id: slug,
      authors: [...authors],
      keywords: [...keywords],
      claims: claims.map(({ id, text }): Claim => ({ id, text, verdict: claimVerdicts.get(id) })),
      verdict,
      year: paper.year ?? null,
      arxiv: paper.arxiv ?? null,
      code: paper.code ?? null,
    },
    now,
  );
}

/** Reads what it understands of a lab result and ignores the rest: an older lab must not keep the library from starting. */
function readResults(results: unknown): { verdict: Verdict | null; claimVerdicts: Map<string, Verdict> } {
  const claimVerdicts = new Map<string, Verdict>();
  if (!isRecord(results)) return { verdict: null, claimVerdicts };
  for (const claim of Array.isArray(results.claims) ? results.claims : []) {
    if (isRecord(claim) && typeof claim.id === "string" && isVerdict(claim.verdict))
      claimVerdicts.set(claim.id, claim.verdict);
  }
  if (isVerdict(results.verdict)) return { verdict: results.verdict, claimVerdicts };
  return { verdict: summarize([...claimVerdicts.values()]), claimVerdicts };
}

function summarize(verdicts: readonly Verdict[]): Verdict | null {
  if (verdicts.length === 0) return null;
  if (verdicts.every((verdict) => verdict === "reproduced")) return "reproduced";
  return verdicts.every((verdict) => verdict === "not reproduced") ? "not reproduced" : "partly";
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isVerdict = (value: unknown): value is Verdict => VERDICTS.includes(value as Verdict);
