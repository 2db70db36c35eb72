import { nashConv } from "./bestResponse.ts";
import type { Player } from "./game.ts";
import type { GameTree } from "./gameTree.ts";
import {
  behaviorStrategy,
  expectedUtility,
  type Profile,
  payoffGradient,
  realizationPlan,
  type Strategy,
  uniformStrategy,
} from "./strategies.ts";

export interface EquilibriumOptions {
  /** Default 2000. */
  readonly iterations?: number;
  /** Stop once NashConv is at most this, default 1e-6 of the range of utilities; looked at every 50 iterations. */
  readonly tolerance?: number;
}

export interface Equilibrium {
  readonly profile: Profile;
  /** Player 0's expected utility under the profile; within `nashConv` of the game's value. */
  readonly value: number;
  readonly nashConv: number;
  readonly iterations: number;
  readonly converged: boolean;
}

/**
 * Approximates a Nash equilibrium by CFR+ (Tammelin 2014): regret matching⁺ in every information set, players in turn,
 * plans averaged with linearly growing weights.
 *
 * @throws RangeError when `iterations` is not a whole number of at least 1.
 */
export function cfrPlus(tree: GameTree, options: EquilibriumOptions = {}): Equilibrium {
  const { iterations = 2000, tolerance = 1e-6 * (tree.maxUtility - tree.minUtility) } = options;
  if (!Number.isInteger(iterations) || iterations < 1)
    throw new RangeError(`cfrPlus: iterations must be a whole number of at least 1, got ${iterations}`);
  const sides = [new Side(tree, 0), new Side(tree, 1)] as const;
  for (let t = 1; ; t++) {
    sides[0].improve(sides[1].plan, t);
    sides[1].improve(sides[0].plan, t);
    if (t % 50 !== 0 && t < iterations) continue;
    const profile: Profile = [sides[0].average(), sides[1].average()];
    const gap = nashConv(tree, profile);
    const converged = gap <= tolerance;
    if (converged || t >= iterations)
      return { profile, value: expectedUtility(tree, profile), nashConv: gap, iterations: t, converged };
  }
}

class Side {
  plan: Float64Array;
  private readonly strategy: Strategy;
  private readonly regret: Float64Array;
  private readonly planSum: Float64Array;
  private readonly tree: GameTree;
  private readonly player: Player;

  constructor(tree: GameTree, player: Player) {
    this.tree = tree;
    this.player = player;
    const form = tree.forms[player];
    this.strategy = uniformStrategy(form);
    this.plan = realizationPlan(form, this.strategy);
    this.regret = new Float64Array(form.sequences);
    this.planSum = new Float64Array(form.sequences);
  }

  improve(opponentPlan: Float64Array, weight: number): void {
    const { strategy, regret } = this;
    const form = this.tree.forms[this.player];
    // Counterfactual values of the sequences under the current strategy, from the leaves up.
    const worth = payoffGradient(this.tree, this.player, opponentPlan);
    for (let i = form.infosets.length - 1; i >= 0; i--) {
      const { first, actions, parent } = form.infosets[i]!;
      const end = first + actions.length;
      let value = 0;
      for (let s = first; s < end; s++) value += strategy[s]! * worth[s]!;
      let total = 0;
      for (let s = first; s < end; s++) total += regret[s] = Math.max(0, regret[s]! + worth[s]! - value);
      for (let s = first; s < end; s++) strategy[s] = total > 0 ? regret[s]! / total : 1 / actions.length;
      worth[parent]! += value;
    }
    this.plan = realizationPlan(form, strategy);
    for (let s = 0; s < form.sequences; s++) this.planSum[s]! += weight * this.plan[s]!;
  }

  average(): Strategy {
    return behaviorStrategy(this.tree.forms[this.player], this.planSum);
  }
}
