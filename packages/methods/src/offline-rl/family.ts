import type { OfflineAgent } from "@prior-art/toolkit/rl";

export type {
  OfflineAgent,
  TransitionBatch,
  TransitionDataset,
} from "@prior-art/toolkit/rl";

export type Hyperparameters = Readonly<Record<string, number>>;

/** What the task gives to all agents alike; the toolkit's agents take it as it is. */
export interface AgentSetting {
  readonly observationSize: number;
  readonly actionSize: number;
  /** Hidden widths. */
  readonly hidden: readonly number[];
  readonly discount: number;
  /** How fast target networks follow. */
  readonly targetRate: number;
}

/** What a room provides to enter the family's shared task. */
export interface Contender {
  /** Name in tables. */
  readonly label: string;
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  // biome-ignore lint/suspicious/noExplicitAny: each agent keeps a state of its own type
  readonly agent: (hyperparameters: Hyperparameters, setting: AgentSetting) => OfflineAgent<any>;
}
