import {
  add,
  data,
  div,
  evaluate,
  jit,
  maximum,
  mean,
  min,
  mul,
  random,
  reshape,
  square,
  sub,
  type Tensor,
  take,
  tensor,
  treeMap,
  valueAndGrad,
  vmap,
} from "@prior-art/tensor";
import { epochOrder } from "@prior-art/toolkit/data";
import { type MlpParams, mlp } from "@prior-art/toolkit/nn";
import {
  type AnyOptimizer,
  type ClosureOptimizer,
  type GradientTransformation,
  globalNorm,
  trainSteps,
} from "@prior-art/toolkit/optim";
import { quantile } from "@prior-art/toolkit/stats";
import { gradientAscentDesigns, normalizedScore, surrogateSharpness } from "./method.ts";
import type { Designs, OfflineTask } from "./offlineTasks.ts";

const BATCH = 128;
const STARTS = 128;

/** Sharpness-aware minimization of the loss (Foret et al., 2021): the gradient at `φ + ρ g/‖g‖`. */
export const lossSharpness = <P, S>(
  rho: number,
  inner: GradientTransformation<P, S>,
): ClosureOptimizer<P, S> => ({
  init: (params) => inner.init(params),
  step(objective, state, params) {
    const at = valueAndGrad((p: P) => objective.loss(p));
    const [loss, gradient] = at(params);
    const length = div(rho, maximum(globalNorm(gradient), 1e-12));
    const [, ahead] = at(treeMap((p, g) => add(p, mul(length, g)), params, gradient));
    const [updates, next] = inner.update(ahead, state, params);
    return [updates, next, loss];
  },
});

export interface SearchOptions {
  // biome-ignore lint/suspicious/noExplicitAny: each optimizer keeps a state of its own type
  readonly optimizer: AnyOptimizer<MlpParams, any>;
  /** Surrogates whose least prediction is searched on. */
  readonly members: number;
  readonly epochs: number;
  readonly steps: number;
  readonly seed: number;
}

export interface SearchResult {
  /** Normalized true values of the final designs: the best, and the median. */
  readonly best: number;
  readonly median: number;
  /** Mean of prediction minus true value over the final designs, in standard deviations of the offline values. */
  readonly overestimate: number;
  /** ‖∇ mean prediction‖ on held-out designs (of the first member). */
  readonly sharpness: number;
  /** Mean prediction and true value along the ascent, at every tenth step, standardized. */
  readonly predicted: readonly number[];
  readonly truth: readonly number[];
}

/** Trains a surrogate on the offline designs and ascends it from the best 128 of them. */
export async function searchOffline(task: OfflineTask, options: SearchOptions): Promise<SearchResult> {
  const { dimensions, offline, heldOut } = task;
  const { optimizer, members, epochs, steps, seed } = options;
  const leaky = (x: Tensor): Tensor => maximum(x, mul(0.3, x));
  const model = mlp({ sizes: [dimensions, 64, 64, 1], activation: leaky });
  const count = offline.y.length;
  const tensors = ({ x, y }: Designs) => ({
    x: tensor(x, { shape: [y.length, dimensions] }),
    y: tensor(y, { shape: [y.length, 1] }),
  });
  const training = tensors(offline);
  type Batch = typeof training;
  const train = trainSteps({
    loss: (p: MlpParams, { x, y }: Batch) => mean(square(sub(model.apply(p, x), y))),
    outputs: ({ x, y }: Batch) => ({
      predict: (p: MlpParams) => model.apply(p, x),
      targets: y,
      kind: "squaredError",
    }),
    optimizer,
  });
  const perEpoch = Math.floor(count / BATCH);
  const order = Array.from({ length: epochs }, (_, epoch) => [
    ...epochOrder(count, { seed, epoch }).slice(0, perEpoch * BATCH),
  ]);
  const rows = tensor(Int32Array.from(order.flat()), { shape: [epochs * perEpoch, BATCH] });
  const keys = random.split(random.key(seed), epochs * perEpoch);
  const first = vmap((key: Tensor) => model.init(key))(random.split(random.key(seed), members));
  await evaluate(first);
  const trained = await released(
    jit((p: MlpParams, indices: Tensor, stepKeys: Tensor) =>
      vmap((own: MlpParams) => train(own, optimizer.init(own), training, indices, stepKeys)[0])(p),
    ),
    first,
    rows,
    keys,
  );

  // Offline designs are sorted by value: the best are the last.
  const starts = take(training.x, tensor(Int32Array.from({ length: STARTS }, (_, i) => count - 1 - i)));
  const surrogate = (p: MlpParams) => (designs: Tensor) =>
    min(vmap((own: MlpParams) => reshape(model.apply(own, designs), [designs.shape[0]!]))(p), 0);
  const bounds = { low: tensor(task.low), high: tensor(task.high) };
  const held = tensors(heldOut);
  const found = await released(
    jit((p: MlpParams) => {
      const { designs, path } = gradientAscentDesigns({ surrogate: surrogate(p), starts, steps, bounds });
      const own = treeMap((t) => reshape(take(t, tensor(Int32Array.of(0))), t.shape.slice(1)), p);
      const sharpness = surrogateSharpness((q: MlpParams) => mean(model.apply(q, held.x)), own).norm;
      const every = Array.from({ length: steps / 10 }, (_, i) => 10 * i);
      const seen = take(path, tensor(Int32Array.from(every)));
      const predictedAlong = mean(vmap(surrogate(p))(seen), 1);
      return { designs, prediction: surrogate(p)(designs), sharpness, seen, predictedAlong };
    }),
    trained,
  );
  const truthOf = async (designs: Tensor): Promise<number[]> => {
    const flat = await data(designs);
    return Array.from({ length: flat.length / dimensions }, (_, i) =>
      task.value(flat.subarray(i * dimensions, (i + 1) * dimensions)),
    );
  };
  const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const values = await truthOf(found.designs);
  const scores = values.map((v) => normalizedScore(v, task.least, task.most));
  const along = await truthOf(found.seen);
  const predictions = [...(await data(found.prediction))];
  return {
    best: Math.max(...scores),
    median: quantile(scores, 0.5),
    overestimate: average(predictions.map((v, i) => v - values[i]!)),
    sharpness: (await data(found.sharpness))[0]!,
    predicted: [...(await data(found.predictedAlong))],
    truth: Array.from({ length: along.length / STARTS }, (_, i) =>
      average(along.slice(i * STARTS, (i + 1) * STARTS)),
    ),
  };
}

/** One call of a compiled function. */
async function released<A extends unknown[], R>(
  compiled: ((...args: A) => Promise<R>) & { release(): Promise<void> },
  ...args: A
): Promise<R> {
  try {
    return await compiled(...args);
  } finally {
    await compiled.release();
  }
}
