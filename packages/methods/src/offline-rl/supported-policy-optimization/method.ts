import {
  add,
  broadcastTo,
  clip,
  concat,
  exp,
  expandDims,
  jit,
  log,
  logSumExp,
  mean,
  mul,
  random,
  scalar,
  split,
  square,
  sub,
  sum,
  type Tensor,
  tanh,
} from "@prior-art/tensor";
import { type MlpParams, mlp } from "@prior-art/toolkit/nn";
import {
  type AdamState,
  adam,
  type CountState,
  flat,
  shuffledBatches,
  trainSteps,
} from "@prior-art/toolkit/optim";
import {
  type ActorContext,
  normalizedValueLoss,
  type ReplayAgent,
  type Td3Options,
  type Td3State,
  type TransitionBatch,
  td3,
} from "@prior-art/toolkit/rl";

export interface BehaviourDensityOptions {
  readonly observationSize: number;
  readonly actionSize: number;
  /** Of the latent variable, twice the action's by default. */
  readonly latentSize?: number;
  /** Hidden widths of encoder and decoder, 64 and 64 by default. */
  readonly hidden?: readonly number[];
  /** β: weight of the KL term, 0.5 by default; the decoder's variance is β/4 when the latent is twice the action. */
  readonly beta?: number;
}

export interface BehaviourDensityParams {
  /** `(s, a) →` mean and log standard deviation of z. */
  readonly encoder: MlpParams;
  /** `(s, z) →` an action before tanh. */
  readonly decoder: MlpParams;
}

/** A conditional variational autoencoder of the actions in a data set, as an estimate of the behaviour's density. */
export interface BehaviourDensity {
  readonly latentSize: number;
  init(key: Tensor): BehaviourDensityParams;
  /**
   * `‖â − a‖²/|a| + β KL/|z|` of each row, `[batch]`: the negative evidence lower bound of log π_β(a|s) up to a factor and
   * a constant, from one draw of z.
   * @param epsilon standard normal, `[batch, latentSize]`
   */
  loss(params: BehaviourDensityParams, observations: Tensor, actions: Tensor, epsilon: Tensor): Tensor;
  /**
   * Importance-sampled estimate of log π_β(a|s) in nats, `[batch]`, which the evidence bound approaches from below as the
   * number of draws grows.
   * @param epsilon standard normal, `[draws, batch, latentSize]`
   */
  logDensity(params: BehaviourDensityParams, observations: Tensor, actions: Tensor, epsilon: Tensor): Tensor;
}

/** Limits of the encoder's log standard deviations, as in the released code. */
const [LOW, HIGH] = [-4, 15];

/**
 * The density estimator.
 * @throws RangeError unless β > 0.
 */
export function behaviourDensity(options: BehaviourDensityOptions): BehaviourDensity {
  const { observationSize, actionSize, hidden = [64, 64], beta = 0.5 } = options;
  const { latentSize = 2 * actionSize } = options;
  if (!(beta > 0)) throw new RangeError(`behaviourDensity: beta must be positive, got ${beta}`);
  const encoder = mlp({ sizes: [observationSize + actionSize, ...hidden, 2 * latentSize] });
  const decoder = mlp({ sizes: [observationSize + latentSize, ...hidden, actionSize] });
  const encode = (params: BehaviourDensityParams, observations: Tensor, actions: Tensor) => {
    const outputs = encoder.apply(params.encoder, concat([observations, actions], -1));
    const [center, raw] = split(outputs, 2, -1) as [Tensor, Tensor];
    return { center, logDeviation: clip(raw, LOW, HIGH) };
  };
  const decode = (params: BehaviourDensityParams, observations: Tensor, latent: Tensor): Tensor =>
    tanh(decoder.apply(params.decoder, concat([observations, latent], -1)));
  return {
    latentSize,
    init(key) {
      const [first, second] = random.keys(key) as [Tensor, Tensor];
      return { encoder: encoder.init(first), decoder: decoder.init(second) };
    },
    loss(params, observations, actions, epsilon) {
      const { center, logDeviation } = encode(params, observations, actions);
      const latent = add(center, mul(exp(logDeviation), epsilon));
      const error = mean(square(sub(decode(params, observations, latent), actions)), -1);
      const variance = exp(mul(2, logDeviation));
      const divergence = mul(0.5, sub(add(square(center), variance), add(1, mul(2, logDeviation))));
      return add(error, mul(beta, mean(divergence, -1)));
    },
    logDensity(params, observations, actions, epsilon) {
      const draws = epsilon.shape[0]!;
      const { center, logDeviation } = encode(params, observations, actions);
      const latent = add(center, mul(exp(logDeviation), epsilon));
      const repeated = broadcastTo(observations, [draws, ...observations.shape]);
      const away = sub(decode(params, repeated, latent), actions);
      // The reconstruction error weighs |z|/|a| · 1/β against the KL: a Gaussian of this variance.
      const spread = (beta * actionSize) / (2 * latentSize);
      const gaussian = (squares: Tensor, logVariance: Tensor | number): Tensor =>
        mul(-0.5, sum(add(squares, add(logVariance, Math.log(2 * Math.PI))), -1));
      const ofAction = gaussian(mul(square(away), 1 / spread), Math.log(spread));
      const ofPrior = gaussian(square(latent), 0);
      const ofEncoder = gaussian(square(epsilon), mul(2, expandDims(logDeviation, 0)));
      const weights = sub(add(ofAction, ofPrior), ofEncoder);
      return sub(logSumExp(weights, 0), log(scalar(draws, weights.dtype as "float32")));
    },
  };
}

