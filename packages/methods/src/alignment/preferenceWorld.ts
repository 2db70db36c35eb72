import { checkpoint } from "@prior-art/toolkit/checkpoints";
import {
  expectedReward,
  gibbsPolicy,
  prefersFirst,
  sequenceKl,
  type TextBatch,
  type TokenModel,
} from "@prior-art/toolkit/lm";
import type { TransformerParams } from "@prior-art/toolkit/nn";
import { randomStream } from "@prior-art/toolkit/stats";
import {
  chainPolicy,
  chainRows,
  countReward,
  drawWord,
  readWord,
  type Word,
  wordProcess,
} from "./chainLanguage.ts";
import type { AlignmentTask } from "./family.ts";
import { type LearnedReward, trainRewardModel } from "./rewardModel.ts";
import { type PolicyMeasurement, policyMeter, readLanguage, wordModel, wordTexts } from "./wordModel.ts";

const LANGUAGE = 7;
const READING_STEPS = 600;
/** What a nat of KL to the reference costs in gold reward. */
export const PRICE = 0.1;
/** Noise of the preferences: Bradley and Terry's temperature. */
const TEMPERATURE = 0.25;

/** The reference policy: a transformer that has read the language. */
export const reader = checkpoint<TransformerParams>({
  name: "word-reader",
  settings: { language: LANGUAGE, steps: READING_STEPS, width: 32, layers: 2 },
  train: () => readLanguage(chainRows(LANGUAGE), 0, READING_STEPS),
});

/** Pairs of words of the language, the one that a noisy judge of the gold reward prefers first. */
function preferences(count: number, seed: number): Readonly<Record<"chosen" | "rejected", TextBatch>> {
  const stream = randomStream(seed, "preferences");
  const rows = chainRows(LANGUAGE);
  const chosen: number[][] = [];
  const rejected: number[][] = [];
  for (let i = 0; i < count; i++) {
    const [a, b] = [drawWord(rows, stream), drawWord(rows, stream)];
    const first = prefersFirst(countReward(readWord(a)), countReward(readWord(b)), stream, TEMPERATURE);
    chosen.push(first ? a : b);
    rejected.push(first ? b : a);
  }
  return { chosen: wordTexts(chosen), rejected: wordTexts(rejected) };
}

export interface PreferenceWorldOptions {
  readonly pairs: number;
  readonly steps: number;
  readonly seed: number;
}

/** What a contender gets to work with. */
export async function alignmentTask({ pairs, steps, seed }: PreferenceWorldOptions): Promise<AlignmentTask> {
  const reference = await reader.load();
  const sides = preferences(pairs, seed);
  let learned: Promise<LearnedReward> | undefined;
  return {
    model: wordModel,
    reference,
    ...sides,
    rewardModel: () =>
      (learned ??= trainRewardModel({
        model: wordModel,
        base: reference,
        width: 32,
        ...sides,
        steps: 150,
        batchSize: 64,
        learningRate: 1e-3,
        seed,
      })),
    steps,
    batchSize: 64,
    seed,
  };
}

/** Gold reward and KL of a policy, on sampled words. */
export async function measurePolicy(
  policy: TokenModel<unknown>,
  { words, seed }: { readonly words: number; readonly seed: number },
): Promise<PolicyMeasurement> {
  const meter = policyMeter(await reader.load(), () => policy, countReward);
  const measured = await meter.measure(null, seed, words);
  await meter.release();
  return measured;
}

/** The best that can be had: gold reward less the price of the KL, of the optimum over all policies. */
export function bestValue(): PolicyMeasurement & { readonly value: number } {
  const process = wordProcess(countReward);
  const reference = chainPolicy(process, chainRows(LANGUAGE));
  const { policy, values } = gibbsPolicy<Word>(process, reference, PRICE);
  return {
    reward: expectedReward(process, policy),
    kl: sequenceKl(process, policy, reference),
    value: values[0]!,
  };
}
