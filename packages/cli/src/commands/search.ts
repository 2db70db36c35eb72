import { roomResults } from "@prior-art/lab/node";
import {
  InvalidSearchError,
  type Library,
  openLibrary,
  type SearchHit,
  type Segment,
} from "@prior-art/library";
import { rooms } from "@prior-art/methods";
import { type Command, Option } from "commander";
import { dataOption, requireWritable } from "../dataFolder.ts";
import { notice } from "../notice.ts";
import { UsageError, wholeNumber } from "../usage.ts";

/** Where the library is, as the command line says it. */
export interface LibraryLocation {
  readonly data: string;
  readonly databaseUrl?: string;
}

export function databaseOption(): Option {
  return new Option("--database-url <url>", "PostgreSQL server instead of the data folder").env(
    "DATABASE_URL",
  );
}

/**
 * Opens the library with the built-in collection in it, uses it, and closes it.
 *
 * @throws UsageError when the folder cannot be used
 */
export async function withLibrary<Result>(
  { data, databaseUrl }: LibraryLocation,
  use: (library: Library) => Promise<Result>,
): Promise<Result> {
  const library = await openAt({ data, ...(databaseUrl === undefined ? {} : { databaseUrl }) });
  try {
    const { papers } = await library.papers({}, { limit: 1 });
    if (papers.length === 0) notice(`preparing ${rooms.length} papers for search, this once`);
    await library.syncCollection(await builtInPapers(data));
    return await use(library);
  } finally {
    await library.close();
  }
}

/**
 * Opens the library as it is.
 *
 * @throws UsageError when the folder cannot be used
 */
export async function openAt({ data, databaseUrl }: LibraryLocation): Promise<Library> {
  if (databaseUrl === undefined) await requireWritable(data);
  return openLibrary({
    dataDir: data,
    databaseUrl,
    secret: process.env.PRIOR_ART_SECRET || undefined,
    embedder: process.env.PRIOR_ART_EMBEDDER || undefined,
  }).catch((error: Error) => {
    if (error.name === "FolderInUseError") throw new UsageError(error.message);
    throw error;
  });
}

/** The papers of all rooms with their newest results. */
export function builtInPapers(data: string) {
  return Promise.all(
    rooms.map(async (room) => ({
      ...room.paper,
      hasMethod: room.hasMethod,
      results: await roomResults(room, data, notice),
    })),
  );
}

export function register(program: Command): void {
  program
    .command("search")
    .argument("<query...>", "what you look for, in plain words")
    .description("find papers by what they are about or by the symptoms they treat")
    .option("--limit <n>", "number of papers, at most 100", wholeNumber(1), 10)
    .option("--family <family>", "only this family")
    .option("--json", "print one JSON document")
    .addOption(dataOption())
    .addOption(databaseOption())
    .action(search);
}

interface SearchOptions extends LibraryLocation {
  readonly limit: number;
  readonly family?: string;
  readonly json?: boolean;
}

async function search(words: string[], options: SearchOptions): Promise<void> {
  const query = words.join(" ");
  await withLibrary(options, async (library) => {
    if (options.family !== undefined) await requireKnownFamily(library, options.family);
    const { hits, corrections } = await library
      .search({ query, limit: options.limit, family: options.family })
      .catch((error: Error) => {
        throw error instanceof InvalidSearchError ? new UsageError(error.message) : error;
      });
    for (const { word, readAs } of corrections)
      notice(`no paper contains "${word}"; it was read as "${readAs}"`);
    if (options.json) process.stdout.write(`${JSON.stringify(hits.map(toDocument), null, 1)}\n`);
    else process.stdout.write(hits.map(toText).join("\n") || "nothing found\n");
  });
}

async function requireKnownFamily(library: Library, family: string): Promise<void> {
  const known = (await library.families()).map((entry) => entry.family).sort();
  if (!known.includes(family))
    throw new UsageError(`there is no family "${family}"; families: ${known.join(", ")}`);
}

function toDocument({ paper, score, snippet }: SearchHit) {
  const { id, title, family, authors, year, arxiv, verdict, hasMethod } = paper;
  const text = snippet.map((segment) => segment.text).join("");
  return { slug: id, title, family, authors, year, arxiv, verdict, hasMethod, score, snippet: text };
}

function toText({ paper, title, snippet }: SearchHit): string {
  const facts = [paper.id, paper.family, paper.year, paper.verdict].filter((fact) => fact !== null);
  return `${emphasize(title)}\n  ${facts.join(" · ")}\n  ${emphasize(snippet)}\n`;
}

function emphasize(segments: readonly Segment[]): string {
  const bold = (text: string) => (process.stdout.isTTY ? `\u001b[1m${text}\u001b[22m` : text);
  return segments.map(({ text, match }) => (match ? bold(text) : text)).join("");
}
