import type { Paper } from "@prior-art/library";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bibtexEntry } from "./bibtex.ts";
import { atomFeed } from "./feeds.ts";
import { sizeOfFigure } from "./figures.ts";
import { highlightCode, textWithFormulas } from "./markup.ts";

const paper: Paper = {
  id: "a-paper",
  source: "test",
  title: "Of <b>bold</b> & 50% {claims}",
  authors: ["Ada & Bo", "Öl Çelik"],
  year: 2024,
  publishedAt: null,
  arxiv: "2401.00001",
  arxivVersion: null,
  doi: null,
  code: null,
  url: null,
  family: null,
  summary: "]]> <script>",
  problem: "",
  keywords: [],
  claims: [],
  verdict: null,
  hasMethod: false,
  addedAt: new Date("2026-01-01"),
};

describe("textWithFormulas", () => {
  test("formulas become MathML, the rest is escaped", () => {
    const html = textWithFormulas("For <all> $x^2 \\le \\frac{1}{n}$ & \\(y\\).");
    expect(html).toMatch(/^For &#60;all&#62; <span class="katex"><math/);
    expect(html.match(/<math/g)).toHaveLength(2);
    expect(html).toContain("&#38;");
  });

  test("money and broken formulas stay as they were typed", () => {
    expect(textWithFormulas("from $5 to $10")).toBe("from $5 to $10");
    expect(textWithFormulas("a $\\frac{1$ b")).toBe("a $\\frac{1$ b");
  });

  test("a formula cannot bring links, classes or styles", () => {
    const html = textWithFormulas(
      "$\\href{javascript:alert(1)}{x}$ $\\htmlStyle{color:red}{x}$ $\\includegraphics{x}$",
    );
    expect(html).not.toMatch(/<a[ >]|<img|style=|href="/);
  });

  test("no text brings an element of its own", () => {
    const allowed = /^(span|math|semantics|annotation|m[a-z]+)$/;
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."<>&\"'$\\(){}^_ab/= ") }), (text) => {
        for (const [, name] of textWithFormulas(text).matchAll(/<\/?([a-z]+)/gi))
          expect(name).toMatch(allowed);
      }),
    );
  });
});

test("highlighted code is the code again once its classes are gone", () => {
  const code = 'const a = "</script><img src=x>"; // a & b';
  const html = highlightCode(code);
  expect(html.replaceAll(/<span class="hljs-[a-z_. ]+">|<\/span>/g, "")).not.toMatch(/<[a-z/]/i);
  expect(html).toContain("hljs-keyword");
});

test("a BibTeX entry has a key in ASCII, braced capitals and no commands of its own", () => {
  expect(bibtexEntry(paper)).toBe(
    `@misc{bo2024bold,
  title = {{Of <b>bold</b> \\& 50\\% \\{claims\\}}},
  author = {Ada \\& Bo and Öl Çelik},
  year = {2024},
  eprint = {2401.00001},
  archivePrefix = {arXiv},
  url = {https://arxiv.org/abs/2401.00001},
}
`,
  );
});

test("a feed escapes every text", () => {
  const xml = atomFeed({
    title: "A & B <c>",
    site: "https://x.example",
    page: "/",
    self: "/feed.xml",
    papers: [paper],
  });
  // Texts are HTML in CDATA sections: what a reader of the feed makes of them.
  expect(xml).not.toContain("<script>");
  expect(xml).toContain("Of &#60;b&#62;bold&#60;/b&#62; &#38; 50%");
});

test("a figure's size is read from its root element alone", () => {
  expect(
    sizeOfFigure('<svg xmlns="x" width="672" height="402.5"><rect width="1" height="2"/></svg>'),
  ).toEqual({
    width: 672,
    height: 402.5,
  });
  expect(sizeOfFigure('<svg viewBox="0 0 1 1"><rect width="1" height="2"/></svg>')).toBeNull();
});
