import type { AnyExperiment, Mode, Progress } from "@prior-art/toolkit/experiment";
import { evaluateClaims } from "./claims/evaluate.ts";
import { overallVerdict } from "./claims/verdict.ts";
import type { Environment, Results } from "./results.ts";
import type { UnitHooks } from "./runUnit.ts";
import { chooseHyperparameters, tuningUnits } from "./tuning.ts";
import { type Hyperparameters, testSeeds, testUnit, type Unit, type UnitResult, unitId } from "./units.ts";

/** Runs units: in this thread, on worker threads, in a browser's worker or on other machines. */
export interface Executor {
  /** Units that may run at the same time. */
  readonly concurrency: number;
  run(unit: Unit, hooks: UnitHooks): Promise<UnitResult>;
}

/** Keeps finished units, so that a run that was stopped goes on where it was. */
export interface UnitStore {
  load(id: string): Promise<UnitResult | undefined>;
  /** Resolves when the result will survive the end of the process. */
  save(id: string, result: UnitResult): Promise<void>;
}

export type LabEvent =
  | { readonly type: "planned"; readonly units: number }
  /** A model that units share is being trained; comes once each, and only for models that are not stored yet. */
  | { readonly type: "pretraining"; readonly name: string }
  | { readonly type: "progress"; readonly unit: Unit; readonly progress: Progress }
  | {
      readonly type: "unit";
      readonly result: UnitResult;
      /** Found in the store instead of run. */
      readonly stored: boolean;
      readonly done: number;
      readonly of: number;
    };

export interface ReproduceOptions {
  readonly slug: string;
  readonly experiment: AnyExperiment;
  readonly mode: Mode;
  /** Number of test seeds instead of the experiment's own. */
  readonly seeds?: number;
  readonly executor: Executor;
  readonly store: UnitStore;
  readonly environment: Environment;
  readonly codeVersion: string;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: LabEvent) => void;
}

/**
 * Tunes, tests and judges an experiment.
 *
 * The results do not depend on the order or the place in which units ran. At the first failure no new unit is
 * started, running ones are stopped, and finished ones stay stored.
 *
 * @throws UnitError when a unit fails, the signal's reason when cancelled.
 */
export async function reproduce(options: ReproduceOptions): Promise<Results> {
  const { slug, experiment, mode } = options;
  const arms = Object.keys(experiment.arms);
  const seeds = testSeeds(experiment, mode, options.seeds);
  const tuning = tuningUnits(experiment, mode);
  const total = tuning.length + arms.length * seeds.length;
  options.onEvent?.({ type: "planned", units: total });
  for (const model of experiment.checkpoints ?? []) {
    options.signal?.throwIfAborted();
    if (await model.isStored()) continue;
    options.onEvent?.({ type: "pretraining", name: model.name });
    // Once here instead of once in every worker.
    await model.load();
  }
  let done = 0;
  const count = (result: UnitResult, stored: boolean) =>
    options.onEvent?.({ type: "unit", result, stored, done: ++done, of: total });

  const tuned = await runAll(tuning, options, count);
  const { chosen, tried } = chooseHyperparameters(experiment, tuned);
  const hyperparametersOf = (arm: string): Hyperparameters => chosen[arm] ?? {};
  const units = await runAll(
    seeds.flatMap((seed) => arms.map((arm) => testUnit(experiment, mode, arm, seed, hyperparametersOf(arm)))),
    options,
    count,
  );
  const claims = evaluateClaims(experiment, mode, units);
  return {
    format: 1,
    slug,
    mode,
    finishedAt: new Date().toISOString(),
    environment: options.environment,
    codeVersion: options.codeVersion,
    settings: experiment.settings[mode],
    seeds,
    arms: arms.map((name) => {
      const { label, problem, fixed } = experiment.arms[name]!;
      const hyperparameters = { ...fixed, ...hyperparametersOf(name) };
      return { name, label, ...(problem === undefined ? {} : { problem }), hyperparameters };
    }),
    tuning: tried as Results["tuning"],
    units: units as Results["units"],
    claims: claims as Results["claims"],
    verdict: overallVerdict(claims),
    seconds: [...tuned, ...units].reduce((sum, unit) => sum + unit.seconds, 0),
  };
}

/** Runs the units that are not stored yet, at most `concurrency` at a time; results in the order of the units. */
async function runAll(
  units: readonly Unit[],
  { executor, store, signal, onEvent }: ReproduceOptions,
  onDone: (result: UnitResult, stored: boolean) => void,
): Promise<UnitResult[]> {
  const results = new Array<UnitResult>(units.length);
  const stop = new AbortController();
  const unitSignal = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < units.length) {
      unitSignal.throwIfAborted();
      const index = next++;
      const unit = units[index]!;
      const id = unitId(unit);
      const stored = await store.load(id);
      const result =
        stored ??
        (await executor.run(unit, {
          signal: unitSignal,
          onProgress: (progress) => onEvent?.({ type: "progress", unit, progress }),
        }));
      if (!stored) await store.save(id, result);
      results[index] = result;
      onDone(result, stored !== undefined);
    }
  };
  const lanes = Array.from({ length: Math.min(executor.concurrency, units.length) }, async () => {
    try {
      await work();
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  });
  const settled = await Promise.allSettled(lanes);
  signal?.throwIfAborted();
  if (stop.signal.aborted) throw stop.signal.reason;
  return settled.length ? results : [];
}
