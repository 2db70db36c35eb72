import {
  jit,
  random,
  reshape,
  scan,
  slice,
  type Tensor,
  TensorError,
  take,
  treeLeaves,
  treeMap,
} from "@prior-art/tensor";
import { type AnyOptimizer, asClosure, type Objective, type OutputLoss } from "./closure.ts";
import { applyUpdates } from "./transformation.ts";

export interface Training<P, S, D> {
  /** The loss of a batch, one number; the key is the step's own, for dropout, noise and the like. */
  readonly loss: (params: P, batch: D, key: Tensor) => Tensor;
  readonly optimizer: AnyOptimizer<P, S>;
  /** For optimizers that use the curvature of the loss in the model's outputs. */
  readonly outputs?: (batch: D, key: Tensor) => OutputLoss<P>;
}

/** Parameters, the optimizer's state, and the loss before each step. */
export type Trained<P, S> = readonly [params: P, state: S, losses: Tensor];

/**
 * The training loop as one pure function, for `jit`, or for `vmap` over seeds and hyperparameters: a step for each row
 * of `indices` (int32 `[steps, batch]`) with one of `keys` `[steps]`, on batches taken from `data`, tensors of
 * `[examples, …]`. Losses are `[steps]`.
 *
 * @example
 * const train = trainSteps({ loss, optimizer: adam<MlpParams>({ learningRate: 1e-3 }) });
 * const seeds = jit(vmap(train, { inAxes: [0, 0, null, 0, 0] }));
 */
export const trainSteps =
  <P, S, D>({ loss, optimizer, outputs }: Training<P, S, D>) =>
  (params: P, state: S, data: D, indices: Tensor, keys: Tensor): Trained<P, S> => {
    const closure = asClosure(optimizer);
    const step = ([before, memory]: readonly [P, S], [rows, key]: readonly [Tensor, Tensor]) => {
      const batch = treeMap((t) => take(t, rows), data);
      const objective: Objective<P> = {
        loss: (p) => loss(p, batch, key),
        ...(outputs && { outputs: outputs(batch, key) }),
      };
      const [updates, next, value] = closure.step(objective, memory, before);
      return [[applyUpdates(before, updates), next] as const, value] as const;
    };
    const [[trained, last], losses] = scan(step, [params, state] as const, [indices, keys] as const);
    return [trained, last, losses];
  };

/**
 * `count` examples in random order, cut into batches: int32 `[batches, batchSize]`. Those that don't fill a last batch
 * are left out this time.
 * @throws RangeError unless `1 ≤ batchSize ≤ count`, both whole.
 */
export function shuffledBatches(key: Tensor, count: number, batchSize: number): Tensor {
  if (!(Number.isInteger(batchSize) && batchSize >= 1 && batchSize <= count))
    throw new RangeError(`batchSize must be a whole number from 1 to ${count}, got ${batchSize}`);
  const batches = Math.floor(count / batchSize);
  return reshape(slice(random.permutation(key, count), [0, batches * batchSize]), [batches, batchSize]);
}

/** Examples in a tree of tensors `[examples, …]`. @throws TensorError when tensors differ in it. */
function exampleCount(data: unknown): number {
  const leaves = treeLeaves(data);
  const count = leaves[0]?.shape[0];
  if (count === undefined || leaves.some((t) => t.shape[0] !== count))
    throw new TensorError("fit", `the data must share a first axis of examples, got ${leaves.join(", ")}`);
  return count;
}

export interface FitOptions<P, S, D> extends Training<P, S, D> {
  readonly params: P;
  /** The state to go on from; `optimizer.init(params)` by default. */
  readonly state?: S;
  /** Tensors `[examples, …]`, such as `{ images, labels }`. */
  readonly data: D;
  readonly batchSize: number;
  readonly epochs: number;
  readonly key: Tensor;
  /** Epochs in one run of the compiled loop, 1 by default; the numbers don't depend on it. */
  readonly epochsPerRun?: number;
}

export interface FitProgress<P, S> {
  /** Epochs that are over. */
  readonly epoch: number;
  readonly params: P;
  readonly state: S;
  /** The loss before each step since the last report, `[epochs, steps]`. */
  readonly losses: Tensor;
}

/**
 * Trains on shuffled batches in a compiled loop, and reports after each run of it. Leave the loop to stop early.
 * @throws RangeError for a batch size or number of epochs that doesn't fit. @throws TensorError when the data differ in
 *   length.
 * @example
 * for await (const { epoch, params, losses } of fit({ loss, optimizer, params, data, batchSize: 32, epochs: 20, key }))
 *   console.log(epoch, await item(mean(losses)));
 */
export async function* fit<P, S, D>(options: FitOptions<P, S, D>): AsyncGenerator<FitProgress<P, S>, void> {
  const { data, batchSize, epochs, key, epochsPerRun = 1 } = options;
  for (const [name, value] of Object.entries({ epochs, epochsPerRun }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`fit: ${name} must be a whole number of at least 1, got ${value}`);
  const count = exampleCount(data);
  const steps = trainSteps(options);
  const run = jit((params: P, state: S, examples: D, epochKeys: Tensor) =>
    scan(
      ([before, memory]: readonly [P, S], epochKey: Tensor) => {
        const [orderKey, stepKey] = random.keys(epochKey) as [Tensor, Tensor];
        const indices = shuffledBatches(orderKey, count, batchSize);
        const keys = random.split(stepKey, indices.shape[0]);
        const [after, next, losses] = steps(before, memory, examples, indices, keys);
        return [[after, next] as const, losses] as const;
      },
      [params, state] as const,
      epochKeys,
    ),
  );
  try {
    const epochKeys = random.split(key, epochs);
    let params = options.params;
    let state = options.state ?? options.optimizer.init(params);
    for (let from = 0; from < epochs; from += epochsPerRun) {
      const epoch = Math.min(from + epochsPerRun, epochs);
      const [after, losses] = await run(params, state, data, slice(epochKeys, [from, epoch]));
      [params, state] = after;
      yield { epoch, params, state, losses };
    }
  } finally {
    await run.release();
  }
}
