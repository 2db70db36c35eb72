import type { MDP, Policy } from "@prior-art/toolkit/mdp";
import type { RandomStream } from "@prior-art/toolkit/stats";

export type { MDP, Plan, Planner, Policy } from "@prior-art/toolkit/mdp";
export type {
  Agent,
  Behaviour,
  Environment,
} from "@prior-art/toolkit/rl";

/** A finite MDP that is known by samples only, and not for ever. */
export interface SampledModel {
  readonly states: number;
  readonly actions: number;
  readonly discount: number;
  /** Sweeps that may still be asked for. */
  readonly left: number;
  /**
   * One sweep: `r + γ v(s')` with one sampled successor s' of every state and action, `[states, actions]`; a noisy
   * Bellman backup.
   * @throws RangeError when no sweep is left.
   */
  sweep(values: Float64Array): Float64Array;
}

/** Spends a model's sweeps and returns a policy, `[states, actions]`. */
export type SampledPlanner = (model: SampledModel) => Policy;

/** A model that draws from `mdp` and gives `sweeps` sweeps. */
export function sampledModel(mdp: MDP, sweeps: number, random: RandomStream): SampledModel {
  const { states, actions, discount, transition, reward } = mdp;
  // Distribution functions, so that a draw is a search for a uniform number.
  const cumulative = transition.slice();
  for (let i = 0; i < cumulative.length; i++) if (i % states > 0) cumulative[i]! += cumulative[i - 1]!;
  let left = sweeps;
  return {
    states,
    actions,
    discount,
    get left() {
      return left;
    },
    sweep(values) {
      if (left === 0) throw new RangeError("sampledModel: no sweep is left");
      left--;
      return reward.map((r, row) => {
        const u = random.uniform();
        let next = 0;
        while (next < states - 1 && u >= cumulative[row * states + next]!) next++;
        return r + discount * values[next]!;
      });
    },
  };
}

export type Hyperparameters = Readonly<Record<string, number>>;

/** What a room provides to enter the family's shared task. */
export interface Contender {
  /** Name in tables. */
  readonly label: string;
  readonly space?: Readonly<Record<string, readonly number[]>>;
  readonly fixed?: Hyperparameters;
  readonly planner: (hyperparameters: Hyperparameters) => SampledPlanner;
}
