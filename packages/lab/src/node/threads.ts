import { setMaxListeners } from "node:events";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { MessageChannel } from "node:worker_threads";
import type { Progress } from "@prior-art/toolkit/experiment";
import { Piscina } from "piscina";
import type { Executor } from "../reproduce.ts";
import type { UnitResult } from "../units.ts";
import type { UnitTask } from "./worker.ts";

/** How long a cancelled unit may take to its next `yield` before its thread is ended. */
const grace = 2_000;

export interface ThreadPool {
  /** Runs units of the experiment that the module at `moduleUrl` exports as its default. */
  executor(moduleUrl: string): Executor;
  close(): Promise<void>;
}

/** Worker threads that stay warm between units. */
export function threadPool(workers: number): ThreadPool {
  const pool = new Piscina<UnitTask, UnitResult>({
    filename: workerPath(),
    minThreads: 0,
    maxThreads: workers,
    idleTimeout: 5_000,
    execArgv: [],
  });
  return {
    executor: (moduleUrl) => ({
      concurrency: workers,
      async run(unit, { signal, onProgress }) {
        signal.throwIfAborted();
        setMaxListeners(workers + 10, signal);
        const { port1, port2 } = new MessageChannel();
        const force = new AbortController();
        let timer: NodeJS.Timeout | undefined;
        const cancel = () => {
          port1.postMessage("stop");
          timer = setTimeout(() => force.abort(), grace);
        };
        port1.on("message", (progress: Progress) => onProgress?.(progress));
        signal.addEventListener("abort", cancel, { once: true });
        try {
          return await pool.run(
            { moduleUrl, unit, port: port2 },
            { transferList: [port2], signal: force.signal },
          );
        } catch (error) {
          signal.throwIfAborted();
          throw error;
        } finally {
          clearTimeout(timer);
          signal.removeEventListener("abort", cancel);
          port1.close();
        }
      },
    }),
    close: () => pool.destroy(),
  };
}

/** Threads cannot load TypeScript; run from the sources, as the tests do, they take the built worker. */
function workerPath(): string {
  const beside = fileURLToPath(new URL("./worker.js", import.meta.url));
  return existsSync(beside) ? beside : fileURLToPath(new URL("../../dist/node/worker.js", import.meta.url));
}
