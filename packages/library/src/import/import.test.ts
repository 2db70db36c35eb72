import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { describeOnEachDatabase } from "../testing/databases.ts";
import { NOON } from "../testing/papers.ts";
import { readArxivAtom } from "./arxivAtom.ts";
import { readBibtex } from "./bibtex.ts";
import { readDailyPapers } from "./dailyPapers.ts";
import { IMPORT_FORMATS, readDocument } from "./importFile.ts";
import { readJsonLines } from "./jsonLines.ts";
import { type ImportRecord, UnreadableFileError } from "./record.ts";

const folder = mkdtempSync(join(tmpdir(), "library-import-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const bytes = (text: string) => new TextEncoder().encode(text);

async function* inPieces(content: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < content.length; start += size) yield content.subarray(start, start + size);
}

/** Titles and problems by line, to compare at a glance. */
async function outline(records: AsyncIterable<ImportRecord> | Iterable<ImportRecord>) {
  const lines: [number, string][] = [];
  for await (const record of records)
    lines.push([record.line, "draft" in record ? record.draft.title : `! ${record.problem}`]);
  return lines;
}

describe("JSON Lines", () => {
  test("broken lines are reported with their numbers and the others are papers", async () => {
    const lines = ['{"title":"One"}', "not json", "", "[1]", '{"year":2020}', '{"title":"Six","year":3000}'];
    expect(await outline(readJsonLines(inPieces(bytes(lines.join("\n")), 7), NOON))).toEqual([
      [1, "One"],
      [2, "! is not JSON"],
      [4, "! is not an object"],
      [5, expect.stringContaining("! title")],
      [6, "! year 3000 is not between 1600 and now"],
    ]);
  });

  test("a line of ten megabytes is skipped and the next one is read", async () => {
    const content = bytes(`{"title":"${"x".repeat(10_000_000)}"}\n{"title":"Next"}\n`);
    expect(await outline(readJsonLines(inPieces(content, 65_536), NOON))).toEqual([
      [1, "! is longer than 1000000 bytes"],
      [2, "Next"],
    ]);
  });

  test("a line in another encoding is reported", async () => {
    const content = Buffer.concat([
      Buffer.from('{"title":"Gr'),
      Buffer.from([0xfc]),
      Buffer.from('n"}\n{"title":"Fine"}'),
    ]);
    expect(await outline(readJsonLines(inPieces(content, 1000), NOON))).toEqual([
      [1, "! is not encoded in UTF-8"],
      [2, "Fine"],
    ]);
  });

  test("how the bytes arrive makes no difference", async () => {
    const content = bytes('{"title":"Ärger"}\r\n{"title":"漢字"}\nx\n{"title":"🦊"}');
    const whole = await outline(readJsonLines(inPieces(content, 1000), NOON));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 40 }), async (size) => {
        expect(await outline(readJsonLines(inPieces(content, size), NOON))).toEqual(whole);
      }),
    );
  });
});

