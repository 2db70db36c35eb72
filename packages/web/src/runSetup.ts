import type { AnyExperiment, ArmSpec } from "@prior-art/toolkit/experiment";

/** What a page needs to offer a run: the controls and their values in the paper's quick setting. */
export interface RunSetup {
  readonly arms: readonly { readonly name: string; readonly label: string }[];
  readonly seeds: number;
  readonly tuned: boolean;
  /** Settings with one number, switch or word; others stay as they are. */
  readonly settings: readonly {
    readonly name: string;
    readonly label: string;
    readonly value: number | boolean | string;
  }[];
}

export function runSetup(experiment: AnyExperiment): RunSetup {
  const quick: unknown = experiment.settings.quick;
  const entries = typeof quick === "object" && quick !== null ? Object.entries(quick) : [];
  return {
    arms: Object.entries<ArmSpec>(experiment.arms).map(([name, { label }]) => ({ name, label })),
    seeds: experiment.seeds.quick,
    tuned: experiment.tuning !== undefined,
    settings: entries.flatMap(([name, value]: [string, unknown]) =>
      typeof value === "number" || typeof value === "boolean" || typeof value === "string"
        ? [{ name, label: inWords(name), value }]
        : [],
    ),
  };
}

/** `noisyIterations` as `noisy iterations`. */
const inWords = (name: string): string => name.replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2").toLowerCase();
