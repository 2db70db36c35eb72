import {
  add,
  cast,
  greater,
  logicalAnd,
  logicalNot,
  mul,
  onesLike,
  scan,
  type Tensor,
  tensor,
  zeros,
} from "@prior-art/tensor";
import type { RandomStream } from "../stats/index.ts";
import type { Action, Environment, TracedEnvironment } from "./environment.ts";
import { ReplayBuffer, type TransitionDataset } from "./transitions.ts";

/** Acts in plain code. `state` is there for scripted controllers; agents see the observation only. */
export type Behaviour = (observation: Float64Array, random: RandomStream, state: Float64Array) => Action;

/** Plays episodes in plain code. */
export interface Episodes {
  /** All transitions, in order. */
  readonly transitions: TransitionDataset;
  /** Undiscounted return of each episode. */
  readonly returns: Float64Array;
}

/** Plays `episodes` episodes, each until it is terminal or the horizon cuts it off. */
export function playEpisodes(
  environment: Environment,
  behaviour: Behaviour,
  episodes: number,
  random: RandomStream,
): Episodes {
  const buffer = new ReplayBuffer(environment, Math.max(1, episodes * environment.horizon));
  const returns = new Float64Array(episodes);
  for (let episode = 0; episode < episodes; episode++) {
    let state = environment.start(random);
    let observation = environment.observe(state);
    for (let t = 0; t < environment.horizon; t++) {
      const action = behaviour(observation, random, state);
      const { state: next, reward, terminal } = environment.step(state, action, random);
      const nextObservation = environment.observe(next);
      buffer.add({ observation, action, reward, nextObservation, terminal });
      returns[episode]! += reward;
      [state, observation] = [next, nextObservation];
      if (terminal) break;
    }
  }
  return { transitions: buffer.dataset(), returns };
}

/** First states of `count` episodes, `[count, stateSize]`. */
export function startStates(environment: Environment, count: number, random: RandomStream): Tensor {
  const states = new Float32Array(count * environment.stateSize);
  for (let i = 0; i < count; i++) states.set(environment.start(random), i * environment.stateSize);
  return tensor(states, { shape: [count, environment.stateSize] });
}

/** Acts in a traced graph: observations `[batch, size]` to actions `[batch, size]`, or int32 `[batch]`. */
export type TracedPolicy = (observations: Tensor) => Tensor;

/**
 * Undiscounted returns `[batch]` of a policy from given first states, all episodes at once in one loop.
 * @param starts `[batch, stateSize]`
 */
export function tracedReturns(
  { traced, horizon }: TracedEnvironment,
  policy: TracedPolicy,
  starts: Tensor,
): Tensor {
  const batch = starts.shape[0]!;
  const [[, , total]] = scan(
    ([state, alive, sum]: readonly [Tensor, Tensor, Tensor], _: null) => {
      const { state: next, reward, terminal } = traced.step(state, policy(traced.observe(state)));
      const earned = add(sum, mul(reward, cast(alive, reward.dtype)));
      return [[next, logicalAnd(alive, logicalNot(terminal)), earned] as const, null];
    },
    [starts, greater(onesLike(zeros([batch])), 0), zeros([batch])] as const,
    null,
    { length: horizon },
  );
  return total;
}
