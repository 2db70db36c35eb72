export type Player = 0 | 1;

/** Who moves at a state, or what the game pays there. */
export type Turn =
  /** `utility`: what player 0 gets and player 1 pays. */
  | { readonly kind: "terminal"; readonly utility: number }
  /** Action i happens with probability `probabilities[i]`; they sum to 1. */
  | { readonly kind: "chance"; readonly probabilities: readonly number[] }
  /** `infoset` says all that the player knows: states with the same label are one information set to it. */
  | {
      readonly kind: "decision";
      readonly player: Player;
      readonly infoset: string;
      readonly actions: readonly string[];
    };

/**
 * A finite two-player zero-sum game in extensive form with perfect recall: rules only, no tree. `gameTree` unfolds it.
 *
 * @example
 * const tree = gameTree(kuhnPoker());
 * nashConv(tree, uniformProfile(tree)); // 0.9167
 */
export interface Game<State = unknown> {
  readonly name: string;
  initial(): State;
  turn(state: State): Turn;
  /** The state after action number `action` of the mover or of chance. */
  next(state: State, action: number): State;
}
