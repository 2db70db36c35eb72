import { expect, test } from "vitest";
import { builtIn, NOON } from "../testing/papers.ts";
import { syntheticPapers } from "./syntheticPapers.ts";
import { compareVectorSearch } from "./vectorBench.ts";

test("synthetic papers are the same every time and made of real words", () => {
  const collection = [builtIn("weight-decay"), builtIn("sinkhorn-newton")];
  const [first, second] = [1, 2].map(() => [...syntheticPapers(collection, 50, NOON)]);
  expect(first).toEqual(second);
  expect(new Set(first!.map(({ id }) => id)).size).toBe(50);
  const words = new Set(
    collection.flatMap(({ title, summary, problem }) => `${title} ${summary} ${problem}`.split(" ")),
  );
  expect(first!.flatMap(({ summary }) => summary.split(" ")).filter((word) => !words.has(word))).toEqual([]);
});

test("pgvector and the kernel agree about the nearest of 10,000 vectors", async () => {
  const { kernel, pgvector } = await compareVectorSearch();
  expect(Math.min(kernel, pgvector)).toBeGreaterThan(0);
});
