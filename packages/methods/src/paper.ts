import * as v from "valibot";

const line = v.pipe(v.string(), v.trim(), v.minLength(1), v.regex(/^[^\n]*$/, "must be one line"));
const name = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "must be lower-case words joined by hyphens"),
);

/** The fields of a room's `paper.json`. */
export const paperSchema = v.strictObject({
  slug: name,
  title: line,
  family: name,
  authors: v.pipe(v.array(line), v.minLength(1)),
  year: v.pipe(v.number(), v.integer(), v.minValue(1900), v.maxValue(2100)),
  arxiv: v.nullable(
    v.pipe(v.string(), v.regex(/^(\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?\/\d{7})$/, "must be an arXiv id")),
  ),
  code: v.nullable(v.pipe(v.string(), v.url(), v.startsWith("https://"))),
  summary: v.pipe(v.string(), v.minLength(80)),
  problem: line,
  keywords: v.pipe(v.array(line), v.minLength(1)),
  claims: v.pipe(
    v.array(v.strictObject({ id: name, text: line })),
    v.minLength(1),
    v.check((claims) => new Set(claims.map(({ id }) => id)).size === claims.length, "claim ids must differ"),
  ),
  notes: v.optional(v.union([line, v.array(line)])),
});

export type Paper = v.InferOutput<typeof paperSchema>;
