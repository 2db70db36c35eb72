import { item, mul, random, sum, take, tensor, zeros } from "@prior-art/tensor";
import type { WindowModelParams } from "@prior-art/toolkit/lm";
import { adam, scale } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import {
  blockMatrices,
  excessLoss,
  type TextModel,
  textModel,
  textSource,
  trainText,
  VOCABULARY,
} from "./markovText.ts";

const source = textSource(3);

describe("the excess loss", () => {
  test("is 0 for the source's own transitions and the entropy's complement for even guesses", async () => {
    const table = tensor(Float32Array.from(source.transitions, Math.log), {
      shape: [VOCABULARY ** 2, VOCABULARY],
    });
    const oracle: TextModel<typeof table> = { init: () => table, apply: (logits) => logits };
    expect(await item(excessLoss(source, oracle)(table))).toBeCloseTo(0, 5);
    const even = { ...oracle, apply: () => zeros([VOCABULARY ** 2, VOCABULARY]) };
    expect(await item(excessLoss(source, even)(table))).toBeCloseTo(
      Math.log(VOCABULARY) - source.entropyRate,
      4,
    );
  });

  test("gives the model each context with its earlier token first", async () => {
    // Logits of the right row only where the model computes the row from the window as the source does.
    const table = tensor(Float32Array.from(source.transitions, Math.log), {
      shape: [VOCABULARY ** 2, VOCABULARY],
    });
    const lookUp = (earlier: number, later: number): TextModel<typeof table> => ({
      init: () => table,
      apply: (logits, windows) => take(logits, sum(mul(windows, tensor(Int32Array.of(earlier, later))), 1)),
    });
    expect(await item(excessLoss(source, lookUp(VOCABULARY, 1))(table))).toBeCloseTo(0, 5);
    expect(await item(excessLoss(source, lookUp(1, VOCABULARY))(table))).toBeGreaterThan(0.5);
  });
});

test("only the block's matrices are chosen for projection", () => {
  const { embedding, output, blocks } = textModel.init(random.key(0));
  expect([embedding, output, blocks[0]!.expand, blocks[0]!.contract].map(blockMatrices)).toEqual([
    false,
    false,
    true,
    true,
  ]);
});

test("training lowers the excess, the same way each time", async () => {
  const once = async () => {
    const training = trainText({
      model: textModel,
      optimizer: adam<WindowModelParams>({ learningRate: 0.01 }),
      source,
      seed: 3,
      steps: 60,
      every: 20,
    });
    let turn = await training.next();
    const reported: number[] = [];
    for (; !turn.done; turn = await training.next()) reported.push(turn.value.step);
    expect(reported).toEqual([20, 40, 60]);
    return turn.value;
  };
  const [first, second] = [await once(), await once()];
  expect(first.excess).toEqual(second.excess);
  expect(first.losses.length).toBe(60);
  expect(first.excess[2]!).toBeLessThan(first.excess[0]!);
});

test("a training that diverges says so", async () => {
  const training = trainText({
    model: textModel,
    optimizer: scale<WindowModelParams>(Number.NaN),
    source,
    seed: 3,
    steps: 20,
    every: 20,
  });
  await expect(training.next()).rejects.toThrow(/the excess loss is NaN after 20 steps/);
});
