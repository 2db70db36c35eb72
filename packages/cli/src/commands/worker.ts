import { availableParallelism } from "node:os";
import { runWorker } from "@prior-art/lab/cluster";
import type { Command } from "commander";
import { dataOption, requireWritable } from "../dataFolder.ts";
import { openQueue } from "../engine.ts";
import { notice } from "../notice.ts";
import { wholeNumber } from "../usage.ts";
import { databaseOption } from "./search.ts";

export function register(program: Command): void {
  program
    .command("worker")
    .description("run units that reproductions on any machine have queued")
    .option("--workers <n>", "units that run at the same time", wholeNumber(1), availableParallelism())
    .addOption(databaseOption())
    .addOption(dataOption())
    .addHelpText(
      "after",
      "\nCtrl-C lets running units finish for 30 seconds and gives the rest back; a second one stops at once.",
    )
    .action(worker);
}

async function worker(options: { workers: number; databaseUrl?: string; data: string }): Promise<void> {
  await requireWritable(options.data);
  const stop = new AbortController();
  const end = new AbortController();
  const onSignal = () => (stop.signal.aborted ? process.exit(1) : stop.abort());
  const queue = await openQueue(options.databaseUrl, end.signal);
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  notice(`at the queue with ${options.workers} units at a time (stop with Ctrl-C)`);
  try {
    await runWorker({ queue, slots: options.workers, signal: stop.signal, log: notice });
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    end.abort();
    await queue.close();
  }
}
