import type { Executor } from "@prior-art/lab";
import type { ExperimentReference, UnitQueue } from "@prior-art/lab/cluster";
import { threadPool } from "@prior-art/lab/node";
import { type Command, Option } from "commander";
import { databaseOption } from "./commands/search.ts";
import { notice } from "./notice.ts";
import { UsageError } from "./usage.ts";

/** How the command line says where units run. */
export interface EngineOptions {
  readonly engine: "local" | "postgres";
  readonly workers: number;
  readonly databaseUrl?: string;
}

/** An experiment as both kinds of engine find it. */
export interface Runnable {
  readonly moduleUrl: string;
  /** Absent for somebody's own file, which other machines don't have. */
  readonly reference?: ExperimentReference;
}

/** Where units run: worker threads here, or workers at a queue. */
export interface Engine {
  /** Experiments that are best reproduced at the same time, so that no worker waits for the end of another's. */
  readonly atOnce: number;
  executor(runnable: Runnable): (codeVersion: string) => Executor;
  /** What a person who stops the command should know. */
  readonly onStop: string;
  close(): Promise<void>;
}

export function engineOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--engine <engine>", "where units run: on this machine's threads, or on workers of a queue")
        .choices(["local", "postgres"])
        .default("local"),
    )
    .addOption(databaseOption());
}

/** Ctrl-C and SIGTERM abort the signal with this reason, until `release`. */
export function stopSignal(reason: string): { readonly signal: AbortSignal; release(): void } {
  const cancel = new AbortController();
  const stop = () => cancel.abort(new Error(reason));
  process.once("SIGINT", stop).once("SIGTERM", stop);
  return { signal: cancel.signal, release: () => process.off("SIGINT", stop).off("SIGTERM", stop) };
}

/** @throws UsageError when the queue's address is missing or cannot be reached. */
export async function openEngine({ engine, workers, databaseUrl }: EngineOptions): Promise<Engine> {
  const resumes = "stopped; the same command goes on from here";
  if (engine === "local") {
    const pool = threadPool(workers);
    return {
      atOnce: 1,
      executor:
        ({ moduleUrl }) =>
        () =>
          pool.executor(moduleUrl),
      onStop: resumes,
      close: () => pool.close(),
    };
  }
  const queue = await openQueue(databaseUrl);
  const { clusterExecutor } = await import("@prior-art/lab/cluster");
  return {
    atOnce: 8,
    executor({ reference }) {
      if (!reference)
        throw new UsageError("own files run with --engine local only: other machines don't have them");
      return (codeVersion) => clusterExecutor({ queue, experiment: reference, codeVersion, onIdle: notice });
    },
    onStop: `${resumes}, and workers go on with what is queued`,
    close: () => queue.close(),
  };
}

/** @throws UsageError without an address, or when there is no server. */
export async function openQueue(databaseUrl: string | undefined, signal?: AbortSignal): Promise<UnitQueue> {
  if (!databaseUrl)
    throw new UsageError(
      "the queue lies in a PostgreSQL server: give --database-url URL or set DATABASE_URL",
    );
  // Loaded when asked for: most runs need no database.
  const { UnitQueue } = await import("@prior-art/lab/cluster");
  return UnitQueue.open({ databaseUrl, onTrouble: notice, ...(signal && { signal }) }).catch(
    (error: Error) => {
      if (error.name === "ServerUnreachableError") throw new UsageError(error.message);
      throw error;
    },
  );
}
