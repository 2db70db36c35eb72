import { data, item, mean, random, type Tensor, take, tensor } from "@prior-art/tensor";
import { crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { adam, momentum } from "@prior-art/toolkit/optim";
import { expect, test } from "vitest";
import { digitParts, type LabelledPart, trainCells } from "./cells.ts";

const model = mlp({ sizes: [64, 12, 10] });
const loss = (p: MlpParams, { x, labels }: LabelledPart): Tensor => crossEntropy(model.apply(p, x), labels);

test("parts don't overlap in number, and only training labels are noisy", async () => {
  const sizes = { train: 200, validation: 100, test: 150, seed: 3 };
  const [clean, noisy] = [await digitParts(sizes), await digitParts({ ...sizes, noise: 0.3 })];
  expect([clean.train.x.shape, clean.validation.x.shape, clean.test.x.shape]).toEqual([
    [200, 64],
    [100, 64],
    [150, 64],
  ]);
  const wrong = async (part: "train" | "test") => {
    const [a, b] = [[...(await data(clean[part].labels))], [...(await data(noisy[part].labels))]];
    return a.reduce((count, label, i) => count + (label === b[i] ? 0 : 1), 0);
  };
  expect(await wrong("test")).toBe(0);
  expect(await wrong("train")).toBe(60);
});

test("cells trained together have the losses of cells trained alone, whatever the number of epochs between reports", async () => {
  const { train } = await digitParts({ train: 64, validation: 10, test: 10, seed: 1 });
  const run = async (rates: readonly number[], epochsPerRun: number): Promise<number[][]> => {
    const training = trainCells({
      loss,
      optimizer: ({ rate }) => momentum<MlpParams>({ learningRate: rate }),
      cells: rates.map((rate) => ({ rate })),
      params: model.init(random.key(0)),
      data: train,
      examples: 64,
      batchSize: 16,
      epochs: 4,
      epochsPerRun,
      key: random.key(5),
      measure: (p) => loss(p, train),
    });
    const out: number[][] = [];
    for await (const { measured } of training) out.push([...(await data(measured!))]);
    return out;
  };
  const together = await run([0.01, 0.1], 1);
  const alone = await run([0.1], 4);
  expect(together).toHaveLength(4);
  expect(together[3]![1]).toBeCloseTo(alone[0]![0]!, 4);
  expect(together[3]![1]).toBeLessThan(together[0]![1]!);
  expect(together[3]![0]).not.toBeCloseTo(together[3]![1]!, 2);
});

test("states that depend on a cell's numbers start from them, and losses are those before each step", async () => {
  const { train } = await digitParts({ train: 32, validation: 10, test: 10, seed: 1 });
  const params = model.init(random.key(0));
  const training = trainCells({
    loss,
    optimizer: ({ rate }) => adam<MlpParams>({ learningRate: rate }),
    cells: [{ rate: 0.01 }],
    params,
    data: train,
    examples: 32,
    batchSize: 32,
    epochs: 1,
    key: random.key(5),
  });
  for await (const { losses, params: after } of training) {
    expect(losses.shape).toEqual([1, 1]);
    expect(await item(mean(losses))).toBeCloseTo(await item(loss(params, train)), 5);
    expect(after.layers[0]!.weight.shape).toEqual([1, 64, 12]);
    expect(await data(take(after.layers[0]!.weight, tensor(new Int32Array([0]))))).toHaveLength(64 * 12);
  }
});
