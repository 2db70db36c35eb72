import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Command, CommanderError } from "commander";

/** Each command's module is loaded when it is asked for: some bring a database with them. */
const commands: Readonly<Record<string, () => Promise<{ register(program: Command): void }>>> = {
  list: () => import("./commands/list.ts"),
  show: () => import("./commands/show.ts"),
  search: () => import("./commands/search.ts"),
  reproduce: () => import("./commands/reproduce.ts"),
  compare: () => import("./commands/compare.ts"),
  pretrain: () => import("./commands/pretrain.ts"),
  import: () => import("./commands/import.ts"),
  sync: () => import("./commands/sync.ts"),
  backup: () => import("./commands/backup.ts"),
  restore: () => import("./commands/restore.ts"),
  digest: () => import("./commands/digest.ts"),
  bench: () => import("./commands/bench.ts"),
  doctor: () => import("./commands/doctor.ts"),
  worker: () => import("./commands/worker.ts"),
  queue: () => import("./commands/queue.ts"),
  serve: () => import("./commands/serve.ts"),
};

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
    const program = await buildProgram(argv[0]);
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    process.exitCode = explain(error);
  }
}

/** The program with the command that `name` says, or with all of them where it says none. */
async function buildProgram(name = ""): Promise<Command> {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const program = new Command("prior-art")
    .description("Papers that run: find them, reproduce their claims, use their methods.")
    .version(version)
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  const wanted = Object.hasOwn(commands, name) ? [commands[name]!] : Object.values(commands);
  // Pretrained models lie in the data folder too, and worker threads find it in the environment.
  program.hook("preAction", (_, action) => {
    const { data } = action.opts<{ data?: string }>();
    if (data) process.env.PRIOR_ART_DATA = resolve(data);
  });
  for (const load of wanted) (await load()).register(program);
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
