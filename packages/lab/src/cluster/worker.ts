import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { findRoom, tasks } from "@prior-art/methods";
import { experimentModule, taskModule } from "@prior-art/methods/places";
import type { Progress } from "@prior-art/toolkit/experiment";
import { codeVersion } from "../node/environment.ts";
import { threadPool } from "../node/threads.ts";
import { describeUnit } from "../units.ts";
import type { ExperimentReference, TakenUnit, UnitQueue } from "./unitQueue.ts";

export interface WorkerOptions {
  readonly queue: UnitQueue;
  /** Units that run at the same time. */
  readonly slots: number;
  /** Ends the work: running units may finish for `grace` milliseconds, what is left then is given back. */
  readonly signal: AbortSignal;
  /** 30 seconds by default. */
  readonly grace?: number;
  /** Told what happens, one line each. */
  readonly log: (message: string) => void;
  /** Milliseconds between two looks into an empty queue, 500 by default. */
  readonly pollInterval?: number;
  /** The module of an experiment; the collection's by default. `undefined` when there is none. */
  readonly locate?: (experiment: ExperimentReference) => string | undefined;
}

/** The module of a paper's experiment or of a family's shared task, as worker threads import it. */
export function locateExperiment({ kind, name }: ExperimentReference): string | undefined {
  if (kind === "family") return Object.hasOwn(tasks, name) ? taskModule(name).href : undefined;
  const room = findRoom(name);
  return room?.loadExperiment ? experimentModule(room).href : undefined;
}

/** Takes units from the queue and runs them on worker threads, until the signal comes; resolves when all are dealt with. */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const {
    queue,
    slots,
    signal,
    log,
    pollInterval = 500,
    grace = 30_000,
    locate = locateExperiment,
  } = options;
  const id = `${hostname()}/${process.pid}/${randomUUID().slice(0, 8)}`;
  const pool = threadPool(slots);
  const running = new Map<string, Progress | undefined>();
  const force = new AbortController();
  const versions = new Map<string, Promise<string>>();

  const versionOf = (moduleUrl: string): Promise<string> => {
    const known = versions.get(moduleUrl) ?? codeVersion(moduleUrl);
    versions.set(moduleUrl, known);
    return known;
  };

  const run = async (taken: TakenUnit): Promise<void> => {
    const title = `${taken.experiment.name}, ${describeUnit(taken.unit)}`;
    const moduleUrl = locate(taken.experiment);
    const version = moduleUrl && (await versionOf(moduleUrl));
    if (!moduleUrl || version !== taken.codeVersion) {
      const reason = moduleUrl ? "other code for it" : "no such experiment";
      log(`${title}: this worker has ${reason}`);
      await queue.fail(taken, id, "mismatch", `${id} has ${reason}; install the submitter's version there`);
      return;
    }
    try {
      const result = await pool.executor(moduleUrl).run(taken.unit, {
        signal: force.signal,
        onProgress: (progress) => running.set(taken.key, progress),
      });
      await queue.finish(taken, id, result);
      log(`${title}: ${result.status}, ${result.seconds.toFixed(1)} s`);
    } catch (error) {
      if (force.signal.aborted) {
        await queue.giveBack(taken, id);
        log(`${title}: given back`);
        return;
      }
      const message = error instanceof Error ? error.message : String(error);
      log(`${title}: ${message}`);
      await queue.fail(taken, id, "error", message);
    }
  };

  const lane = async (): Promise<void> => {
    while (!signal.aborted) {
      const taken = await queue.take(id);
      if (!taken) {
        await pause(pollInterval, undefined, { signal }).catch(() => undefined);
        continue;
      }
      running.set(taken.key, undefined);
      try {
        await run(taken);
      } finally {
        running.delete(taken.key);
      }
    }
  };

  const beating = new AbortController();
  const beat = async (): Promise<void> => {
    while (!beating.signal.aborted) {
      await queue.beat(
        id,
        slots,
        [...running].map(([key, progress]) => ({ key, progress })),
      );
      await queue.releaseLost();
      await pause(queue.times.heartbeat, undefined, { signal: beating.signal }).catch(() => undefined);
    }
  };

  const onStop = () => {
    if (running.size > 0) log(`stopping: ${running.size} units may finish`);
    setTimeout(() => force.abort(new Error("stopped")), grace).unref();
  };
  signal.addEventListener("abort", onStop, { once: true });
  const heart = beat();
  try {
    await Promise.all(Array.from({ length: slots }, lane));
  } finally {
    beating.abort();
    await heart;
    await queue.leave(id);
    await pool.close();
  }
}
