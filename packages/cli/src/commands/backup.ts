import { InvalidBackupError, type RowCounts } from "@prior-art/library";
import type { Command } from "commander";
import { dataOption } from "../dataFolder.ts";
import { UsageError } from "../usage.ts";
import { databaseOption, type LibraryLocation, openAt } from "./search.ts";

export function register(program: Command): void {
  program
    .command("backup")
    .argument("<file>", "where the backup goes")
    .description("write the whole library to a file: papers, votes, subscriptions, mail history")
    .addOption(dataOption())
    .addOption(databaseOption())
    .action(async (file: string, options: LibraryLocation) => {
      const library = await openAt(options);
      try {
        report(await library.backup(file), `in ${file}; it holds mail addresses and the secret of links`);
      } finally {
        await library.close();
      }
    });
}

/** One line of what a backup holds. */
export function report(counts: RowCounts, where: string): void {
  const { paper = 0, vote = 0, subscriber = 0 } = counts;
  process.stdout.write(`${paper} papers, ${vote} votes, ${subscriber} subscriptions ${where}\n`);
}

/** A backup that cannot be used is a mistake of whoever named it. */
export function explainBackup(error: unknown): never {
  throw error instanceof InvalidBackupError ? new UsageError(error.message) : error;
}
