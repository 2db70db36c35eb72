import {
  add,
  clip,
  data,
  mean,
  min,
  mul,
  neg,
  random,
  slice,
  square,
  sub,
  sum,
  type Tensor,
  treeMap,
  valueAndGrad,
} from "@prior-art/tensor";
import type { MlpParams } from "../nn/index.ts";
import { type AdamState, adam, applyUpdates, type CountState, flat } from "../optim/index.ts";
import type { ReplayAgent } from "./agent.ts";
import {
  actorNetwork,
  criticEnsemble,
  follow,
  hostMlp,
  type ObservationScale,
  observationScale,
  scaled,
} from "./networks.ts";
import type { TransitionBatch } from "./transitions.ts";

/** What the actor's loss may use. Observations are scaled; nothing but the actor's own actions passes gradients to it. */
export interface ActorContext<X> {
  /** `[batch, observationSize]` */
  readonly observations: Tensor;
  /** π(s), `[batch, actionSize]`. */
  readonly actions: Tensor;
  /** Q₁(s, π(s)), `[batch]`. */
  readonly values: Tensor;
  /** The data's own transitions. */
  readonly batch: TransitionBatch;
  /** What `prepare` made. */
  readonly extra: X;
  readonly key: Tensor;
}

export interface Td3Options<X = null> {
  readonly observationSize: number;
  readonly actionSize: number;
  /** Hidden widths of actor and critics, 64 and 64 by default. */
  readonly hidden?: readonly number[];
  /** γ, 0.99 by default. */
  readonly discount?: number;
  /** Adam's rate for actor and critics, 1e-3 by default. */
  readonly learningRate?: number;
  /** How fast targets follow, 0.005 by default. */
  readonly targetRate?: number;
  /** Deviation and largest size of the noise on target actions, 0.2 and 0.5 by default. */
  readonly targetNoise?: readonly [deviation: number, limit: number];
  /** Critic steps for each step of the actor and the targets, 2 by default. */
  readonly delay?: number;
  /** Deviation of exploration, 0.1 by default. */
  readonly exploration?: number;
  /** Whether observations are scaled to mean 0 and deviation 1 over the data, for offline learning; default false. */
  readonly normalize?: boolean;
  /** Fits what the actor's loss needs to the data (observations are scaled). */
  readonly prepare?: (key: Tensor, batch: TransitionBatch) => X | Promise<X>;
  /** `−mean Q₁(s, π(s))` by default. */
  readonly actorLoss?: (context: ActorContext<X>) => Tensor;
}

type Adam = readonly [AdamState<Tensor>, CountState];

export interface Td3State<X> {
  readonly actor: MlpParams;
  readonly critics: MlpParams;
  readonly targetActor: MlpParams;
  readonly targetCritics: MlpParams;
  readonly actorOptimizer: Adam;
  readonly criticOptimizer: Adam;
  readonly scale: ObservationScale;
  readonly extra: X;
}

/** `r + γ (1 − terminal) min_i Q'_i(s', a')`, `[batch]`, from target values `[critics, batch]`. */
export const clippedDoubleTarget = (
  { rewards, terminals }: Pick<TransitionBatch, "rewards" | "terminals">,
  targetValues: Tensor,
  discount: number,
): Tensor => add(rewards, mul(mul(discount, sub(1, terminals)), min(targetValues, 0)));

/**
 * Twin delayed deep deterministic policy gradients (Fujimoto et al., 2018): two critics and the smaller target, noise on
 * target actions, an actor that learns every other step. `actorLoss` and `prepare` are where offline methods differ.
 */
