import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import type { AnyExperiment, Progress } from "@prior-art/toolkit/experiment";
import { runUnit } from "../runUnit.ts";
import type { Unit, UnitResult } from "../units.ts";

export interface UnitTask {
  readonly moduleUrl: string;
  readonly unit: Unit;
  /** Progress goes out, the word to stop comes in. */
  readonly port: MessagePort;
}

const progressPeriod = 100;

/** Runs one unit in a worker thread; piscina calls it. */
export default async function work({ moduleUrl, unit, port }: UnitTask): Promise<UnitResult> {
  const experiment = ((await import(moduleUrl)) as { default: AnyExperiment }).default;
  const stop = new AbortController();
  let lastReport = 0;
  const report = (progress: Progress) => {
    // A run that never waits for anything would not see a message event; ask at every step.
    if (receiveMessageOnPort(port)) stop.abort(new Error("cancelled"));
    const now = performance.now();
    if (now - lastReport < progressPeriod && progress.step < progress.of) return;
    lastReport = now;
    port.postMessage(progress);
  };
  try {
    return await runUnit(experiment, unit, { signal: stop.signal, onProgress: report });
  } finally {
    port.close();
  }
}
