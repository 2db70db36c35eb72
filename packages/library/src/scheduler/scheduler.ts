import PgBoss from "pg-boss";
import type { Mailer } from "../digest/mailer.ts";
import { sendDigests } from "../digest/sendDigests.ts";
import type { Library } from "../library.ts";
import type { Source } from "../sync/sources.ts";
import { type SyncOptions, syncSources } from "../sync/syncSources.ts";

/** The recurring work of a running library. */
export const JOBS = ["digest", "sync", "embed"] as const;
export type Job = (typeof JOBS)[number];

export interface SchedulerOptions {
  readonly mailer: Mailer;
  /** Address of the site without a slash at the end. */
  readonly site: string;
  readonly sources: readonly Source[];
  readonly sync?: SyncOptions;
  /** Told what a finished job did. */
  readonly onFinished?: (job: Job, report: unknown) => void;
  /** Told of failures; the job is tried again. */
  readonly onError?: (error: Error) => void;
  /** Seconds between two looks into the queue. */
  readonly pollSeconds?: number;
}

/** A running scheduler. */
export interface Scheduler {
  /** Queues a job now, besides its schedule. Nothing is queued while one is waiting already. */
  trigger(job: Job): Promise<void>;
  /** Lets running jobs finish, for at most 30 seconds, then stops. */
  stop(): Promise<void>;
}

/** Digests follow people's clocks, so they look often; a source decides itself whether it is polled yet. */
const SCHEDULES: Readonly<Record<Job, string>> = {
  digest: "*/5 * * * *",
  sync: "*/15 * * * *",
  embed: "7 * * * *",
};

const JOB_TIMEOUT_SECONDS = 3600;
const SHUTDOWN_TIME = 30_000;

/**
 * Runs digests, sync and embedding on schedule through pg-boss, in the library's own database. With a PostgreSQL
 * server any number of processes may run a scheduler: each job runs in one of them.
 */
export async function startScheduler(library: Library, options: SchedulerOptions): Promise<Scheduler> {
  const stopping = new AbortController();
  const boss = new PgBoss({
    db: { executeSql: (text, values) => library.database.execute(text, values ?? []) },
    schema: "jobs",
  });
  boss.on("error", (error) => options.onError?.(error));
  await boss.start();
  for (const job of JOBS) {
    // A "short" queue holds one waiting job, so ticks do not pile up behind a long one.
    await boss.createQueue(job, { name: job, policy: "short" });
    await boss.work(job, { pollingIntervalSeconds: options.pollSeconds ?? 10 }, async () => {
      try {
        const report = await runJob(job, library, options, stopping.signal);
        options.onFinished?.(job, report);
      } catch (error) {
        if (stopping.signal.aborted) return;
        options.onError?.(error as Error);
        throw error;
      }
    });
    await boss.schedule(job, SCHEDULES[job], {}, { expireInSeconds: JOB_TIMEOUT_SECONDS, retryLimit: 2 });
  }
  return {
    async trigger(job) {
      await boss.send(job, {}, { expireInSeconds: JOB_TIMEOUT_SECONDS, retryLimit: 2 });
    },
    async stop() {
      stopping.abort();
      await boss.stop({ graceful: true, wait: true, close: false, timeout: SHUTDOWN_TIME });
    },
  };
}

async function runJob(job: Job, library: Library, options: SchedulerOptions, signal: AbortSignal) {
  switch (job) {
    case "digest":
      return sendDigests(library, { mailer: options.mailer, site: options.site, signal });
    case "embed":
      return { embedded: await library.embeddings.embedPending({ signal }) };
    case "sync": {
      const reports = await syncSources(library.database, options.sources, { ...options.sync, signal });
      await library.embeddings.embedPending({ signal });
      return reports;
    }
  }
}
