import { data, jit, mean, mul, random, sub, sum, type Tensor, tensor } from "@prior-art/tensor";
import {
  decoder,
  fineTune,
  fullFineTuning,
  sampleCompletions,
  type TextBatch,
  type TokenModel,
  tokenLogProbabilities,
} from "@prior-art/toolkit/lm";
import { type TransformerParams, transformer } from "@prior-art/toolkit/nn";
import { adam, cosineDecay } from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";
import {
  type ChainRows,
  drawWord,
  END,
  LONGEST,
  readWord,
  VOCABULARY,
  type WordReward,
} from "./chainLanguage.ts";

/** Stands before every word. */
export const START = VOCABULARY;
/** The start and the longest word. */
export const LENGTH = LONGEST + 1;

/** A two-layer decoder over words. */
export const wordModel = transformer({
  vocabulary: VOCABULARY + 1,
  context: LENGTH,
  width: 32,
  heads: 4,
  layers: 2,
});

/** Words as texts: the start, the word, and end marks that don't count. */
export function wordTexts(words: readonly (readonly number[])[]): TextBatch {
  const shape = [words.length, LENGTH];
  const tokens = new Int32Array(words.length * LENGTH).fill(END);
  const mask = new Float32Array(words.length * LENGTH);
  words.forEach((word, i) => {
    tokens[i * LENGTH] = START;
    tokens.set(word, i * LENGTH + 1);
    mask.fill(1, i * LENGTH + 1, i * LENGTH + 1 + word.length);
  });
  return { tokens: tensor(tokens, { shape }), mask: tensor(mask, { shape }) };
}

/** The model after reading words of a language: the reference policy. */
export async function readLanguage(rows: ChainRows, seed: number, steps: number): Promise<TransformerParams> {
  const stream = randomStream(seed, "words to read");
  const { params } = await fineTune({
    model: wordModel,
    base: wordModel.init(random.key(seed)),
    adapter: fullFineTuning<TransformerParams>(),
    optimizer: adam({ learningRate: cosineDecay(3e-3, steps) }),
    data: wordTexts(Array.from({ length: 4096 }, () => drawWord(rows, stream))),
    steps,
    batchSize: 64,
    key: random.key(seed + 1),
  });
  return params;
}

/** Rewards of sampled words, tokens `[words, LENGTH]` row after row. */
export const wordRewards = (tokens: ArrayLike<number>, reward: WordReward): Float64Array =>
  Float64Array.from({ length: tokens.length / LENGTH }, (_, i) => {
    const word = Array.from({ length: LONGEST }, (_, t) => tokens[i * LENGTH + 1 + t]!);
    return reward(readWord(word));
  });

export interface PolicyMeasurement {
  readonly reward: number;
  /** KL to the reference, nats a word. */
  readonly kl: number;
}

/**
 * A measurement of policies of one kind on sampled words: `make` builds the policy from what changes, so that all of a
 * kind share one compiled model.
 */
export function policyMeter<State, X>(
  reference: TransformerParams,
  make: (x: X) => TokenModel<State>,
  reward: WordReward,
) {
  const run = jit((x: X, key: Tensor, prompts: Tensor) => {
    const drawn = sampleCompletions(make(x), key, prompts, { length: LENGTH, end: END });
    const fixed = tokenLogProbabilities(wordModel.apply(reference, drawn.tokens), drawn.tokens);
    const logRatio = sum(mul(sub(drawn.logProbabilities, fixed), drawn.mask), -1);
    return { tokens: drawn.tokens, kl: mean(logRatio) };
  });
  return {
    async measure(x: X, seed: number, words = 2000): Promise<PolicyMeasurement> {
      const prompts = tensor(new Int32Array(words).fill(START), { shape: [words, 1] });
      const { tokens, kl } = await run(x, random.key(seed), prompts);
      const rewards = wordRewards(await data(tokens), reward);
      return { reward: rewards.reduce((a, b) => a + b, 0) / words, kl: (await data(kl))[0]! };
    },
    release: () => run.release(),
  };
}

/** Transformer weights as a policy over words. */
export const wordPolicy = (params: TransformerParams) => decoder(wordModel, params);
