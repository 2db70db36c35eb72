import { type MDP, sampleIndex, sampleNextState } from "../mdp/index.ts";
import { choice, type Environment } from "./environment.ts";

/**
 * A finite MDP to be played: the state is its number, the observation a one-hot vector. Terminal where a state leads only
 * to itself, without reward.
 * @param options.horizon steps an episode, 100 by default.
 */
export function mdpEnvironment(
  mdp: MDP,
  { name = "mdp", horizon = 100 }: { readonly name?: string; readonly horizon?: number } = {},
): Environment {
  const absorbing = absorbingStates(mdp);
  return {
    name,
    stateSize: 1,
    observationSize: mdp.states,
    actions: { kind: "discrete", count: mdp.actions },
    horizon,
    start: (random) => Float64Array.of(sampleIndex(mdp.initial, random)),
    step(state, action, random) {
      const taken = choice(name, action, mdp.actions);
      const next = sampleNextState(mdp, state[0]!, taken, random);
      const reward = mdp.reward[state[0]! * mdp.actions + taken]!;
      return { state: Float64Array.of(next), reward, terminal: absorbing[next]! };
    },
    observe(state) {
      const observation = new Float64Array(mdp.states);
      observation[state[0]!] = 1;
      return observation;
    },
  };
}

function absorbingStates({ states, actions, transition, reward }: MDP): boolean[] {
  return Array.from({ length: states }, (_, s) =>
    Array.from({ length: actions }, (_, a) => s * actions + a).every(
      (row) => transition[row * states + s] === 1 && reward[row] === 0,
    ),
  );
}
