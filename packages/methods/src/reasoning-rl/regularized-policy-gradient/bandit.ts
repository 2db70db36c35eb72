import {
  add,
  argmax,
  broadcastTo,
  data,
  evaluate,
  expandDims,
  grad,
  item,
  jit,
  logSoftmax,
  logSumExp,
  matmul,
  mean,
  mul,
  neg,
  random,
  reshape,
  scan,
  softmax,
  stopGradient,
  sub,
  sum,
  type Tensor,
  tensor,
} from "@prior-art/tensor";
import { DivergedError } from "@prior-art/toolkit/experiment";
import { clippedSurrogate, klEstimate, leaveOneOutAdvantages, pick } from "@prior-art/toolkit/lm";
import { type Divergence, type RatioClip, rpgLoss, type Style } from "./method.ts";

const CONTEXTS = 16;
const ACTIONS = 20;
/** Actions drawn for each context in a round. */
const DRAWS = 16;
/** Gradient steps on one round's draws: all but the first are off-policy. */
const INNER_STEPS = 8;
const NOISE = 1;

/** β of the objective `E[R] − β KL(π ‖ reference)`. */
export const BETAS = { weak: 0.1, strong: 1 } as const;
type Strength = keyof typeof BETAS;

const RPG = {
  urklReinforce: { label: "RPG, unnormalized reverse, REINFORCE", divergence: "urkl", style: "reinforce" },
  urklDifferentiable: { label: "RPG, unnormalized reverse", divergence: "urkl", style: "differentiable" },
  urklClipped: {
    label: "RPG, unnormalized reverse, REINFORCE, clipped",
    divergence: "urkl",
    style: "reinforce",
    clip: { low: 0.2, high: 0.28, dual: 3 },
  },
  rklReinforce: { label: "RPG, reverse, REINFORCE", divergence: "rkl", style: "reinforce" },
  rklDifferentiable: { label: "RPG, reverse", divergence: "rkl", style: "differentiable" },
} as const satisfies Readonly<
  Record<string, { label: string; divergence: Divergence; style: Style; clip?: RatioClip }>
>;
const BASELINES = {
  grpo: { label: "GRPO (k3 in the loss)" },
  rewardK1: { label: "REINFORCE++ (k1 in the reward)" },
} as const;
type Method = keyof typeof RPG | keyof typeof BASELINES;
export const RPG_METHODS = Object.keys(RPG) as (keyof typeof RPG)[];
const METHODS = [...RPG_METHODS, ...(Object.keys(BASELINES) as (keyof typeof BASELINES)[])];

const capital = (strength: Strength): Capitalize<Strength> => (strength === "weak" ? "Weak" : "Strong");
export type BanditArm = `${Method}${Capitalize<Strength>}`;

const RATES = [1, 2, 4, 8, 16, 32];

/** Each method at each β, its learning rate tuned. */
export const BANDIT = Object.fromEntries(
  METHODS.flatMap((method) =>
    (Object.keys(BETAS) as Strength[]).map((strength) => [
      `${method}${capital(strength)}`,
      {
        label: `${{ ...RPG, ...BASELINES }[method].label}, β = ${BETAS[strength]}`,
        space: { learningRate: RATES },
        fixed: { method, beta: BETAS[strength] },
      },
    ]),
  ),
) as unknown as Record<
  BanditArm,
  {
    readonly label: string;
    readonly space: { readonly learningRate: readonly number[] };
    readonly fixed: { readonly method: Method; readonly beta: number };
  }
>;

interface Draws {
  /** `[contexts, draws]` */
  readonly actions: Tensor;
  readonly rewards: Tensor;
  readonly old: Tensor;
}

/** The loss on one round's draws. All methods get the same leave-one-out advantages. */
function lossOf(
  method: Method,
  beta: number,
  logProbabilities: Tensor,
  reference: Tensor,
  { rewards, old }: Draws,
): Tensor {
  const flat = (t: Tensor): Tensor => reshape(t, [CONTEXTS * DRAWS]);
  const [logp, logOld, logReference] = [logProbabilities, old, reference].map(flat) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const advantagesOf = (values: Tensor): Tensor => leaveOneOutAdvantages(flat(values), DRAWS);
  if (method === "grpo") {
    const surrogate = clippedSurrogate(logp, logOld, advantagesOf(rewards), { low: 0.2, high: 0.2 });
    return neg(mean(sub(surrogate, mul(beta, klEstimate("k3", logp, logReference)))));
  }
  if (method === "rewardK1") {
    const penalized = stopGradient(sub(rewards, mul(beta, sub(old, reference))));
    return neg(mean(clippedSurrogate(logp, logOld, advantagesOf(penalized), { low: 0.2, high: 0.2 })));
  }
  const { label: _, ...options } = RPG[method];
  return mean(
    rpgLoss(
      {
        logProbabilities: logp,
        oldLogProbabilities: logOld,
        referenceLogProbabilities: logReference,
        advantages: advantagesOf(rewards),
      },
      { ...options, beta },
    ),
  );
}

