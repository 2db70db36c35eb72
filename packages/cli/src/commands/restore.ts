import type { Command } from "commander";
import { dataOption } from "../dataFolder.ts";
import { explainBackup, report } from "./backup.ts";
import { databaseOption, type LibraryLocation, openAt } from "./search.ts";

export function register(program: Command): void {
  program
    .command("restore")
    .argument("<file>", "a backup, of an embedded library or of one on a server")
    .description("fill the library from a backup, all of it or nothing")
    .option("--replace", "give up what the library holds now")
    .addOption(dataOption())
    .addOption(databaseOption())
    .action(async (file: string, options: LibraryLocation & { replace?: boolean }) => {
      const library = await openAt(options);
      try {
        report(
          await library.restore(file, { replace: options.replace ?? false }).catch(explainBackup),
          "restored",
        );
      } finally {
        await library.close();
      }
    });
}
