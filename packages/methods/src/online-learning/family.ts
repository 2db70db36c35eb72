import type { GameTree, Player } from "@prior-art/toolkit/games";
import type { SelfPlayLearner } from "@prior-art/toolkit/online";

export type { Decision, OnlineLearner, SelfPlayLearner } from "@prior-art/toolkit/online";

export type Hyperparameters = Readonly<Record<string, number>>;

/** What a learner may know before it plays. */
export interface SelfPlaySetting {
  readonly tree: GameTree;
  readonly player: Player;
  /** T: episodes to be played. */
  readonly episodes: number;
}

/** H, A and X of one player: the longest path of decisions, the most actions, and the information sets; at least 1. */
export function playerSizes({ forms }: GameTree, player: Player) {
  const { infosets, infosetOf } = forms[player];
  const depths: number[] = [];
  for (const { parent } of infosets) depths.push(parent === 0 ? 1 : depths[infosetOf[parent]!]! + 1);
  return {
    depth: Math.max(1, ...depths),
    actions: Math.max(1, ...infosets.map((set) => set.actions.length)),
    infosets: Math.max(1, infosets.length),
  };
}

/** What a room provides to enter the family's shared task: a learner of extensive-form games from its own play. */
export interface Contender {
  /** Name in tables. */
  readonly label: string;
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  readonly selfPlay: (hyperparameters: Hyperparameters, setting: SelfPlaySetting) => SelfPlayLearner;
}
