import type { Claim, Mode } from "./claim.ts";
import type { Figure, HyperparameterValue } from "./figure.ts";

/** A number, or a small (nested) array of numbers such as a curve or the results of a grid. */
export type MetricValue = number | readonly MetricValue[];
export type Metrics = Readonly<Record<string, MetricValue>>;

/**
 * Candidate values by hyperparameter: a list, or a range that is sampled (log-uniformly unless `scale` says
 * `linear`).
 */
export type SearchSpace = Readonly<
  Record<
    string,
    | readonly HyperparameterValue[]
    | { readonly min: number; readonly max: number; readonly scale?: "log" | "linear" }
  >
>;

export interface ArmSpec {
  /** Name in figures and tables. */
  readonly label: string;
  /** In a shared task of several problems, the one that this arm is about; leaderboards rank within each. */
  readonly problem?: string;
  /** Hyperparameters that are not tuned. */
  readonly fixed?: Readonly<Record<string, HyperparameterValue>>;
  /** Hyperparameters tuned on the tuning seeds, with the same budget for every arm that has a space. */
  readonly space?: SearchSpace;
}

export interface Tuning<Metric extends string> {
  readonly metric: Metric;
  readonly goal: "minimize" | "maximize";
  /** Candidates tried for each arm: the whole grid where it is no larger, else a seeded draw from it. */
  readonly budget: Readonly<Record<Mode, number>>;
  /** Seeds each candidate is run on, apart from the test seeds. Default 1. */
  readonly seeds?: Readonly<Record<Mode, number>>;
}

/** A model that units share, as `checkpoint` of the toolkit makes one. */
export interface PretrainedModel {
  readonly name: string;
  id(): Promise<string>;
  /** Whether `load` need not train. */
  isStored(): Promise<boolean>;
  load(): Promise<unknown>;
}

/** What `run` yields while it works. */
export interface Progress {
  /** Units of work done and in all, e.g. epochs. */
  readonly step: number;
  readonly of: number;
  /** Points of the live curves at this step. */
  readonly metrics?: Readonly<Record<string, number>>;
}

type Widened<V> = V extends number ? number : V extends string ? string : V extends boolean ? boolean : never;

type SpaceValues<Space> = {
  readonly [K in keyof Space]: Space[K] extends readonly (infer V)[] ? Widened<V> : number;
};

type FixedValues<Fixed> = { readonly [K in keyof Fixed]: Widened<Fixed[K]> };

type HyperparametersOf<Spec> = (Spec extends { space: infer Space } ? SpaceValues<Space> : unknown) &
  (Spec extends { fixed: infer Fixed } ? FixedValues<Fixed> : unknown);

/** What one unit of work gets; narrowing on `arm` narrows `hyperparameters`. */
export type ArmContext<Arms, Settings> = {
  readonly [A in keyof Arms & string]: {
    readonly arm: A;
    /** The only source of randomness: the same seed must give the same numbers. */
    readonly seed: number;
    /** `tune` units report to the tuner (use validation data), `test` units to the claims. */
    readonly phase: "tune" | "test";
    readonly settings: Settings;
    readonly hyperparameters: HyperparametersOf<Arms[A]>;
    /** Aborted when the user cancels; the lab also stops a run at its next `yield`. */
    readonly signal: AbortSignal;
  };
}[keyof Arms & string];

/** What a `run` that stands apart from its experiment gets: the same, with hyperparameters that it must tell apart itself. */
export interface RunContext<Arm extends string, Settings, Hyperparameters = unknown> {
  readonly arm: Arm;
  readonly seed: number;
  readonly phase: "tune" | "test";
  readonly settings: Settings;
  readonly hyperparameters: Hyperparameters;
  readonly signal: AbortSignal;
}

