import type { Paper } from "@prior-art/library";

/** A paper as lists show it. */
export interface PaperSummary {
  readonly id: string;
  readonly title: string;
  readonly authors: readonly string[];
  readonly year: number | null;
  readonly family: string | null;
  readonly problem: string;
  readonly summary: string;
  readonly verdict: Paper["verdict"];
  readonly hasMethod: boolean;
}

export function summaryOf(paper: Paper): PaperSummary {
  const { id, title, authors, year, family, problem, summary, verdict, hasMethod } = paper;
  return { id, title, authors, year, family, problem, summary, verdict, hasMethod };
}
