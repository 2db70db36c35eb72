import { XMLParser, XMLValidator } from "fast-xml-parser";
import { parseArxivReference } from "../collection/paper.ts";
import { decodeUtf8, type ImportRecord, toRecord, UnreadableFileError } from "./record.ts";

interface AtomEntry {
  readonly id?: string;
  readonly title?: string;
  readonly summary?: string;
  readonly published?: string;
  readonly author?: { readonly name?: string }[];
  readonly category?: { readonly "@term"?: string }[];
  readonly "arxiv:doi"?: string;
}

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "@",
  parseTagValue: false,
  parseAttributeValue: false,
  isArray: (name) => ["entry", "author", "category"].includes(name),
  // Text with attributes would otherwise come as an object.
  alwaysCreateTextNode: false,
});

/**
 * Reads an Atom feed as arXiv's API writes it.
 *
 * @throws UnreadableFileError when the feed is cut off, malformed, or declares entities; nothing of it is used then
 */
export function* readArxivAtom(bytes: Uint8Array, now: Date): Generator<ImportRecord> {
  const text = decodeUtf8(bytes);
  // Feeds have no document type; one that does is an attempt at entity expansion or file inclusion.
  if (/<!DOCTYPE|<!ENTITY/iu.test(text)) throw new UnreadableFileError("The feed declares a document type");
  const validity = XMLValidator.validate(text);
  if (validity !== true)
    throw new UnreadableFileError(`The feed is not XML: line ${validity.err.line}: ${validity.err.msg}`);
  const feed = parsedFeed(text);
  if (typeof feed !== "object" || feed === null)
    throw new UnreadableFileError("The document is not an Atom feed");
  const lines = entryLines(text);
  for (const [index, entry] of (feed.entry ?? []).entries())
    yield toRecord(lines[index] ?? index + 1, () => atomFields(entry), now);
}

/** The validator lets pass some of what the parser then stumbles over. */
function parsedFeed(text: string): { entry?: AtomEntry[] } | undefined {
  try {
    return (parser.parse(text) as { feed?: { entry?: AtomEntry[] } }).feed;
  } catch (error) {
    throw new UnreadableFileError(`The feed is not XML: ${(error as Error).message.split("\n", 1)[0]}`);
  }
}

function atomFields(entry: AtomEntry) {
  const id = textOf(entry.id) ?? "";
  const published = textOf(entry.published);
  return {
    title: textOf(entry.title),
    authors: (entry.author ?? []).map(({ name }) => textOf(name) ?? ""),
    publishedAt: published ? new Date(published) : null,
    ...(parseArxivReference(id) ?? {}),
    doi: textOf(entry["arxiv:doi"]) ?? null,
    url: /^https?:/u.test(id) ? id : null,
    summary: textOf(entry.summary) ?? "",
    keywords: (entry.category ?? []).flatMap((category) => category["@term"] ?? []),
  };
}

/** An element with attributes is parsed as an object with its text under `#text`. */
function textOf(element: unknown): string | undefined {
  if (typeof element === "object" && element !== null && "#text" in element) return String(element["#text"]);
  return typeof element === "string" ? element : undefined;
}

function entryLines(text: string): number[] {
  const lines: number[] = [];
  let line = 1;
  let position = 0;
  for (const match of text.matchAll(/<entry\b/gu)) {
    for (let newline = text.indexOf("\n", position); newline >= 0 && newline < match.index; ) {
      line++;
      newline = text.indexOf("\n", newline + 1);
    }
    position = match.index;
    lines.push(line);
  }
  return lines;
}
