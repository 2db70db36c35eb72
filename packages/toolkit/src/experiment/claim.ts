/** A closed or half-open region of the real line; a missing end is unbounded. */
export interface Region {
  readonly min?: number;
  readonly max?: number;
}

interface ClaimBase {
  /** Short and unique within the experiment, like `nll` or `slope-balanced`. */
  readonly id: string;
  /** Id of the claim in `paper.json` that this one tests; the default is `id` itself. */
  readonly of?: string;
  /** The claim as one sentence with its pass criterion, as a reader of the report sees it. */
  readonly statement: string;
  /** Checked only in these modes (default both), for claims that the quick settings cannot speak to. */
  readonly modes?: readonly Mode[];
}

/** `full` is the reproduction that counts; `quick` shows in seconds to minutes that everything runs. */
export type Mode = "full" | "quick";

/**
 * Arm `better` beats arm `worse` on a scalar metric, seed by seed.
 *
 * The effect is the mean paired difference, oriented so that positive means "as claimed".
 * Reproduced: the bootstrap 95% interval lies above `margin` and the exact one-sided sign-flip p-value is at
 * most `alpha`.
 */
export interface ComparisonClaim<Arm extends string, Metric extends string> extends ClaimBase {
  readonly kind: "comparison";
  readonly metric: Metric;
  readonly better: Arm;
  readonly worse: Arm;
  /** Which way is better for this metric. */
  readonly goal: "minimize" | "maximize";
  /** Smallest difference that counts, in the metric's units (default 0; negative for "not worse by more than"). */
  readonly margin?: number;
  /** Differences as a fraction of the `worse` arm's value on the same seed instead of in metric units. */
  readonly relative?: boolean;
  /** Significance level, default 0.05. */
  readonly alpha?: number;
}

/**
 * `y` grows like `x` to a power within `slope`: the log–log least-squares slope, one curve a seed.
 *
 * Reproduced: the interval over seeds lies inside the region. Both arrays must be positive.
 */
export interface ScalingClaim<Arm extends string, Metric extends string> extends ClaimBase {
  readonly kind: "scaling";
  readonly arm: Arm;
  /** Name of an array metric, or the abscissae themselves. */
  readonly x: Metric | readonly number[];
  /** Name of an array metric as long as `x`. */
  readonly y: Metric;
  readonly slope: Region;
  /** `curves`: mean of the seeds' slopes (default). `mean`: slope of the seeds' mean curve. */
  readonly pool?: "curves" | "mean";
}

/** A metric equals a known value on every seed, up to an absolute tolerance. */
export interface DeterministicClaim<Arm extends string, Metric extends string> extends ClaimBase {
  readonly kind: "deterministic";
  readonly arm: Arm;
  readonly metric: Metric;
  /** One number for every entry, or an array of the metric's own shape (flattened when nested). */
  readonly expected: number | readonly number[];
  readonly tolerance: number;
}

/**
 * Any number computed from the metrics, with the region in which the claim holds.
 *
 * With `perSeed`, each seed gives a number; by default the bootstrap interval of their mean must lie inside
 * `pass`, and with `seedsHolding` at least that fraction of the seeds must lie inside it one by one.
 * With `acrossSeeds`, the statistic sees all seeds at once and its interval comes from resampling them.
 */
export type StatisticClaim<Arm extends string, M> = ClaimBase & {
  readonly kind: "statistic";
  /** Arms the statistic reads (default all); a seed in which one of them diverged is left out and said so. */
  readonly arms?: readonly Arm[];
  readonly pass: Region;
  /** What the number is, for tables and axes: "test accuracy at step 1000". */
  readonly quantity?: string;
} & (
    | {
        readonly perSeed: (metrics: Readonly<Record<Arm, M>>) => number;
        readonly seedsHolding?: number;
      }
    | { readonly acrossSeeds: (seeds: readonly Readonly<Record<Arm, M>>[]) => number }
  );

export type Claim<Arm extends string, M> =
  | ComparisonClaim<Arm, keyof M & string>
  | ScalingClaim<Arm, keyof M & string>
  | DeterministicClaim<Arm, keyof M & string>
  | StatisticClaim<Arm, M>;