describe("BibTeX", () => {
  const REFERENCES = String.raw`% Encoding: UTF-8
@string{nips = "Advances in Neural Information Processing Systems"}

@inproceedings{Liu2020,
  title     = {Early-Learning Regularization Prevents \emph{Memorization} of {N}oisy Labels},
  author    = {Liu, Sheng and Niles-Weed, Jonathan and Razavian, Narges},
  booktitle = nips,
  year      = 2020,
  eprint    = {2007.00151v2},
  archivePrefix = {arXiv},
  keywords  = {noisy labels, robustness}
}

@article{Broken2019,
  title = {A brace that is never closed,
  author = {Nobody}
  year = 2019

@Article{Muller99, author="J{\"o}rg M{\"u}ller", title={{\"U}ber $\ell_1$}, year="1999", doi={https://doi.org/10.1000/ABC}}
@comment{ignored, title={Not a paper}}
@misc{empty}
`;

  test("reads LaTeX, names, arXiv ids and DOIs, and loses only the broken entry", () => {
    const records = [...readBibtex(bytes(REFERENCES), NOON)];
    expect(records).toMatchObject([
      {
        line: 4,
        draft: {
          title: "Early-Learning Regularization Prevents Memorization of Noisy Labels",
          authors: ["Sheng Liu", "Jonathan Niles-Weed", "Narges Razavian"],
          year: 2020,
          arxiv: "2007.00151",
          arxivVersion: 2,
          keywords: ["noisy labels", "robustness"],
        },
      },
      { line: 14, problem: expect.stringContaining("is not BibTeX") },
      { line: 19, draft: { title: "Über ℓ₁", authors: ["Jörg Müller"], year: 1999, doi: "10.1000/abc" } },
      { line: 21, problem: expect.stringContaining("title") },
    ]);
  });

  test.each([
    ["braces nested a thousand deep", `@misc{x, title = ${"{".repeat(1000)}a${"}".repeat(1000)}}`],
    ["an endless entry", `@misc{x, title = {${"a ".repeat(100_000)}}}`],
    ["a title of commands", String.raw`@misc{x, title = {\input{/etc/passwd}\write18{rm}}, year = 1}`],
  ])("%s is one line of complaint", (_, entry) => {
    const records = [...readBibtex(bytes(`${entry}\n@misc{y, title={Fine}}`), NOON)];
    expect(records).toHaveLength(2);
    expect(records[0]).toMatchObject({ line: 1, problem: expect.not.stringContaining("\n") });
    expect(records[1]).toMatchObject({ line: 2, draft: { title: "Fine" } });
  });
});

describe("arXiv Atom", () => {
  const feed = (entries: string) =>
    bytes(
      `<?xml version="1.0" encoding="UTF-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n${entries}\n</feed>`,
    );
  const ENTRY = `<entry>
    <id>http://arxiv.org/abs/2401.00243v2</id>
    <title>Uncertainty &amp; Penalties
      on two lines</title>
    <summary>We &lt;b&gt;do&lt;/b&gt; things.</summary>
    <published>2023-12-30T14:14:14Z</published>
    <author><name>Yuanzhao Zhai</name></author><author><name>Han Zhang</name></author>
    <category term="cs.LG" /><category term="cs.AI" />
  </entry>`;

  test("reads the fields of arXiv's feed", () => {
    expect([...readArxivAtom(feed(ENTRY), NOON)]).toMatchObject([
      {
        line: 3,
        draft: {
          title: "Uncertainty & Penalties on two lines",
          summary: "We <b>do</b> things.",
          arxiv: "2401.00243",
          arxivVersion: 2,
          year: 2023,
          authors: ["Yuanzhao Zhai", "Han Zhang"],
          keywords: ["cs.LG", "cs.AI"],
        },
      },
    ]);
  });

  test("an entry from the future is reported at its line", () => {
    const late = ENTRY.replace("2023-12-30", "2036-12-30").replace("2401.00243", "2401.00244");
    expect([...readArxivAtom(feed(`${ENTRY}\n${late}`), NOON)][1]).toMatchObject({
      line: 12,
      problem: "publishedAt is in the future or not a date",
    });
  });

  const bomb = `<!DOCTYPE lolz [<!ENTITY lol "lol">${Array.from(
    { length: 9 },
    (_, level) => `<!ENTITY lol${level + 1} "${`&lol${level || ""};`.repeat(10)}">`,
  ).join("")}]>`;

  test.each([
    [
      "a billion laughs",
      bytes(`<?xml version="1.0"?>${bomb}<feed><entry><title>&lol9;</title></entry></feed>`),
    ],
    ["a file inclusion", bytes('<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><feed>&f;</feed>')],
    ["a feed that is cut off", feed(ENTRY).slice(0, -40)],
    ["another document", bytes("<html><body>Too many requests</body></html>")],
    ["another encoding", Buffer.from("<feed>\xfc</feed>", "latin1")],
  ])("nothing of %s is used", (_, content) => {
    expect(() => [...readArxivAtom(content, NOON)]).toThrow(UnreadableFileError);
  });
});

