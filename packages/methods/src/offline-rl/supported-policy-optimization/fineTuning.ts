import { jit, random, reshape, scan, type Tensor, treeMap } from "@prior-art/tensor";
import {
  type Environment,
  type ReplayAgent,
  ReplayBuffer,
  type TransitionBatch,
  type TransitionDataset,
} from "@prior-art/toolkit/rl";
import { randomStream } from "@prior-art/toolkit/stats";

export interface FineTuningOptions<S> {
  readonly environment: Environment;
  /** What the buffer starts with. */
  readonly transitions: TransitionDataset;
  /** Steps in the environment. */
  readonly steps: number;
  /** Steps between two runs of updates, and to the next report. */
  readonly every: number;
  readonly batchSize: number;
  readonly seed: number;
  /** Changes the state before a run of updates, by steps taken. */
  readonly adjust: (state: S, step: number) => S;
}

/** Goes on training online, from an offline state and its data: one batch for every step taken. Yields the state. */
export async function* fineTune<S>(
  agent: ReplayAgent<S>,
  start: S,
  options: FineTuningOptions<S>,
): AsyncGenerator<{ readonly step: number; readonly state: S }, void, void> {
  const { environment, transitions, steps, every, batchSize, seed, adjust } = options;
  const { batches = 1 } = agent;
  const stream = randomStream(seed, "fine-tuning");
  const key = random.fold(random.key(seed), 17);
  const buffer = bufferOf(environment, transitions, steps);
  const runs = Math.max(1, Math.round(every / batches));
  const updates = jit((before: S, drawn: TransitionBatch, keys: Tensor) => {
    const [after] = scan(
      (now: S, [batch, stepKey]: readonly [TransitionBatch, Tensor]) =>
        agent.update(now, batch, stepKey) as [S, Tensor],
      before,
      [drawn, keys] as const,
    );
    return after;
  });
  let state = start;
  let [where, age] = [environment.start(stream), 0];
  try {
    for (let step = 0; step < steps; step += every) {
      const behaviour = await agent.behaviour(state, { explore: true, progress: step / steps });
      for (let i = 0; i < every; i++) {
        const observation = environment.observe(where);
        const action = behaviour(observation, stream, where);
        const { state: next, reward, terminal } = environment.step(where, action, stream);
        buffer.add({ observation, action, reward, nextObservation: environment.observe(next), terminal });
        [where, age] = [next, age + 1];
        if (terminal || age === environment.horizon) [where, age] = [environment.start(stream), 0];
      }
      const drawn = treeMap(
        (t) => reshape(t, [runs, batches, batchSize, ...t.shape.slice(1)]),
        buffer.sample(runs * batches * batchSize, stream),
      );
      state = await updates(adjust(state, step), drawn, random.split(random.fold(key, step), runs));
      yield { step: step + every, state };
    }
  } finally {
    await updates.release();
  }
}

/** A buffer that holds the data and has room for `more`. */
function bufferOf(environment: Environment, data: TransitionDataset, more: number): ReplayBuffer {
  const buffer = new ReplayBuffer(environment, data.count + more);
  const { observationSize, actionSize } = data;
  for (let i = 0; i < data.count; i++)
    buffer.add({
      observation: data.observations.subarray(i * observationSize, (i + 1) * observationSize),
      action: data.actions.subarray(i * actionSize, (i + 1) * actionSize),
      reward: data.rewards[i]!,
      nextObservation: data.nextObservations.subarray(i * observationSize, (i + 1) * observationSize),
      terminal: data.terminals[i] === 1,
    });
  return buffer;
}
