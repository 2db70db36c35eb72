import {
  abs,
  add,
  arange,
  data,
  item,
  jit,
  max,
  mean,
  moveAxis,
  mul,
  random,
  scan,
  sub,
  type Tensor,
  take,
  tensor,
  treeMap,
  valueAndGrad,
} from "@prior-art/tensor";
import { beforeAll, describe, expect, test } from "vitest";
import {
  batches,
  type ClassificationDataset,
  digits,
  selectEntries,
  selectRows,
  stratifiedSplit,
} from "../data/index.ts";
import { adam, applyUpdates } from "../optim/index.ts";
import { accuracy, cnn, countParameters, crossEntropy, mlp, transformer } from "./index.ts";

interface Part {
  readonly pixels: Float32Array;
  readonly labels: Int32Array;
}

let train: Part;
let held: Part;

beforeAll(async () => {
  const set: ClassificationDataset = await digits();
  const split = stratifiedSplit(set.labels, { test: 400, seed: 0 });
  const part = (indices: Int32Array): Part => ({
    pixels: selectRows(set.features, set.shape, indices).map((v) => v / 16),
    labels: selectEntries(set.labels, indices),
  });
  [train, held] = [part(split.train), part(split.test)];
});

interface Model<P> {
  init(key: Tensor): P;
  apply(params: P, x: Tensor): Tensor;
}

/** Test accuracy and parameters after some epochs of Adam. */
async function learn<P>(model: Model<P>, image: readonly number[], epochs: number, seed: number) {
  const optimizer = adam<P>({ learningRate: 3e-3 });
  const step = jit((params: P, state: ReturnType<typeof optimizer.init>, x: Tensor, y: Tensor) => {
    const [loss, gradients] = valueAndGrad((p: P) => crossEntropy(model.apply(p, x), y))(params);
    const [updates, next] = optimizer.update(gradients, state, params);
    return [applyUpdates(params, updates), next, loss] as const;
  });
  let params = model.init(random.key(seed));
  let state = optimizer.init(params);
  for (let epoch = 0; epoch < epochs; epoch++)
    for (const batch of batches(train.labels.length, { batchSize: 64, seed, epoch, dropLast: true })) {
      const x = tensor(selectRows(train.pixels, [train.labels.length, 64], batch), { shape: [64, ...image] });
      [params, state] = await step(params, state, x, tensor(selectEntries(train.labels, batch)));
    }
  await step.release();
  const x = tensor(held.pixels, { shape: [held.labels.length, ...image] });
  return { params, score: await item(accuracy(model.apply(params, x), tensor(held.labels))) };
}

describe("models learn the digits", () => {
  test("an MLP in 8 epochs, the same for the same seed and another for another", async () => {
    const model = mlp({ sizes: [64, 32, 10] });
    const [a, again, other] = [
      await learn(model, [64], 8, 0),
      await learn(model, [64], 8, 0),
      await learn(model, [64], 8, 1),
    ];
    expect(a.score).toBeGreaterThan(0.9);
    const weights = [a, again, other].map(({ params }) => data(params.layers[0]!.weight));
    expect(await weights[1]).toEqual(await weights[0]);
    expect(await weights[2]).not.toEqual(await weights[0]);
  });

  test("a CNN in 5 epochs", async () => {
    const model = cnn({ image: [1, 8, 8], classes: 10, filters: [8, 16] });
    expect((await learn(model, [1, 8, 8], 5, 0)).score).toBeGreaterThan(0.9);
  });
});

