import type { Player } from "./game.ts";
import type { GameTree } from "./gameTree.ts";
import {
  expectedUtility,
  type Profile,
  payoffGradient,
  realizationPlan,
  type Strategy,
} from "./strategies.ts";

export interface BestResponse {
  /** The responding player's expected utility. */
  readonly value: number;
  /** Pure; ties go to the first action. */
  readonly strategy: Strategy;
}

/** A player's exact best response to the other's strategy. */
export function bestResponse(tree: GameTree, player: Player, opponent: Strategy): BestResponse {
  const form = tree.forms[player];
  const opponentPlan = realizationPlan(tree.forms[player === 0 ? 1 : 0], opponent);
  // From the leaves up, worth[s] becomes the value of sequence s with best play after it.
  const worth = payoffGradient(tree, player, opponentPlan);
  const strategy = new Float64Array(form.sequences);
  strategy[0] = 1;
  for (let i = form.infosets.length - 1; i >= 0; i--) {
    const { first, actions, parent } = form.infosets[i]!;
    let best = first;
    for (let s = first + 1; s < first + actions.length; s++) if (worth[s]! > worth[best]!) best = s;
    strategy[best] = 1;
    worth[parent]! += worth[best]!;
  }
  return { value: worth[0]!, strategy };
}

/**
 * Σ over players of what a best response would gain: 0 exactly at a Nash equilibrium. In a game between one player and
 * chance it is that player's loss against the optimum.
 */
export function nashConv(tree: GameTree, profile: Profile): number {
  return bestResponse(tree, 0, profile[1]).value + bestResponse(tree, 1, profile[0]).value;
}

/** Half of NashConv: the mean gain of the two best responses. */
export function exploitability(tree: GameTree, profile: Profile): number {
  return nashConv(tree, profile) / 2;
}

/** What one player would gain by best responding; both gains sum to NashConv. */
export function deviationGain(tree: GameTree, player: Player, profile: Profile): number {
  const value = expectedUtility(tree, profile) * (player === 0 ? 1 : -1);
  return bestResponse(tree, player, profile[player === 0 ? 1 : 0]).value - value;
}
