import type { AnyExperiment } from "@prior-art/toolkit/experiment";
import type { Executor, UnitStore } from "./reproduce.ts";
import { runUnit } from "./runUnit.ts";
import type { UnitResult } from "./units.ts";

/** Runs units one after another in this thread, as a browser's worker does. */
export function inThread(experiment: AnyExperiment): Executor {
  return { concurrency: 1, run: (unit, hooks) => runUnit(experiment, unit, hooks) };
}

/** Keeps units for as long as the page or process lives. */
export function inMemory(): UnitStore {
  const results = new Map<string, UnitResult>();
  return {
    load: async (id) => results.get(id),
    save: async (id, result) => {
      results.set(id, result);
    },
  };
}