export interface Experiment<Arms extends Readonly<Record<string, ArmSpec>>, Settings, M extends Metrics> {
  /** Settings of the reproduction that counts and of the quick look. */
  readonly settings: Readonly<Record<Mode, Settings>>;
  /** Number of test seeds. */
  readonly seeds: Readonly<Record<Mode, number>>;
  /** Models that runs load; the lab has each trained once before the first unit. */
  readonly checkpoints?: readonly PretrainedModel[];
  readonly arms: Arms;
  /**
   * Runs one arm with one seed: yields progress, returns the final metrics.
   *
   * @throws DivergedError when training blew up; returning a NaN or infinite scalar metric means the same.
   */
  readonly run: (context: ArmContext<Arms, Settings>) => AsyncGenerator<Progress, M, void>;
  /** Required when an arm has a search space. */
  readonly tuning?: Tuning<keyof NoInfer<M> & string>;
  readonly claims: readonly Claim<keyof Arms & string, NoInfer<M>>[];
  readonly figure?: Figure<keyof Arms & string, NoInfer<M>>;
  /** The metric that ranks the arms in a leaderboard. */
  readonly leaderboard?: {
    readonly metric: keyof NoInfer<M> & string;
    readonly goal: "minimize" | "maximize";
    /** Other metrics to show beside it. */
    readonly also?: readonly (keyof NoInfer<M> & string)[];
  };
}

/** An experiment whose type parameters are forgotten, as the lab and the registry handle it. */
// biome-ignore lint/suspicious/noExplicitAny: arms, settings and metrics are checked where they are defined
export type AnyExperiment = Experiment<any, any, any>;

/** Thrown by `run` when the numbers blew up: the unit is reported as diverged with its settings. */
export class DivergedError extends Error {
  override readonly name = "DivergedError";
}

/**
 * Defines a paper's experiment; types of arms, settings, hyperparameters and metrics are inferred.
 *
 * @throws TypeError when the definition contradicts itself (unknown arm in a claim, duplicate claim id,
 * search space without tuning, fewer than one seed).
 */
export function defineExperiment<
  const Arms extends Readonly<Record<string, ArmSpec>>,
  Settings,
  M extends Metrics,
>(experiment: Experiment<Arms, Settings, M>): Experiment<Arms, Settings, M> {
  const arms = Object.keys(experiment.arms);
  if (arms.length === 0) throw new TypeError("defineExperiment: no arms");
  for (const mode of ["full", "quick"] as const) {
    requireCount(`seeds.${mode}`, experiment.seeds[mode]);
    if (experiment.tuning) {
      requireCount(`tuning.budget.${mode}`, experiment.tuning.budget[mode]);
      requireCount(`tuning.seeds.${mode}`, experiment.tuning.seeds?.[mode] ?? 1);
    }
  }
  for (const [name, spec] of Object.entries(experiment.arms)) {
    if (spec.space && !experiment.tuning) {
      throw new TypeError(`defineExperiment: arm "${name}" has a search space but there is no tuning`);
    }
    for (const [key, candidates] of Object.entries(spec.space ?? {}))
      requireCandidates(name, key, candidates);
  }
  const ids = new Set<string>();
  for (const claim of experiment.claims) {
    if (ids.has(claim.id)) throw new TypeError(`defineExperiment: two claims have the id "${claim.id}"`);
    ids.add(claim.id);
    for (const arm of armsOf(claim as Claim<string, never>)) {
      if (!arms.includes(arm)) {
        throw new TypeError(
          `defineExperiment: claim "${claim.id}" names the arm "${arm}"; arms are ${arms.join(", ")}`,
        );
      }
    }
  }
  return experiment;
}

function armsOf(claim: Claim<string, never>): readonly string[] {
  if (claim.kind === "comparison") return [claim.better, claim.worse];
  if (claim.kind === "statistic") return claim.arms ?? [];
  return [claim.arm];
}

function requireCount(name: string, count: number): void {
  if (!Number.isInteger(count) || count < 1) {
    throw new TypeError(`defineExperiment: ${name} must be a whole number of at least 1, got ${count}`);
  }
}

function requireCandidates(arm: string, key: string, candidates: SearchSpace[string]): void {
  const where = `defineExperiment: search space of arm "${arm}", "${key}"`;
  if ("min" in candidates) {
    const { min, max, scale = "log" } = candidates;
    if (!(min <= max) || (scale === "log" && min <= 0)) {
      throw new TypeError(`${where}: needs min ≤ max${scale === "log" ? " and min > 0" : ""}`);
    }
  } else if (candidates.length === 0) {
    throw new TypeError(`${where}: no candidates`);
  }
}
