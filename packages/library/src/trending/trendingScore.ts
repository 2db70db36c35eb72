/** The time over which popularity is looked at. */
export type TrendingWindow = "day" | "week" | "month";

const DAY = 86_400_000;

/** Time in which a vote, a run or newness loses half its weight: half the window, in milliseconds. */
export const HALF_LIFE: Readonly<Record<TrendingWindow, number>> = {
  day: 0.5 * DAY,
  week: 3.5 * DAY,
  month: 15 * DAY,
};

/** After this many half-lives an event counts less than a thousandth and is left out. */
export const FORGOTTEN_AFTER = 10;

/** A vote is a judgement, a run is work spent, and newness only breaks the silence of a fresh collection. */
export const EVENT_WEIGHTS = { vote: 1, run: 0.5, newness: 0.25 };

/** What happened to one paper. */
export interface PaperEvents {
  readonly votes: readonly Date[];
  readonly runs: readonly Date[];
  /** When the paper was added to the library. */
  readonly since: Date;
}

/**
 * How much a paper is talked about:
 * `Σ over votes of 2^(−age/h) + ½ · Σ over runs of 2^(−age/h) + ¼ · 2^(−time since it was added/h)`.
 *
 * The score depends only on the events and the time, not on the order in which they were recorded, so replaying a log
 * gives the same list. Events after `now` do not count.
 */
export function trendingScore(events: PaperEvents, now: Date, window: TrendingWindow): number {
  return (
    EVENT_WEIGHTS.vote * decayedSum(events.votes, now, window) +
    EVENT_WEIGHTS.run * decayedSum(events.runs, now, window) +
    EVENT_WEIGHTS.newness * decayedSum([events.since], now, window)
  );
}

function decayedSum(times: readonly Date[], now: Date, window: TrendingWindow): number {
  const halfLife = HALF_LIFE[window];
  return (
    times
      .map((time) => (now.getTime() - time.getTime()) / halfLife)
      .filter((age) => age >= 0 && age <= FORGOTTEN_AFTER)
      // Floating-point sums depend on their order; a fixed one makes replays agree to the last bit.
      .sort((left, right) => left - right)
      .reduce((sum, age) => sum + 2 ** -age, 0)
  );
}
