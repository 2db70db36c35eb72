import { data, item, jit, mean, type Tensor, tensor } from "@prior-art/tensor";
import {
  DATA_NOISE,
  type DataQuality,
  dataControls,
  normalizedScore,
  type OfflineAgent,
  type OfflineTaskName,
  offlineEnvironment,
  startStates,
  type TransitionDataset,
  tracedReturns,
} from "@prior-art/toolkit/rl";
import { randomStream } from "@prior-art/toolkit/stats";

/** Episodes that a policy is judged by. */
const EPISODES = 50;

/** Judges the policies of one agent on a task: compiled once, the same first states every time. */
export interface Judge<S> {
  /** Normalized score: 0 for random actions, 100 for the expert. */
  score(state: S): Promise<number>;
  release(): Promise<void>;
}

export function judgeOf<S>(task: OfflineTaskName, agent: OfflineAgent<S>, seed: number): Judge<S> {
  const environment = offlineEnvironment(task);
  const starts = startStates(environment, EPISODES, randomStream(seed, "judging"));
  const judge = jit((state: S) => mean(tracedReturns(environment, agent.policy(state), starts)));
  return {
    score: async (state) => normalizedScore(task, await item(await judge(state))),
    release: () => judge.release(),
  };
}

/**
 * Share of a data set's states in which the policy's action lies outside the data's support: further than three
 * deviations of the data's noise, in some coordinate, from what every controller of the data would do. For tasks whose
 * observations are their states.
 */
export async function shareOutside<S>(
  agent: OfflineAgent<S>,
  state: S,
  dataset: TransitionDataset,
  [task, quality]: readonly [OfflineTaskName, DataQuality],
): Promise<number> {
  const { count, observationSize, actionSize, observations } = dataset;
  const act = jit((s: S, x: Tensor) => agent.policy(s)(x));
  const actions = await data(await act(state, tensor(observations, { shape: [count, observationSize] })));
  await act.release();
  const clamp = (v: number): number => Math.min(1, Math.max(-1, v));
  let outside = 0;
  for (let i = 0; i < count; i++) {
    const where = Float64Array.from(observations.subarray(i * observationSize, (i + 1) * observationSize));
    const supported = dataControls(task, quality, where).some((control) =>
      control.every((v, d) => Math.abs(clamp(v) - actions[i * actionSize + d]!) <= 3 * DATA_NOISE),
    );
    if (!supported) outside++;
  }
  return outside / count;
}
