import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import * as bench from "./commands/bench.ts";
import * as compare from "./commands/compare.ts";
import * as digest from "./commands/digest.ts";
import * as doctor from "./commands/doctor.ts";
import * as importPapers from "./commands/import.ts";
import * as list from "./commands/list.ts";
import * as reproduce from "./commands/reproduce.ts";
import * as search from "./commands/search.ts";
import * as serve from "./commands/serve.ts";
import * as show from "./commands/show.ts";
import * as sync from "./commands/sync.ts";

/**
 * Runs the command line and sets `process.exitCode`: 0 on success, 1 when a reproduction did not hold or a job
 * failed, 2 for wrong usage. Errors are one line on standard error.
 *
 * @param argv arguments after the command's name
 */
export async function main(argv: readonly string[]): Promise<void> {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // The reader (`head`, `less`) has seen enough.
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  try {
    const program = buildProgram();
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    process.exitCode = explain(error);
  }
}

function buildProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const program = new Command("prior-art")
    .description("Papers that run: find them, reproduce their claims, use their methods.")
    .version(version)
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  const commands = [list, show, search, reproduce, compare, importPapers, sync, digest, bench, doctor, serve];
  for (const command of commands) command.register(program);
  return program;
}

function explain(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    const reason = error.message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " ");
    if (error.code !== "commander.help") process.stderr.write(`prior-art: ${reason}; see prior-art --help\n`);
    return 2;
  }
  const { message = String(error), exitCode = 1, stack } = error as Error & { exitCode?: number };
  process.stderr.write(`prior-art: ${message.replaceAll(/\s*\n\s*/g, " ")}\n`);
  if (process.env.PRIOR_ART_DEBUG) process.stderr.write(`${stack}\n`);
  return exitCode;
}
