import type { Player } from "./game.ts";
import type { GameTree, SequenceForm } from "./gameTree.ts";

/**
 * A behaviour strategy, `[sequences]`: the probability of a sequence's last action in its information set, 1 for the
 * empty sequence.
 */
export type Strategy = Float64Array;

/**
 * A realization plan, `[sequences]`: the product of the strategy's probabilities along the player's own path (its part
 * of the probability of reaching the sequence), 1 for the empty sequence.
 */
export type RealizationPlan = Float64Array;

/** One behaviour strategy a player. */
export type Profile = readonly [Strategy, Strategy];

export function uniformStrategy(form: SequenceForm): Strategy {
  const strategy = new Float64Array(form.sequences);
  strategy[0] = 1;
  for (const { first, actions } of form.infosets)
    strategy.fill(1 / actions.length, first, first + actions.length);
  return strategy;
}

export function uniformProfile({ forms }: GameTree): Profile {
  return [uniformStrategy(forms[0]), uniformStrategy(forms[1])];
}

/**
 * A strategy from the probabilities of some information sets by label, uniform elsewhere.
 *
 * @throws RangeError on an unknown label, or numbers that are not probabilities of the set's actions.
 */
export function strategyFrom(
  form: SequenceForm,
  probabilities: Readonly<Record<string, readonly number[]>>,
): Strategy {
  const strategy = uniformStrategy(form);
  for (const [label, row] of Object.entries(probabilities)) {
    const infoset = form.infosets.find((set) => set.label === label);
    if (!infoset) throw new RangeError(`strategyFrom: no information set "${label}"`);
    const total = row.reduce((a, b) => a + b, 0);
    if (row.length !== infoset.actions.length || Math.abs(total - 1) > 1e-9 || row.some((p) => p < 0))
      throw new RangeError(`strategyFrom: ${row} are not probabilities of ${infoset.actions} at "${label}"`);
    strategy.set(row, infoset.first);
  }
  return strategy;
}

export function realizationPlan(form: SequenceForm, strategy: Strategy): RealizationPlan {
  requireLength("realizationPlan", form, strategy);
  const plan = new Float64Array(form.sequences);
  plan[0] = 1;
  for (const { first, actions, parent } of form.infosets)
    for (let s = first; s < first + actions.length; s++) plan[s] = plan[parent]! * strategy[s]!;
  return plan;
}

/** The strategy of a plan (or of a positive multiple of one, such as a sum); uniform where the plan never goes. */
export function behaviorStrategy(form: SequenceForm, plan: RealizationPlan): Strategy {
  requireLength("behaviorStrategy", form, plan);
  const strategy = uniformStrategy(form);
  for (const { first, actions } of form.infosets) {
    const end = first + actions.length;
    let total = 0;
    for (let s = first; s < end; s++) total += plan[s]!;
    if (total > 0) for (let s = first; s < end; s++) strategy[s] = plan[s]! / total;
  }
  return strategy;
}

/**
 * What each of a player's sequences earns against an opponent's plan, `[sequences]`: the gradient of its expected
 * utility in its own plan (the sequence-form payoff matrix times the opponent's plan).
 */
export function payoffGradient(tree: GameTree, player: Player, opponentPlan: RealizationPlan): Float64Array {
  const { sequences, weighted } = tree.payoffs;
  const own = sequences[player];
  const theirs = sequences[player === 0 ? 1 : 0];
  const sign = player === 0 ? 1 : -1;
  const gradient = new Float64Array(tree.forms[player].sequences);
  for (let t = 0; t < weighted.length; t++)
    gradient[own[t]!]! += sign * weighted[t]! * opponentPlan[theirs[t]!]!;
  return gradient;
}

/** Player 0's expected utility. */
export function expectedUtility(tree: GameTree, profile: Profile): number {
  const plan = realizationPlan(tree.forms[0], profile[0]);
  const gradient = payoffGradient(tree, 0, realizationPlan(tree.forms[1], profile[1]));
  return plan.reduce((sum, p, s) => sum + p * gradient[s]!, 0);
}

export function requireLength(operation: string, form: SequenceForm, values: Float64Array): void {
  if (values.length !== form.sequences)
    throw new RangeError(`${operation}: ${values.length} numbers for ${form.sequences} sequences`);
}
