import { draftPaper, InvalidPaperError, type PaperDraft, parseArxivReference } from "../collection/paper.ts";

/** One record of a file: a paper, or what is wrong with it. `line` counts from 1. */
export type ImportRecord =
  | { readonly line: number; readonly draft: PaperDraft }
  | { readonly line: number; readonly problem: string };

/** A file or response that cannot be read as a whole, so nothing of it is stored. The message is one line. */
export class UnreadableFileError extends Error {
  override readonly name = "UnreadableFileError";
}

/** Turns found fields into a record, never throwing for what a file contains. */
export function toRecord(line: number, fields: () => unknown, now: Date): ImportRecord {
  try {
    return { line, draft: draftPaper(fields(), now) };
  } catch (error) {
    if (error instanceof InvalidPaperError) return { line, problem: error.message };
    throw error;
  }
}

/** @throws UnreadableFileError when the bytes are not UTF-8 */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new UnreadableFileError("The text is not encoded in UTF-8");
  }
}

/**
 * Reads the fields of a JSON paper under the names that exports of this field use.
 *
 * @throws InvalidPaperError when it is not an object
 */
export function jsonFields(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new InvalidPaperError("is not an object");
  const source = value as Record<string, unknown>;
  const first = (...names: string[]) =>
    names.map((name) => source[name]).find((entry) => entry !== undefined && entry !== null);
  const reference = first("arxiv", "arxiv_id", "arxivId", "eprint");
  const arxiv = typeof reference === "string" ? parseArxivReference(reference) : null;
  if (reference !== undefined && !arxiv) throw new InvalidPaperError("arxiv is not an arXiv id");
  const published = first("publishedAt", "published_at", "published");
  const year = first("year");
  return {
    title: first("title"),
    authors: authorNames(first("authors", "author")),
    year: typeof year === "string" && /^\d{4}$/u.test(year) ? Number(year) : (year ?? null),
    publishedAt: typeof published === "string" ? new Date(published) : null,
    ...(arxiv ?? {}),
    doi: withoutResolver(first("doi", "DOI")),
    code: first("code", "code_url", "githubRepo") ?? null,
    url: first("url", "link") ?? null,
    family: first("family", "topic") ?? null,
    summary: first("summary", "abstract") ?? "",
    problem: first("problem") ?? "",
    keywords: first("keywords", "tags") ?? [],
  };
}

export const withoutResolver = (doi: unknown): unknown =>
  typeof doi === "string" ? doi.replace(/^(?:https?:\/\/(?:dx\.)?doi\.org\/|doi:\s*)/iu, "") : (doi ?? null);

function authorNames(authors: unknown): unknown {
  if (authors === undefined) return [];
  if (typeof authors === "string") return authors.split(/\s+and\s+|\s*;\s*/u).filter((name) => name !== "");
  if (!Array.isArray(authors)) return authors;
  return authors.map((author) =>
    typeof author === "object" && author !== null && "name" in author ? author.name : author,
  );
}
