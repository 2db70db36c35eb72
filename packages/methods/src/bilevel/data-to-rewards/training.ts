import {
  add,
  concat,
  cos,
  jit,
  mul,
  random,
  scan,
  slice,
  type Tensor,
  take,
  tensor,
  treeLeaves,
  treeMap,
  valueAndGrad,
  vmap,
} from "@prior-art/tensor";
import { adam, applyUpdates, requireLearningRate, shuffledBatches } from "@prior-art/toolkit/optim";

export interface PolicyData {
  /** Inputs, `[examples, …]`. */
  readonly x: Tensor;
  /** Outputs, `[examples, size]`. */
  readonly y: Tensor;
}

export interface PolicyTraining<P> {
  /** To be minimized. */
  readonly loss: (params: P, batch: PolicyData, key: Tensor) => Tensor;
  readonly init: P;
  readonly data: PolicyData;
  readonly steps: number;
  /** Adam's first rates, side by side, each falling along half a cosine. */
  readonly learningRates: readonly number[];
  /** All examples by default. */
  readonly batchSize?: number;
  readonly key: Tensor;
}

/**
 * Parameters trained with each learning rate, stacked, `[rates, …]`; the rates share batches and draws.
 * @throws RangeError for steps or rates out of range, or inputs and outputs of different numbers.
 */
export async function trainPolicies<P>(options: PolicyTraining<P>): Promise<P> {
  const { loss, init, data, steps, learningRates, key } = options;
  for (const rate of learningRates) requireLearningRate("trainPolicies", rate);
  if (!(Number.isInteger(steps) && steps >= 1))
    throw new RangeError(`trainPolicies: steps must be a whole number from 1, got ${steps}`);
  const count = requireData("trainPolicies", data);
  const batch = Math.min(options.batchSize ?? count, count);
  const perEpoch = Math.floor(count / batch);
  const [orderKey, stepKey] = random.keys(key, 2) as [Tensor, Tensor];
  const epochs = batch === count ? 1 : Math.ceil(steps / perEpoch);
  const order = concat(random.keys(orderKey, epochs).map((each) => shuffledBatches(each, count, batch)));
  const optimizer = adam<P>({ learningRate: 1 });
  const times = tensor(Float32Array.from({ length: steps }, (_, t) => t));
  const decay = mul(0.5, add(1, cos(mul(Math.PI / steps, times))));
  const train = (rate: Tensor, from: P, all: PolicyData, rows: Tensor, keys: Tensor): P => {
    const step = (
      [before, memory]: readonly [P, ReturnType<typeof optimizer.init>],
      [at, share, noise]: readonly [Tensor, Tensor, Tensor],
    ) => {
      const examples = batch === count ? all : treeMap((t) => take(t, at), all);
      const [, gradient] = valueAndGrad((p: P) => loss(p, examples, noise))(before);
      const [updates, next] = optimizer.update(gradient, memory, before);
      const size = mul(rate, share);
      return [
        [
          applyUpdates(
            before,
            treeMap((u) => mul(size, u), updates),
          ),
          next,
        ] as const,
        null,
      ] as const;
    };
    const [[trained]] = scan(step, [from, optimizer.init(from)] as const, [rows, decay, keys] as const);
    return trained;
  };
  const rows =
    batch === count ? tensor(new Int32Array(steps), { shape: [steps, 1] }) : slice(order, [0, steps]);
  const run = jit(vmap(train, { inAxes: [0, null, null, null, null] }));
  try {
    return await run(
      tensor(Float32Array.from(learningRates)),
      init,
      data,
      rows,
      random.split(stepKey, steps),
    );
  } finally {
    await run.release();
  }
}

/** The number of examples. @throws RangeError naming `op` when inputs and outputs differ in it, or there are none. */
export function requireData(op: string, data: PolicyData): number {
  const counts = treeLeaves(data).map((t) => t.shape[0] ?? 0);
  if (counts.length < 2 || !(counts[0]! >= 1) || counts.some((count) => count !== counts[0]))
    throw new RangeError(
      `${op}: as many inputs as outputs are needed, at least one, got ${counts.join(" and ")}`,
    );
  return counts[0]!;
}
