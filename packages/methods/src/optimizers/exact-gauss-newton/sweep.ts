import {
  data,
  evaluate,
  item,
  jit,
  mean,
  mul,
  random,
  square,
  stack,
  sub,
  type Tensor,
  tensor,
  vmap,
} from "@prior-art/tensor";
import { diabetes, epochOrder, selectEntries, selectRows, trainTestSplit } from "@prior-art/toolkit/data";
import { type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { type AnyOptimizer, trainSteps } from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";

/** Examples a step. */
export const BATCH = 32;
const INPUTS = 10;

/** tanh networks of two hidden layers of 32, one output. */
const model = mlp({ sizes: [INPUTS, 32, 32, 1], activation: "tanh" });

interface Part {
  /** Standardized, `[examples, 10]`. */
  readonly x: Tensor;
  /** Standardized by the training set's mean and deviation, `[examples, 1]`. */
  readonly y: Tensor;
}

export interface RegressionTask {
  readonly train: Part;
  readonly validation: Part;
  readonly test: Part;
  readonly trainSize: number;
}

type Rows = { readonly x: Float32Array; readonly y: Float32Array };

/** Tensors of three parts, all scaled by what the first, the training set, shows. */
function standardized(train: Rows, validation: Rows, test: Rows): RegressionTask {
  const moments = (values: readonly number[]) => {
    const center = values.reduce((a, b) => a + b, 0) / values.length;
    const spread = Math.sqrt(values.reduce((a, v) => a + (v - center) ** 2, 0) / values.length);
    return { center, spread };
  };
  const columns = Array.from({ length: INPUTS }, (_, j) =>
    moments([...train.x].filter((_, i) => i % INPUTS === j)),
  );
  const target = moments([...train.y]);
  const part = ({ x, y }: Rows): Part => ({
    x: tensor(
      x.map((v, i) => (v - columns[i % INPUTS]!.center) / columns[i % INPUTS]!.spread),
      { shape: [y.length, INPUTS] },
    ),
    y: tensor(
      y.map((v) => (v - target.center) / target.spread),
      { shape: [y.length, 1] },
    ),
  });
  return { train: part(train), validation: part(validation), test: part(test), trainSize: train.y.length };
}

/** Friedman's first function of ten uniform inputs, five of which matter, with noise of deviation 1 (Friedman, 1991). */
export function friedman(seed: number, trainSize: number): RegressionTask {
  const stream = randomStream(seed, "friedman");
  const rows = (count: number): Rows => {
    const x = Float32Array.from({ length: count * INPUTS }, () => stream.uniform());
    const y = Float32Array.from({ length: count }, (_, i) => {
      const [a, b, c, d, e] = x.subarray(i * INPUTS) as unknown as [number, number, number, number, number];
      return 10 * Math.sin(Math.PI * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e + stream.normal();
    });
    return { x, y };
  };
  return standardized(rows(trainSize), rows(500), rows(2000));
}

/** The 442 patients of the diabetes table: 288 to train on, 77 to choose by, 77 to test on. */
export async function diabetesTask(seed: number): Promise<RegressionTask> {
  const { features, shape, targets } = await diabetes();
  const split = trainTestSplit(shape[0], { train: 288, validation: 77, test: 77, seed });
  const rows = (indices: Int32Array): Rows => ({
    x: selectRows(features, shape, indices),
    y: selectEntries(targets, indices),
  });
  return standardized(rows(split.train), rows(split.validation), rows(split.test));
}

/** A learning rate, and a momentum or a damping. */
export interface Cell {
  readonly rate: number;
  readonly second: number;
}

// biome-ignore lint/suspicious/noExplicitAny: each optimizer keeps a state of its own type
export type MakeOptimizer = (rate: Tensor, second: Tensor) => AnyOptimizer<MlpParams, any>;

/** Mean squared errors by epoch (rows) and cell. */
export interface Curves {
  readonly train: readonly (readonly number[])[];
  readonly validation: readonly (readonly number[])[];
  readonly test: readonly (readonly number[])[];
}

const lossOf = (p: MlpParams, { x, y }: Part): Tensor => mul(0.5, mean(square(sub(model.apply(p, x), y))));
const outputsOf = ({ x, y }: Part) => ({
  predict: (p: MlpParams) => model.apply(p, x),
  targets: y,
  kind: "squaredError" as const,
});

/** One epoch's batches, int32 `[steps, BATCH]`. */
function epochBatches({ trainSize }: RegressionTask, seed: number, epoch: number): Tensor {
  const steps = Math.floor(trainSize / BATCH);
  return tensor(Int32Array.from(epochOrder(trainSize, { seed, epoch }).slice(0, steps * BATCH)), {
    shape: [steps, BATCH],
  });
}

/** Trains all cells side by side, with one initialization and one order of batches; yields the epochs done. */
export async function* trainCells(
  make: MakeOptimizer,
  cells: readonly Cell[],
  task: RegressionTask,
  { epochs, seed }: { readonly epochs: number; readonly seed: number },
): AsyncGenerator<number, Curves> {
  const rates = tensor(Float32Array.from(cells, (c) => c.rate));
  const seconds = tensor(Float32Array.from(cells, (c) => c.second));
  const params = model.init(random.key(seed));
  const initial = vmap((rate: Tensor, second: Tensor) => ({
    params,
    state: make(rate, second).init(params),
  }))(rates, seconds);
  await evaluate(initial);
  const errors = (p: MlpParams): Tensor =>
    stack([task.train, task.validation, task.test].map((part) => mul(2, lossOf(p, part))));
  const epochOf = (rate: Tensor, second: Tensor, start: typeof initial, indices: Tensor, keys: Tensor) => {
    const train = trainSteps({ loss: lossOf, outputs: outputsOf, optimizer: make(rate, second) });
    const [after, state] = train(start.params, start.state, task.train, indices, keys);
    return [{ params: after, state }, errors(after)] as const;
  };
  const run = jit(vmap(epochOf, { inAxes: [0, 0, 0, null, null] }));
  const curves = { train: [] as number[][], validation: [] as number[][], test: [] as number[][] };
  let state = initial;
  for (let epoch = 0; epoch < epochs; epoch++) {
    const indices = epochBatches(task, seed, epoch);
    const keys = random.split(random.key(epoch), indices.shape[0]!);
    const [next, scores] = await run(rates, seconds, state, indices, keys);
    state = next as typeof initial;
    const values = await data(scores);
    (["train", "validation", "test"] as const).forEach((part, at) => {
      curves[part].push(cells.map((_, i) => values[3 * i + at]!));
    });
    yield epoch + 1;
  }
  await run.release();
  return curves;
}

/** Repetitions that the fastest is taken of: other work on the machine only ever adds time. */
const REPETITIONS = 7;

/** Milliseconds of each optimizer's step, of one network alone in a compiled loop, measured in turns. */
export async function stepTimes(
  optimizers: readonly { readonly make: MakeOptimizer; readonly cell: Cell }[],
  task: RegressionTask,
): Promise<number[]> {
  const params = model.init(random.key(0));
  const indices = epochBatches(task, 0, 0);
  const steps = indices.shape[0]!;
  const keys = random.split(random.key(0), steps);
  const timed = optimizers.map(({ make, cell }) => {
    const optimizer = make(tensor(cell.rate), tensor(cell.second));
    const train = trainSteps({ loss: lossOf, outputs: outputsOf, optimizer });
    return jit((p: MlpParams) => train(p, optimizer.init(p), task.train, indices, keys)[2]);
  });
  const best = timed.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round <= REPETITIONS; round++)
    for (const [i, run] of timed.entries()) {
      const started = performance.now();
      await item(mean(await run(params)));
      // The first round compiles.
      if (round > 0) best[i] = Math.min(best[i]!, performance.now() - started);
    }
  for (const run of timed) await run.release();
  return best.map((elapsed) => elapsed / steps);
}
