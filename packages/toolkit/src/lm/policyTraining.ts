import {
  data,
  jit,
  mean,
  mul,
  random,
  reshape,
  scan,
  type Tensor,
  tensor,
  treeMap,
  valueAndGrad,
} from "@prior-art/tensor";
import type { TransformerParams } from "../nn/index.ts";
import { applyUpdates, type GradientTransformation } from "../optim/index.ts";
import {
  klEstimate,
  maskedMean,
  predictive,
  softmaxEntropy,
  tokenLogProbabilities,
} from "./logProbabilities.ts";
import type { PolicyBatch, PolicyObjective } from "./policyObjectives.ts";
import { sampleCompletions } from "./sampling.ts";
import { decoder, type Transformer } from "./tokenModel.ts";

/** Sequences as the host sees them, row after row. */
export interface SampledTexts {
  /** `[completions, length]` */
  readonly tokens: Int32Array;
  /** 1 at drawn tokens, `[completions, length]` */
  readonly mask: ArrayLike<number>;
  readonly completions: number;
  readonly length: number;
}

export interface PolicyTrainingOptions<A, S> {
  readonly model: Transformer;
  /** What is trained: adapter parameters, or the weights themselves. */
  readonly params: A;
  /** The weights in effect; by default `params` are the weights. */
  readonly weights?: (params: A) => TransformerParams;
  readonly objective: PolicyObjective;
  readonly optimizer: GradientTransformation<A, S>;
  /** Prompts of a round, int32 `[promptsPerRound, promptLength]`, row after row. */
  readonly prompts: (round: number) => Int32Array;
  readonly promptLength: number;
  readonly promptsPerRound: number;
  /** Completions drawn for each prompt. */
  readonly group: number;
  /** Tokens of prompt and completion together. */
  readonly length: number;
  /** The token that ends a completion. */
  readonly end: number;
  /** Reward of each completion, `[completions]`. */
  readonly rewards: (texts: SampledTexts) => ArrayLike<number> | Promise<ArrayLike<number>>;
  readonly rounds: number;
  /** Passes over each round's completions, 1 by default: more make the updates off-policy. */
  readonly epochs?: number;
  /** Steps in each pass, on equal parts of the prompts; 1 by default. */
  readonly minibatches?: number;
  readonly temperature?: number;
  /** The policy that penalties compare with; the first weights by default. */
  readonly reference?: TransformerParams;
  readonly key: Tensor;
}

export interface PolicyRound<A> {
  /** Rounds that are over. */
  readonly round: number;
  readonly params: A;
  /** Of this round's completions, before its updates. */
  readonly reward: number;
  /** Mean entropy of the distributions that the tokens were drawn from, nats. */
  readonly entropy: number;
  /** Estimate (k3) of the KL to the reference, nats a token. */
  readonly kl: number;
  readonly loss: number;
}

/**
 * Reinforcement learning of completions: each round samples inside one compiled `scan`, lets the host score the texts,
 * and updates inside another. Yields after each round.
 * @throws RangeError when the counts don't fit each other.
 */
