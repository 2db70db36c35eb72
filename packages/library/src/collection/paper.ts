import { createHash } from "node:crypto";
import * as v from "valibot";

/** One statement of a paper that a reproduction can test. */
export interface Claim {
  readonly id: string;
  readonly text: string;
  readonly verdict?: Verdict | undefined;
}

export const VERDICTS = ["reproduced", "partly", "not reproduced"] as const;

/** How a reproduction ended. */
export type Verdict = (typeof VERDICTS)[number];

/** A paper of the library. Texts are plain: they are escaped where they are shown. */
export interface Paper {
  readonly id: string;
  readonly source: string;
  readonly title: string;
  readonly authors: readonly string[];
  readonly year: number | null;
  readonly publishedAt: Date | null;
  readonly arxiv: string | null;
  readonly arxivVersion: number | null;
  readonly doi: string | null;
  readonly code: string | null;
  readonly url: string | null;
  readonly family: string | null;
  readonly summary: string;
  /** The symptoms that lead a practitioner to this paper; empty for imported papers. */
  readonly problem: string;
  readonly keywords: readonly string[];
  readonly claims: readonly Claim[];
  readonly verdict: Verdict | null;
  /** Whether the paper's method can be imported and run here. */
  readonly hasMethod: boolean;
  readonly addedAt: Date;
}

/** What is known of a paper before it is stored. */
export type PaperDraft = Omit<Paper, "addedAt" | "source">;

/** Control characters, halves of surrogate pairs, and marks that reorder the text around them. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u202a-\u202e\u2066-\u2069]/gu;
const EARLIEST_YEAR = 1600;
const CLOCK_TOLERANCE = 2 * 86_400_000;

const text = (longest: number) =>
  v.pipe(
    v.string("must be text"),
    v.transform((value) => value.normalize("NFC").replace(UNPRINTABLE, " ").replace(/\s+/gu, " ").trim()),
    v.maxLength(longest, `is longer than ${longest} characters`),
  );

const requiredText = (longest: number) => v.pipe(text(longest), v.minLength(1, "is empty"));

const webAddress = v.pipe(
  text(2000),
  v.check((value) => isWebAddress(value), "is not an http or https address"),
);

const arxivId = v.pipe(
  text(40),
  v.regex(/^(?:\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?\/\d{7})$/u, "is not an arXiv id"),
);

const orNull = <Schema extends v.GenericSchema<string | number, unknown>>(schema: Schema) =>
  v.optional(v.nullable(schema), null);

const claim = v.object({
  id: requiredText(200),
  text: requiredText(4000),
  verdict: v.optional(v.picklist(VERDICTS)),
});

const schema = v.object({
  id: v.optional(
    v.pipe(requiredText(200), v.regex(/^[a-z0-9][a-z0-9._-]*$/u, "may only contain a–z, 0–9, dot, dash")),
  ),
  title: requiredText(1000),
  authors: v.optional(
    v.pipe(v.array(requiredText(300)), v.maxLength(5000, "has more than 5000 entries")),
    [],
  ),
  year: orNull(v.pipe(v.number("must be a number"), v.integer("must be a whole number"))),
  publishedAt: v.optional(v.nullable(v.date("must be a date")), null),
  arxiv: orNull(arxivId),
  arxivVersion: orNull(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000))),
  doi: orNull(v.pipe(text(300), v.toLowerCase(), v.regex(/^10\.\d{4,9}\/\S+$/u, "is not a DOI"))),
  code: orNull(webAddress),
  url: orNull(webAddress),
  family: orNull(requiredText(100)),
  summary: v.optional(text(20_000), ""),
  problem: v.optional(text(5000), ""),
  keywords: v.optional(v.pipe(v.array(requiredText(200)), v.maxLength(200, "has more than 200 entries")), []),
  claims: v.optional(v.pipe(v.array(claim), v.maxLength(100, "has more than 100 entries")), []),
  verdict: v.optional(v.nullable(v.picklist(VERDICTS)), null),
  hasMethod: v.optional(v.boolean(), false),
});

/** Fields of a paper as they come from outside, unchecked. */
export type PaperFields = v.InferInput<typeof schema>;

/** A record that cannot become a paper. The message is one line and names the field. */
export class InvalidPaperError extends Error {
  override readonly name = "InvalidPaperError";
}

/**
 * Checks fields and fills the gaps.
 *
 * @param fields what an importer found
 * @param now years and dates must not lie beyond it
 * @throws InvalidPaperError when a field is missing, too long, of the wrong kind, or in the future
 */
export function draftPaper(fields: unknown, now: Date): PaperDraft {
  const result = v.safeParse(schema, fields);
  if (!result.success) {
    const [issue] = result.issues;
    const path = v.getDotPath(issue) ?? "record";
    throw new InvalidPaperError(`${path} ${issue.message}`);
  }
  const { id, ...paper } = result.output;
  const latest = new Date(now.getTime() + CLOCK_TOLERANCE);
  if (paper.publishedAt && !(paper.publishedAt.getTime() <= latest.getTime()))
    throw new InvalidPaperError("publishedAt is in the future or not a date");
  const year = paper.year ?? paper.publishedAt?.getUTCFullYear() ?? null;
  if (year !== null && (year < EARLIEST_YEAR || year > latest.getUTCFullYear()))
    throw new InvalidPaperError(`year ${year} is not between ${EARLIEST_YEAR} and now`);
  return { ...paper, year, id: id ?? identify(paper) };
}

/** A readable id: from the arXiv id, else the DOI, else the title. */
function identify(paper: {
  arxiv: string | null;
  doi: string | null;
  title: string;
  authors: string[];
}): string {
  if (paper.arxiv) return `arxiv-${slug(paper.arxiv)}`;
  if (paper.doi) return `doi-${slug(paper.doi)}-${digest(paper.doi).slice(0, 6)}`;
  const identity = `${paper.title.toLowerCase()}\n${paper.authors[0]?.toLowerCase() ?? ""}`;
  return `${slug(paper.title) || "paper"}-${digest(identity).slice(0, 10)}`;
}

const slug = (value: string): string =>
  value
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9.]+/gu, "-")
    .replace(/^[-.]+|[-.]+$/gu, "")
    .slice(0, 80);

const digest = (value: string): string => createHash("sha256").update(value).digest("hex");

/** A digest of everything that a reader can see, so that unchanged papers are recognized. */
export const contentHash = (paper: PaperDraft): string => digest(JSON.stringify(paper));

function isWebAddress(value: string): boolean {
  // With its slashes: browsers also read much else as an address, such as `http:}//`.
  return /^https?:\/\/[^/]/i.test(value) && URL.canParse(value);
}

/**
 * Splits an arXiv reference such as `arXiv:2401.00243v2` or an `arxiv.org` address into id and version.
 *
 * @returns null when there is no arXiv id in it
 */
export function parseArxivReference(
  reference: string,
): { arxiv: string; arxivVersion: number | null } | null {
  const found = /(\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?\/\d{7})(?:v(\d{1,3}))?(?!\d)/u.exec(reference);
  if (!found) return null;
  return { arxiv: found[1]!, arxivVersion: found[2] ? Number(found[2]) : null };
}
