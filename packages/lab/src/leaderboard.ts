import type { AnyExperiment } from "@prior-art/toolkit/experiment";
import { bootstrapInterval, type Interval, mean } from "@prior-art/toolkit/stats";
import type { Results } from "./results.ts";

/** A metric over the seeds of one arm. */
export interface Score {
  /** Mean over the seeds that did not diverge; NaN when all did. */
  readonly mean: number;
  readonly interval: Interval;
}

export interface LeaderboardRow extends Score {
  readonly arm: string;
  readonly label: string;
  /** Of a task of several problems, the one that this row is about. */
  readonly problem?: string;
  /** The metrics shown beside the one that ranks, by name. */
  readonly also: Readonly<Record<string, Score>>;
  readonly seeds: number;
  readonly diverged: number;
}

/** The arms that were run on one problem, best first. */
export interface Board {
  /** Absent where the task is a single problem. */
  readonly problem?: string;
  readonly rows: readonly LeaderboardRow[];
}

/**
 * Ranks the arms by the experiment's leaderboard metric, best first, problem by problem; arms that diverged on every
 * seed come last.
 *
 * @throws TypeError when the experiment names no metric or an arm lacks it.
 */
export function leaderboard(experiment: AnyExperiment, results: Results): LeaderboardRow[] {
  const board = experiment.leaderboard;
  if (!board) throw new TypeError("the experiment has no leaderboard metric");
  const rows = results.arms.map(({ name, label, problem }): LeaderboardRow => {
    const units = results.units.filter((unit) => unit.arm === name);
    const finished = units.filter((unit) => unit.status === "finished");
    const scoreOf = (metric: string): Score => {
      const values = finished.map((unit) => {
        const value = unit.metrics[metric];
        if (typeof value !== "number") throw new TypeError(`arm "${name}" has no number "${metric}"`);
        return value;
      });
      return values.length
        ? { mean: mean(values), interval: bootstrapInterval(values) }
        : { mean: Number.NaN, interval: { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY } };
    };
    return {
      arm: name,
      label,
      ...(problem === undefined ? {} : { problem }),
      ...scoreOf(board.metric),
      also: Object.fromEntries((board.also ?? []).map((metric: string) => [metric, scoreOf(metric)])),
      seeds: finished.length,
      diverged: units.length - finished.length,
    };
  });
  const sign = board.goal === "minimize" ? 1 : -1;
  const rank = (row: LeaderboardRow) => (Number.isNaN(row.mean) ? Number.POSITIVE_INFINITY : sign * row.mean);
  const problems = [...new Set(rows.map(({ problem }) => problem))];
  return problems.flatMap((problem) =>
    rows
      .filter((row) => row.problem === problem)
      .sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b))),
  );
}

/** A leaderboard's rows, problem by problem. */
export function byProblem(rows: readonly LeaderboardRow[]): Board[] {
  const problems = [...new Set(rows.map(({ problem }) => problem))];
  return problems.map((problem) => ({
    ...(problem === undefined ? {} : { problem }),
    rows: rows.filter((row) => row.problem === problem),
  }));
}
