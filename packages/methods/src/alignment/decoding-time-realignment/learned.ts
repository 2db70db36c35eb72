import { add, mul, random, type Tensor, tensor, treeMap } from "@prior-art/tensor";
import { reinforce, trainPolicy } from "@prior-art/toolkit/lm";
import type { TransformerParams } from "@prior-art/toolkit/nn";
import { adam } from "@prior-art/toolkit/optim";
import { spearman } from "@prior-art/toolkit/stats";
import { chainRows, countReward, END } from "../chainLanguage.ts";
import {
  LENGTH,
  policyMeter,
  readLanguage,
  START,
  wordModel,
  wordPolicy,
  wordRewards,
} from "../wordModel.ts";
import { BETA } from "./exact.ts";
import { realign } from "./method.ts";

/** λ of the learned models. */
export const LEARNED_LAMBDAS = [0.25, 0.5, 1, 2, 3];

export interface LearnedSettings {
  readonly readingSteps: number;
  /** Rounds of policy gradient of each aligned model. */
  readonly rounds: number;
  /** Words drawn in each round. */
  readonly words: number;
}

/** The reference trained on by policy gradient on `E[reward] − β KL`. */
async function align(
  reference: TransformerParams,
  beta: number,
  { rounds, words }: LearnedSettings,
  seed: number,
): Promise<TransformerParams> {
  let params = reference;
  for await (const round of trainPolicy({
    model: wordModel,
    params: reference,
    objective: reinforce({ klCoefficient: beta }),
    optimizer: adam<TransformerParams>({ learningRate: 1e-3 }),
    prompts: () => Int32Array.of(START),
    promptLength: 1,
    promptsPerRound: 1,
    group: words,
    length: LENGTH,
    end: END,
    rewards: ({ tokens }) => wordRewards(tokens, countReward),
    rounds,
    key: random.key(seed),
  }))
    ({ params } = round);
  return params;
}

export interface LearnedResult {
  /** Rewards at `LEARNED_LAMBDAS`. */
  readonly learnedDera: readonly number[];
  readonly learnedRetrained: readonly number[];
  /** Of `θ_sft + λ(θ − θ_sft)`. */
  readonly learnedWeights: readonly number[];
  readonly learnedKl: readonly number[];
  readonly learnedReference: number;
  readonly learnedRank: number;
  /** Mean reward gap to the retrained models, of DeRa and of interpolated weights. */
  readonly learnedGap: number;
  readonly weightsGap: number;
}

/** One language read, one model aligned and realigned at decoding time, and one retrained for each λ. */
export async function* learnedRealignment(
  seed: number,
  settings: LearnedSettings,
): AsyncGenerator<number, LearnedResult, void> {
  const reference = await readLanguage(chainRows(seed), seed, settings.readingSteps);
  yield 1;
  const aligned = await align(reference, BETA, settings, seed);
  yield 2;
  const plain = policyMeter(reference, wordPolicy, countReward);
  const mixed = policyMeter(
    reference,
    (lambda: Tensor) => realign(wordPolicy(reference), wordPolicy(aligned), lambda),
    countReward,
  );
  const learnedDera: number[] = [];
  const learnedRetrained: number[] = [];
  const learnedWeights: number[] = [];
  const learnedKl: number[] = [];
  for (const [i, lambda] of LEARNED_LAMBDAS.entries()) {
    const { reward, kl } = await mixed.measure(tensor(lambda), seed);
    learnedDera.push(reward);
    learnedKl.push(kl);
    const between = treeMap((from, to) => add(mul(from, 1 - lambda), mul(to, lambda)), reference, aligned);
    learnedWeights.push((await plain.measure(between, seed)).reward);
    const retrained = lambda === 1 ? aligned : await align(reference, BETA / lambda, settings, seed);
    learnedRetrained.push((await plain.measure(retrained, seed)).reward);
    yield 3 + i;
  }
  const learnedReference = (await plain.measure(reference, seed)).reward;
  await plain.release();
  await mixed.release();
  const gapTo = (rewards: readonly number[]): number =>
    rewards.reduce((sum, r, i) => sum + Math.abs(r - learnedRetrained[i]!), 0) / rewards.length;
  return {
    learnedDera,
    learnedRetrained,
    learnedWeights,
    learnedKl,
    learnedReference,
    learnedRank: spearman(learnedDera, learnedRetrained),
    learnedGap: gapTo(learnedDera),
    weightsGap: gapTo(learnedWeights),
  };
}
