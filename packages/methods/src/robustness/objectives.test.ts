import { add, data, item, random, type Tensor, take, tensor, toArray, zeros } from "@prior-art/tensor";
import { crossEntropy, type MlpParams } from "@prior-art/toolkit/nn";
import { sgd } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import type { RobustBatch, RobustObjective } from "./family.ts";
import { noisyDigits } from "./noisyDigits.ts";
import { empiricalRisk, generalizedCrossEntropy } from "./objectives.ts";
import { featureMlp, robustTraining } from "./training.ts";

const logits = tensor([[1, 0, -1], [0.2, 0.3, 2]]); // biome-ignore format: a matrix
const labels = tensor(Int32Array.of(0, 1));
const batch: RobustBatch = {
  logits,
  features: logits,
  inputs: logits,
  labels,
  indices: labels,
  groups: labels,
  predict: () => ({ logits, features: logits }),
};
const lossOf = <S>({ init, loss }: RobustObjective<S>): Promise<number> =>
  item(loss(batch, init({ examples: 2, classes: 3, groups: 2 }))[0]);

describe("objectives", () => {
  test("empirical risk is cross-entropy, smoothed where asked", async () => {
    expect(await lossOf(empiricalRisk())).toBeCloseTo(await item(crossEntropy(logits, labels)), 6);
    const smoothed = await item(crossEntropy(logits, labels, { smoothing: 0.2 }));
    expect(await lossOf(empiricalRisk({ smoothing: 0.2 }))).toBeCloseTo(smoothed, 6);
  });

  test("generalized cross-entropy tends to cross-entropy, and is the absolute error at q = 1", async () => {
    expect(await lossOf(generalizedCrossEntropy({ q: 1e-3 }))).toBeCloseTo(await lossOf(empiricalRisk()), 2);
    const p = [
      Math.E / (Math.E + 1 + 1 / Math.E),
      Math.exp(0.3) / (Math.exp(0.2) + Math.exp(0.3) + Math.exp(2)),
    ];
    expect(await lossOf(generalizedCrossEntropy({ q: 1 }))).toBeCloseTo(1 - (p[0]! + p[1]!) / 2, 6);
    expect(await lossOf(generalizedCrossEntropy({ q: 0.5 }))).toBeCloseTo(2 - Math.sqrt(p[0]!) - Math.sqrt(p[1]!), 5); // biome-ignore format: one claim
    expect(() => generalizedCrossEntropy({ q: 0 })).toThrow(RangeError);
  });
});

describe("training", () => {
  const network = featureMlp([3, 4, 3]);
  const examples = { inputs: random.normal(random.key(1), [10, 3]), labels: tensor(Int32Array.from({ length: 10 }, (_, i) => i % 3)) }; // biome-ignore format: one set
  const trainingOf = <S>(objective: RobustObjective<S>, groups?: Tensor) =>
    robustTraining({
      network,
      objective,
      optimizer: sgd<MlpParams>({ learningRate: 0.5 }),
      data: groups ? { ...examples, groups } : examples,
      classes: 3,
      batchSize: 5,
    });

  test("lowers the loss", async () => {
    const training = trainingOf(empiricalRisk());
    const [, losses] = training.epochs(training.init(random.key(2)), training.epochKeys(2, 30));
    const rows = (await toArray(losses)) as number[][];
    expect(rows).toHaveLength(30);
    expect(rows[29]![0]! + rows[29]![1]!).toBeLessThan(0.7 * (rows[0]![0]! + rows[0]![1]!));
  });

  test("an objective sees each example once an epoch, with its label, group and features, and keeps its state", async () => {
    const groups = tensor(Int32Array.from({ length: 10 }, (_, i) => i));
    const counting: RobustObjective<{ readonly sums: Tensor }> = {
      init: ({ groups: count }) => ({ sums: zeros([count]) }),
      loss: (seen, { sums }) => {
        expect(seen.features.shape).toEqual([5, 4]);
        expect(seen.predict(zeros([2, 3])).logits.shape).toEqual([2, 3]);
        const ones = add(zeros([5]), 1);
        const after = add(sums, take(ones, zeros([10], "int32")));
        return [crossEntropy(seen.logits, seen.labels), { sums: after }];
      },
    };
    const training = robustTraining({
      network,
      objective: counting,
      optimizer: sgd<MlpParams>({ learningRate: 0.1 }),
      data: { ...examples, groups },
      classes: 3,
      groups: 10,
      batchSize: 5,
    });
    const [after] = training.epochs(training.init(random.key(2)), training.epochKeys(2, 3));
    expect([...(await data(after.objective.sums))]).toEqual(new Array(10).fill(6));
  });
});

test("noisy digits have the wanted share of wrong labels, in the training part alone", async () => {
  const { train, validation, test: held } = await noisyDigits({ train: 200, rate: 0.4, seed: 1_000_000 });
  const [right, seen] = [await data(train.labels), await data(train.observed)];
  const wrong = [...right.keys()].filter((i) => right[i] !== seen[i]);
  expect(wrong).toHaveLength(80);
  expect([...(await data(train.wrong))]).toEqual(wrong);
  expect([validation.labels.size, held.labels.size]).toEqual([300, 500]);
});
