import type { Paper } from "@prior-art/library";

/** The characters that BibTeX and LaTeX read as commands. */
const SPECIAL: Readonly<Record<string, string>> = {
  "\\": "\\textbackslash{}",
  "{": "\\{",
  "}": "\\}",
  "&": "\\&",
  "%": "\\%",
  "#": "\\#",
  _: "\\_",
  $: "\\$",
  "~": "\\textasciitilde{}",
  "^": "\\textasciicircum{}",
};

const escape = (text: string): string => text.replaceAll(/[\\{}&%#_$~^]/g, (c) => SPECIAL[c]!);

/** A BibTeX entry; titles are braced, so that their capitals stay. */
export function bibtexEntry(paper: Paper): string {
  const family = (paper.authors[0] ?? "").split(" ").at(-1) ?? "";
  const ascii = (text: string) =>
    text
      .normalize("NFKD")
      .toLowerCase()
      .replaceAll(/[^a-z0-9]/g, "");
  const word = paper.title.split(/[^\p{L}\p{N}]+/u).find((w) => w.length > 3) ?? "";
  const key = `${ascii(family) || "anonymous"}${paper.year ?? ""}${ascii(word)}`;
  const fields: [string, string | null][] = [
    ["title", `{${escape(paper.title)}}`],
    ["author", paper.authors.map(escape).join(" and ") || null],
    ["year", paper.year === null ? null : String(paper.year)],
    ["doi", paper.doi],
    ["eprint", paper.arxiv],
    ["archivePrefix", paper.arxiv && "arXiv"],
    ["url", paper.url ?? (paper.arxiv && `https://arxiv.org/abs/${paper.arxiv}`)],
  ];
  const lines = fields.filter(([, value]) => value).map(([name, value]) => `  ${name} = {${value}},`);
  return `@misc{${key},\n${lines.join("\n")}\n}\n`;
}
