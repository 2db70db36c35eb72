import type { AnyExperiment, HyperparameterValue, Metrics, Mode } from "@prior-art/toolkit/experiment";

export type Hyperparameters = Readonly<Record<string, HyperparameterValue>>;

/** The smallest piece of work: one arm, one seed, one choice of hyperparameters. */
export interface Unit {
  readonly mode: Mode;
  readonly phase: "tune" | "test";
  readonly arm: string;
  readonly seed: number;
  readonly hyperparameters: Hyperparameters;
}

/** What became of a unit. A diverged one keeps whatever metrics it returned, and says why it counts as diverged. */
export interface UnitResult extends Unit {
  readonly status: "finished" | "diverged";
  readonly reason?: string;
  readonly metrics: Metrics;
  readonly seconds: number;
}

/** Tuning seeds start here, so that no test seed was ever tuned on. */
export const firstTuningSeed = 1_000_000;

/** A name that is the same for the same work and may be a file's: `test-adamw-3-1f0a9c2b`. */
export function unitId(unit: Unit): string {
  const settings = Object.entries(unit.hyperparameters).sort(([a], [b]) => (a < b ? -1 : 1));
  const arm = unit.arm.replaceAll(/[^\w-]/g, "_");
  return `${unit.phase}-${arm}-${unit.seed}-${digest(JSON.stringify([unit.arm, settings]))}`;
}

/** One line for messages: `adamw, seed 3, learningRate=0.01`. */
export function describeUnit(unit: Pick<Unit, "arm" | "seed" | "hyperparameters">): string {
  return [`${unit.arm}, seed ${unit.seed}`, describeHyperparameters(unit.hyperparameters)]
    .filter(Boolean)
    .join(", ");
}

export function describeHyperparameters(hyperparameters: Hyperparameters): string {
  return Object.entries(hyperparameters)
    .map(([name, value]) => `${name}=${typeof value === "number" ? Number(value.toPrecision(4)) : value}`)
    .join(", ");
}

export function testSeeds(experiment: AnyExperiment, mode: Mode, count?: number): number[] {
  return Array.from({ length: count ?? experiment.seeds[mode] }, (_, i) => i);
}

export function testUnit(
  experiment: AnyExperiment,
  mode: Mode,
  arm: string,
  seed: number,
  tuned: Hyperparameters,
): Unit {
  return { mode, phase: "test", arm, seed, hyperparameters: { ...experiment.arms[arm]!.fixed, ...tuned } };
}

/** 64 bits of FNV-1a as hexadecimal: enough to tell the candidates of one experiment apart. */
function digest(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < text.length; i++) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(text.charCodeAt(i))) * 0x100000001b3n);
  }
  return hash.toString(16).padStart(16, "0");
}
