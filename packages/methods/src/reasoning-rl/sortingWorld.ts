import { data, jit, random, type Tensor, tensor } from "@prior-art/tensor";
import { checkpoint } from "@prior-art/toolkit/checkpoints";
import {
  decoder,
  encodeExamples,
  fineTune,
  fullFineTuning,
  maskedMean,
  type PolicyObjective,
  predictive,
  sampleCompletions,
  softmaxEntropy,
  sortingTask,
  trainPolicy,
  verifyCompletions,
} from "@prior-art/toolkit/lm";
import { type TransformerParams, transformer } from "@prior-art/toolkit/nn";
import { adam, cosineDecay } from "@prior-art/toolkit/optim";
import { type RandomStream, randomStream } from "@prior-art/toolkit/stats";

/** `"dbacb>"` → `"abbcd"`: five letters of six. */
export const sorting = sortingTask({ length: 5, letters: 6 });
const { tokenizer, promptLength, answerLength } = sorting;
const LENGTH = promptLength + answerLength + 1;
const END = tokenizer.id(sorting.end);

/** One layer of width 32. */
export const policyModel = transformer({
  vocabulary: tokenizer.vocabulary,
  context: LENGTH,
  width: 32,
  heads: 4,
  layers: 1,
});

const TEACHING = { examples: 8192, steps: 130, batchSize: 64, learningRate: 3e-3, seed: 0 };

/** A policy that has seen enough sorted words to be right now and then: where reinforcement learning starts. */
export const beginner = checkpoint<TransformerParams>({
  name: "sorting-beginner",
  settings: { ...TEACHING, length: 5, letters: 6, width: 32, layers: 1 },
  async train() {
    const { examples, steps, batchSize, learningRate, seed } = TEACHING;
    const stream = randomStream(seed, "lessons");
    const { tokens, mask, count, length } = encodeExamples(
      sorting,
      Array.from({ length: examples }, () => sorting.generate(stream)),
    );
    const shape = [count, length];
    const { params } = await fineTune({
      model: policyModel,
      base: policyModel.init(random.key(seed)),
      adapter: fullFineTuning<TransformerParams>(),
      optimizer: adam({ learningRate: cosineDecay(learningRate, steps) }),
      data: { tokens: tensor(tokens, { shape }), mask: tensor(mask, { shape }) },
      steps,
      batchSize,
      key: random.key(seed),
    });
    return params;
  },
});

const promptTokens = (stream: RandomStream, count: number): Int32Array =>
  Int32Array.from(
    Array.from({ length: count }, () => [...tokenizer.encode(sorting.generate(stream).prompt)]).flat(),
  );

export interface PolicyScore {
  /** Share of sampled answers (temperature 1) that are right. */
  readonly passRate: number;
  /** Of the distributions that the answers' tokens were drawn from, nats. */
  readonly entropy: number;
}

/** How a policy does on fresh prompts. */
export async function scorePolicy(
  weights: TransformerParams,
  { prompts, seed, stream }: { readonly prompts: number; readonly seed: number; readonly stream: string },
): Promise<PolicyScore> {
  const run = jit((params: TransformerParams, key: Tensor, given: Tensor) => {
    const { tokens, mask } = sampleCompletions(decoder(policyModel, params), key, given, {
      length: LENGTH,
      end: END,
    });
    return {
      tokens,
      entropy: maskedMean(softmaxEntropy(predictive(policyModel.apply(params, tokens))), mask),
    };
  });
  const given = tensor(promptTokens(randomStream(seed, `prompts to ${stream}`), prompts), {
    shape: [prompts, promptLength],
  });
  const { tokens, entropy } = await run(weights, random.key(seed), given);
  const right = verifyCompletions(sorting, (await data(tokens)) as Int32Array, LENGTH);
  const score = {
    passRate: right.reduce((sum, r) => sum + r, 0) / prompts,
    entropy: (await data(entropy))[0]!,
  };
  await run.release();
  return score;
}

export interface ReinforcementOptions {
  readonly objective: PolicyObjective;
  readonly learningRate: number;
  readonly rounds: number;
  /** Steps on each round's completions: more than 1 is off-policy. */
  readonly epochs: number;
  readonly seed: number;
}

export interface ReinforcementProgress extends PolicyScore {
  readonly round: number;
  readonly params: TransformerParams;
}

/** Reinforcement learning from the beginner: 16 prompts a round, eight answers each. */
export async function* reinforceSorting(
  options: ReinforcementOptions,
): AsyncGenerator<ReinforcementProgress, void> {
  const { objective, learningRate, rounds, epochs, seed } = options;
  const stream = randomStream(seed, "prompts to learn from");
  for await (const { round, params, reward, entropy } of trainPolicy({
    model: policyModel,
    params: await beginner.load(),
    objective,
    optimizer: adam<TransformerParams>({ learningRate }),
    prompts: () => promptTokens(stream, 16),
    promptLength,
    promptsPerRound: 16,
    group: 8,
    length: LENGTH,
    end: END,
    rewards: ({ tokens }) => verifyCompletions(sorting, tokens, LENGTH),
    rounds,
    epochs,
    key: random.key(seed),
  }))
    yield { round, params, passRate: reward, entropy };
}