export interface DensityFitOptions {
  /** Steps of Adam, 2000 by default. */
  readonly steps?: number;
  /** 1e-3 by default. */
  readonly learningRate?: number;
  /** 128 by default. */
  readonly batchSize?: number;
}

/** Fits the estimator to the actions of a data set. */
export async function fitBehaviourDensity(
  density: BehaviourDensity,
  { observations, actions }: Pick<TransitionBatch, "observations" | "actions">,
  key: Tensor,
  { steps = 2000, learningRate = 1e-3, batchSize = 128 }: DensityFitOptions = {},
): Promise<BehaviourDensityParams> {
  type Memory = readonly [AdamState<Tensor>, CountState];
  const optimizer = flat<BehaviourDensityParams, Memory>(adam<Tensor>({ learningRate }));
  const train = trainSteps({
    optimizer,
    loss: (
      params: BehaviourDensityParams,
      batch: { readonly observations: Tensor; readonly actions: Tensor },
      stepKey: Tensor,
    ) => {
      const epsilon = random.normal(stepKey, [batchSize, density.latentSize]);
      return mean(density.loss(params, batch.observations, batch.actions, epsilon));
    },
  });
  const [initKey, orderKey, noiseKey] = random.keys(key, 3) as [Tensor, Tensor, Tensor];
  const count = observations.shape[0]!;
  const perEpoch = Math.floor(count / batchSize);
  const epochs = Math.ceil(steps / perEpoch);
  const order = concat(
    Array.from({ length: epochs }, (_, i) => shuffledBatches(random.fold(orderKey, i), count, batchSize)),
  );
  const params = density.init(initKey);
  const run = jit(train);
  const [fitted] = await run(
    params,
    optimizer.init(params),
    { observations, actions },
    order,
    random.split(noiseKey, epochs * perEpoch),
  );
  await run.release();
  return fitted;
}

export interface SpotOptions extends Omit<Td3Options<SpotExtra>, "prepare" | "actorLoss"> {
  /** λ: strength of the support constraint, 0.1 by default; the paper chooses from 0.05 to 2 for each data set. */
  readonly strength?: number;
  /** β of the density, 0.5 by default. */
  readonly beta?: number;
  readonly fit?: DensityFitOptions;
}

/** What the actor's loss knows beside the critics. */
export interface SpotExtra {
  readonly density: BehaviourDensityParams;
  /** λ as a tensor, so that it can be lowered while training goes on online. */
  readonly strength: Tensor;
}

/**
 * Supported policy optimization: TD3 whose actor minimizes `−Q/|Q̄| − λ log π_β(π(s)|s)`, with the evidence bound of a
 * variational autoencoder for the log-density (the paper's eq. for the policy objective, in Lagrangian form).
 * Observations are normalized, as in TD3+BC.
 *
 * @example
 * const agent = spot({ observationSize: 4, actionSize: 2, strength: 0.2 });
 * for await (const { step, state } of trainOffline(agent, dataset, { steps: 5000, key })) policy = agent.policy(state);
 */
export function spot({
  strength = 0.1,
  beta = 0.5,
  fit,
  ...options
}: SpotOptions): ReplayAgent<Td3State<SpotExtra>> {
  const { observationSize, actionSize, hidden } = options;
  const density = behaviourDensity({ observationSize, actionSize, beta, ...(hidden && { hidden }) });
  return td3<SpotExtra>({
    normalize: true,
    ...options,
    async prepare(key, batch) {
      return { density: await fitBehaviourDensity(density, batch, key, fit), strength: scalar(strength) };
    },
    actorLoss: (context) => spotActorLoss(density, context),
  });
}

/** `−mean Q / mean |Q| + λ mean(−ELBO)`, one number. */
export function spotActorLoss(
  density: BehaviourDensity,
  { observations, actions, values, extra, key }: Omit<ActorContext<SpotExtra>, "batch">,
): Tensor {
  const epsilon = random.normal(key, [observations.shape[0]!, density.latentSize]);
  const surprise = density.loss(extra.density, observations, actions, epsilon);
  return add(normalizedValueLoss(values), mul(extra.strength, mean(surprise)));
}

/**
 * λ while training goes on online: from 1 down to `end` times its value on a straight line over `cooling` steps.
 * @param end 0.2 by default, as in the released code.
 */
export const cooledStrength = (step: number, cooling: number, end = 0.2): number =>
  Math.max(end, 1 - step / cooling);
