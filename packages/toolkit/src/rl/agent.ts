import { jit, random, reshape, scan, slice, type Tensor, take, treeMap } from "@prior-art/tensor";
import { randomStream } from "../stats/index.ts";
import type { Environment } from "./environment.ts";
import type { Behaviour, TracedPolicy } from "./rollout.ts";
import {
  ReplayBuffer,
  type TransitionBatch,
  type TransitionDataset,
  transitionTensors,
} from "./transitions.ts";

/** Learns a policy from a fixed set of transitions; everything but `init` is pure and can be traced. */
export interface OfflineAgent<S> {
  /** Batches that one update takes, e.g. one for each critic step between two of the actor; 1 by default. */
  readonly batches?: number;
  /** The state before the first update; it may fit models to the data first. */
  init(key: Tensor, data: TransitionBatch): S | Promise<S>;
  /** One update from batches stacked as `[batches, size, …]`; the loss is one number, for the live curves. */
  update(state: S, batches: TransitionBatch, key: Tensor): readonly [state: S, loss: Tensor];
  /** The policy to be judged. */
  policy(state: S): TracedPolicy;
}

/** An offline agent that can also collect its own data. */
export interface ReplayAgent<S> extends OfflineAgent<S> {
  /** Acts in plain code; `explore` adds the agent's exploration, at `progress` from 0 to 1 of its training. */
  behaviour(state: S, options: { readonly explore: boolean; readonly progress: number }): Promise<Behaviour>;
}

export interface OfflineTraining {
  readonly steps: number;
  /** 128 by default. */
  readonly batchSize?: number;
  readonly key: Tensor;
  /** Updates in one run of the compiled loop, a tenth of all by default; the numbers don't depend on it. */
  readonly stepsPerRun?: number;
}

export interface OfflineProgress<S> {
  /** Updates made. */
  readonly step: number;
  readonly state: S;
  /** Losses since the last report. */
  readonly losses: Tensor;
}

/** The updates as one pure function, for `jit` or `vmap`: one for each of `keys` `[steps]`. */
export const offlineUpdates =
  <S>({ batches = 1, update }: OfflineAgent<S>, batchSize: number) =>
  (state: S, data: TransitionBatch, keys: Tensor): [S, Tensor] =>
    scan(
      (before: S, key: Tensor) => {
        const [rowKey, updateKey] = random.keys(key) as [Tensor, Tensor];
        const rows = random.randint(rowKey, [batches, batchSize], 0, data.rewards.shape[0]!);
        return update(
          before,
          treeMap((t) => take(t, rows), data),
          updateKey,
        ) as [S, Tensor];
      },
      state,
      keys,
    );

/**
 * Trains an offline agent on uniformly drawn batches, in compiled loops.
 * @throws RangeError for a number of steps that is not whole and positive.
 */
export async function* trainOffline<S>(
  agent: OfflineAgent<S>,
  dataset: TransitionDataset,
  { steps, batchSize = 128, key, stepsPerRun = Math.ceil(steps / 10) }: OfflineTraining,
): AsyncGenerator<OfflineProgress<S>, S, void> {
  if (!(Number.isInteger(steps) && steps >= 1))
    throw new RangeError(`trainOffline: steps must be a whole number of at least 1, got ${steps}`);
  const [initKey, updateKey] = random.keys(key) as [Tensor, Tensor];
  const data = transitionTensors(dataset);
  let state: S = await agent.init(initKey, data);
  const updates = jit(offlineUpdates(agent, batchSize));
  try {
    const keys = random.split(updateKey, steps);
    for (let from = 0; from < steps; from += stepsPerRun) {
      const count = Math.min(stepsPerRun, steps - from);
      const [next, losses] = await updates(state, data, slice(keys, [from, from + count]));
      state = next;
      yield { step: from + count, state, losses };
    }
    return state;
  } finally {
    await updates.release();
  }
}

export interface AgentProgress {
  /** Steps taken in the environment. */
  readonly step: number;
  /** Undiscounted returns of the episodes that ended since the last report. */
  readonly returns: readonly number[];
  /** What has been learned so far, without exploration. */
  readonly behaviour: Behaviour;
}

/** Learns by acting. */
export interface Agent {
  /** Takes `steps` steps in the environment, and reports now and then. */
  learn(
    environment: Environment,
    options: { readonly steps: number; readonly seed: number },
  ): AsyncGenerator<AgentProgress, void, void>;
}

export interface ReplayLearningOptions {
  /** Transitions kept, all by default. */
  readonly capacity?: number;
  /** Steps of random actions before the first update, 500 by default. */
  readonly warmup?: number;
  /** Steps between two runs of updates, which then catch up; 50 by default. */
  readonly every?: number;
  /** Updates for each step, 1 by default. */
  readonly updatesPerStep?: number;
  /** 64 by default. */
  readonly batchSize?: number;
}

/**
 * Off-policy learning with a replay buffer: acts for a while, then makes as many updates in one compiled run.
 * @param make the agent for an environment's sizes.
 */
export function replayLearning<S>(
  make: (environment: Environment) => ReplayAgent<S>,
  options: ReplayLearningOptions = {},
): Agent {
  const { warmup = 500, every = 50, updatesPerStep = 1, batchSize = 64 } = options;
  return {
    async *learn(environment, { steps, seed }) {
      const agent = make(environment);
      const { batches = 1 } = agent;
      const buffer = new ReplayBuffer(environment, options.capacity ?? steps);
      const stream = randomStream(seed, "learning");
      const key = random.key(seed);
      const updates = jit((before: S, drawn: TransitionBatch, keys: Tensor) =>
        scan(
          (now: S, [batch, stepKey]: readonly [TransitionBatch, Tensor]) =>
            agent.update(now, batch, stepKey) as [S, Tensor],
          before,
          [drawn, keys] as const,
        ),
      );
      const runs = Math.max(1, Math.round((every * updatesPerStep) / batches));
      const draw = (): TransitionBatch =>
        treeMap(
          (t) => reshape(t, [runs, batches, batchSize, ...t.shape.slice(1)]),
          buffer.sample(runs * batches * batchSize, stream),
        );
      let state: S | undefined;
      let behaviour: Behaviour = randomBehaviour(environment);
      let where = environment.start(stream);
      let [age, total] = [0, 0];
      let returns: number[] = [];
      try {
        for (let step = 1; step <= steps; step++) {
          const observation = environment.observe(where);
          const action = behaviour(observation, stream, where);
          const { state: next, reward, terminal } = environment.step(where, action, stream);
          buffer.add({ observation, action, reward, nextObservation: environment.observe(next), terminal });
          [where, age, total] = [next, age + 1, total + reward];
          if (terminal || age === environment.horizon) {
            returns.push(total);
            [where, age, total] = [environment.start(stream), 0, 0];
          }
          if (step < warmup || step % every !== 0) continue;
          state ??= await agent.init(random.fold(key, 0), buffer.sample(buffer.count, stream));
          [state] = await updates(state, draw(), random.split(random.fold(key, step), runs));
          behaviour = await agent.behaviour(state, { explore: true, progress: step / steps });
          yield { step, returns, behaviour: await agent.behaviour(state, { explore: false, progress: 1 }) };
          returns = [];
        }
      } finally {
        await updates.release();
      }
    },
  };
}

/** Uniformly random actions. */
export const randomBehaviour = ({ actions }: Pick<Environment, "actions">): Behaviour =>
  actions.kind === "discrete"
    ? (_, random) => random.integer(actions.count)
    : (_, random) => Float64Array.from({ length: actions.size }, () => 2 * random.uniform() - 1);
