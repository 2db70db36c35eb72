import type { AnyExperiment } from "@prior-art/toolkit/experiment";
import type { Paper } from "./paper.ts";

/** A paper and what there is of it. */
export interface Room {
  readonly paper: Paper;
  /** Whether the method can be imported as `@prior-art/methods/<family>/<slug>`. */
  readonly hasMethod: boolean;
  /** Loads the experiment; `null` while there is none. */
  readonly loadExperiment: (() => Promise<{ readonly default: AnyExperiment }>) | null;
}

/** Shared tasks by family: an experiment whose arms are the family's methods and baselines. */
export type FamilyTasks = Readonly<Record<string, () => Promise<{ readonly default: AnyExperiment }>>>;
