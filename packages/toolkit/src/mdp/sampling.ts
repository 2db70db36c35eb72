import type { RandomStream } from "../stats/random.ts";
import type { MDP, Policy } from "./mdp.ts";

/** One episode of fixed length T. */
export interface Trajectory {
  /** s_0 … s_T, `[T + 1]`. */
  readonly states: Int32Array;
  /** a_0 … a_{T−1}. */
  readonly actions: Int32Array;
  /** Expected rewards of the pairs visited, `[T]`. */
  readonly rewards: Float64Array;
}

/** Draws an index with the probabilities of `row`. */
export function sampleIndex(row: Float64Array, random: RandomStream): number {
  let rest = random.uniform();
  let last = 0;
  for (let i = 0; i < row.length; i++) {
    const probability = row[i]!;
    if (probability === 0) continue;
    last = i;
    rest -= probability;
    if (rest < 0) return i;
  }
  // Rounding can leave a sliver beyond the last possible index.
  return last;
}

/** Draws the successor of a state and an action. */
export function sampleNextState(mdp: MDP, state: number, action: number, random: RandomStream): number {
  const start = (state * mdp.actions + action) * mdp.states;
  return sampleIndex(mdp.transition.subarray(start, start + mdp.states), random);
}

/** Follows the policy for `length` steps from a state drawn from `initial`. */
export function sampleTrajectory(mdp: MDP, policy: Policy, length: number, random: RandomStream): Trajectory {
  const states = new Int32Array(length + 1);
  const actions = new Int32Array(length);
  const rewards = new Float64Array(length);
  states[0] = sampleIndex(mdp.initial, random);
  for (let t = 0; t < length; t++) {
    const row = states[t]! * mdp.actions;
    actions[t] = sampleIndex(policy.subarray(row, row + mdp.actions), random);
    rewards[t] = mdp.reward[row + actions[t]!]!;
    states[t + 1] = sampleNextState(mdp, states[t]!, actions[t]!, random);
  }
  return { states, actions, rewards };
}
