import type { LabEvent, Results } from "@prior-art/lab";

/** What can be run: a paper's experiment, or a family's shared task. */
export interface RunTarget {
  readonly kind: "paper" | "family";
  readonly name: string;
}

/** To the worker: what to run. It runs once; to stop it, end it. */
export interface RunOrder {
  readonly target: RunTarget;
  /** Settings that replace the quick ones. */
  readonly settings: Readonly<Record<string, number | boolean | string>>;
  readonly seeds: number;
}

/** From the worker. */
export type RunMessage =
  | { readonly type: "event"; readonly event: LabEvent }
  | { readonly type: "done"; readonly results: Results }
  | { readonly type: "failed"; readonly message: string };
