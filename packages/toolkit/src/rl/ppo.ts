import {
  add,
  cast,
  clip,
  data,
  div,
  exp,
  jit,
  logSoftmax,
  mean,
  minimum,
  mul,
  neg,
  random,
  scan,
  softmax,
  square,
  squeeze,
  std,
  sub,
  sum,
  type Tensor,
  take,
  takeAlongAxis,
  tensor,
  treeMap,
  valueAndGrad,
  zeros,
} from "@prior-art/tensor";
import { type MlpParams, mlp } from "../nn/index.ts";
import { adam, applyUpdates, chain, clipByGlobalNorm, flat, shuffledBatches } from "../optim/index.ts";
import { type RandomStream, randomStream } from "../stats/index.ts";
import { generalizedAdvantages } from "./advantages.ts";
import type { Agent } from "./agent.ts";
import type { Action, ActionSpace, Environment } from "./environment.ts";
import { hostMlp } from "./networks.ts";

export interface PpoOptions {
  /** 64 and 64 by default. */
  readonly hidden?: readonly number[];
  /** γ and λ, 0.99 and 0.95 by default. */
  readonly discount?: number;
  readonly lambda?: number;
  /** Adam's rate, 1e-3 by default. */
  readonly learningRate?: number;
  /** ε of the clipped ratio, 0.2 by default. */
  readonly clip?: number;
  /** Weight of the entropy, 0.01 by default. */
  readonly entropy?: number;
  /** Steps between updates, passes over them and batch size: 1024, 6 and 128 by default. */
  readonly rollout?: number;
  readonly passes?: number;
  readonly batchSize?: number;
}

interface PpoParams {
  readonly actor: MlpParams;
  readonly critic: MlpParams;
  /** Of the Gaussian over box actions, `[size]`; unused where actions are discrete. */
  readonly logDeviation: Tensor;
}

/** What a rollout leaves for the updates, `[steps, …]`. */
interface Rollout {
  readonly observations: Tensor;
  readonly actions: Tensor;
  readonly logProbabilities: Tensor;
  readonly advantages: Tensor;
  readonly returns: Tensor;
}

/** `min(ρ A, clip(ρ, 1 − ε, 1 + ε) A)` with ρ = π/π_old, `[batch]` (Schulman et al., 2017, eq. 7). */
export function clippedSurrogate(
  logProbabilities: Tensor,
  oldLogProbabilities: Tensor,
  advantages: Tensor,
  epsilon: number,
): Tensor {
  const ratio = exp(sub(logProbabilities, oldLogProbabilities));
  return minimum(mul(ratio, advantages), mul(clip(ratio, 1 - epsilon, 1 + epsilon), advantages));
}

/** Proximal policy optimization with generalized advantages; discrete or box actions (Schulman et al., 2017). */
export function ppo(options: PpoOptions = {}): Agent {
  const { hidden = [64, 64], discount = 0.99, lambda = 0.95, learningRate = 1e-3 } = options;
  const { clip: epsilon = 0.2, entropy: bonus = 0.01, rollout = 1024, passes = 6, batchSize = 128 } = options;
  return {
    async *learn(environment, { steps, seed }) {
      const { actions: space, observationSize } = environment;
      const outputs = space.kind === "discrete" ? space.count : space.size;
      const actor = mlp({ sizes: [observationSize, ...hidden, outputs] });
      const critic = mlp({ sizes: [observationSize, ...hidden, 1] });
      const loss = (params: PpoParams, batch: Rollout): Tensor => {
        const policy = distribution(
          space,
          actor.apply(params.actor, batch.observations),
          params.logDeviation,
        );
        const spread = add(std(batch.advantages), 1e-8);
        const advantages = div(sub(batch.advantages, mean(batch.advantages)), spread);
        const gain = clippedSurrogate(
          policy.logProbability(batch.actions),
          batch.logProbabilities,
          advantages,
          epsilon,
        );
        const values = squeeze(critic.apply(params.critic, batch.observations), -1);
        const fit = mean(square(sub(values, batch.returns)));
        return sub(sub(mul(0.5, fit), mean(gain)), mul(bonus, mean(policy.entropy)));
      };
      const optimizer = chain<
        PpoParams,
        readonly [ReturnType<typeof clipByGlobalNorm<PpoParams>>, ReturnType<typeof adamOf>]
      >(clipByGlobalNorm<PpoParams>(0.5), adamOf(learningRate));
      type State = ReturnType<typeof optimizer.init>;
      const updates = jit((params: PpoParams, state: State, all: Rollout, keys: Tensor) => {
        const pass = ([before, memory]: readonly [PpoParams, State], key: Tensor) => {
          const rows = shuffledBatches(key, rollout, batchSize);
          const [after] = scan(
            ([now, inner]: readonly [PpoParams, State], batchRows: Tensor) => {
              const batch = treeMap((t) => take(t, batchRows), all);
              const [, gradients] = valueAndGrad(loss)(now, batch);
              const [change, next] = optimizer.update(gradients, inner, now);
              return [[applyUpdates(now, change), next] as const, null];
            },
            [before, memory] as const,
            rows,
          );
          return [after, null] as const;
        };
        return scan(pass, [params, state] as const, keys)[0];
      });

      const key = random.key(seed);
      const [actorKey, criticKey] = random.keys(random.fold(key, 0)) as [Tensor, Tensor];
      let params: PpoParams = {
        actor: actor.init(actorKey),
        critic: critic.init(criticKey),
        logDeviation: zeros([outputs]),
      };
      let state = optimizer.init(params);
      const stream = randomStream(seed, "learning");
      const walk = new Walk(environment, stream);
      try {
        for (let step = 0; step < steps; step += rollout) {
          const policy = await hostPolicy(space, params);
          const value = await hostMlp(params.critic);
          const taken = walk.collect(rollout, policy, (o) => value(o)[0]!, { discount, lambda });
          [params, state] = await updates(
            params,
            state,
            taken.rollout,
            random.split(random.fold(key, 1 + step), passes),
          );
          const greedy = await hostPolicy(space, params);
          yield {
            step: step + rollout,
            returns: taken.returns,
            behaviour: (observation) => greedy(observation, null).action,
          };
        }
      } finally {
        await updates.release();
      }
    },
  };
}