describe("models are what their options say", () => {
  const key = random.key(0);

  test("parameters are counted by hand", () => {
    expect(countParameters(mlp({ sizes: [4, 8, 3] }).init(key))).toBe(4 * 8 + 8 + 8 * 3 + 3);
    const images = cnn({ image: [1, 28, 28], classes: 10 });
    expect(countParameters(images.init(key))).toBe(16 * 9 + 16 + 32 * 16 * 9 + 32 + 32 * 49 * 10 + 10);
    const text = transformer({ vocabulary: 10, context: 8, width: 4, heads: 2, layers: 3 });
    const block = 4 * 4 + (4 * 12 + 12) + (4 * 4 + 4) + (4 * 16 + 16) + (16 * 4 + 4);
    expect(countParameters(text.init(key))).toBe(10 * 4 + 8 * 4 + 3 * block + 2 * 4);
  });

  test("a CNN of 28 × 28 pixels gives one row of logits an image", async () => {
    const model = cnn({ image: [1, 28, 28], classes: 10 });
    const logits = model.apply(model.init(key), random.normal(key, [2, 1, 28, 28]));
    expect(logits.shape).toEqual([2, 10]);
    expect((await data(logits)).every(Number.isFinite)).toBe(true);
  });

  test("a fresh transformer is close to uniform over its vocabulary", async () => {
    const model = transformer({ vocabulary: 20, context: 8, width: 16, heads: 4, layers: 2 });
    const [tokens, targets] = [1, 2].map((seed) => random.randint(random.key(seed), [4, 8], 0, 20)) as [
      Tensor,
      Tensor,
    ];
    const loss = await item(crossEntropy(model.apply(model.init(key), tokens), targets));
    expect(Math.abs(loss - Math.log(20))).toBeLessThan(0.05);
  });

  test("stepping through a transformer with its cache gives the logits of the whole sequence", async () => {
    const model = transformer({
      vocabulary: 7,
      context: 6,
      width: 12,
      heads: 3,
      layers: 2,
      dtype: "float64",
    });
    const params = treeMap(
      (t) => add(t, mul(0.3, random.normal(random.fold(key, t.size), t.shape, { dtype: "float64" }))),
      model.init(key),
    );
    const tokens = random.randint(random.key(3), [4, 6], 0, 7);
    const whole = await data(model.apply(params, tokens));
    const [, stepped] = scan(
      (cache, position: Tensor) => {
        const [logits, next] = model.step(params, take(tokens, position, 1), position, cache);
        return [next, logits] as const;
      },
      model.cache(4),
      arange(6),
    );
    const byStep = await data(moveAxis(stepped, 0, 1));
    expect(byStep.length).toBe(whole.length);
    for (let i = 0; i < whole.length; i++) expect(byStep[i]).toBeCloseTo(whole[i]!, 12);
    expect(await item(max(abs(sub(tensor(whole), mean(tensor(whole))))))).toBeGreaterThan(0.5);
  });

  test("dropout is active with a key only, and decided by it", async () => {
    const perceptron = mlp({ sizes: [4, 32, 3], dropout: 0.5 });
    const text = transformer({ vocabulary: 5, context: 4, width: 8, heads: 2, layers: 1, dropout: 0.5 });
    const [p, q] = [perceptron.init(key), text.init(key)];
    const x = random.normal(key, [2, 4]);
    const tokens = tensor([[0, 3, 1]], { dtype: "int32" });
    for (const run of [(k?: Tensor) => perceptron.apply(p, x, k), (k?: Tensor) => text.apply(q, tokens, k)]) {
      const [still, same, dropped, again, other] = await Promise.all(
        [undefined, undefined, random.key(1), random.key(1), random.key(2)].map(async (k) => data(run(k))),
      );
      expect(same).toEqual(still);
      expect(again).toEqual(dropped);
      expect(dropped).not.toEqual(still);
      expect(other).not.toEqual(dropped);
    }
  });

  test("options that make no model are refused", () => {
    expect(() => mlp({ sizes: [3] })).toThrow(RangeError);
    expect(() => cnn({ image: [1, 8, 8], classes: 10, filters: [4, 4, 4, 4] })).toThrow(RangeError);
    expect(() => transformer({ vocabulary: 5, context: 4, width: 6, heads: 4, layers: 1 })).toThrow(
      RangeError,
    );
    const text = transformer({ vocabulary: 5, context: 2, width: 4, heads: 2, layers: 1 });
    expect(() => text.apply(text.init(key), tensor([[0, 1, 2]], { dtype: "int32" }))).toThrow(/at most 2/);
  });
});
