import fc from "fast-check";
import { expect, test } from "vitest";
import { fuse, TopK } from "./ranking.ts";

const scored = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 50 });

test("TopK keeps what sorting and cutting would keep", () => {
  fc.assert(
    fc.property(scored, fc.integer({ min: 0, max: 12 }), (scores, limit) => {
      const best = new TopK(limit);
      scores.forEach((score, document) => {
        best.offer(document, score);
      });
      const sorted = scores
        .map((score, document) => ({ document, score }))
        .sort((left, right) => right.score - left.score || left.document - right.document);
      expect(best.sorted()).toEqual(sorted.slice(0, limit));
    }),
  );
});

test("a document that leads both rankings leads the fused one", () => {
  const ranking = (...documents: number[]) => documents.map((document) => ({ document, score: 1 }));
  const fused = fuse([
    { ranking: ranking(4, 1, 2), weight: 1 },
    { ranking: ranking(4, 3, 1), weight: 0.5 },
  ]);
  expect(fused.map(({ document }) => document)).toEqual([4, 1, 2, 3]);
});

test("a ranking without weight changes nothing", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(30)), fc.uniqueArray(fc.nat(30)), (first, second) => {
      const ranking = (list: number[]) => list.map((document) => ({ document, score: 1 }));
      const fused = fuse([
        { ranking: ranking(first), weight: 1 },
        { ranking: ranking(second), weight: 0 },
      ]).filter(({ score }) => score > 0);
      expect(fused.map(({ document }) => document)).toEqual(first);
    }),
  );
});