const adamOf = (learningRate: number) =>
  flat<PpoParams, ReturnType<ReturnType<typeof adam<Tensor>>["init"]>>(adam<Tensor>({ learningRate }));

/** Log-probabilities and entropies of a policy's outputs in a traced graph, `[batch]`. */
function distribution(space: ActionSpace, outputs: Tensor, logDeviation: Tensor) {
  if (space.kind === "discrete") {
    const logs = logSoftmax(outputs);
    return {
      logProbability: (actions: Tensor) => squeeze(takeAlongAxis(logs, cast(actions, "int32")), -1),
      entropy: neg(sum(mul(softmax(outputs), logs), -1)),
    };
  }
  return {
    logProbability: (actions: Tensor) => {
      const away = div(sub(actions, outputs), exp(logDeviation));
      return neg(sum(add(mul(0.5, square(away)), add(logDeviation, 0.5 * Math.log(2 * Math.PI))), -1));
    },
    entropy: sum(add(logDeviation, 0.5 * Math.log(2 * Math.PI * Math.E))),
  };
}

/** Draws an action with its log-probability in plain code; without random numbers, the likeliest one. */
type HostPolicy = (
  observation: Float64Array,
  stream: RandomStream | null,
) => { readonly action: Action; readonly logProbability: number };

async function hostPolicy(space: ActionSpace, params: PpoParams): Promise<HostPolicy> {
  const outputs = await hostMlp(params.actor);
  const logDeviation = await data(params.logDeviation);
  if (space.kind === "box")
    return (observation, stream) => {
      let logProbability = 0;
      const action = outputs(observation).map((center, i) => {
        const epsilon = stream ? stream.normal() : 0;
        logProbability -= 0.5 * epsilon ** 2 + logDeviation[i]! + 0.5 * Math.log(2 * Math.PI);
        return center + Math.exp(logDeviation[i]!) * epsilon;
      });
      return { action, logProbability };
    };
  return (observation, stream) => {
    const logits = outputs(observation);
    const largest = Math.max(...logits);
    if (!stream) return { action: logits.indexOf(largest), logProbability: 0 };
    const total = logits.reduce((sum, v) => sum + Math.exp(v - largest), 0);
    let left = stream.uniform() * total;
    let action = 0;
    while (action < logits.length - 1 && (left -= Math.exp(logits[action]! - largest)) >= 0) action++;
    return { action, logProbability: logits[action]! - largest - Math.log(total) };
  };
}

/** An environment that goes on where the last rollout left it. */
class Walk {
  private state: Float64Array;
  private age = 0;
  private total = 0;

  constructor(
    private readonly environment: Environment,
    private readonly stream: RandomStream,
  ) {
    this.state = environment.start(stream);
  }

  collect(
    steps: number,
    policy: HostPolicy,
    value: (observation: Float64Array) => number,
    { discount, lambda }: { readonly discount: number; readonly lambda: number },
  ): { readonly rollout: Rollout; readonly returns: number[] } {
    const { environment, stream } = this;
    const actionSize = environment.actions.kind === "box" ? environment.actions.size : 1;
    const observations = new Float32Array(steps * environment.observationSize);
    const actions = new Float32Array(steps * actionSize);
    const logs = new Float32Array(steps);
    const [rewards, values, ends] = [
      new Float64Array(steps),
      new Float64Array(steps + 1),
      new Uint8Array(steps),
    ];
    const returns: number[] = [];
    for (let t = 0; t < steps; t++) {
      const observation = environment.observe(this.state);
      const { action, logProbability } = policy(observation, stream);
      const { state, reward, terminal } = environment.step(this.state, action, stream);
      observations.set(observation, t * environment.observationSize);
      actions.set(typeof action === "number" ? [action] : action, t * actionSize);
      logs[t] = logProbability;
      values[t] = value(observation);
      rewards[t] = reward;
      this.age++;
      this.total += reward;
      this.state = state;
      if (!terminal && this.age < environment.horizon) continue;
      ends[t] = 1;
      // What a cut-off episode would still have earned is part of its last reward.
      if (!terminal) rewards[t]! += discount * value(environment.observe(state));
      returns.push(this.total);
      this.state = environment.start(stream);
      this.age = this.total = 0;
    }
    values[steps] = value(environment.observe(this.state));
    const { advantages, returns: aims } = generalizedAdvantages({
      rewards,
      values,
      terminals: ends,
      discount,
      lambda,
    });
    const rollout = {
      observations: tensor(observations, { shape: [steps, environment.observationSize] }),
      actions: tensor(actions, { shape: [steps, actionSize] }),
      logProbabilities: tensor(logs),
      advantages: tensor(Float32Array.from(advantages)),
      returns: tensor(Float32Array.from(aims)),
    };
    return { rollout, returns };
  }
}
