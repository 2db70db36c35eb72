import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { describeOnEachDatabase } from "../testing/databases.ts";
import { builtIn, draft, NOON } from "../testing/papers.ts";
import { syncCollection } from "./builtIn.ts";
import { draftPaper, InvalidPaperError, parseArxivReference } from "./paper.ts";
import { writePapers } from "./writePapers.ts";

describe("draftPaper", () => {
  test.each([
    [{}, "title"],
    [{ title: "" }, "title is empty"],
    [{ title: "x".repeat(1001) }, "title is longer"],
    [{ title: "A", year: 2999 }, "year 2999"],
    [{ title: "A", year: 12 }, "year 12"],
    [{ title: "A", publishedAt: new Date("2026-03-20") }, "future"],
    [{ title: "A", publishedAt: new Date("no date") }, "publishedAt"],
    [{ title: "A", arxiv: "../../etc/passwd" }, "arxiv is not an arXiv id"],
    [{ title: "A", doi: "javascript:alert(1)" }, "doi is not a DOI"],
    [{ title: "A", url: "javascript:alert(1)" }, "url is not an http"],
    [{ title: "A", authors: "Ada" }, "authors"],
    [{ title: "A", id: "../x" }, "id may only contain"],
    [null, "record"],
  ])("refuses %j", (fields, message) => {
    expect(() => draftPaper(fields, NOON)).toThrow(InvalidPaperError);
    expect(() => draftPaper(fields, NOON)).toThrow(message);
  });

  test("removes what cannot be printed and keeps everything else as it is", () => {
    const { title } = draftPaper({ title: "a\u0000b\u202ec\ud800d <b>&\n\\emph{e}" }, NOON);
    expect(title).toBe("a b c d <b>& \\emph{e}");
  });

  test("whatever comes in, it becomes a paper or one line that names the reason", () => {
    fc.assert(
      fc.property(
        fc.object({ key: fc.constantFrom("title", "authors", "year", "doi", "summary", "id") }),
        (fields) => {
          try {
            expect(draftPaper(fields, NOON).id).toMatch(/^[a-z0-9][a-z0-9._-]*$/);
          } catch (error) {
            expect(error).toBeInstanceOf(InvalidPaperError);
            expect((error as Error).message).not.toContain("\n");
          }
        },
      ),
    );
  });

  test.each([
    ["arXiv:2401.00243v2", { arxiv: "2401.00243", arxivVersion: 2 }],
    ["http://arxiv.org/abs/math.ST/0309285v1", { arxiv: "math.ST/0309285", arxivVersion: 1 }],
    ["https://arxiv.org/pdf/2401.00243", { arxiv: "2401.00243", arxivVersion: null }],
    ["no id 2401", null],
  ])("reads the arXiv reference %s", (reference, expected) => {
    expect(parseArxivReference(reference)).toEqual(expected);
  });
});

