import { existsSync } from "node:fs";
import type { Server } from "node:http";
import { createMailer, type Library, type Mailer, startScheduler } from "@prior-art/library";
import { createSiteServer, Site } from "@prior-art/web";
import type { Command } from "commander";
import { dataOption } from "../dataFolder.ts";
import { notice } from "../notice.ts";
import { UsageError, wholeNumber } from "../usage.ts";
import { mailSettings } from "./digest.ts";
import { databaseOption, type LibraryLocation, withLibrary } from "./search.ts";
import { configuredSources, sourcesFile, sourcesOption } from "./sync.ts";

export function register(program: Command): void {
  program
    .command("serve")
    .description("serve the site and its API, and send what is due")
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
  const stopped = new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve()).once("SIGTERM", () => resolve());
  });
  const settings = mailSettings(options.data);
  const { server, open } = createSiteServer();
  const port = await listen(server, options);
  // Without a configured address, links lead to where the site is.
  const address = process.env.PRIOR_ART_SITE ? settings.site : `http://localhost:${port}`;
  try {
    await withLibrary(options, async (library) => {
      const mailer = createMailer(settings);
      await open(new Site({ library, mailer, address, dataFolder: options.data, log: notice }));
      notice(`at http://${options.host}:${port}/ (stop with Ctrl-C)`);
      await runSchedule(options, { library, mailer, address }, stopped);
      mailer.close();
    });
  } finally {
    server.close();
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), 2000).unref();
  }
}

/** @returns the port, which the system chose when the options ask for 0 */
async function listen(server: Server, { host, port }: ServeOptions): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const reason = error.code === "EADDRINUSE" ? "is taken" : `cannot be used (${error.code})`;
      reject(new UsageError(`port ${port} ${reason}; choose another with --port`));
    });
    server.listen(port, host, resolve);
  });
  return (server.address() as { port: number }).port;
}

/** Digests, sync and embedding on schedule, until `stopped`. */
async function runSchedule(
  options: ServeOptions,
  {
    library,
    mailer,
    address,
  }: { readonly library: Library; readonly mailer: Mailer; readonly address: string },
  stopped: Promise<void>,
): Promise<void> {
  const file = sourcesFile(options);
  const sources = existsSync(file) ? await configuredSources(file) : [];
  const scheduler = await startScheduler(library, {
    mailer,
    site: address,
    sources,
    onError: (error) => notice(error.message),
  });
  await stopped;
  await scheduler.stop();
}
