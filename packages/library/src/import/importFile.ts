import { createReadStream } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import type { Database } from "../database/database.ts";
import { readArxivAtom } from "./arxivAtom.ts";
import { readBibtex } from "./bibtex.ts";
import { readDailyPapers } from "./dailyPapers.ts";
import { type ImportReport, importRecords } from "./importRecords.ts";
import { readJsonLines } from "./jsonLines.ts";
import { type ImportRecord, UnreadableFileError } from "./record.ts";

export type { ImportReport } from "./importRecords.ts";

export const IMPORT_FORMATS = ["json-lines", "bibtex", "arxiv-atom", "daily-papers"] as const;

/** How a file of papers is written. */
export type ImportFormat = (typeof IMPORT_FORMATS)[number];

export interface ImportFileOptions {
  /** Told from name and content when left out. */
  readonly format?: ImportFormat | undefined;
  readonly now?: Date | undefined;
  readonly signal?: AbortSignal | undefined;
}

const LARGEST_DOCUMENT = 64 * 1024 * 1024;

/**
 * Imports a file. Doing it again changes nothing.
 *
 * @throws UnreadableFileError when the file as a whole cannot be read; nothing is stored then
 */
export async function importFile(
  database: Database,
  file: string,
  { format, now = new Date(), signal }: ImportFileOptions = {},
): Promise<ImportReport> {
  const records = await openRecords(file, format ?? (await detectFormat(file)), now);
  return importRecords(database, records, { source: "import", now, signal });
}

async function openRecords(
  file: string,
  format: ImportFormat,
  now: Date,
): Promise<AsyncIterable<ImportRecord> | Iterable<ImportRecord>> {
  if (format === "json-lines") return readJsonLines(createReadStream(file), now);
  if ((await stat(file)).size > LARGEST_DOCUMENT)
    throw new UnreadableFileError(`${file} is larger than 64 MiB; split it, or use JSON Lines`);
  return readDocument(format, await readFile(file), now);
}

/** Reads a whole document in one of the formats. @throws UnreadableFileError */
export function readDocument(format: ImportFormat, bytes: Uint8Array, now: Date) {
  switch (format) {
    case "json-lines":
      return readJsonLines(chunk(bytes), now);
    case "bibtex":
      return readBibtex(bytes, now);
    case "arxiv-atom":
      return readArxivAtom(bytes, now);
    case "daily-papers":
      return readDailyPapers(bytes, now);
  }
}

async function* chunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/**
 * Tells a format from the file's name, else from its first character.
 *
 * @throws UnreadableFileError when neither says anything, or the file does not exist
 */
export async function detectFormat(file: string): Promise<ImportFormat> {
  const first = await firstCharacter(file);
  if (/\.(?:jsonl|ndjson)$/iu.test(file)) return "json-lines";
  if (/\.bib(?:tex)?$/iu.test(file)) return "bibtex";
  if (/\.(?:xml|atom)$/iu.test(file) || first === "<") return "arxiv-atom";
  if (first === "[") return "daily-papers";
  if (first === "{") return "json-lines";
  if (first === "@" || first === "%") return "bibtex";
  throw new UnreadableFileError(
    `${file} is not JSON Lines (.jsonl), BibTeX (.bib), arXiv Atom (.xml) or a JSON list (.json)`,
  );
}

async function firstCharacter(file: string): Promise<string | undefined> {
  try {
    const handle = await open(file);
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(4096), 0, 4096, 0);
      return /[^\s\ufeff]/u.exec(buffer.toString("utf8", 0, bytesRead))?.[0];
    } finally {
      await handle.close();
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UnreadableFileError(
      code === "ENOENT" ? `${file} does not exist` : `${file} cannot be read (${code})`,
    );
  }
}
