import type { AnyExperiment } from "@prior-art/toolkit/experiment";
import type { Paper } from "./paper.ts";

/** A paper and what there is of it. */
export interface Room {
  readonly paper: Paper;
  /** Whether the method can be imported as `@prior-art/methods/<family>/<slug>`. */
  readonly hasMethod: boolean;
  /** Loads the experiment; `null` while there is none. */
  readonly loadExperiment: LoadExperiment | null;
}

export type LoadExperiment = () => Promise<{ readonly default: AnyExperiment }>;

/** What loads experiments, by paper; or shared tasks, by family. */
export type Experiments = Readonly<Record<string, LoadExperiment>>;
