import {
  add,
  data as dataOf,
  jit,
  matmul,
  mean,
  mul,
  random,
  stack,
  sub,
  type Tensor,
  tensor,
  toArray,
  valueAndGrad,
  vmap,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { dropout } from "../nn/index.ts";
import { adam, sgd } from "./optimizers.ts";
import { type FitOptions, fit, shuffledBatches, trainSteps } from "./training.ts";
import { applyUpdates } from "./transformation.ts";

interface Line {
  readonly x: Tensor;
  readonly y: Tensor;
}

/** Twelve points of `y = x · [2, -1]`. */
function line(): Line {
  const x = random.normal(random.key(4), [12, 2], { dtype: "float64" });
  return { x, y: matmul(x, tensor([2, -1], { dtype: "float64" })) };
}
const squares = (w: Tensor, { x, y }: Line): Tensor => {
  const error = sub(matmul(x, w), y);
  return mean(mul(error, error));
};
const origin = tensor([0, 0], { dtype: "float64" });

async function last<P, S, D>(options: FitOptions<P, S, D>) {
  const losses: number[] = [];
  let params = options.params;
  for await (const progress of fit(options)) {
    losses.push(...(await dataOf(progress.losses)));
    params = progress.params;
  }
  return { params, losses };
}

describe("trainSteps", () => {
  const rows = tensor(
    [
      [0, 1, 2],
      [3, 4, 5],
      [0, 7, 11],
    ],
    { dtype: "int32" },
  );
  const keys = random.split(random.key(0), 3);

  test("takes the steps of a plain loop over the same batches", async () => {
    const optimizer = adam<Tensor>({ learningRate: 0.1 });
    const data = line();
    const train = jit(trainSteps({ loss: squares, optimizer }));
    const [w, , losses] = await train(origin, optimizer.init(origin), data, rows, keys);
    const [x, y] = [(await toArray(data.x)) as number[][], (await toArray(data.y)) as number[]];
    let params = origin;
    let state = optimizer.init(origin);
    const expected: number[] = [];
    for (const batch of (await toArray(rows)) as number[][]) {
      const part = {
        x: tensor(
          batch.map((i) => x[i]!),
          { dtype: "float64" },
        ),
        y: tensor(
          batch.map((i) => y[i]!),
          { dtype: "float64" },
        ),
      };
      const [value, gradients] = valueAndGrad(squares)(params, part);
      const [updates, next] = optimizer.update(gradients, state, params);
      params = applyUpdates(params, updates);
      state = next;
      expected.push((await dataOf(value))[0]!);
    }
    expect(await toArray(losses)).toEqual(expected.map((v) => expect.closeTo(v, 12)));
    expect(await toArray(w)).toEqual(((await toArray(params)) as number[]).map((v) => expect.closeTo(v, 12)));
  });

  test("under vmap, members train as they would alone, each at its own learning rate", async () => {
    const data = line();
    const run = (rate: Tensor, indices: Tensor): Tensor => {
      const optimizer = sgd<Tensor>({ learningRate: rate });
      return trainSteps({ loss: squares, optimizer })(origin, optimizer.init(origin), data, indices, keys)[0];
    };
    const rates = tensor([0.01, 0.2], { dtype: "float64" });
    const orders = stack([rows, add(rows, 0)]);
    const together = (await toArray(await jit(vmap(run))(rates, orders))) as number[][];
    for (const [i, rate] of [0.01, 0.2].entries()) {
      const alone = (await toArray(run(tensor(rate, { dtype: "float64" }), rows))) as number[];
      expect(together[i]).toEqual(alone.map((v) => expect.closeTo(v, 12)));
    }
    expect(together[0]).not.toEqual(together[1]);
  });
});

describe("shuffledBatches", () => {
  test("visits every example at most once, and all when the batches are full", async () => {
    const batches = (await toArray(shuffledBatches(random.key(3), 12, 4))) as number[][];
    expect(batches.map((b) => b.length)).toEqual([4, 4, 4]);
    expect(batches.flat().sort((a, b) => a - b)).toEqual([...Array(12).keys()]);
    const partial = (await toArray(shuffledBatches(random.key(3), 11, 4))) as number[][];
    expect(new Set(partial.flat()).size).toBe(8);
  });

  test.each([0, 13, 2.5, Number.NaN])("a batch of %d from 12 examples is refused", (size) => {
    expect(() => shuffledBatches(random.key(0), 12, size)).toThrow(RangeError);
  });
});

describe("fit", () => {
  const options = () => ({
    loss: (w: Tensor, batch: Line, key: Tensor) => squares(dropout(key, w, 0.25), batch),
    optimizer: sgd<Tensor>({ learningRate: 0.05 }),
    params: origin,
    data: line(),
    batchSize: 4,
    epochs: 5,
    key: random.key(9),
  });

  test("the numbers depend on the key, and not on how epochs are grouped into runs", async () => {
    const one = await last(options());
    const grouped = await last({ ...options(), epochsPerRun: 2 });
    expect(one.losses.length).toBe(15);
    expect(grouped.losses).toEqual(one.losses);
    expect(await toArray(grouped.params)).toEqual(await toArray(one.params));
    const other = await last({ ...options(), key: random.key(10) });
    expect(other.losses).not.toEqual(one.losses);
  });

  test("descends to the coefficients that made the data", async () => {
    const { params } = await last({
      ...options(),
      loss: squares,
      optimizer: adam<Tensor>({ learningRate: 0.1 }),
      epochs: 100,
      epochsPerRun: 100,
    });
    expect(await toArray(params)).toEqual([expect.closeTo(2, 3), expect.closeTo(-1, 3)]);
  });

  test("a given optimizer state is gone on from, not started afresh", async () => {
    const optimizer = adam<Tensor>({ learningRate: 0.05 });
    const seen: { params: Tensor; state: ReturnType<typeof optimizer.init> }[] = [];
    for await (const progress of fit({ ...options(), optimizer, epochs: 1 })) seen.push(progress);
    const { params, state } = seen[0]!;
    const resumed = await last({ ...options(), optimizer, params, state, epochs: 1 });
    const fresh = await last({ ...options(), optimizer, params, epochs: 1 });
    expect(resumed.losses[0]).toBeCloseTo(fresh.losses[0]!, 12);
    expect(resumed.losses.at(-1)).not.toBeCloseTo(fresh.losses.at(-1)!, 6);
  });

  test("data of different lengths and impossible counts are refused", async () => {
    const { data } = options();
    const short = { x: data.x, y: tensor([1, 2], { dtype: "float64" }) };
    await expect(last({ ...options(), data: short })).rejects.toThrow(/first axis/);
    await expect(last({ ...options(), epochs: 0 })).rejects.toThrow(RangeError);
    await expect(last({ ...options(), epochsPerRun: 1.5 })).rejects.toThrow(RangeError);
    await expect(last({ ...options(), batchSize: 13 })).rejects.toThrow(RangeError);
  });
});
