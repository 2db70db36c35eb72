import type { AnyExperiment } from "@prior-art/toolkit/experiment";
import { bootstrapInterval, type Interval, mean } from "@prior-art/toolkit/stats";
import type { Results } from "./results.ts";

export interface LeaderboardRow {
  readonly arm: string;
  readonly label: string;
  /** Mean of the metric over the seeds that did not diverge; NaN when all did. */
  readonly mean: number;
  readonly interval: Interval;
  readonly seeds: number;
  readonly diverged: number;
}

/**
 * Ranks the arms by the experiment's leaderboard metric, best first; arms that diverged on every seed come last.
 *
 * @throws TypeError when the experiment names no metric or an arm lacks it.
 */
export function leaderboard(experiment: AnyExperiment, results: Results): LeaderboardRow[] {
  const board = experiment.leaderboard;
  if (!board) throw new TypeError("the experiment has no leaderboard metric");
  const rows = results.arms.map(({ name, label }): LeaderboardRow => {
    const units = results.units.filter((unit) => unit.arm === name);
    const finished = units.filter((unit) => unit.status === "finished");
    const values = finished.map((unit) => {
      const value = unit.metrics[board.metric];
      if (typeof value !== "number") throw new TypeError(`arm "${name}" has no number "${board.metric}"`);
      return value;
    });
    const [center, interval] = values.length
      ? [mean(values), bootstrapInterval(values)]
      : [Number.NaN, { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY }];
    return {
      arm: name,
      label,
      mean: center,
      interval,
      seeds: values.length,
      diverged: units.length - values.length,
    };
  });
  const sign = board.goal === "minimize" ? 1 : -1;
  const rank = (row: LeaderboardRow) => (Number.isNaN(row.mean) ? Number.POSITIVE_INFINITY : sign * row.mean);
  return rows.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)));
}
