import { data, item, random, sub, tensor } from "@prior-art/tensor";
import { expect, test } from "vitest";
import { crossEntropy } from "../nn/index.ts";
import { adam, trainSteps } from "../optim/index.ts";
import { randomStream } from "../stats/index.ts";
import { markovSource } from "./markovSource.ts";
import { sampleWindows, type WindowBatch, type WindowModelParams, windowModel } from "./windowModel.ts";

test("a window's last token is followed as the source says", async () => {
  const source = markovSource({ vocabulary: 2, concentration: 1, seed: 4 });
  const { windows, targets } = sampleWindows(source, 20_000, 3, randomStream(1, "windows"));
  const [tokens, next] = [await data(windows), await data(targets)];
  let [ones, ofThem] = [0, 0];
  for (let i = 0; i < next.length; i++)
    if (tokens[3 * i + 2] === 1) {
      ones++;
      ofThem += next[i]!;
    }
  expect(ofThem / ones).toBeCloseTo(source.transitions[3]!, 1);
});

test("places in the window are told apart", async () => {
  const model = windowModel({ vocabulary: 4, context: 2, width: 8 });
  const params = model.init(random.key(0));
  const logits = await data(model.apply(params, tensor(Int32Array.of(1, 2, 2, 1), { shape: [2, 2] })));
  expect(logits.slice(0, 4)).not.toEqual(logits.slice(4));
});

test("learns a source of order 2 nearly to its entropy", async () => {
  const source = markovSource({ vocabulary: 4, order: 2, seed: 1 });
  const stream = randomStream(2, "windows");
  const model = windowModel({ vocabulary: 4, context: 2, width: 16 });
  const [steps, batch] = [400, 64];
  const loss = (p: WindowModelParams, { windows, targets }: WindowBatch) =>
    crossEntropy(model.apply(p, windows), targets);
  const optimizer = adam<WindowModelParams>({ learningRate: 3e-3 });
  const start = model.init(random.key(3));
  const order = Int32Array.from({ length: steps * batch }, (_, i) => i);
  const [trained] = trainSteps({ loss, optimizer })(
    start,
    optimizer.init(start),
    sampleWindows(source, steps * batch, 2, stream),
    tensor(order, { shape: [steps, batch] }),
    random.split(random.key(4), steps),
  );
  const test = sampleWindows(source, 4000, 2, stream);
  const excess = await item(sub(loss(trained, test), source.entropyRate));
  expect(excess).toBeLessThan(0.05);
  expect(excess).toBeGreaterThan(-0.03);
});