export async function* trainPolicy<A, S>(
  options: PolicyTrainingOptions<A, S>,
): AsyncGenerator<PolicyRound<A>, void> {
  const { model, objective, optimizer, promptLength, promptsPerRound, group, length, end } = options;
  const { weights = (params: A) => params as unknown as TransformerParams, temperature = 1 } = options;
  const { rounds, epochs = 1, minibatches = 1, key } = options;
  for (const [name, count] of Object.entries({ rounds, epochs, minibatches, group, promptsPerRound }))
    if (!(Number.isInteger(count) && count >= 1))
      throw new RangeError(`trainPolicy: ${name} is a whole number of at least 1, got ${count}`);
  if (promptsPerRound % minibatches !== 0)
    throw new RangeError(`trainPolicy: ${minibatches} minibatches don't divide ${promptsPerRound} prompts`);
  const completions = promptsPerRound * group;
  const reference = options.reference ?? weights(options.params);

  const sample = jit((params: A, drawKey: Tensor, prompts: Tensor) => {
    const { tokens, mask } = sampleCompletions(decoder(model, weights(params)), drawKey, prompts, {
      length,
      end,
      temperature,
    });
    return { tokens, mask };
  });

  type Rollout = Pick<
    PolicyBatch,
    "oldLogProbabilities" | "oldLogits" | "referenceLogProbabilities" | "mask" | "rewards"
  > & { readonly tokens: Tensor };
  const predictions = (params: TransformerParams, tokens: Tensor) => {
    const logits = model.apply(params, tokens);
    const tempered = temperature === 1 ? logits : mul(logits, 1 / temperature);
    return { logits: predictive(tempered), logProbabilities: tokenLogProbabilities(tempered, tokens) };
  };
  const lossOf = (params: A, { tokens, ...rollout }: Rollout): Tensor =>
    objective({ ...rollout, ...predictions(weights(params), tokens), group });
  const update = jit(
    (params: A, state: S, fixed: TransformerParams, tokens: Tensor, mask: Tensor, rewards: Tensor) => {
      const old = predictions(weights(params), tokens);
      const rollout: Rollout = {
        tokens,
        mask,
        rewards,
        oldLogProbabilities: old.logProbabilities,
        oldLogits: old.logits,
        referenceLogProbabilities: predictions(fixed, tokens).logProbabilities,
      };
      const parts = treeMap(
        (t) => reshape(t, [minibatches, t.shape[0]! / minibatches, ...t.shape.slice(1)]),
        rollout,
      );
      const step = ([before, memory]: readonly [A, S], part: Rollout) => {
        const [loss, gradients] = valueAndGrad((p: A) => lossOf(p, part))(before);
        const [updates, next] = optimizer.update(gradients, memory, before);
        return [[applyUpdates(before, updates), next] as const, loss] as const;
      };
      let carry: readonly [A, S] = [params, state];
      let loss: Tensor | undefined;
      for (let epoch = 0; epoch < epochs; epoch++) {
        const [after, losses] = scan(step, carry, parts);
        carry = after;
        loss ??= mean(losses);
      }
      return {
        params: carry[0],
        state: carry[1],
        loss: loss!,
        entropy: maskedMean(softmaxEntropy(old.logits), mask),
        kl: maskedMean(klEstimate("k3", old.logProbabilities, rollout.referenceLogProbabilities), mask),
      };
    },
  );

  try {
    let params = options.params;
    let state = optimizer.init(params);
    for (let round = 0; round < rounds; round++) {
      const given = options.prompts(round);
      if (given.length !== promptsPerRound * promptLength)
        throw new RangeError(
          `trainPolicy: ${given.length} prompt tokens where ${promptsPerRound * promptLength} belong`,
        );
      const repeated = new Int32Array(completions * promptLength);
      for (let i = 0; i < completions; i++) {
        const from = Math.floor(i / group) * promptLength;
        repeated.set(given.subarray(from, from + promptLength), i * promptLength);
      }
      const drawn = await sample(
        params,
        random.fold(key, round),
        tensor(repeated, { shape: [completions, promptLength] }),
      );
      const texts = {
        tokens: (await data(drawn.tokens)) as Int32Array,
        mask: await data(drawn.mask),
        completions,
        length,
      };
      const rewards = Float32Array.from(await options.rewards(texts));
      const result = await update(params, state, reference, drawn.tokens, drawn.mask, tensor(rewards));
      ({ params, state } = result);
      const number = async (t: Tensor): Promise<number> => (await data(t))[0]!;
      yield {
        round: round + 1,
        params,
        reward: rewards.reduce((sum, r) => sum + r, 0) / completions,
        entropy: await number(result.entropy),
        kl: await number(result.kl),
        loss: await number(result.loss),
      };
    }
  } finally {
    await sample.release();
    await update.release();
  }
}
