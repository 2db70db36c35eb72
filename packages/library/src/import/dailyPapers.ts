import { InvalidPaperError } from "../collection/paper.ts";
import { decodeUtf8, type ImportRecord, jsonFields, toRecord, UnreadableFileError } from "./record.ts";

/**
 * Reads Hugging Face's daily papers, or any JSON array of papers. `line` is the place in the list.
 *
 * @throws UnreadableFileError when the document is not a JSON array
 */
export function* readDailyPapers(bytes: Uint8Array, now: Date): Generator<ImportRecord> {
  let entries: unknown;
  try {
    entries = JSON.parse(decodeUtf8(bytes));
  } catch (error) {
    if (error instanceof UnreadableFileError) throw error;
    throw new UnreadableFileError("The file is not JSON");
  }
  if (!Array.isArray(entries)) throw new UnreadableFileError("The file is not a list of papers");
  for (const [index, entry] of entries.entries()) yield toRecord(index + 1, () => dailyFields(entry), now);
}

function dailyFields(entry: unknown): Record<string, unknown> {
  if (typeof entry !== "object" || entry === null) throw new InvalidPaperError("is not an object");
  if (!("paper" in entry)) return jsonFields(entry);
  const { id, ...paper } = (entry.paper ?? {}) as Record<string, unknown>;
  const keywords = paper.ai_keywords;
  return jsonFields({ ...paper, arxiv: id, keywords: Array.isArray(keywords) ? keywords : [] });
}
