import { existsSync } from "node:fs";
import { createMailer, startScheduler } from "@prior-art/library";
import type { Command } from "commander";
import { dataOption } from "../dataFolder.ts";
import { notice } from "../notice.ts";
import { createSite } from "../site/server.ts";
import { UsageError, wholeNumber } from "../usage.ts";
import { mailSettings } from "./digest.ts";
import { databaseOption, type LibraryLocation, withLibrary } from "./search.ts";
import { configuredSources, sourcesFile, sourcesOption } from "./sync.ts";

export function register(program: Command): void {
  program
    .command("serve")
    .description("serve the collection as a site")
    .option("--port <port>", "port to listen on", wholeNumber(0), 3000)
    .option("--host <host>", "address to listen on", "127.0.0.1")
    .addOption(dataOption())
    .addOption(databaseOption())
    .addOption(sourcesOption())
    .action(serve);
}

interface ServeOptions extends LibraryLocation {
  readonly port: number;
  readonly host: string;
  readonly sources?: string;
}

async function serve(options: ServeOptions): Promise<void> {
  if (options.port > 65_535) throw new UsageError(`there is no port ${options.port}; choose one up to 65535`);
  const server = createSite(options.data);
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const reason = error.code === "EADDRINUSE" ? "is taken" : `cannot be used (${error.code})`;
      reject(new UsageError(`port ${options.port} ${reason}; choose another with --port`));
    });
    server.listen(options.port, options.host, resolve);
  });
  const address = server.address() as { port: number };
  process.stderr.write(`Prior Art is at http://${options.host}:${address.port}/ (stop with Ctrl-C)\n`);
  const stopped = new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve()).once("SIGTERM", () => resolve());
  });
  try {
    await runSchedule(options, stopped);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** Digests, sync and embedding on schedule, until `stopped`. */
async function runSchedule(options: ServeOptions, stopped: Promise<void>): Promise<void> {
  const settings = mailSettings(options.data);
  const file = sourcesFile(options);
  const sources = existsSync(file) ? await configuredSources(file) : [];
  await withLibrary(options, async (library) => {
    const mailer = createMailer(settings);
    const scheduler = await startScheduler(library, {
      mailer,
      site: settings.site,
      sources,
      onError: (error) => notice(error.message),
    });
    await stopped;
    await scheduler.stop();
    mailer.close();
  });
}
