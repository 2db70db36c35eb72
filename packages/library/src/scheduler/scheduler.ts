import PgBoss from "pg-boss";
import type { Mailer } from "../digest/mailer.ts";
import { type DigestReport, sendDigests } from "../digest/sendDigests.ts";
import type { Library } from "../library.ts";
import type { Source } from "../sync/sources.ts";
import { type SourceReport, type SyncOptions, syncSources } from "../sync/syncSources.ts";

/** The recurring work of a running library. */
export const JOBS = ["digest", "sync", "embed"] as const;
export type Job = (typeof JOBS)[number];

/** What a job that ended has done. */
export type JobOutcome =
  | { readonly job: "digest"; readonly report: DigestReport }
  | { readonly job: "sync"; readonly report: readonly SourceReport[] }
  | { readonly job: "embed"; readonly report: { readonly embedded: number } };

export interface SchedulerOptions {
  readonly mailer: Mailer;
  /** Address of the site without a slash at the end. */
  readonly site: string;
  readonly sources: readonly Source[];
  readonly sync?: SyncOptions;
  /** Told what a finished job did. */
  readonly onFinished?: (outcome: JobOutcome) => void;
  /** Told of failures; the job is tried again. Without a job, of the queue's own. */
  readonly onError?: (error: Error, job?: Job) => void;
  /** Seconds between two looks into the queue. */
  readonly pollSeconds?: number;
}

/** A running scheduler. */
export interface Scheduler {
  /** Queues a job now, besides its schedule. Nothing is queued while one is waiting already. */
  trigger(job: Job): Promise<void>;
  /** Jobs that wait, by name. */
  waiting(): Promise<Record<Job, number>>;
  /**
   * Asks running jobs to stop at their next safe point and waits for them, for at most 30 seconds. A job that did not
   * finish goes back to the queue, for the next start.
   */
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
  await library.database.setUp(() => startJobs(boss, library, options, stopping.signal));
  return {
    async trigger(job) {
      await boss.send(job, {}, { expireInSeconds: JOB_TIMEOUT_SECONDS, retryLimit: 2 });
    },
    async waiting() {
      const counts = await Promise.all(JOBS.map(async (job) => [job, await boss.getQueueSize(job)] as const));
      return Object.fromEntries(counts) as Record<Job, number>;
    },
    async stop() {
      stopping.abort();
      await boss.stop({ graceful: true, wait: true, close: false, timeout: SHUTDOWN_TIME });
    },
  };
}

async function startJobs(
  boss: PgBoss,
  library: Library,
  options: SchedulerOptions,
  signal: AbortSignal,
): Promise<void> {
  await boss.start();
  for (const job of JOBS) {
    // A "short" queue holds one waiting job, so ticks do not pile up behind a long one.
    await boss.createQueue(job, { name: job, policy: "short" });
    await boss.work(job, { pollingIntervalSeconds: options.pollSeconds ?? 10 }, async () => {
      try {
        options.onFinished?.(await runJob(job, library, options, signal));
      } catch (error) {
        if (!signal.aborted) options.onError?.(error as Error, job);
        throw error;
      }
    });
    await boss.schedule(job, SCHEDULES[job], {}, { expireInSeconds: JOB_TIMEOUT_SECONDS, retryLimit: 2 });
  }
}

async function runJob(
  job: Job,
  library: Library,
  options: SchedulerOptions,
  signal: AbortSignal,
): Promise<JobOutcome> {
  switch (job) {
    case "digest": {
      const report = await sendDigests(library, { mailer: options.mailer, site: options.site, signal });
      signal.throwIfAborted();
      return { job, report };
    }
    case "embed": {
      const embedded = await library.embeddings.embedPending({ signal });
      signal.throwIfAborted();
      return { job, report: { embedded } };
    }
    case "sync": {
      const report = await syncSources(library.database, options.sources, { ...options.sync, signal });
      await library.embeddings.embedPending({ signal });
      signal.throwIfAborted();
      return { job, report };
    }
  }
}
