import {
  add,
  data,
  item,
  matmul,
  mul,
  random,
  scalar,
  type Tensor,
  tensor,
  toArray,
  zeros,
} from "@prior-art/tensor";
import { type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { sgd } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { elasticWeightConsolidation, fineTuning, l2, l2Init, replay, shrinkAndPerturb } from "./classics.ts";
import type { ContinualLearner } from "./family.ts";
import { continualTraining } from "./training.ts";

interface Linear {
  readonly w: Tensor;
}
const predict = ({ w }: Linear, x: Tensor): Tensor => matmul(x, w);
const params: Linear = { w: tensor([[1, -1], [0.5, 2]]) }; // biome-ignore format: a matrix
const task = { inputs: tensor([[1, 0], [0, 1], [1, 1], [2, 1]]), labels: tensor(Int32Array.of(0, 1, 0, 1)) }; // biome-ignore format: a matrix
const network = { inputs: 2, classes: 2, key: random.key(0) };
const step = (p: Linear) => ({
  params: p,
  batch: task,
  logits: zeros([4, 2]),
  predict,
  key: random.key(1),
});
const boundary = (p: Linear) => ({ params: p, task, predict, key: random.key(2) });
const lossOf = async <S>(learner: ContinualLearner<Linear, S>, p: Linear, state: S): Promise<number> =>
  item(learner.loss!(scalar(2), step(p), state));

describe("penalties", () => {
  test("L2 to zero and to the initial parameters, by hand", async () => {
    expect(await lossOf(l2<Linear>({ strength: 0.1 }), params, null)).toBeCloseTo(2 + 0.625, 5);
    const learner = l2Init<Linear>({ strength: 0.1 });
    const moved = { w: add(params.w, 2) };
    expect(await lossOf(learner, moved, learner.init!(params, network))).toBeCloseTo(2 + 1.6, 5);
  });

  test("consolidation: the Fisher information of logistic regression is p(1 - p) x²", async () => {
    const learner = elasticWeightConsolidation<Linear>({ strength: 2 });
    const many = 4000;
    const inputs = add(zeros([many, 1]), 1);
    const single = { w: tensor([[0.4, -0.4]]) };
    const state = learner.afterTask!(learner.init!(single, { ...network, inputs: 1 }), {
      params: single,
      task: { inputs, labels: zeros([many], "int32") },
      predict,
      key: random.key(5),
    });
    const p = 1 / (1 + Math.exp(-0.8));
    for (const value of await data(state.fisher.w)) expect(value).toBeCloseTo(p * (1 - p), 1);
    const moved = { w: add(single.w, 0.5) };
    const [a, b] = await data(state.fisher.w);
    expect(await lossOf(learner, moved, state)).toBeCloseTo(2 + 0.25 * (a! + b!), 5);
    expect(await lossOf(learner, single, state)).toBeCloseTo(2, 6);
  });

  test("shrink and perturb mixes in noise as wide as the initial parameters", async () => {
    const learner = shrinkAndPerturb<Linear>({ strength: 0.1 });
    const wide = { w: random.normal(random.key(3), [200, 2]) };
    const scales = learner.init!(wide, network);
    const { params: shaken } = learner.afterStep!(scales, step(wide));
    const values = [...(await data(shaken.w))];
    const spread = Math.sqrt(values.reduce((s, v) => s + v * v, 0) / values.length);
    expect(spread).toBeCloseTo(Math.hypot(0.9, 0.1), 1);
  });
});

describe("replay", () => {
  const learner = replay<Linear>({ size: 300 });
  test("adds nothing in the first task, then the loss of what it keeps", async () => {
    const start = learner.init!(params, network);
    expect(await lossOf(learner, params, start)).toBeCloseTo(2, 6);
    expect(await lossOf(learner, params, learner.afterTask!(start, boundary(params)))).toBeGreaterThan(2.1);
  });

  test("keeps about as many examples of each task", async () => {
    let state = learner.init!(params, network);
    for (const label of [0, 1, 2]) {
      const own = { inputs: add(zeros([50, 2]), label), labels: add(zeros([50], "int32"), tensor(label, { dtype: "int32" })) }; // biome-ignore format: one task
      state = learner.afterTask!(state, { ...boundary(params), task: own, key: random.key(10 + label) });
    }
    const labels = [...(await data(state.labels))];
    const inputs = (await toArray(state.inputs)) as number[][];
    for (const label of [0, 1, 2])
      expect(Math.abs(labels.filter((v) => v === label).length - 100)).toBeLessThan(30);
    inputs.forEach(([first], i) => {
      expect(first).toBe(labels[i]);
    });
  });

  test("an impossible size is refused", () => {
    expect(() => replay({ size: 0 })).toThrow(RangeError);
  });
});

test("fine-tuning takes the steps of plain gradient descent, and hooks are called in their places", async () => {
  const net = mlp({ sizes: [2, 2] });
  const training = <S>(learner: ContinualLearner<MlpParams, S>) =>
    continualTraining({ network: net, inputs: 2, classes: 2, learner, optimizer: sgd<MlpParams>({ learningRate: 0.1 }), batchSize: 4, epochs: 3 }); // biome-ignore format: one call
  const plain = training(fineTuning<MlpParams>());
  const [after] = plain.learn(plain.init(random.key(4)), task, random.key(6));
  const counting = training<Tensor>({
    init: () => scalar(0),
    beforeTask: (state, { params: p }) => ({ state: add(state, 100), params: p }),
    afterStep: (state, { params: p }) => ({ state: add(state, 1), params: p }),
    gradients: (gradients) => gradients,
    afterTask: (state) => mul(state, 2),
  });
  const [counted] = counting.learn(counting.init(random.key(4)), task, random.key(6));
  expect(await item(counted.learner)).toBe(206);
  const weight = ({ layers }: MlpParams): Tensor => layers[0]!.weight;
  expect(await toArray(weight(counted.params))).toEqual(await toArray(weight(after.params)));
});