describeOnEachDatabase("papers", (bed) => {
  const write = (papers: Parameters<typeof draft>[0][], source = "import") =>
    writePapers(bed().library.database, papers.map(draft), { source, now: NOON });

  test("writing the same papers again changes nothing", async () => {
    const papers = [{ title: "One" }, { title: "Two", doi: "10.1000/two" }];
    expect(await write(papers)).toEqual(["added", "added"]);
    expect(await write(papers)).toEqual(["unchanged", "unchanged"]);
    expect((await bed().library.papers()).papers).toHaveLength(2);
  });

  test("the same paper twice in one batch is stored once, the later one winning", async () => {
    const outcomes = await write([
      { title: "Draft", arxiv: "2401.00001", arxivVersion: 1 },
      { title: "Final", arxiv: "2401.00001", arxivVersion: 2 },
    ]);
    expect(outcomes).toEqual(["added", "updated"]);
    expect(await bed().library.paper("2401.00001")).toMatchObject({ title: "Final", arxivVersion: 2 });
  });

  test("an older arXiv version never replaces a newer one", async () => {
    await write([{ title: "Final", arxiv: "2401.00001", arxivVersion: 2 }]);
    expect(await write([{ title: "Draft", arxiv: "2401.00001", arxivVersion: 1 }])).toEqual(["kept"]);
    expect(await bed().library.paper("2401.00001")).toMatchObject({ title: "Final" });
  });

  test("other sources never change the built-in collection", async () => {
    const { library } = bed();
    await library.syncCollection([builtIn("weight-decay", { arxiv: "2401.00001" })], NOON);
    expect(await write([{ title: "Somebody else's title", arxiv: "2401.00001", arxivVersion: 9 }])).toEqual([
      "kept",
    ]);
    expect(await library.paper("2401.00001")).toMatchObject({ id: "weight-decay", source: "built-in" });
  });

  test("a batch is stored whole or not at all", async () => {
    const broken = { ...draft({ title: "Broken" }), year: Number.MAX_SAFE_INTEGER };
    const writing = writePapers(bed().library.database, [draft({ title: "Fine" }), broken], {
      source: "import",
      now: NOON,
    });
    await expect(writing).rejects.toThrow();
    expect((await bed().library.papers()).papers).toEqual([]);
  });

  test("a DOI that moves to another paper leaves the first one", async () => {
    await write([
      { title: "One", doi: "10.1000/x", id: "one" },
      { title: "Two", id: "two", arxiv: "2401.00002" },
    ]);
    await write([{ title: "Two", id: "two", arxiv: "2401.00002", doi: "10.1000/x" }]);
    expect(await bed().library.paper("10.1000/x")).toMatchObject({ id: "two" });
    expect(await bed().library.paper("one")).toMatchObject({ doi: null });
  });

  test("SQL in a title is a title", async () => {
    const title = "'); drop table paper; -- \\' $1 \"";
    await write([{ title }]);
    expect((await bed().library.papers()).papers[0]!.title).toBe(title);
  });

  test("the built-in collection follows the rooms and takes verdicts from results", async () => {
    const { library } = bed();
    const room = builtIn("weight-decay");
    expect(await syncCollection(library.database, [room], NOON)).toEqual({
      added: 1,
      updated: 0,
      unchanged: 0,
    });
    expect(await syncCollection(library.database, [room], NOON)).toEqual({
      added: 0,
      updated: 0,
      unchanged: 1,
    });
    const results = {
      claims: [{ id: "works", verdict: "partly", effect: 1 }],
      verdict: "partly",
      unknown: [1],
    };
    expect(await syncCollection(library.database, [{ ...room, results }], NOON)).toMatchObject({
      updated: 1,
    });
    expect(await library.paper("weight-decay")).toMatchObject({
      verdict: "partly",
      claims: [{ id: "works", verdict: "partly" }],
    });
  });

  test.each([[null], ["nonsense"], [{ verdict: "great", claims: "none" }], [[{ id: 1 }]]])(
    "results that nobody understands (%j) give no verdict",
    async (results) => {
      await bed().library.syncCollection([builtIn("weight-decay", { results })], NOON);
      expect(await bed().library.paper("weight-decay")).toMatchObject({ verdict: null });
    },
  );

  test("pages of a list neither repeat nor skip while papers arrive", async () => {
    const { library } = bed();
    await write(["b", "d", "f", "h"].map((id) => ({ title: id, id })));
    const first = await library.papers({}, { limit: 2 });
    await write([
      { title: "a", id: "a" },
      { title: "e", id: "e" },
    ]);
    const second = await library.papers({}, { limit: 9, after: first.next });
    expect([...first.papers, ...second.papers].map(({ id }) => id)).toEqual(["b", "d", "e", "f", "h"]);
    expect(second.next).toBeUndefined();
  });

  test("lists by family, year, verdict and author, whose wildcards mean themselves", async () => {
    const { library } = bed();
    await write([
      { title: "One", family: "a", year: 2020, authors: ["Bernhard Schölkopf"], verdict: "partly" },
      { title: "Two", family: "b", year: 2021, authors: ["100% Author"] },
    ]);
    const titles = async (filter: Parameters<typeof library.papers>[0]) =>
      (await library.papers(filter)).papers.map(({ title }) => title);
    expect(await titles({ author: "schölkopf" })).toEqual(["One"]);
    expect(await titles({ author: "%" })).toEqual(["Two"]);
    expect(await titles({ year: 2021 })).toEqual(["Two"]);
    expect(await titles({ verdict: "partly", family: "a" })).toEqual(["One"]);
    expect(await library.families()).toEqual([
      { family: "a", papers: 1 },
      { family: "b", papers: 1 },
    ]);
  });
});
