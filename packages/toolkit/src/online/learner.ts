import { behaviorStrategy, type SequenceForm, type Strategy } from "../games/index.ts";
import type { RandomStream } from "../stats/index.ts";

/** Plays round by round and learns from what it is told afterwards. */
export interface OnlineLearner<Action, Feedback> {
  /** The action of this round; `random` is the only source of chance. */
  act(random: RandomStream): Action;
  /** What the round showed: a loss, a loss vector, a gradient. */
  observe(feedback: Feedback): void;
}

/** One decision of a player in an episode. */
export interface Decision {
  /** Number of the player's information set. */
  readonly infoset: number;
  /** How many actions are legal there. */
  readonly actions: number;
  /** The action played, from 0. */
  readonly action: number;
}

/** Learns one side of an extensive-form game from its own trajectories and losses only. */
export interface SelfPlayLearner {
  act(infoset: number, actions: number, random: RandomStream): number;
  /** @param path the player's decisions in order. @param loss of the episode, in [0, 1]. */
  endEpisode(path: readonly Decision[], loss: number): void;
  /**
   * The average over episodes of the realization plans, as action probabilities by information set. Sets that the
   * learner has never heard of are missing.
   */
  averagePolicy(): ReadonlyMap<number, Float64Array>;
}

/** A policy as a strategy of the sequence form, uniform where the policy says nothing. */
export function strategyOfPolicy(form: SequenceForm, policy: ReadonlyMap<number, Float64Array>): Strategy {
  const strategy = behaviorStrategy(form, new Float64Array(form.sequences));
  for (const [infoset, probabilities] of policy) strategy.set(probabilities, form.infosets[infoset]!.first);
  return strategy;
}
