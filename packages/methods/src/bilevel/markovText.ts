import {
  add,
  broadcastTo,
  evaluate,
  jit,
  mul,
  random,
  reshape,
  scan,
  slice,
  type Tensor,
  tensor,
  treeLeaves,
  treeMap,
  valueAndGrad,
  vmap,
} from "@prior-art/tensor";
import {
  type MarkovSource,
  markovSource,
  sampleWindows,
  type WindowBatch,
  type WindowModelParams,
  windowModel,
} from "@prior-art/toolkit/lm";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { applyUpdates, type GradientTransformation } from "@prior-art/toolkit/optim";
import { type RandomStream, randomStream } from "@prior-art/toolkit/stats";

export interface MarkovTextOptions {
  readonly vocabulary: number;
  readonly context: number;
  readonly width: number;
  /** Of each row of the source's transitions, 0.1 by default: a few tokens are likely, the rest rare. */
  readonly concentration?: number;
  /** Of the source. Default 17. */
  readonly sourceSeed?: number;
}

/** A language-modelling task whose best possible loss is known, and a small model for it. */
export interface MarkovText {
  readonly source: MarkovSource;
  readonly model: ReturnType<typeof windowModel>;
  /** Cross-entropy of the next token, a batch's mean. */
  loss(params: WindowModelParams, batch: WindowBatch): Tensor;
  /** Independent windows, `[count, context]`. */
  sample(count: number, stream: RandomStream): WindowBatch;
  /** Of the source, nats a token. */
  readonly entropyRate: number;
}

/** Text of a random Markov chain of order 2, and a window model with two residual blocks for it. */
export function markovText({
  vocabulary,
  context,
  width,
  concentration = 0.1,
  sourceSeed = 17,
}: MarkovTextOptions): MarkovText {
  const source = markovSource({ vocabulary, order: 2, concentration, seed: sourceSeed });
  const model = windowModel({ vocabulary, context, width });
  return {
    source,
    model,
    loss: (params, { windows, targets }) => crossEntropy(model.apply(params, windows), targets),
    sample: (count, stream) => sampleWindows(source, count, context, stream),
    entropyRate: source.entropyRate,
  };
}

/** One step of one run, as measurements see it. */
export interface TextStep {
  readonly before: WindowModelParams;
  readonly after: WindowModelParams;
  /** Of the whole batch. */
  readonly gradient: WindowModelParams;
  /** Of its two halves, for the noise of the gradient; undefined unless asked for. */
  readonly halves: readonly [WindowModelParams, WindowModelParams] | undefined;
}

export interface SideBySideOptions<H, S, M> {
  readonly text: MarkovText;
  /** Hyperparameters, `[runs]` each. */
  readonly hyperparameters: H;
  /** The optimizer of one run, from its own hyperparameters (scalars). */
  readonly optimizer: (hyperparameters: H) => GradientTransformation<WindowModelParams, S>;
  /** Where all runs start; `model.init` of the seed by default. */
  readonly init?: WindowModelParams;
  readonly batch: number;
  /** Steps between reports. */
  readonly chunk: number;
  readonly chunks: number;
  readonly seed: number;
  /** What is kept of each step, a tree of scalars. */
  readonly measure?: (step: TextStep) => M;
  /** Takes the gradient by halves of the batch. Default false. */
  readonly halves?: boolean;
}

export interface TextProgress<M> {
  /** Steps so far. */
  readonly step: number;
  /** `[runs, …]` */
  readonly params: WindowModelParams;
  /** Loss of the batch before each step of the chunk, `[runs, chunk]`. */
  readonly losses: Tensor;
  /** `[runs, chunk]` each. */
  readonly measured: M | undefined;
}

/**
 * Trains runs with different hyperparameters side by side, in one compiled loop, on fresh text that they share: no window
 * is seen twice.
 * @throws RangeError for a batch, a chunk or a number of chunks that is no whole number from 1, or runs of different numbers.
 */
