import {
  add,
  data,
  item,
  mul,
  random,
  scalar,
  type Tensor,
  tensor,
  toArray,
  treeLeaves,
  treeMap,
  zeros,
} from "@prior-art/tensor";
import { sgd } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { dropout, l2Penalty, labelSmoothing } from "./classics.ts";
import { scoreOf } from "./digitsTraining.ts";
import type { Moment, Regularizer, Seen, Site } from "./family.ts";
import { type ResidualMlpParams, residualMlp } from "./residualMlp.ts";
import { regularizedTraining } from "./training.ts";

const network = residualMlp({ inputs: 3, width: 4, blocks: 2, classes: 2 });
const examples = {
  inputs: random.normal(random.key(1), [8, 3]),
  labels: tensor(Int32Array.from({ length: 8 }, (_, i) => i % 2)),
};
const moment: Moment = { key: random.key(3), progress: scalar(0.5), indices: tensor(Int32Array.of(0, 1, 2)) };
const trainingOf = <S>(regularizer: Regularizer<ResidualMlpParams, S>, epochs = 2) =>
  regularizedTraining({
    network,
    regularizer,
    optimizer: sgd<ResidualMlpParams>({ learningRate: 0.2 }),
    data: examples,
    classes: 2,
    batchSize: 4,
    epochs,
  });
const seenAt = (params: ResidualMlpParams): Seen<ResidualMlpParams> => ({
  params,
  inputs: zeros([1, 3]),
  logits: zeros([1, 2]),
  targets: zeros([1, 2]),
  activations: [],
});

describe("the residual perceptron", () => {
  const params = network.init(random.key(2));

  test("without its branches' output is a perceptron of one hidden layer", async () => {
    const cut = network.apply(params, examples.inputs, (x, { kind }) => (kind === "branch" ? mul(x, 0) : x));
    const none = treeMap((t) => mul(t, 0), params.blocks);
    expect(await toArray(cut)).toEqual(
      await toArray(network.apply({ ...params, blocks: none }, examples.inputs)),
    );
  });

  test("shows its sites in order", () => {
    const sites: Site[] = [];
    network.apply(params, examples.inputs, (x, site) => {
      sites.push(site);
      return x;
    });
    expect(sites.map(({ kind, index, count }) => `${kind} ${index}/${count}`)).toEqual(["hidden 0/3", "hidden 1/3", "branch 0/2", "hidden 2/3", "branch 1/2"]); // biome-ignore format: one claim
  });
});

describe("the hooks", () => {
  test("none of them is plain training, and all have their say in order", async () => {
    const plain = trainingOf<null>({});
    const start = plain.init(random.key(2));
    const [loss] = plain.lossOf(start.params, moment, null);
    const calls: string[] = [];
    const noted = <T>(call: string, value: T): T => {
      calls.push(call);
      return value;
    };
    const noting: Regularizer<ResidualMlpParams, Tensor> = {
      init: () => scalar(5),
      inputs: (x) => noted("inputs", x),
      targets: (t, _, state) => noted(`targets ${state.rank}`, t),
      parameters: (p) => noted("parameters", p),
      activations: (x, { kind }) => noted(kind, x),
      loss: (value, { activations }) => noted(`loss after ${activations.length}`, mul(value, 2)),
      update: (state) => add(state, 1),
    };
    const [doubled, next] = trainingOf(noting).lossOf(start.params, moment, scalar(5));
    expect(await item(doubled)).toBeCloseTo(2 * (await item(loss)), 6);
    expect(await item(next)).toBe(6);
    expect(calls).toEqual(["inputs", "targets 0", "parameters", "hidden", "hidden", "branch", "hidden", "branch", "loss after 5"]); // biome-ignore format: one claim
  });

  test("progress goes from 0 to 1 over all epochs, however they are grouped, and memory is kept", async () => {
    const remembering: Regularizer<ResidualMlpParams, readonly Tensor[]> = {
      init: () => [scalar(0), scalar(0)],
      update: ([sum], _, { progress }) => [add(sum!, progress), progress],
    };
    const training = trainingOf(remembering, 4);
    const keys = training.epochKeys(1);
    const [all] = training.run(training.init(random.key(0)), keys, scalar(0, "int32"));
    // Eight steps: 0, 1/8, …, 7/8.
    expect(await item(all.regularizer[0]!)).toBeCloseTo(3.5, 5);
    expect(await item(all.regularizer[1]!)).toBeCloseTo(7 / 8, 6);
    expect(keys.shape).toEqual([4]);
  });

  test("gradients can be changed, and prediction uses the parameters that the network used", async () => {
    const frozen = trainingOf<null>({ gradients: (g) => treeMap((t) => mul(t, 0), g) });
    const start = frozen.init(random.key(2));
    const [after] = frozen.run(start, frozen.epochKeys(1), scalar(0, "int32"));
    expect([...(await data(after.params.head.weight))]).toEqual([...(await data(start.params.head.weight))]);
    const halved = trainingOf<null>({ parameters: (p) => treeMap((t) => mul(t, 0.5), p) });
    const expected = network.apply(
      treeMap((t) => mul(t, 0.5), start.params),
      examples.inputs,
    );
    expect(await toArray(halved.predict(start.params, examples.inputs))).toEqual(await toArray(expected));
  });
});

describe("classics", () => {
  const params = network.init(random.key(2));

  test("the L2 penalty counts weights and not biases", async () => {
    const { loss } = l2Penalty<ResidualMlpParams>({ strength: 0.2 });
    const weights = treeLeaves(params).filter((t) => t.rank > 1);
    let sum = 0;
    for (const w of weights) for (const v of await data(w)) sum += v * v;
    expect(await item(loss!(scalar(1), seenAt(params), moment, null))).toBeCloseTo(1 + 0.1 * sum, 4);
  });

  test("smoothed targets are distributions", async () => {
    const { targets } = labelSmoothing<ResidualMlpParams>({ smoothing: 0.2 });
    expect(await toArray(targets!(tensor([[1, 0], [0, 1]]), moment, null))).toEqual([[0.9, 0.1], [0.1, 0.9]].map((row) => row.map((v) => expect.closeTo(v, 6)))); // biome-ignore format: a matrix
  });

  test("dropout is for hidden units", async () => {
    const { activations } = dropout<ResidualMlpParams>({ rate: 0.5 });
    const x = add(zeros([50, 50]), 1);
    const dropped = await data(activations!(x, { kind: "hidden", index: 0, count: 1 }, moment));
    expect(Math.abs(dropped.filter((v) => v === 0).length / 2500 - 0.5)).toBeLessThan(0.05);
    expect(activations!(x, { kind: "branch", index: 0, count: 1 }, moment)).toBe(x);
  });

  test("scores, by hand", async () => {
    const score = await scoreOf(tensor([[0, 0, Math.log(8)], [0, Math.log(2), 0]]), tensor(Int32Array.of(2, 0))); // biome-ignore format: a matrix
    expect(score.error).toBe(0.5);
    expect(score.nll).toBeCloseTo(-(Math.log(0.8) + Math.log(0.25)) / 2, 5);
  });
});
