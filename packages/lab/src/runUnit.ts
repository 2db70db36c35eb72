import type { AnyExperiment, Metrics, MetricValue, Progress } from "@prior-art/toolkit/experiment";
import { describeUnit, type Unit, type UnitResult } from "./units.ts";

export interface UnitHooks {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/** A unit's `run` threw something other than divergence: a defect of the experiment, not a result. */
export class UnitError extends Error {
  override readonly name = "UnitError";
  constructor(unit: Unit, cause: unknown) {
    super(`${describeUnit(unit)}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/**
 * Runs one unit in this thread; works in Node and in a browser's worker.
 *
 * @throws the signal's reason when cancelled, UnitError when the experiment fails.
 */
export async function runUnit(experiment: AnyExperiment, unit: Unit, hooks: UnitHooks): Promise<UnitResult> {
  const { signal, onProgress } = hooks;
  signal.throwIfAborted();
  const start = performance.now();
  const finish = (status: UnitResult["status"], metrics: Metrics, reason?: string): UnitResult => ({
    ...unit,
    status,
    metrics,
    seconds: (performance.now() - start) / 1000,
    ...(reason === undefined ? {} : { reason }),
  });
  try {
    const { arm, seed, phase, hyperparameters } = unit;
    const settings = experiment.settings[unit.mode];
    const steps = experiment.run({ arm, seed, phase, settings, hyperparameters, signal });
    for (;;) {
      const step = await steps.next();
      if (signal.aborted) {
        await steps.return(undefined as never);
        throw signal.reason;
      }
      if (step.done) {
        const metrics = plainMetrics(step.value as Record<string, unknown>);
        const bad = Object.entries(metrics).filter(
          ([, value]) => typeof value === "number" && !Number.isFinite(value),
        );
        if (bad.length === 0) return finish("finished", metrics);
        return finish("diverged", metrics, bad.map(([name, value]) => `${name} is ${value}`).join(", "));
      }
      onProgress?.(step.value);
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    // The name, not the class: a room may have been bundled with its own copy of the toolkit.
    if (error instanceof Error && error.name === "DivergedError")
      return finish("diverged", {}, error.message);
    throw new UnitError(unit, error);
  }
}

/** Typed arrays become arrays, so that metrics survive JSON; anything else that is not a number is refused. */
function plainMetrics(returned: Record<string, unknown>): Metrics {
  if (typeof returned !== "object" || returned === null) throw new TypeError("run returned no metrics");
  const plain = (value: unknown, path: string): MetricValue => {
    if (typeof value === "number") return value;
    if (Array.isArray(value)) return value.map((item, i) => plain(item, `${path}[${i}]`));
    if (ArrayBuffer.isView(value) && !(value instanceof DataView))
      return Array.from(value as unknown as Iterable<number>, Number);
    throw new TypeError(`metric ${path} is not a number or an array of numbers`);
  };
  return Object.fromEntries(Object.entries(returned).map(([name, value]) => [name, plain(value, name)]));
}
