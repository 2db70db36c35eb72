import { type ImportReport, UnreadableFileError } from "@prior-art/library";
import type { Command } from "commander";
import { dataOption } from "../dataFolder.ts";
import { databaseOption, type LibraryLocation, withLibrary } from "./search.ts";

export function register(program: Command): void {
  program
    .command("import")
    .argument("<file...>", "JSON Lines, BibTeX, arXiv Atom, or a JSON list of papers")
    .description("add papers from files; doing it again changes nothing")
    .addOption(dataOption())
    .addOption(databaseOption())
    .action(importFiles);
}

async function importFiles(files: string[], options: LibraryLocation): Promise<void> {
  await withLibrary(options, async (library) => {
    for (const file of files) {
      try {
        describe(file, await library.importFile(file));
      } catch (error) {
        if (!(error instanceof UnreadableFileError)) throw error;
        process.stderr.write(`prior-art: ${error.message}; nothing of ${file} was imported\n`);
        process.exitCode = 1;
      }
    }
  });
}

function describe(file: string, report: ImportReport): void {
  for (const { line, problem } of report.problems) process.stderr.write(`${file}:${line}: ${problem}\n`);
  const unlisted = report.skipped - report.problems.length;
  if (unlisted > 0) process.stderr.write(`${file}: ${unlisted} more records were skipped\n`);
  const { added, updated, unchanged, kept, skipped } = report;
  process.stdout.write(
    `${file}: ${added} added, ${updated} updated, ${unchanged + kept} known already, ${skipped} skipped\n`,
  );
}
