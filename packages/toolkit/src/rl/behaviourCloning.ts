import { mean, random, slice, square, sub, type Tensor, treeMap, valueAndGrad } from "@prior-art/tensor";
import type { MlpParams } from "../nn/index.ts";
import { type AdamState, adam, applyUpdates, type CountState, flat } from "../optim/index.ts";
import type { OfflineAgent } from "./agent.ts";
import { actorNetwork, type ObservationScale, observationScale, scaled } from "./networks.ts";

export interface BehaviourCloningOptions {
  readonly observationSize: number;
  readonly actionSize: number;
  /** 64 and 64 by default. */
  readonly hidden?: readonly number[];
  /** 1e-3 by default. */
  readonly learningRate?: number;
}

export interface BehaviourCloningState {
  readonly actor: MlpParams;
  readonly optimizer: readonly [AdamState<Tensor>, CountState];
  readonly scale: ObservationScale;
}

/** Regression of the data's actions on its observations, by mean squared error. */
export function behaviourCloning(options: BehaviourCloningOptions): OfflineAgent<BehaviourCloningState> {
  const { observationSize, actionSize, hidden = [64, 64], learningRate = 1e-3 } = options;
  const network = actorNetwork(observationSize, actionSize, hidden);
  const optimizer = flat<MlpParams, BehaviourCloningState["optimizer"]>(adam<Tensor>({ learningRate }));
  return {
    init(key, batch) {
      const actor = network.init(random.fold(key, 0));
      return { actor, optimizer: optimizer.init(actor), scale: observationScale(batch.observations) };
    },
    update({ actor, optimizer: memory, scale }, batches) {
      const batch = treeMap((t) => slice(t, 0), batches);
      const loss = (params: MlpParams): Tensor =>
        mean(square(sub(network.apply(params, scaled(batch.observations, scale)), batch.actions)));
      const [value, gradients] = valueAndGrad(loss)(actor);
      const [updates, next] = optimizer.update(gradients, memory, actor);
      return [{ actor: applyUpdates(actor, updates), optimizer: next, scale }, value];
    },
    policy:
      ({ actor, scale }) =>
      (observations) =>
        network.apply(actor, scaled(observations, scale)),
  };
}
