import PgBoss from "pg-boss";
import type { Library } from "../library.ts";
import type { Job } from "../scheduler/scheduler.ts";

/** Queues recurring jobs for the next process that runs a scheduler on this library. */
export async function queueJobs(library: Library, jobs: readonly Job[]): Promise<void> {
  const boss = new PgBoss({
    db: { executeSql: (text, values) => library.database.execute(text, values ?? []) },
    schema: "jobs",
    schedule: false,
    supervise: false,
  });
  await boss.start();
  for (const job of jobs) {
    await boss.createQueue(job, { name: job, policy: "short" });
    await boss.send(job, {}, { expireInSeconds: 3600, retryLimit: 1000, retryDelay: 0 });
  }
  await boss.stop({ graceful: false, close: false });
}
