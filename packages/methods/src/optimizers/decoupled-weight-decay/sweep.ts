import {
  abs,
  add,
  broadcastTo,
  cast,
  data,
  evaluate,
  item,
  jit,
  max,
  mean,
  random,
  scan,
  slice,
  stack,
  sub,
  type Tensor,
  take,
  tensor,
  treeLeaves,
  treeMap,
  valueAndGrad,
  vmap,
} from "@prior-art/tensor";
import {
  digits,
  epochOrder,
  labelNoise,
  selectEntries,
  selectRows,
  stratifiedSplit,
} from "@prior-art/toolkit/data";
import { accuracy, crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import type { GradientTransformation } from "@prior-art/toolkit/optim";
import { cosineWarmRestarts, type Scalar, type ScheduleMultiplier, sgdL2, sgdw } from "./method.ts";

/** A multilayer perceptron on 8×8 images; He initialization. */
const model = mlp({ sizes: [64, 128, 128, 10] });
/** Examples a step. */
export const BATCH = 32;

interface Part {
  /** `[examples, 64]`, grey levels 0–1. */
  readonly x: Tensor;
  /** `[examples]`, int32. */
  readonly labels: Tensor;
}

export interface Task {
  readonly train: Part;
  readonly validation: Part;
  readonly test: Part;
  readonly trainSize: number;
}

/** A quarter of the training labels is wrong; validation and test labels are right. */
export async function noisyDigits(seed: number, trainSize: number): Promise<Task> {
  const { features, shape, labels } = await digits();
  const split = stratifiedSplit(labels, { train: trainSize, validation: 400, test: 800, seed });
  const part = (indices: Int32Array, classes = selectEntries(labels, indices)): Part => ({
    x: tensor(
      selectRows(features, shape, indices).map((v) => v / 16),
      { shape: [indices.length, 64] },
    ),
    labels: tensor(classes),
  });
  const noisy = labelNoise(selectEntries(labels, split.train), { rate: 0.25, classes: 10, seed });
  return {
    train: part(split.train, noisy.labels),
    validation: part(split.validation),
    test: part(split.test),
    trainSize,
  };
}

/** Indices of the batches of `epochs` epochs from number `first`: `[steps, BATCH]`. */
function batchOrder({ trainSize }: Task, seed: number, first: number, epochs: number): Tensor {
  const perEpoch = Math.floor(trainSize / BATCH);
  const orders = Array.from({ length: epochs }, (_, i) => [
    ...epochOrder(trainSize, { seed, epoch: first + i }).slice(0, perEpoch * BATCH),
  ]);
  return tensor(Int32Array.from(orders.flat()), { shape: [epochs * perEpoch, BATCH] });
}

export type MakeOptimizer = (
  rate: Scalar,
  decay: Scalar,
  schedule: ScheduleMultiplier,
) => GradientTransformation<MlpParams, { readonly step: Tensor }>;

/** One training run: a learning rate and a decay (λ or λ'). */
export interface Cell {
  readonly rate: number;
  readonly decay: number;
}

/** Results of each cell, in order. */
export interface CellResults {
  readonly validationNll: readonly number[];
  readonly validationError: readonly number[];
  readonly testNll: readonly number[];
  readonly testError: readonly number[];
}

/** Trains all cells side by side, with one initialization and one order of batches; yields the epochs done. */
export async function* trainCells(
  make: MakeOptimizer,
  cells: readonly Cell[],
  task: Task,
  { epochs, seed }: { epochs: number; seed: number },
): AsyncGenerator<{ epoch: number; loss: number }, CellResults> {
  const perEpoch = Math.floor(task.trainSize / BATCH);
  const schedule = cosineWarmRestarts({ firstPeriod: epochs * perEpoch });
  const optimizerOf = (rate: Scalar, decay: Scalar) => make(rate, decay, schedule);
  const lossAndGradient = valueAndGrad((params: MlpParams, batch: Tensor) =>
    crossEntropy(model.apply(params, take(task.train.x, batch)), take(task.train.labels, batch)),
  );
  type State = { readonly params: MlpParams; readonly optimizer: { readonly step: Tensor } };
  const trainOne = (rate: Tensor, decay: Tensor, start: State, order: Tensor): [State, Tensor] =>
    scan(
      ({ params, optimizer }, batch) => {
        const [loss, gradient] = lossAndGradient(params, batch);
        const [updates, next] = optimizerOf(rate, decay).update(gradient, optimizer, params);
        return [{ params: treeMap(add, params, updates), optimizer: next }, loss];
      },
      start,
      order,
    );
  const trainAll = jit(vmap(trainOne, { inAxes: [0, 0, 0, null] }));

  const rates = tensor(Float32Array.from(cells, (c) => c.rate));
  const decays = tensor(Float32Array.from(cells, (c) => c.decay));
  const params = model.init(random.key(seed));
  const start: State = { params, optimizer: optimizerOf(1, 0).init(params) };
  let state: State = treeMap((t) => broadcastTo(t, [cells.length, ...t.shape]), start);
  for (let epoch = 0; epoch < epochs; ) {
    const chunk = Math.min(5, epochs - epoch);
    const [next, losses] = await trainAll(rates, decays, state, batchOrder(task, seed, epoch, chunk));
    state = next;
    epoch += chunk;
    yield { epoch, loss: await item(mean(losses)) };
  }
  await trainAll.release();

  const score = (p: MlpParams, { x, labels }: Part) => {
    const logits = model.apply(p, x);
    return { nll: crossEntropy(logits, labels), error: sub(1, accuracy(logits, labels)) };
  };
  const scoreAll = vmap((p: MlpParams) => ({
    validation: score(p, task.validation),
    test: score(p, task.test),
  }));
  const scores = scoreAll(state.params);
  await evaluate(scores);
  const list = async (t: Tensor): Promise<number[]> => [...(await data(t))];
  return {
    validationNll: await list(scores.validation.nll),
    validationError: await list(scores.validation.error),
    testNll: await list(scores.test.nll),
    testError: await list(scores.test.error),
  };
}

/** Largest difference of two float64 runs of 100 plain SGD steps: L2 with λ/α against decoupled decay λ. */
export async function sgdGap(task: Task, seed: number): Promise<number> {
  const [rate, decay] = [0.05, 1e-3];
  const double = (t: Tensor): Tensor => cast(t, "float64");
  const x = double(task.train.x);
  const { labels } = task.train;
  const start = treeMap(double, model.init(random.key(seed)));
  const gradient = valueAndGrad((params: MlpParams, i: Tensor) =>
    crossEntropy(model.apply(params, take(x, i)), take(labels, i)),
  );
  const steps = slice(batchOrder(task, seed, 0, 10), [0, 100]);
  const run = (optimizer: GradientTransformation<MlpParams, { readonly step: Tensor }>): MlpParams =>
    scan(
      ({ params, state }, batch) => {
        const [updates, next] = optimizer.update(gradient(params, batch)[1], state, params);
        return [{ params: treeMap(add, params, updates), state: next }, null];
      },
      { params: start, state: optimizer.init(start) },
      steps,
    )[0].params;
  const plain = { learningRate: rate, momentum: 0 };
  const a = treeLeaves(run(sgdL2({ ...plain, weightDecay: decay / rate })));
  const b = treeLeaves(run(sgdw({ ...plain, weightDecay: decay })));
  return item(max(stack(a.map((t, i) => max(abs(sub(t, b[i]!)))))));
}
