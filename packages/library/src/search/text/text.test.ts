import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { expand } from "./expansion.ts";
import { Spelling } from "./spelling.ts";
import { stemsOf, words } from "./terms.ts";
import { TextIndex } from "./textIndex.ts";

const field = (text: string, weight = 1) => ({ stems: stemsOf(text), weight });
const query = (text: string) => stemsOf(text).map((stem) => ({ stem, weight: 1 }));

describe("terms", () => {
  test("inflection, case, accents and British spelling do not matter", () => {
    expect(stemsOf("Memorizing memorises MEMORIZED")).toEqual(stemsOf("memorize memorizes memorizing"));
    expect(stemsOf("regularisation")).toEqual(stemsOf("regularization"));
    expect(stemsOf("Łojasiewicz naïve")).toEqual(stemsOf("łojasiewicz naive"));
  });

  test("question words carry no meaning", () => {
    expect(stemsOf("why does my what how do I")).toEqual([]);
  });

  test("words know their place in the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        for (const { start, end } of words(text))
          expect(text.slice(start, end)).toMatch(/^(?:\p{Script=Han}|[\p{L}\p{M}\p{N}]+)$/u);
      }),
    );
  });

  test("endless words do not fill the memory", () => {
    const [stem] = stemsOf("a".repeat(100_000));
    expect(stem!.length).toBeLessThanOrEqual(40);
  });
});

describe("TextIndex", () => {
  test("a rare word counts more than a common one", () => {
    const index = new TextIndex();
    for (let count = 0; count < 50; count++) index.add([field("network training")]);
    const rare = index.add([field("network dropout")]);
    expect(index.search(query("network dropout"), 1)[0]!.document).toBe(rare);
  });

  test("a match in a heavier field and in a shorter document ranks higher", () => {
    const index = new TextIndex();
    const filler = "alpha beta gamma delta epsilon zeta eta theta";
    const long = index.add([field(`sinkhorn ${filler} ${filler}`)]);
    const short = index.add([field("sinkhorn alpha")]);
    const titled = index.add([field("sinkhorn", 3), field("alpha")]);
    expect(index.search(query("sinkhorn"), 3).map(({ document }) => document)).toEqual([titled, short, long]);
  });

  test("removed documents are never found", () => {
    const index = new TextIndex();
    const first = index.add([field("grokking")]);
    const second = index.add([field("grokking")]);
    index.remove(first);
    expect(index.search(query("grokking"), 5).map(({ document }) => document)).toEqual([second]);
    expect(index.live).toBe(1);
    expect(index.garbage).toBe(0.5);
  });

  test("any number of documents is ranked as sorting all of them would", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.constantFrom("a1x", "b2y", "c3z", "d4w"), { maxLength: 6 }), { maxLength: 40 }),
        fc.integer({ min: 1, max: 10 }),
        (documents, limit) => {
          const index = new TextIndex();
          for (const stems of documents) index.add([{ stems, weight: 1 }]);
          const all = index.search(
            [
              { stem: "a1x", weight: 1 },
              { stem: "b2y", weight: 1 },
            ],
            1000,
          );
          const sorted = all.toSorted(
            (left, right) => right.score - left.score || left.document - right.document,
          );
          expect(all).toEqual(sorted);
          const matching = documents.filter((stems) => stems.includes("a1x") || stems.includes("b2y")).length;
          expect(all).toHaveLength(matching);
          expect(
            index.search(
              [
                { stem: "a1x", weight: 1 },
                { stem: "b2y", weight: 1 },
              ],
              limit,
            ),
          ).toEqual(all.slice(0, limit));
        },
      ),
    );
  });
});

describe("Spelling", () => {
  const spelling = new Spelling([
    ["regular", 40],
    ["network", 90],
    ["sinkhorn", 3],
    ["label", 50],
    ["labor", 1],
  ]);

  test("finds the word within one slip, or two in long words", () => {
    expect(spelling.correct("netwrok")[0]!.stem).toBe("network");
    expect(spelling.correct("sinkhron")[0]!.stem).toBe("sinkhorn");
    expect(spelling.correct("sinnkhrn")[0]!.stem).toBe("sinkhorn");
  });

  test("prefers fewer edits, then the more frequent word", () => {
    expect(spelling.correct("labl").map(({ stem }) => stem)).toEqual(["label"]);
    expect(spelling.correct("labxr").map(({ stem }) => stem)).toEqual(["labor"]);
  });

  test("leaves short words and numbers alone", () => {
    expect(spelling.correct("lab")).toEqual([]);
    expect(spelling.correct("2023x")).toEqual([]);
  });
});

describe("expansion", () => {
  test("an expression finds its synonyms with less weight than itself", () => {
    const weights = new Map(expand(stemsOf("wrong labels")).map(({ stem, weight }) => [stem, weight]));
    const [noisy] = stemsOf("noisy");
    expect(weights.get(stemsOf("wrong")[0]!)).toBe(1);
    expect(weights.get(noisy!)).toBeLessThan(0.5);
  });

  test("part of an expression is not the expression", () => {
    const stems = expand(stemsOf("label")).map(({ stem }) => stem);
    expect(stems).toEqual(stemsOf("label"));
  });
});
