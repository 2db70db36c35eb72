import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Library, openLibrary } from "../library.ts";
import { collectionOnDisk } from "../testing/papers.ts";
import questions from "./relevance.questions.json" with { type: "json" };
import { type Relevance, relevanceByCategory } from "./relevance.ts";
import type { SearchRequest } from "./search.ts";

let library: Library;
const measured = new Map<SearchRequest["ranking"], Map<string, Relevance>>();

beforeAll(async () => {
  library = await openLibrary({});
  await library.syncCollection(collectionOnDisk());
  for (const ranking of ["text", "vectors", "fused"] as const) {
    const answers = [];
    for (const { question, category, right } of questions) {
      const { hits } = await library.search({ query: question, ranking });
      answers.push({ category, right, ranked: hits.map(({ paper }) => paper.id) });
    }
    measured.set(ranking, relevanceByCategory(answers));
  }
}, 600_000);

afterAll(() => library?.close());

describe("relevance of the offline embedder and full text, fused", () => {
  test("every right answer is a paper of the collection", async () => {
    const ids = new Set(collectionOnDisk().map(({ slug }) => slug));
    expect(questions.flatMap(({ right }) => right).filter((id) => !ids.has(id))).toEqual([]);
    expect(questions.length).toBeGreaterThanOrEqual(60);
  });

  test("five results hold 85 % of the right papers, and the first right one comes early", () => {
    const { recallAt5, meanReciprocalRank } = measured.get("fused")!.get("all")!;
    expect(recallAt5).toBeGreaterThanOrEqual(0.85);
    expect(meanReciprocalRank).toBeGreaterThanOrEqual(0.7);
  });

  test("no category is answered worse than by full text alone", () => {
    const worse = [...measured.get("text")!].filter(
      ([category, text]) => measured.get("fused")!.get(category)!.recallAt5 < text.recallAt5 - 1e-9,
    );
    expect(worse.map(([category]) => category)).toEqual([]);
  });

  test("the first right paper comes no later than by full text or embeddings alone", () => {
    const rank = (ranking: SearchRequest["ranking"]) => measured.get(ranking)!.get("all")!.meanReciprocalRank;
    expect(rank("fused")).toBeGreaterThan(rank("text"));
    expect(rank("fused")).toBeGreaterThan(rank("vectors"));
  });
});
