import { existsSync } from "node:fs";
import type { Server } from "node:http";
import {
  createMailer,
  type JobOutcome,
  type Library,
  type Mailer,
  type Source,
  startScheduler,
} from "@prior-art/library";
import {
  createLog,
  createSiteServer,
  LOG_FORMATS,
  type Log,
  type LogFormat,
  type Metrics,
  Site,
} from "@prior-art/web";
import { type Command, Option } from "commander";
import { dataOption } from "../dataFolder.ts";
import { noticesTo } from "../notice.ts";
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
    .addOption(
      new Option(
        "--log <format>",
        "json: a line for every request and event; text: what a person should know",
      )
        .choices(LOG_FORMATS)
        .default("text"),
    )
    .action(serve);
}

interface ServeOptions extends LibraryLocation {
  readonly port: number;
  readonly host: string;
  readonly sources?: string;
  readonly log: LogFormat;
}

/** Milliseconds that requests which came before the end may take. */
const PATIENCE = 10_000;

async function serve(options: ServeOptions): Promise<void> {
  if (options.port > 65_535) throw new UsageError(`there is no port ${options.port}; choose one up to 65535`);
  const stopped = new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve()).once("SIGTERM", () => resolve());
  });
  const settings = mailSettings(options.data);
  const file = sourcesFile(options);
  const sources = existsSync(file) ? await configuredSources(file) : [];
  const log = createLog(options.log, (line) => process.stderr.write(line));
  noticesTo(log.notice);
  const { server, open, drain, metrics } = createSiteServer({
    log,
    metricsToken: process.env.PRIOR_ART_METRICS_TOKEN || undefined,
  });
  const port = await listen(server, options);
  // Without a configured address, links lead to where the site is.
  const address = process.env.PRIOR_ART_SITE ? settings.site : `http://localhost:${port}`;
  try {
    await withLibrary(options, async (library) => {
      const mailer = createMailer(settings);
      await open(new Site({ library, mailer, address, dataFolder: options.data, log: log.error }));
      log.notice(`at http://${options.host}:${port}/ (stop with Ctrl-C)`);
      const stopSchedule = await startSchedule({ library, mailer, address, sources, log, metrics });
      await stopped;
      // Both need the library, which is closed afterwards.
      await Promise.all([drain(PATIENCE), stopSchedule()]);
      mailer.close();
    });
  } finally {
    server.close();
    server.closeAllConnections();
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

interface Surroundings {
  readonly library: Library;
  readonly mailer: Mailer;
  readonly address: string;
  readonly sources: readonly Source[];
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Digests, sync and embedding on schedule. @returns what ends them: finished or back in the queue */
async function startSchedule({
  library,
  mailer,
  address,
  sources,
  log,
  metrics,
}: Surroundings): Promise<() => Promise<void>> {
  const scheduler = await startScheduler(library, {
    mailer,
    site: address,
    sources,
    onFinished: (outcome) => count(outcome, metrics),
    onError(error, job) {
      log.error(error.message, job ? { job } : {});
      if (job) metrics.job(job, "failed");
    },
  });
  metrics.watchQueues(() => scheduler.waiting());
  return () => scheduler.stop();
}

function count(outcome: JobOutcome, metrics: Metrics): void {
  metrics.job(outcome.job, "finished");
  if (outcome.job === "digest") {
    metrics.digests("sent", outcome.report.sent);
    metrics.digests("failed", outcome.report.failed + outcome.report.bounced);
  } else if (outcome.job === "sync")
    for (const { added, updated, skipped } of outcome.report) {
      metrics.synced("added", added);
      metrics.synced("updated", updated);
      metrics.synced("skipped", skipped);
    }
}
