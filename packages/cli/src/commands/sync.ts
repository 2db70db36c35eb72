import { existsSync } from "node:fs";
import { join } from "node:path";
import { ConfigurationError, readSources, type SourceReport, syncSources } from "@prior-art/library";
import { type Command, Option } from "commander";
import { dataOption } from "../dataFolder.ts";
import { UsageError } from "../usage.ts";
import { databaseOption, type LibraryLocation, withLibrary } from "./search.ts";

interface SyncOptions extends LibraryLocation {
  readonly sources?: string;
  readonly force?: boolean;
}

export function register(program: Command): void {
  program
    .command("sync")
    .description("fetch new papers from the configured sources, politely")
    .addOption(sourcesOption())
    .option("--force", "poll even when it is too early")
    .addOption(dataOption())
    .addOption(databaseOption())
    .action(sync);
}

export function sourcesOption(): Option {
  return new Option("--sources <file>", "JSON list of sources; default sources.json in the data folder").env(
    "PRIOR_ART_SOURCES",
  );
}

/** Where the list of sources is, or would be. */
export const sourcesFile = (options: { readonly sources?: string; readonly data: string }): string =>
  options.sources ?? join(options.data, "sources.json");

/** The configured sources. @throws UsageError when the file says something else */
export const configuredSources = (file: string): ReturnType<typeof readSources> =>
  readSources(file).catch((error: Error) => {
    throw error instanceof ConfigurationError ? new UsageError(error.message) : error;
  });

async function sync(options: SyncOptions): Promise<void> {
  const file = sourcesFile(options);
  if (!existsSync(file)) {
    const example = '[{"name":"arxiv","url":"https://…","format":"arxiv-atom"}]';
    throw new UsageError(
      `there is no list of sources at ${file}; write one like ${example}, see docs/library.md`,
    );
  }
  const sources = await configuredSources(file);
  await withLibrary(options, async (library) => {
    const stop = new AbortController();
    process.once("SIGINT", () => stop.abort(new Error("stopped; the next sync goes on from here")));
    const reports = await syncSources(library.database, sources, {
      force: options.force ?? false,
      signal: stop.signal,
    });
    await library.embeddings.embedPending();
    for (const report of reports) process.stdout.write(`${describe(report)}\n`);
    if (reports.some(({ state }) => state === "failed")) process.exitCode = 1;
  });
}

function describe({ name, state, added, updated, skipped, problem, nextPollAt }: SourceReport): string {
  const next = `next poll ${nextPollAt.toISOString().slice(0, 16).replace("T", " ")} UTC`;
  switch (state) {
    case "waiting":
      return `${name}: polled lately, ${next}`;
    case "unchanged":
      return `${name}: nothing new, ${next}`;
    case "failed":
      return `${name}: failed (${problem}), ${added} added before, ${next}`;
    case "complete":
      return `${name}: ${added} added, ${updated} updated, ${skipped} skipped, ${next}`;
  }
}
