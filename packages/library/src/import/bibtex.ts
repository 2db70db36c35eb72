import { parse } from "@retorquere/bibtex-parser";
import { InvalidPaperError, parseArxivReference } from "../collection/paper.ts";
import { decodeUtf8, type ImportRecord, toRecord, withoutResolver } from "./record.ts";

const LONGEST_ENTRY = 100_000;
const DEEPEST_BRACES = 30;
const NOT_PAPERS = /^@\s*(?:string|comment|preamble)\b/iu;
const STRING_DEFINITION = /^@\s*string\b/iu;

interface Entry {
  readonly line: number;
  readonly source: string;
}

type Fields = Record<string, unknown>;

/**
 * Reads BibTeX. Each entry is parsed by itself, so a brace that is never closed costs one paper and not the rest of
 * the file.
 *
 * @throws UnreadableFileError when the text is not UTF-8
 */
export function* readBibtex(bytes: Uint8Array, now: Date): Generator<ImportRecord> {
  const entries = splitEntries(decodeUtf8(bytes));
  const definitions = entries
    .filter(({ source }) => STRING_DEFINITION.test(source) && source.length < 1000)
    .map(({ source }) => source)
    .join("\n");
  for (const { line, source } of entries) {
    if (!NOT_PAPERS.test(source)) yield toRecord(line, () => entryFields(source, definitions), now);
  }
}

/** An entry begins with an @ that is the first thing on its line. */
function splitEntries(text: string): Entry[] {
  const entries: Entry[] = [];
  let line = 1;
  let position = 0;
  for (const match of text.matchAll(/^[ \t]*(?=@\s*\w+\s*[{(])/gmu)) {
    const before = text.slice(position, match.index);
    if (position > 0 || /^\s*@/u.test(before)) entries.push({ line, source: before });
    line += before.split("\n").length - 1;
    position = match.index;
  }
  const last = text.slice(position);
  if (/^\s*@/u.test(last)) entries.push({ line, source: last });
  return entries.map((entry) => ({ ...entry, source: entry.source.trim() }));
}

function entryFields(source: string, definitions: string): Fields {
  if (source.length > LONGEST_ENTRY)
    throw new InvalidPaperError(`is longer than ${LONGEST_ENTRY} characters`);
  if (depth(source) > DEEPEST_BRACES) throw new InvalidPaperError("has braces nested too deeply");
  const fields = parseEntry(source, definitions);
  const reference = [fields.eprint, fields.arxivid, fields.url, fields.journal]
    .filter((value) => typeof value === "string")
    .find(
      (value) =>
        fields.archiveprefix !== undefined || /arxiv/iu.test(value) || /^\d{4}\.\d{4,5}/u.test(value),
    );
  const year = /\d{4}/u.exec(String(fields.year ?? fields.date ?? ""))?.[0];
  return {
    title: plain(fields.title),
    authors: names(fields.author),
    year: year ? Number(year) : null,
    ...(reference ? (parseArxivReference(reference) ?? {}) : {}),
    doi: fields.doi === undefined ? null : withoutResolver(plain(fields.doi)),
    url: typeof fields.url === "string" && /^https?:/iu.test(fields.url) ? fields.url : null,
    summary: plain(fields.abstract) ?? "",
    keywords: keywordList(fields.keywords),
  };
}

function parseEntry(source: string, definitions: string): Fields {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(`${definitions}\n${source}`, { sentenceCase: false });
  } catch (error) {
    throw new InvalidPaperError(oneLine(`is not BibTeX: ${(error as Error).message}`));
  }
  const [error] = parsed.errors;
  if (error)
    throw new InvalidPaperError(oneLine(`is not BibTeX: ${error.error.replace(/ at line \d+.*$/su, "")}`));
  const [entry] = parsed.entries;
  if (!entry) throw new InvalidPaperError("is not a BibTeX entry");
  return entry.fields as Fields;
}

const oneLine = (message: string): string => message.replace(/\s+/gu, " ").slice(0, 200);

/** The parser turns LaTeX mark-up into HTML tags; papers are stored as plain text. */
function plain(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  return String(value).replace(
    /<\/?(?:i|b|sup|sub|span|pre|p|br|a|q|blockquote|sc|nc|ol|ul|li)(?:\s[^<>]*)?\/?>/giu,
    "",
  );
}

function names(authors: unknown): string[] {
  if (!Array.isArray(authors)) return [];
  return authors
    .map((author: { firstName?: string; prefix?: string; lastName?: string; name?: string }) =>
      plain(author.name ?? [author.firstName, author.prefix, author.lastName].filter(Boolean).join(" ")),
    )
    .filter((name): name is string => name !== undefined && name.trim() !== "" && name !== "others");
}

function keywordList(keywords: unknown): string[] {
  const list = Array.isArray(keywords) ? keywords : String(keywords ?? "").split(/[,;]/u);
  return list.map((keyword) => plain(keyword)?.trim() ?? "").filter((keyword) => keyword !== "");
}

function depth(source: string): number {
  let current = 0;
  let deepest = 0;
  for (const character of source) {
    if (character === "{") deepest = Math.max(deepest, ++current);
    else if (character === "}") current--;
  }
  return deepest;
}
