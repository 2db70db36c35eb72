import type { PaperDraft } from "../collection/paper.ts";
import { stemsOf } from "./text/terms.ts";
import type { WeightedField } from "./text/textIndex.ts";

/** The parts of a paper that search reads. */
export type SearchableText = Pick<
  PaperDraft,
  "title" | "problem" | "summary" | "keywords" | "claims" | "authors" | "family"
>;

/**
 * What a match in each part counts. Symptoms and titles are written to be recognized; claims and names mostly break
 * ties. Chosen on the relevance questions; neighbouring values change recall by less than two percent.
 */
const WEIGHTS = { title: 2, problem: 2.5, keywords: 2, summary: 1, claims: 0.5, authors: 1, family: 0.5 };

/** The fields of the full-text index. */
export function textFields(paper: SearchableText): WeightedField[] {
  return [
    { stems: stemsOf(paper.title), weight: WEIGHTS.title },
    { stems: stemsOf(paper.problem), weight: WEIGHTS.problem },
    { stems: stemsOf(paper.keywords.join(". ")), weight: WEIGHTS.keywords },
    { stems: stemsOf(paper.summary), weight: WEIGHTS.summary },
    { stems: stemsOf(paper.claims.map(({ text }) => text).join(" ")), weight: WEIGHTS.claims },
    { stems: stemsOf(paper.authors.join(". ")), weight: WEIGHTS.authors },
    { stems: stemsOf(paper.family ?? ""), weight: WEIGHTS.family },
  ];
}

/**
 * The texts whose embeddings stand for a paper: its subject, its symptoms and its summary apart, because a question
 * is usually about one of them. An imported paper without symptoms gets a single passage.
 */
export function passages(paper: Pick<PaperDraft, "title" | "problem" | "summary" | "keywords">): string[] {
  const subject = `${paper.title}. ${paper.keywords.join(", ")}`;
  if (paper.problem === "") return [`${subject} ${paper.summary}`];
  return [subject, paper.problem, paper.summary].filter((passage) => passage !== "");
}
