import { data, item, mean, random, type Tensor } from "@prior-art/tensor";
import { expectedReward, sequenceLogProbability, tokenLogProbabilities } from "@prior-art/toolkit/lm";
import { randomStream } from "@prior-art/toolkit/stats";
import { expect, test } from "vitest";
import {
  chainPolicy,
  chainRows,
  countReward,
  drawWord,
  END,
  LONGEST,
  readWord,
  wordProcess,
} from "./chainLanguage.ts";
import { bestValue, PRICE } from "./preferenceWorld.ts";
import { trainRewardModel } from "./rewardModel.ts";
import {
  LENGTH,
  policyMeter,
  readLanguage,
  START,
  wordModel,
  wordPolicy,
  wordRewards,
  wordTexts,
} from "./wordModel.ts";

const rows = chainRows(1_000_000);

test("words become texts: the start, the letters, the end, and a mask of what counts", async () => {
  const { tokens, mask } = wordTexts([
    [0, 1, END],
    [2, 2, 2, 2, 2, 2, 2, 2],
  ]);
  expect([...(await data(tokens))]).toEqual([
    START,
    0,
    1,
    ...new Array(6).fill(END),
    START,
    ...new Array(8).fill(2),
  ]);
  expect([...(await data(mask))]).toEqual([0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
  expect([...wordRewards(await data(tokens), ({ letters }) => letters)]).toEqual([2, LONGEST]);
});

test("a model that has read a language talks like it: reward as computed exactly, no KL to itself", async () => {
  const params = await readLanguage(rows, 1_000_000, 120);
  const meter = policyMeter(params, wordPolicy, countReward);
  const { reward, kl } = await meter.measure(params, 3, 3000);
  await meter.release();
  const process = wordProcess(countReward);
  expect(Math.abs(reward - expectedReward(process, chainPolicy(process, rows)))).toBeLessThan(0.05);
  expect(Math.abs(kl)).toBeLessThan(1e-3);
  // Its likelihood of fresh words is near that of the language itself.
  const stream = randomStream(9, "words");
  const words = Array.from({ length: 1000 }, () => drawWord(rows, stream));
  const { tokens, mask } = wordTexts(words);
  const own = await item(
    mean(sequenceLogProbability(tokenLogProbabilities(wordModel.apply(params, tokens), tokens), mask)),
  );
  const exact = words.map((word) =>
    word.reduce((sum, token, i) => sum + Math.log(rows[(word[i - 1] ?? -1) + 1]![token]!), 0),
  );
  expect(Math.abs(own - exact.reduce((a, b) => a + b, 0) / 1000)).toBeLessThan(0.1);
});

test("a reward model trained on clean preferences ranks fresh words as the gold reward does", async () => {
  const stream = randomStream(4, "pairs");
  const pairs = Array.from(
    { length: 600 },
    () => [drawWord(rows, stream), drawWord(rows, stream)] as const,
  ).filter(([a, b]) => countReward(readWord(a)) !== countReward(readWord(b)));
  const sorted = pairs.map(([a, b]) =>
    countReward(readWord(a)) > countReward(readWord(b)) ? [a, b] : [b, a],
  );
  const side = (i: number, from: number, to: number) =>
    wordTexts(sorted.slice(from, to).map((pair) => pair[i]!));
  const judge = await trainRewardModel({
    model: wordModel,
    base: wordModel.init(random.key(0)),
    width: 32,
    chosen: side(0, 0, 200),
    rejected: side(1, 0, 200),
    steps: 100,
    batchSize: 32,
    learningRate: 3e-3,
    seed: 0,
  });
  const scores = async (i: number): Promise<number[]> => {
    const { tokens, mask } = side(i, 200, pairs.length);
    const score: Tensor = judge.score(tokens, mask);
    return [...(await data(score))];
  };
  const [better, worse] = [await scores(0), await scores(1)];
  const right = better.filter((s, i) => s > worse[i]!).length / better.length;
  expect(right).toBeGreaterThan(0.85);
});

test("the best value is that of the optimal policy, and depends on the price", () => {
  const { reward, kl, value } = bestValue();
  expect(value).toBeCloseTo(reward - PRICE * kl, 10);
  expect(LENGTH).toBe(LONGEST + 1);
});