export async function* trainSideBySide<H, S, M>(
  options: SideBySideOptions<H, S, M>,
): AsyncGenerator<TextProgress<M>, void> {
  const { text, hyperparameters, batch, chunk, chunks, seed, measure, halves = false } = options;
  for (const [name, value] of Object.entries({ batch, chunk, chunks }))
    if (!(Number.isInteger(value) && value >= 1))
      throw new RangeError(`trainSideBySide: ${name} must be a whole number from 1, got ${value}`);
  if (halves && batch % 2 === 1) throw new RangeError(`trainSideBySide: a batch of ${batch} has no halves`);
  const counts = treeLeaves(hyperparameters).map((t) => t.shape[0] ?? 0);
  const runs = counts[0] ?? 0;
  if (runs < 1 || counts.some((count) => count !== runs))
    throw new RangeError(`trainSideBySide: hyperparameters of ${counts.join(", ")} runs`);
  const stream = randomStream(seed, "fresh text");
  const gradientOf = valueAndGrad(text.loss);
  const part = (from: Tensor, k: number): Tensor => slice(from, [(k * batch) / 2, ((k + 1) * batch) / 2]);
  const train = (hyper: H, from: WindowModelParams, state: S, windows: Tensor, targets: Tensor) => {
    const optimizer = options.optimizer(hyper);
    return scan(
      ([before, memory]: readonly [WindowModelParams, S], [x, y]: readonly [Tensor, Tensor]) => {
        const halfOf = (k: number) => gradientOf(before, { windows: part(x, k), targets: part(y, k) });
        const both = halves ? ([halfOf(0), halfOf(1)] as const) : undefined;
        const [loss, gradient] = both
          ? ([
              mul(0.5, add(both[0][0], both[1][0])),
              treeMap((a, b) => mul(0.5, add(a, b)), both[0][1], both[1][1]),
            ] as const)
          : gradientOf(before, { windows: x, targets: y });
        const [updates, next] = optimizer.update(gradient, memory, before);
        const after = applyUpdates(before, updates);
        const kept = measure?.({
          before,
          after,
          gradient,
          halves: both && [both[0][1], both[1][1]],
        });
        return [[after, next] as const, [loss, kept] as const] as const;
      },
      [from, state] as const,
      [windows, targets] as const,
    );
  };
  const init = options.init ?? text.model.init(random.key(seed));
  let params = treeMap((t) => broadcastTo(t, [runs, ...t.shape]), init);
  let state = vmap((hyper: H, p: WindowModelParams) => options.optimizer(hyper).init(p))(
    hyperparameters,
    params,
  );
  [params, state] = await evaluate([params, state] as const);
  const run = jit(vmap(train, { inAxes: [0, 0, 0, null, null] }));
  try {
    for (let k = 1; k <= chunks; k++) {
      const { windows, targets } = text.sample(chunk * batch, stream);
      const [[nextParams, nextState], [losses, measured]] = await run(
        hyperparameters,
        params,
        state,
        reshape(windows, [chunk, batch, windows.shape[1]!]),
        reshape(targets, [chunk, batch]),
      );
      [params, state] = [nextParams, nextState];
      yield { step: k * chunk, params, losses, measured: measured as M | undefined };
    }
  } finally {
    await run.release();
  }
}

/** Losses of stacked parameters on the same text, `[runs]`. */
export async function lossesOn(
  text: MarkovText,
  params: WindowModelParams,
  batch: WindowBatch,
): Promise<number[]> {
  const losses = vmap((p: WindowModelParams) => text.loss(p, batch))(params);
  return Array.from(await losses.data(), Number);
}

/** Means of blocks of `size` entries of a row-major `[runs, steps]` array; a last block that is not full is left out. */
export async function blockMeans(values: Tensor, size: number): Promise<number[][]> {
  const [runs, steps] = values.shape as [number, number];
  const blocks = Math.floor(steps / size);
  const all = await values.data();
  return Array.from({ length: runs }, (_, run) =>
    Array.from({ length: blocks }, (__, block) => {
      let total = 0;
      for (let t = 0; t < size; t++) total += Number(all[run * steps + block * size + t]);
      return total / size;
    }),
  );
}

/** A vector of hyperparameters, `[runs]`. */
export const column = (values: readonly number[]): Tensor => tensor(Float32Array.from(values));