describe("daily papers", () => {
  test("reads the list of Hugging Face and plain lists of papers", () => {
    const list = [
      {
        paper: {
          id: "2401.00243",
          title: "One",
          summary: "S",
          authors: [{ name: "A" }],
          publishedAt: "2024-01-05T00:00:00Z",
        },
      },
      { title: "Two", abstract: "T", authors: ["B"], year: "2021" },
      { paper: null },
      7,
    ];
    expect([...readDailyPapers(bytes(JSON.stringify(list)), NOON)]).toMatchObject([
      { line: 1, draft: { title: "One", arxiv: "2401.00243", authors: ["A"], year: 2024, summary: "S" } },
      { line: 2, draft: { title: "Two", summary: "T", authors: ["B"], year: 2021 } },
      { line: 3, problem: expect.any(String) },
      { line: 4, problem: "is not an object" },
    ]);
  });

  test("a list that is cut off is not used at all", () => {
    expect(() => [...readDailyPapers(bytes('[{"title":"One"},{"ti'), NOON)]).toThrow(UnreadableFileError);
  });
});

test("no bytes whatsoever make a reader fail other than by saying why", async () => {
  const content = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.string({ unit: "binary" }).map(bytes));
  await fc.assert(
    fc.asyncProperty(content, fc.constantFrom(...IMPORT_FORMATS), async (input, format) => {
      try {
        await outline(readDocument(format, input, NOON));
      } catch (error) {
        expect(error).toBeInstanceOf(UnreadableFileError);
        expect((error as Error).message).not.toContain("\n");
      }
    }),
  );
});

describeOnEachDatabase("importFile", (bed) => {
  test("imports, reports what it skipped, and changes nothing the second time", async () => {
    const path = file("papers.jsonl", '{"title":"One"}\noops\n{"title":"One"}\n{"title":"Two"}');
    const first = await bed().library.importFile(path, { now: NOON });
    expect(first).toMatchObject({
      added: 2,
      unchanged: 1,
      skipped: 1,
      problems: [{ line: 2, problem: "is not JSON" }],
    });
    expect(await bed().library.importFile(path, { now: NOON })).toMatchObject({
      added: 0,
      updated: 0,
      unchanged: 3,
    });
  });

  test("what it imported can be searched", async () => {
    await bed().library.importFile(file("refs.bib", "@misc{a, title={Sinkhorn divergences}}"), { now: NOON });
    const { hits } = await bed().library.search({ query: "sinkhorn" });
    expect(hits.map(({ paper }) => paper.title)).toEqual(["Sinkhorn divergences"]);
  });

  test("an import that is stopped keeps whole batches, and the next one completes it", async () => {
    const lines = Array.from({ length: 600 }, (_, index) => JSON.stringify({ title: `Paper ${index}` }));
    const path = file("many.jsonl", lines.join("\n"));
    const stop = AbortSignal.abort(new Error("stopped"));
    await expect(bed().library.importFile(path, { now: NOON, signal: stop })).rejects.toThrow("stopped");
    expect((await bed().library.papers({}, { limit: 1000 })).papers).toHaveLength(0);
    expect(await bed().library.importFile(path, { now: NOON })).toMatchObject({ added: 600 });
  });

  test.each([
    ["missing.bib", undefined, "does not exist"],
    ["unknown.txt", "hello", "is not JSON Lines"],
    ["cut.json", '[{"title":"One"}', "not JSON"],
  ])("%s is refused in one line and nothing is stored", async (name, content, message) => {
    const path = content === undefined ? join(folder, name) : file(name, content);
    await expect(bed().library.importFile(path, { now: NOON })).rejects.toThrow(message);
    expect((await bed().library.papers()).papers).toEqual([]);
  });
});