export function td3<X = null>(options: Td3Options<X>): ReplayAgent<Td3State<X>> {
  const { observationSize, actionSize, hidden = [64, 64], discount = 0.99, learningRate = 1e-3 } = options;
  const { targetRate = 0.005, targetNoise: [deviation, limit] = [0.2, 0.5], delay = 2 } = options;
  const { exploration = 0.1, normalize = false, actorLoss = ({ values }) => neg(mean(values)) } = options;
  const actor = actorNetwork(observationSize, actionSize, hidden);
  const critics = criticEnsemble(observationSize, actionSize, hidden);
  const optimizer = flat<MlpParams, Adam>(adam<Tensor>({ learningRate }));

  const criticStep = (state: Td3State<X>, batch: TransitionBatch, key: Tensor) => {
    const noise = clip(mul(deviation, random.normal(key, batch.actions.shape)), -limit, limit);
    const nextActions = clip(add(actor.apply(state.targetActor, batch.nextObservations), noise), -1, 1);
    const values = critics.apply(state.targetCritics, batch.nextObservations, nextActions);
    const target = clippedDoubleTarget(batch, values, discount);
    const loss = (params: MlpParams): Tensor =>
      mean(sum(square(sub(critics.apply(params, batch.observations, batch.actions), target)), 0));
    const [value, gradients] = valueAndGrad(loss)(state.critics);
    const [updates, criticOptimizer] = optimizer.update(gradients, state.criticOptimizer, state.critics);
    return [{ ...state, critics: applyUpdates(state.critics, updates), criticOptimizer }, value] as const;
  };

  const actorStep = (state: Td3State<X>, batch: TransitionBatch, key: Tensor): Td3State<X> => {
    const loss = (params: MlpParams): Tensor => {
      const actions = actor.apply(params, batch.observations);
      const values = slice(critics.apply(state.critics, batch.observations, actions), 0);
      return actorLoss({ observations: batch.observations, actions, values, batch, extra: state.extra, key });
    };
    const [, gradients] = valueAndGrad(loss)(state.actor);
    const [updates, actorOptimizer] = optimizer.update(gradients, state.actorOptimizer, state.actor);
    const next = applyUpdates(state.actor, updates);
    return {
      ...state,
      actor: next,
      actorOptimizer,
      targetActor: follow(state.targetActor, next, targetRate),
      targetCritics: follow(state.targetCritics, state.critics, targetRate),
    };
  };

  return {
    batches: delay,
    async init(key, batch) {
      const [actorKey, criticKey, extraKey] = random.keys(key, 3) as [Tensor, Tensor, Tensor];
      const [actorParams, criticParams] = [actor.init(actorKey), critics.init(criticKey)];
      const scale = normalize ? observationScale(batch.observations) : identityScale(batch.observations);
      const extra = options.prepare ? await options.prepare(extraKey, seen(batch, scale)) : (null as X);
      return {
        actor: actorParams,
        critics: criticParams,
        targetActor: actorParams,
        targetCritics: criticParams,
        actorOptimizer: optimizer.init(actorParams),
        criticOptimizer: optimizer.init(criticParams),
        scale,
        extra,
      };
    },
    update(state, batches, key) {
      let current = state;
      let loss = mean(slice(batches.rewards, 0));
      for (let i = 0; i < delay; i++) {
        const batch = seen(
          treeMap((t) => slice(t, i), batches),
          state.scale,
        );
        [current, loss] = criticStep(current, batch, random.fold(key, i));
        if (i === delay - 1) current = actorStep(current, batch, random.fold(key, delay));
      }
      return [current, loss];
    },
    policy: (state) => (observations) => actor.apply(state.actor, scaled(observations, state.scale)),
    async behaviour({ actor: params, scale }, { explore }) {
      const outputs = await hostMlp(params);
      const [center, width] = [await data(scale.mean), await data(scale.deviation)];
      return (observation, stream) => {
        const means = outputs(observation.map((v, i) => (v - center[i]!) / width[i]!));
        return means.map((v) => {
          const action = Math.tanh(v) + (explore ? exploration * stream.normal() : 0);
          return Math.min(1, Math.max(-1, action));
        });
      };
    },
  };
}

const seen = (batch: TransitionBatch, scale: ObservationScale): TransitionBatch => ({
  ...batch,
  observations: scaled(batch.observations, scale),
  nextObservations: scaled(batch.nextObservations, scale),
});

/** Leaves observations as they are. */
function identityScale(observations: Tensor): ObservationScale {
  const zero = mul(0, slice(observations, 0));
  return { mean: zero, deviation: add(zero, 1) };
}