export interface BanditResult {
  /** Exact `E[R] − β KL(π ‖ reference)`, mean over the last ten rounds. */
  readonly objective: number;
  /** How far that is from the best policy's. */
  readonly regret: number;
  /** The objective after each round less that of the reference, where training starts. */
  readonly curve: readonly number[];
}

export interface BanditOptions {
  readonly method: Method;
  readonly beta: number;
  readonly learningRate: number;
  readonly rounds: number;
  readonly seed: number;
}

/**
 * A contextual bandit of 16 contexts and 20 actions with noisy rewards, a softmax policy linear in 16 features, and a
 * random reference policy: rounds of 256 draws and eight steps of gradient descent on them.
 */
export async function playBandit({
  method,
  beta,
  learningRate,
  rounds,
  seed,
}: BanditOptions): Promise<BanditResult> {
  const [featureKey, startKey, meanKey, roundKey] = random.keys(random.key(seed), 4) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const features = mul(random.normal(featureKey, [CONTEXTS, 16]), 0.25);
  const start = mul(random.normal(startKey, [16, ACTIONS]), 1);
  const means = random.normal(meanKey, [CONTEXTS, ACTIONS]);
  await evaluate([features, start, means]);
  const logPolicy = (weights: Tensor): Tensor => logSoftmax(matmul(features, weights));
  const reference = logPolicy(start);
  await evaluate(reference);
  const objective = (weights: Tensor): Tensor => {
    const logp = logPolicy(weights);
    const each = sub(means, mul(beta, sub(logp, reference)));
    return mean(sum(mul(softmax(matmul(features, weights)), each), -1));
  };
  const logpOf = (weights: Tensor, actions: Tensor): Tensor =>
    pick(broadcastRows(logPolicy(weights)), actions);

  const play = jit((weights: Tensor, rate: Tensor, keys: Tensor) =>
    scan(
      (before: Tensor, key: Tensor) => {
        const [drawKey, noiseKey] = random.keys(key) as [Tensor, Tensor];
        const gumbel = random.gumbel(drawKey, [CONTEXTS, DRAWS, ACTIONS]);
        const actions = argmax(add(broadcastRows(logPolicy(before)), gumbel));
        const rewards = add(
          pick(broadcastRows(means), actions),
          mul(random.normal(noiseKey, [CONTEXTS, DRAWS]), NOISE),
        );
        const draws: Draws = { actions, rewards, old: logpOf(before, actions) };
        const fixed = pick(broadcastRows(reference), actions);
        const gradient = grad((w: Tensor) => lossOf(method, beta, logpOf(w, actions), fixed, draws));
        let after = before;
        for (let step = 0; step < INNER_STEPS; step++) after = sub(after, mul(rate, gradient(after)));
        return [after, objective(after)] as const;
      },
      weights,
      keys,
    ),
  );
  const [, values] = await play(start, tensor(learningRate), random.split(roundKey, rounds));
  await play.release();
  const curve = [...(await data(values))];
  const first = (await data(objective(start)))[0]!;
  const last = curve.slice(-10);
  const average = last.reduce((a, b) => a + b, 0) / last.length;
  if (!Number.isFinite(average)) throw new DivergedError(`the objective is ${curve.at(-1)}`);
  const best = await bestObjective(means, reference, beta);
  return { objective: average, regret: best - average, curve: curve.map((v) => v - first) };
}

/** Each context's row for each of its draws. */
const broadcastRows = (t: Tensor): Tensor => broadcastTo(expandDims(t, 1), [CONTEXTS, DRAWS, ACTIONS]);

/** `β log Σ reference exp(R/β)`, averaged over contexts: what the policy tilted by the rewards reaches. */
async function bestObjective(means: Tensor, reference: Tensor, beta: number): Promise<number> {
  return item(mul(beta, mean(logSumExp(add(reference, mul(means, 1 / beta)), -1))));
}
