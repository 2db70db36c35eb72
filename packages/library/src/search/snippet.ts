import { words } from "./text/terms.ts";

/** A piece of text, and whether it matches the query. Plain text: escape it before showing it as HTML. */
export interface Segment {
  readonly text: string;
  readonly match: boolean;
}

const LONGEST_SNIPPET = 240;

/** Splits a text into matching and other pieces; joined, they are the text again. */
export function highlight(text: string, stems: ReadonlySet<string>): Segment[] {
  const segments: Segment[] = [];
  let position = 0;
  for (const { stem, start, end } of words(text)) {
    if (!stems.has(stem)) continue;
    if (start > position) segments.push({ text: text.slice(position, start), match: false });
    segments.push({ text: text.slice(start, end), match: true });
    position = end;
  }
  if (position < text.length) segments.push({ text: text.slice(position), match: false });
  return segments;
}

/**
 * The passage of a text that contains the most different query words, cut at word boundaries.
 *
 * @param texts tried together; the best passage of any wins, and the first text wins ties
 * @param stems what counts as a match
 */
export function snippet(texts: readonly string[], stems: ReadonlySet<string>): Segment[] {
  let best = { text: texts.find((text) => text !== "") ?? "", start: 0, score: -1 };
  for (const text of texts) {
    const matches = words(text).filter((word) => stems.has(word.stem));
    matches.forEach((match, index) => {
      const start = Math.max(0, match.start - 40);
      const inside = matches.slice(index).filter(({ end }) => end <= start + LONGEST_SNIPPET);
      const score = new Set(inside.map((word) => word.stem)).size;
      if (score > best.score) best = { text, start, score };
    });
  }
  return highlight(cut(best.text, best.start), stems);
}

function cut(text: string, start: number): string {
  const from = start === 0 ? 0 : text.indexOf(" ", start) + 1;
  if (text.length - from <= LONGEST_SNIPPET) return (from > 0 ? "… " : "") + text.slice(from);
  const end = text.lastIndexOf(" ", from + LONGEST_SNIPPET);
  return `${from > 0 ? "… " : ""}${text.slice(from, end > from ? end : from + LONGEST_SNIPPET)} …`;
}
