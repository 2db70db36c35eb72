import { setMaxListeners } from "node:events";
import type { Executor } from "../reproduce.ts";
import { UnitError, type UnitHooks } from "../runUnit.ts";
import type { Unit, UnitResult } from "../units.ts";
import { type ExperimentReference, type UnitOrder, type UnitQueue, unitKey } from "./unitQueue.ts";

export interface ClusterExecutorOptions {
  readonly queue: UnitQueue;
  readonly experiment: ExperimentReference;
  readonly codeVersion: string;
  /** Told, once each time, that nobody works on the queue. */
  readonly onIdle?: (message: string) => void;
  /** Milliseconds between two looks at the queue, 500 by default. */
  readonly pollInterval?: number;
}

interface Waiting {
  readonly order: UnitOrder;
  readonly place: number;
  readonly hooks: UnitHooks;
  resolve(result: UnitResult): void;
  reject(error: unknown): void;
  queued: boolean;
}

/** Looks at the queue without any living worker before somebody is told. */
const PATIENCE = 6;

/**
 * Runs units by queueing them for workers on any machine and waiting for their results. All units that it is given are
 * queued at once; when their run is cancelled they stay in the queue, and the next run finds what was finished meanwhile.
 */
export function clusterExecutor({
  queue,
  experiment,
  codeVersion,
  onIdle,
  pollInterval = 500,
}: ClusterExecutorOptions): Executor {
  const waiting = new Map<string, Waiting>();
  let place = 0;
  let polling = false;
  let looksAlone = 0;

  const settle = (key: string, how: (entry: Waiting) => void) => {
    const entry = waiting.get(key);
    if (!entry) return;
    waiting.delete(key);
    how(entry);
  };

  const look = async (): Promise<void> => {
    const fresh = [...waiting.values()].filter(({ queued }) => !queued);
    if (fresh.length > 0) {
      await queue.enqueue(fresh);
      for (const entry of fresh) entry.queued = true;
    }
    await queue.releaseLost();
    for (const outcome of await queue.outcomes([...waiting.keys()])) {
      if (outcome.state === "finished") settle(outcome.key, ({ resolve }) => resolve(outcome.result));
      else if (outcome.state === "parked")
        settle(outcome.key, ({ order, reject }) => reject(new UnitError(order.unit, outcome.message)));
      else if (outcome.progress) waiting.get(outcome.key)?.hooks.onProgress?.(outcome.progress);
    }
    looksAlone = (await queue.livingWorkers()) > 0 ? 0 : looksAlone + 1;
    if (looksAlone === PATIENCE && waiting.size > 0)
      onIdle?.("no worker is at the queue; start some with prior-art worker --database-url …");
  };

  const poll = async (): Promise<void> => {
    while (waiting.size > 0) {
      try {
        await look();
      } catch (error) {
        for (const key of [...waiting.keys()]) settle(key, ({ reject }) => reject(error));
      }
      if (waiting.size > 0) await new Promise((resolve) => setTimeout(resolve, pollInterval));
    }
    polling = false;
  };

  return {
    concurrency: Number.POSITIVE_INFINITY,
    run(unit: Unit, hooks: UnitHooks): Promise<UnitResult> {
      const order = { experiment, codeVersion, unit };
      const key = unitKey(order);
      return new Promise((resolve, reject) => {
        if (hooks.signal.aborted) {
          reject(hooks.signal.reason);
          return;
        }
        // Every waiting unit listens.
        setMaxListeners(0, hooks.signal);
        const cancel = () => settle(key, ({ reject: refuse }) => refuse(hooks.signal.reason));
        hooks.signal.addEventListener("abort", cancel, { once: true });
        const done = () => hooks.signal.removeEventListener("abort", cancel);
        waiting.set(key, {
          order,
          place: place++,
          hooks,
          queued: false,
          resolve: (result) => {
            done();
            resolve(result);
          },
          reject: (error) => {
            done();
            reject(error);
          },
        });
        // After this turn, so that units given together are queued together.
        if (!polling) {
          polling = true;
          setTimeout(poll, 0);
        }
      });
    },
  };
}
