import type { AnyExperiment, Mode, SearchSpace } from "@prior-art/toolkit/experiment";
import { mean, type RandomStream, randomStream } from "@prior-art/toolkit/stats";
import { firstTuningSeed, type Hyperparameters, type Unit, type UnitResult, unitId } from "./units.ts";

/** A tried choice of hyperparameters, kept in the results so that nobody has to trust the tuning. */
export interface Candidate {
  readonly arm: string;
  readonly hyperparameters: Hyperparameters;
  readonly seeds: readonly number[];
  /** Mean of the tuning metric over the seeds; `null` when a seed diverged. */
  readonly score: number | null;
  readonly chosen: boolean;
}

/** Tuning units of every arm with a search space: the same number of candidates and the same seeds for each. */
export function tuningUnits(experiment: AnyExperiment, mode: Mode): Unit[] {
  const { tuning } = experiment;
  if (!tuning) return [];
  const seeds = Array.from({ length: tuning.seeds?.[mode] ?? 1 }, (_, i) => firstTuningSeed + i);
  return tunedArms(experiment).flatMap((arm) =>
    candidates(experiment.arms[arm]!.space!, tuning.budget[mode], arm).flatMap((candidate) =>
      seeds.map((seed) => ({
        mode,
        phase: "tune" as const,
        arm,
        seed,
        hyperparameters: { ...experiment.arms[arm]!.fixed, ...candidate },
      })),
    ),
  );
}

export function tunedArms(experiment: AnyExperiment): string[] {
  return Object.keys(experiment.arms).filter((arm) => experiment.arms[arm]!.space);
}

/**
 * The hyperparameters that each tuned arm goes into the test with, and every candidate's score.
 *
 * A candidate that diverged on any tuning seed is not eligible, unless all of an arm's candidates did: then the
 * first goes on and the arm's divergence shows in the test.
 */
export function chooseHyperparameters(
  experiment: AnyExperiment,
  results: readonly UnitResult[],
): { readonly chosen: Readonly<Record<string, Hyperparameters>>; readonly tried: Candidate[] } {
  const chosen: Record<string, Hyperparameters> = {};
  const tried: Candidate[] = [];
  for (const arm of tunedArms(experiment)) {
    const groups = new Map<string, UnitResult[]>();
    for (const result of results.filter((unit) => unit.arm === arm)) {
      const key = unitId({ ...result, seed: 0 });
      groups.set(key, [...(groups.get(key) ?? []), result]);
    }
    const scored = [...groups.values()].map((group) => ({
      hyperparameters: group[0]!.hyperparameters,
      seeds: group.map((unit) => unit.seed),
      score: scoreOf(experiment, group),
    }));
    const sign = experiment.tuning!.goal === "minimize" ? 1 : -1;
    let best = scored[0]!;
    for (const candidate of scored) {
      if (candidate.score !== null && (best.score === null || sign * candidate.score < sign * best.score)) {
        best = candidate;
      }
    }
    chosen[arm] = best.hyperparameters;
    tried.push(...scored.map((candidate) => ({ arm, ...candidate, chosen: candidate === best })));
  }
  return { chosen, tried };
}

function scoreOf(experiment: AnyExperiment, group: readonly UnitResult[]): number | null {
  if (group.some((unit) => unit.status === "diverged")) return null;
  const metric = experiment.tuning!.metric;
  const scores = group.map((unit) => {
    const score = unit.metrics[metric];
    if (typeof score === "number") return score;
    throw new TypeError(`tuning metric "${metric}" of arm "${unit.arm}" is not a number`);
  });
  return mean(scores);
}

/** The whole grid where it is no larger than the budget, else a seeded draw without repeats; ranges are sampled. */
function candidates(space: SearchSpace, budget: number, arm: string): Hyperparameters[] {
  const random = randomStream(firstTuningSeed, `candidates of ${arm}`);
  const axes = Object.entries(space);
  const lists = axes.filter(([, axis]) => !("min" in axis)) as [
    string,
    readonly (string | number | boolean)[],
  ][];
  const gridSize = lists.reduce((size, [, values]) => size * values.length, 1);
  const hasRange = lists.length < axes.length;
  const cells = hasRange
    ? Array.from({ length: budget }, () => random.integer(gridSize))
    : [...random.permutation(gridSize).slice(0, budget)].sort((a, b) => a - b);
  return cells.map((cell) => {
    let rest = cell;
    const choice: Record<string, string | number | boolean> = {};
    for (const [name, axis] of axes) {
      if ("min" in axis) {
        choice[name] = sampleRange(axis, random);
      } else {
        choice[name] = axis[rest % axis.length]!;
        rest = Math.floor(rest / axis.length);
      }
    }
    return choice;
  });
}

function sampleRange(
  {
    min,
    max,
    scale = "log",
  }: { readonly min: number; readonly max: number; readonly scale?: "log" | "linear" },
  random: RandomStream,
): number {
  const u = random.uniform();
  return scale === "log" ? min * (max / min) ** u : min + (max - min) * u;
}
