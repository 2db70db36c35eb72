import type { Results } from "@prior-art/lab";
import type { Paper, SearchPage } from "@prior-art/library";
import type { Leaderboard } from "../site.ts";
import type { ApiLeaderboard, ApiPaper, ApiResults, ApiSearchResult } from "./schemas.ts";

/** A paper as the API shows it. */
export function paperDocument(paper: Paper): ApiPaper {
  const {
    id,
    title,
    authors,
    year,
    family,
    arxiv,
    doi,
    code,
    summary,
    problem,
    keywords,
    verdict,
    hasMethod,
  } = paper;
  return {
    id,
    title,
    authors: [...authors],
    year,
    family,
    arxiv,
    doi,
    code,
    summary,
    problem,
    keywords: [...keywords],
    claims: paper.claims.map((claim) => ({ id: claim.id, text: claim.text, verdict: claim.verdict ?? null })),
    verdict,
    hasMethod,
  };
}

export function searchDocument({ hits, total, next, corrections }: SearchPage): ApiSearchResult {
  return {
    hits: hits.map(({ paper, score, snippet }) => ({
      paper: paperDocument(paper),
      score,
      snippet: snippet.map(({ text }) => text).join(""),
    })),
    total,
    next: next ?? null,
    corrections: corrections.map(({ word, readAs }) => ({ word, readAs })),
  };
}

/** JSON has no infinities: an unbounded end is `null`. */
const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);

const interval = ({ low, high }: { readonly low: number; readonly high: number }) => ({
  low: finite(low),
  high: finite(high),
});

export function resultsDocument(results: Results): ApiResults {
  return {
    paper: results.slug,
    verdict: results.verdict,
    finishedAt: results.finishedAt,
    seconds: results.seconds,
    seeds: results.seeds.length,
    claims: results.claims.map((claim) => ({
      id: claim.id,
      of: claim.of,
      statement: claim.statement,
      verdict: claim.verdict,
      quantity: claim.quantity,
      effect: finite(claim.effect),
      interval: interval(claim.interval),
      pValue: claim.pValue ?? null,
      reason: claim.reason,
    })),
  };
}

export function leaderboardDocument({ family, metric, goal, seeds, boards }: Leaderboard): ApiLeaderboard {
  return {
    family,
    metric,
    goal,
    seeds,
    rows: boards
      .flatMap(({ rows }) => rows)
      .map((row) => ({
        arm: row.arm,
        label: row.label,
        problem: row.problem ?? null,
        mean: finite(row.mean),
        interval: interval(row.interval),
        also: Object.entries(row.also).map(([name, score]) => ({
          metric: name,
          mean: finite(score.mean),
          interval: interval(score.interval),
        })),
        seeds: row.seeds,
        diverged: row.diverged,
      })),
  };
}
