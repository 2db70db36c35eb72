import type { Command } from "commander";
import { columns } from "../columns.ts";
import { openQueue } from "../engine.ts";
import { databaseOption } from "./search.ts";

export function register(program: Command): void {
  program
    .command("queue")
    .description("show the queue of units: waiting, running, parked with their errors, and the workers")
    .option("--json", "print one JSON document")
    .addOption(databaseOption())
    .action(show);
}

async function show({ databaseUrl, json }: { databaseUrl?: string; json?: boolean }): Promise<void> {
  const queue = await openQueue(databaseUrl);
  try {
    const status = await queue.status();
    if (json) {
      process.stdout.write(`${JSON.stringify(status, null, 1)}\n`);
      return;
    }
    const { queued, running, finished, parked, workers } = status;
    process.stdout.write(
      `${queued} waiting, ${running.length} running, ${finished} finished, ${parked.length} parked; ` +
        `${workers.length} workers with ${workers.reduce((sum, { slots }) => sum + slots, 0)} places\n`,
    );
    const doing = running.map(({ key, worker, progress }) => [
      key,
      worker,
      progress ? `${progress.step} of ${progress.of}` : "",
    ]);
    if (doing.length > 0) process.stdout.write(`\n${columns(["running", "worker", "step"], doing)}`);
    const failed = parked.map(({ key, message }) => [key, message]);
    if (failed.length > 0) process.stdout.write(`\n${columns(["parked", "error"], failed)}`);
  } finally {
    await queue.close();
  }
}
