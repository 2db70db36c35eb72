import {
  add,
  argmax,
  cast,
  expandDims,
  mean,
  mul,
  random,
  slice,
  squeeze,
  sub,
  type Tensor,
  takeAlongAxis,
  treeMap,
  valueAndGrad,
} from "@prior-art/tensor";
import { huber, type MlpParams, mlp } from "../nn/index.ts";
import { type AdamState, adam, applyUpdates, type CountState, flat } from "../optim/index.ts";
import type { ReplayAgent } from "./agent.ts";
import { follow, hostMlp } from "./networks.ts";
import type { TransitionBatch } from "./transitions.ts";

export interface DqnOptions {
  readonly observationSize: number;
  /** Number of actions. */
  readonly actions: number;
  /** 64 and 64 by default. */
  readonly hidden?: readonly number[];
  /** γ, 0.99 by default. */
  readonly discount?: number;
  /** 1e-3 by default. */
  readonly learningRate?: number;
  /** How fast the target follows, 0.01 by default. */
  readonly targetRate?: number;
  /** Share of random actions at the start and from `explored` of the training on; 1, 0.05 and 0.3 by default. */
  readonly epsilon?: { readonly from: number; readonly to: number; readonly explored: number };
  /** Whether the online network chooses the target's action (van Hasselt et al., 2016); true by default. */
  readonly double?: boolean;
}

export interface DqnState {
  readonly params: MlpParams;
  readonly target: MlpParams;
  readonly optimizer: readonly [AdamState<Tensor>, CountState];
}

/**
 * Targets `r + γ (1 − terminal) Q'(s', a')`, `[batch]`, where a' is greedy under `choosing` `[batch, actions]`: Q' itself
 * for DQN, the online network for double DQN.
 */
export function greedyTarget(
  { rewards, terminals }: Pick<TransitionBatch, "rewards" | "terminals">,
  targetValues: Tensor,
  choosing: Tensor,
  discount: number,
): Tensor {
  const best = squeeze(takeAlongAxis(targetValues, expandDims(argmax(choosing), -1)), -1);
  return add(rewards, mul(mul(discount, sub(1, terminals)), best));
}

/** Deep Q-learning with a target network that follows slowly and Huber's loss (Mnih et al., 2015). */
export function dqn(options: DqnOptions): ReplayAgent<DqnState> {
  const { observationSize, actions, hidden = [64, 64], discount = 0.99, learningRate = 1e-3 } = options;
  const { targetRate = 0.01, epsilon = { from: 1, to: 0.05, explored: 0.3 }, double = true } = options;
  const network = mlp({ sizes: [observationSize, ...hidden, actions] });
  const optimizer = flat<MlpParams, DqnState["optimizer"]>(adam<Tensor>({ learningRate }));
  return {
    init(key) {
      const params = network.init(random.fold(key, 0));
      return { params, target: params, optimizer: optimizer.init(params) };
    },
    update({ params, target, optimizer: memory }, batches) {
      const batch = treeMap((t) => slice(t, 0), batches);
      const targetValues = network.apply(target, batch.nextObservations);
      const choosing = double ? network.apply(params, batch.nextObservations) : targetValues;
      const aim = greedyTarget(batch, targetValues, choosing, discount);
      const loss = (p: MlpParams): Tensor => {
        const values = network.apply(p, batch.observations);
        return mean(huber(squeeze(takeAlongAxis(values, cast(batch.actions, "int32")), -1), aim));
      };
      const [value, gradients] = valueAndGrad(loss)(params);
      const [updates, next] = optimizer.update(gradients, memory, params);
      const after = applyUpdates(params, updates);
      return [{ params: after, target: follow(target, after, targetRate), optimizer: next }, value];
    },
    policy:
      ({ params }) =>
      (observations) =>
        argmax(network.apply(params, observations)),
    async behaviour({ params }, { explore, progress }) {
      const values = await hostMlp(params);
      const done = Math.min(1, progress / epsilon.explored);
      const share = explore ? epsilon.from + done * (epsilon.to - epsilon.from) : 0;
      return (observation, stream) => {
        if (share > 0 && stream.uniform() < share) return stream.integer(actions);
        const q = values(observation);
        return q.indexOf(Math.max(...q));
      };
    },
  };
}
