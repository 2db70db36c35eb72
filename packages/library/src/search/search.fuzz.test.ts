import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Library, openLibrary } from "../library.ts";
import { hashingEmbedder } from "../testing/hashingEmbedder.ts";
import { builtIn } from "../testing/papers.ts";
import { InvalidSearchError } from "./search.ts";

const numRuns = 150 * Number(process.env.FUZZ_FACTOR ?? 1);

let library: Library;
beforeAll(async () => {
  library = await openLibrary({
    embedder: "hashing",
    createEmbedder: async (model) => hashingEmbedder(model),
  });
  await library.syncCollection(
    ["one", "two", "three"].map((slug) => builtIn(slug)),
    new Date(),
  );
});
afterAll(() => library.close());

const query = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.string({ unit: "grapheme", maxLength: 60 }),
  fc
    .array(
      fc.constantFrom(
        "paper",
        "'",
        '"',
        "\\",
        "%",
        "_",
        "(",
        ")",
        "&",
        "|",
        "!",
        ":*",
        "<->",
        "--",
        "\u0000",
        "\u202E",
        "\uD800",
        "family:",
        "year:>",
        "*",
        "or",
        "and",
        "not",
        "1e9",
        "-1",
        "'; drop table paper; --",
        "$1",
        "{x}",
        "<b>",
        "&lt;",
        "\n",
      ),
      { maxLength: 30 },
    )
    .map((parts) => parts.join(" ")),
  fc.constantFrom("x".repeat(100_000), "a ".repeat(20_000), "é".repeat(5_000)),
);

const request = fc.record(
  {
    query,
    family: fc.oneof(fc.string(), fc.constant("one")),
    limit: fc.oneof(fc.integer(), fc.constantFrom(1, 10, 1e9, Number.NaN)),
    after: fc.string(),
    author: fc.string(),
    from: fc.integer(),
    to: fc.integer(),
  },
  { requiredKeys: ["query"] },
);

test("whatever is typed, a search answers or says in one line what it does not understand", async () => {
  await fc.assert(
    fc.asyncProperty(request, async (asked) => {
      try {
        const { hits, total } = await library.search(asked as never);
        expect(total).toBeGreaterThanOrEqual(hits.length);
        for (const { paper, snippet, score } of hits) {
          expect(Number.isFinite(score)).toBe(true);
          expect(paper.title).toBeTruthy();
          expect(snippet.every(({ text }) => typeof text === "string")).toBe(true);
        }
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidSearchError);
        expect((error as Error).message).not.toContain("\n");
      }
    }),
    { numRuns },
  );
  expect((await library.papers()).papers).toHaveLength(3);
});
