import { fileURLToPath } from "node:url";
import { evaluateClaims, overallVerdict } from "@prior-art/lab";
import { readResults } from "@prior-art/lab/node";
import { experiments, rooms } from "@prior-art/methods";
import { describe, expect, test } from "vitest";

/** Files know one zero only. */
const asStored = (claims: unknown): unknown => JSON.parse(JSON.stringify(claims));

describe("saved results", () => {
  const saved = rooms.filter(({ paper: { slug } }) => Object.hasOwn(experiments, slug));
  test.each(saved.map(({ paper }) => [paper.slug, paper.family]))(
    "%s: every verdict, effect and interval follows from the saved units",
    async (slug, family) => {
      const file = new URL(`../../methods/src/${family}/${slug}/results.json`, import.meta.url);
      const results = await readResults(fileURLToPath(file));
      expect(results?.mode).toBe("full");
      const { default: experiment } = await experiments[slug]!();
      const claims = evaluateClaims(experiment, "full", results!.units);
      expect(asStored(results!.claims)).toEqual(asStored(claims));
      expect(results!.verdict).toBe(overallVerdict(claims));
    },
  );
});
