/** A question as a reader would ask it, and the papers that answer it. */
export interface RelevanceQuestion {
  readonly category: string;
  readonly question: string;
  readonly right: readonly string[];
}

/** How well a ranking answers questions. */
export interface Relevance {
  readonly questions: number;
  /** Share of the right papers among the first five, averaged over the questions. */
  readonly recallAt5: number;
  readonly recallAt10: number;
  /** One over the place of the first right paper, averaged. */
  readonly meanReciprocalRank: number;
}

/** Measures rankings of paper ids against the right papers. */
export function measureRelevance(
  answers: readonly { readonly right: readonly string[]; readonly ranked: readonly string[] }[],
): Relevance {
  const mean = (score: (answer: (typeof answers)[number]) => number) =>
    answers.reduce((sum, answer) => sum + score(answer), 0) / Math.max(1, answers.length);
  const recall = (depth: number) =>
    mean(({ right, ranked }) => {
      const top = new Set(ranked.slice(0, depth));
      return right.filter((id) => top.has(id)).length / right.length;
    });
  return {
    questions: answers.length,
    recallAt5: recall(5),
    recallAt10: recall(10),
    meanReciprocalRank: mean(({ right, ranked }) => {
      const place = ranked.findIndex((id) => right.includes(id));
      return place < 0 ? 0 : 1 / (place + 1);
    }),
  };
}

/** Groups by category and measures each group, and all questions together under `all`. */
export function relevanceByCategory(
  answers: readonly {
    readonly category: string;
    readonly right: readonly string[];
    readonly ranked: readonly string[];
  }[],
): Map<string, Relevance> {
  const groups = new Map<string, (typeof answers)[number][]>();
  for (const answer of answers) groups.set(answer.category, [...(groups.get(answer.category) ?? []), answer]);
  const measured = [...groups].map(([category, group]) => [category, measureRelevance(group)] as const);
  return new Map([...measured, ["all", measureRelevance(answers)]]);
}
