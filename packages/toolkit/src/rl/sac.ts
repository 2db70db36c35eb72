import {
  add,
  clip,
  exp,
  mean,
  min,
  mul,
  neg,
  random,
  scalar,
  slice,
  softplus,
  split,
  square,
  stopGradient,
  sub,
  sum,
  type Tensor,
  tanh,
  treeMap,
  valueAndGrad,
} from "@prior-art/tensor";
import { type MlpParams, mlp } from "../nn/index.ts";
import { type AdamState, adam, applyUpdates, type CountState, flat } from "../optim/index.ts";
import type { ReplayAgent } from "./agent.ts";
import { criticEnsemble, follow, hostMlp } from "./networks.ts";
import type { TransitionBatch } from "./transitions.ts";

export interface SacOptions {
  readonly observationSize: number;
  readonly actionSize: number;
  /** 64 and 64 by default. */
  readonly hidden?: readonly number[];
  /** γ, 0.99 by default. */
  readonly discount?: number;
  /** 1e-3 by default. */
  readonly learningRate?: number;
  /** How fast the target critics follow, 0.005 by default. */
  readonly targetRate?: number;
  /** Entropy that the temperature aims at, in nats; minus the number of coordinates by default. */
  readonly targetEntropy?: number;
}

type Adam = readonly [AdamState<Tensor>, CountState];

export interface SacState {
  readonly actor: MlpParams;
  readonly critics: MlpParams;
  readonly targetCritics: MlpParams;
  /** log α. */
  readonly logTemperature: Tensor;
  readonly actorOptimizer: Adam;
  readonly criticOptimizer: Adam;
  readonly temperatureOptimizer: Adam;
}

/** Log standard deviations are kept in here. */
const [LOW, HIGH] = [-5, 2];

/**
 * A draw `tanh(mean + deviation · ε)` of a squashed Gaussian and its log-density, `[batch]`, with the change of variables
 * in a form that does not overflow (Haarnoja et al., 2018, appendix C).
 * @param outputs means and log deviations, `[batch, 2 · size]`
 */
export function squashedGaussian(
  outputs: Tensor,
  epsilon: Tensor,
): { readonly actions: Tensor; readonly logDensity: Tensor } {
  const [center, raw] = split(outputs, 2, -1) as [Tensor, Tensor];
  const logDeviation = clip(raw, LOW, HIGH);
  const before = add(center, mul(exp(logDeviation), epsilon));
  const gaussian = sub(mul(-0.5, add(square(epsilon), Math.log(2 * Math.PI))), logDeviation);
  // log(1 − tanh²(u)) = 2 (log 2 − u − softplus(−2u))
  const squeeze = mul(2, sub(sub(Math.log(2), before), softplus(mul(-2, before))));
  return { actions: tanh(before), logDensity: sum(sub(gaussian, squeeze), -1) };
}

/** Soft actor-critic with a learned temperature (Haarnoja et al., 2018). */
export function sac(options: SacOptions): ReplayAgent<SacState> {
  const { observationSize, actionSize, hidden = [64, 64], discount = 0.99, learningRate = 1e-3 } = options;
  const { targetRate = 0.005, targetEntropy = -actionSize } = options;
  const actor = mlp({ sizes: [observationSize, ...hidden, 2 * actionSize] });
  const critics = criticEnsemble(observationSize, actionSize, hidden);
  const optimizer = flat<MlpParams, Adam>(adam<Tensor>({ learningRate }));
  const temperatureRule = adam<Tensor>({ learningRate });
  const sample = (params: MlpParams, observations: Tensor, key: Tensor) =>
    squashedGaussian(
      actor.apply(params, observations),
      random.normal(key, [observations.shape[0]!, actionSize]),
    );

  return {
    init(key) {
      const [actorKey, criticKey] = random.keys(key) as [Tensor, Tensor];
      const [actorParams, criticParams] = [actor.init(actorKey), critics.init(criticKey)];
      const logTemperature = scalar(0);
      return {
        actor: actorParams,
        critics: criticParams,
        targetCritics: criticParams,
        logTemperature,
        actorOptimizer: optimizer.init(actorParams),
        criticOptimizer: optimizer.init(criticParams),
        temperatureOptimizer: temperatureRule.init(logTemperature),
      };
    },
    update(state, batches, key) {
      const batch: TransitionBatch = treeMap((t) => slice(t, 0), batches);
      const [nextKey, actorKey] = random.keys(key) as [Tensor, Tensor];
      const temperature = exp(state.logTemperature);
      const next = sample(state.actor, batch.nextObservations, nextKey);
      const nextValues = min(critics.apply(state.targetCritics, batch.nextObservations, next.actions), 0);
      const soft = sub(nextValues, mul(temperature, next.logDensity));
      const target = add(batch.rewards, mul(mul(discount, sub(1, batch.terminals)), soft));
      const criticLoss = (params: MlpParams): Tensor =>
        mean(sum(square(sub(critics.apply(params, batch.observations, batch.actions), target)), 0));
      const [value, criticGradients] = valueAndGrad(criticLoss)(state.critics);
      const [criticUpdates, criticOptimizer] = optimizer.update(
        criticGradients,
        state.criticOptimizer,
        state.critics,
      );
      const nextCritics = applyUpdates(state.critics, criticUpdates);

      const actorLoss = (params: MlpParams): Tensor => {
        const { actions, logDensity } = sample(params, batch.observations, actorKey);
        const values = min(critics.apply(nextCritics, batch.observations, actions), 0);
        return mean(sub(mul(temperature, logDensity), values));
      };
      const [, actorGradients] = valueAndGrad(actorLoss)(state.actor);
      const [actorUpdates, actorOptimizer] = optimizer.update(
        actorGradients,
        state.actorOptimizer,
        state.actor,
      );
      const { logDensity } = sample(state.actor, batch.observations, actorKey);
      const surplus = stopGradient(mean(add(logDensity, targetEntropy)));
      const temperatureLoss = (log: Tensor): Tensor => neg(mul(log, surplus));
      const [, temperatureGradient] = valueAndGrad(temperatureLoss)(state.logTemperature);
      const [temperatureUpdate, temperatureOptimizer] = temperatureRule.update(
        temperatureGradient,
        state.temperatureOptimizer,
        state.logTemperature,
      );
      return [
        {
          actor: applyUpdates(state.actor, actorUpdates),
          critics: nextCritics,
          targetCritics: follow(state.targetCritics, nextCritics, targetRate),
          logTemperature: add(state.logTemperature, temperatureUpdate),
          actorOptimizer,
          criticOptimizer,
          temperatureOptimizer,
        },
        value,
      ];
    },
    policy: (state) => (observations) => tanh(split(actor.apply(state.actor, observations), 2, -1)[0]!),
    async behaviour(state, { explore }) {
      const outputs = await hostMlp(state.actor);
      return (observation, stream) => {
        const both = outputs(observation);
        return Float64Array.from({ length: actionSize }, (_, i) => {
          const logDeviation = Math.min(HIGH, Math.max(LOW, both[actionSize + i]!));
          return Math.tanh(both[i]! + (explore ? Math.exp(logDeviation) * stream.normal() : 0));
        });
      };
    },
  };
}
