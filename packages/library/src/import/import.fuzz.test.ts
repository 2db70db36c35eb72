import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PaperDraft } from "../collection/paper.ts";
import { IMPORT_FORMATS, type ImportFormat, readDocument } from "./importFile.ts";
import { UnreadableFileError } from "./record.ts";

const numRuns = 150 * Number(process.env.FUZZ_FACTOR ?? 1);
const NOW = new Date("2026-03-01T12:00:00Z");

/** A good file of each format, from which broken ones are made. */
const GOOD: Readonly<Record<ImportFormat, string>> = {
  "json-lines": [
    '{"title":"A","authors":["B C"],"year":2020,"abstract":"x\\u00e9","arxiv":"2001.00001v2","keywords":["k"]}',
    '{"title":"D","author":"E and F","published":"2021-02-03","doi":"10.1000/x","url":"https://example.org"}',
  ].join("\n"),
  bibtex:
    '@article{key, title={A {B} \\"{o} $x^2$}, author={Ada B and C, D}, year=2020, eprint={2001.00001}, abstract={x}}\n' +
    '@string{j = "Journal"}\n@inproceedings{k2, title="E" # " F", author="G", booktitle=j, year="2021", doi={10.1000/y}}',
  "arxiv-atom":
    '<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><entry><id>http://arxiv.org/abs/2001.00001v1</id>' +
    "<title>A &amp; B</title><author><name>C D</name></author><published>2020-01-01T00:00:00Z</published>" +
    '<summary>x &lt; y</summary><link href="https://arxiv.org/abs/2001.00001"/></entry></feed>',
  "daily-papers": JSON.stringify([
    {
      paper: { id: "2001.00001", title: "A", authors: [{ name: "B" }], summary: "x", upvotes: 3 },
      publishedAt: "2020-01-01T00:00:00Z",
    },
  ]),
};

/** A piece of markup, of syntax or of binary, that parsers stumble over. */
const nasty = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.constantFrom(
    "\u0000",
    "\uFEFF",
    "\u202E",
    "\r",
    "]]>",
    "<![CDATA[",
    "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>",
    "&e;",
    "&#x0;",
    "&#xFFFFFFFF;",
    "<script>",
    "{",
    "}",
    '"',
    "\\",
    "@",
    "#",
    "$",
    "__proto__",
    '{"__proto__":{"a":1}}',
    "1e999",
    "-0",
    "NaN",
    "[".repeat(400),
    "{".repeat(400),
    "<a>".repeat(200),
    "\\".repeat(50),
    "'; drop table paper; --",
  ),
);

/** The good file with pieces cut out, put in, or doubled; or nothing but noise. */
const document = (format: ImportFormat): fc.Arbitrary<Uint8Array> => {
  const change = fc.record({ at: fc.nat(10_000), length: fc.nat(30), insert: nasty });
  const mutated = fc.array(change, { minLength: 1, maxLength: 6 }).map((changes) =>
    changes.reduce((text, { at, length, insert }) => {
      const place = at % (text.length + 1);
      return text.slice(0, place) + insert + text.slice(place + length);
    }, GOOD[format]),
  );
  const encoded = mutated.map((text) => new TextEncoder().encode(text));
  return fc.oneof({ weight: 8, arbitrary: encoded }, fc.uint8Array({ maxLength: 300 }));
};

function expectSound({ title, authors, year, arxiv, url, keywords }: PaperDraft): void {
  expect(title.trim()).not.toBe("");
  expect(title.length).toBeLessThanOrEqual(10_000);
  for (const text of [title, ...authors, ...keywords]) {
    expect(typeof text).toBe("string");
    // PostgreSQL's text cannot hold it.
    expect(text).not.toContain("\u0000");
  }
  if (year !== null) expect(Number.isInteger(year)).toBe(true);
  if (arxiv !== null) expect(arxiv).toMatch(/^[\w.\-/]+$/);
  if (url !== null) expect(url).toMatch(/^https?:\/\//);
}

describe("whatever a file holds, it is read as sound papers and one-line problems, or refused", () => {
  test.each(IMPORT_FORMATS)("%s", async (format) => {
    const prototype = JSON.stringify(Object.getOwnPropertyNames(Object.prototype));
    await fc.assert(
      fc.asyncProperty(document(format), async (bytes) => {
        try {
          for await (const record of readDocument(format, bytes, NOW)) {
            expect(record.line).toBeGreaterThanOrEqual(1);
            if ("draft" in record) expectSound(record.draft);
            else expect(record.problem).toMatch(/^[^\n]{1,1000}$/);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(UnreadableFileError);
          expect((error as Error).message).not.toContain("\n");
        }
      }),
      { numRuns },
    );
    expect(JSON.stringify(Object.getOwnPropertyNames(Object.prototype))).toBe(prototype);
  });

  const read = async (format: ImportFormat, text: string) => {
    const records = [];
    for await (const record of readDocument(format, new TextEncoder().encode(text), NOW))
      records.push(record);
    return records;
  };

  test.each([
    ["a processing instruction without end", '<?1.0"?><feed><entry><title>A</title></entry></feed>'],
    ["a feed that is a text", "<feed>A</feed>"],
  ])("found: %s is refused in one line", async (_, text) => {
    await expect(read("arxiv-atom", text)).rejects.toThrow(UnreadableFileError);
  });

  test("found: an address without its slashes is no address", async () => {
    const [record] = await read("json-lines", '{"title":"A","url":"http:}//example.org"}');
    expect(record).toMatchObject({ problem: expect.stringContaining("is not an http or https address") });
  });

  test.each(IMPORT_FORMATS)("the good %s file is good", async (format) => {
    const records = [];
    for await (const record of readDocument(format, new TextEncoder().encode(GOOD[format]), NOW))
      records.push(record);
    expect(records.length).toBeGreaterThan(0);
    for (const record of records) expect(record).toHaveProperty("draft");
  });
});
