import { InvalidPaperError } from "../collection/paper.ts";
import { decodeUtf8, type ImportRecord, jsonFields, toRecord, UnreadableFileError } from "./record.ts";

const LONGEST_LINE = 1_000_000;
const NEWLINE = 10;

/**
 * Reads JSON Lines: one paper per line. Broken lines are reported and skipped; a line of any length is skipped without
 * being held in memory.
 */
export async function* readJsonLines(
  bytes: AsyncIterable<Uint8Array>,
  now: Date,
): AsyncGenerator<ImportRecord> {
  for await (const { line, content } of splitLines(bytes)) {
    if (content === undefined) {
      yield { line, problem: `is longer than ${LONGEST_LINE} bytes` };
    } else if (content.some((byte) => byte > 32)) {
      yield toRecord(line, () => jsonFields(parseLine(content)), now);
    }
  }
}

function parseLine(content: Uint8Array): unknown {
  try {
    return JSON.parse(decodeUtf8(content));
  } catch (error) {
    if (error instanceof UnreadableFileError) throw new InvalidPaperError("is not encoded in UTF-8");
    throw new InvalidPaperError("is not JSON");
  }
}

/** Lines with their numbers; one that is too long has no content. */
async function* splitLines(
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ line: number; content: Uint8Array | undefined }> {
  let line = 1;
  let parts: Uint8Array[] = [];
  let length = 0;
  const finish = () => {
    const content = length > LONGEST_LINE ? undefined : Buffer.concat(parts);
    parts = [];
    length = 0;
    return { line: line++, content };
  };
  const collect = (part: Uint8Array) => {
    length += part.length;
    if (length > LONGEST_LINE) parts = [];
    else parts.push(part);
  };
  for await (const chunk of bytes) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      collect(chunk.subarray(start, end));
      yield finish();
      start = end + 1;
    }
    collect(chunk.subarray(start));
  }
  if (length > 0) yield finish();
}
