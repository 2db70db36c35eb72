import {
  add,
  cos,
  div,
  grad,
  jit,
  mul,
  neg,
  random,
  scan,
  softmax,
  sub,
  sum,
  type Tensor,
  take,
  tensor,
  treeLeaves,
  treeMap,
  vmap,
} from "@prior-art/tensor";
import { digits, rotateImages, selectEntries, selectRows, stratifiedSplit } from "@prior-art/toolkit/data";
import { crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import {
  adam,
  applyUpdates,
  chain,
  clipByGlobalNorm,
  fit,
  nesterov,
  shuffledBatches,
} from "@prior-art/toolkit/optim";
import { type Emphasis, learnHyperparameters, sampleWeights, transferPrior } from "./method.ts";

export interface Labelled {
  /** `[examples, 64]` */
  readonly x: Tensor;
  /** int32 `[examples]` */
  readonly labels: Tensor;
}

export const classifier = mlp({ sizes: [64, 64, 64, 10] });

export const backboneOf = ({ layers }: MlpParams): unknown => layers.slice(0, -1);
export const headOf = ({ layers }: MlpParams): unknown => layers.at(-1);

export interface TransferTask {
  /** Trained on digits turned by 90°, with a new head. */
  readonly pretrained: MlpParams;
  /** Upright digits by number of examples. */
  train(size: number): Labelled;
  /** The same examples, a fifth of them held out. */
  split(size: number): { readonly train: Labelled; readonly validation: Labelled };
  readonly test: Labelled;
}

/** Source: 797 turned digits. Target: other, upright digits, up to 500 for training and 500 for testing. */
export async function transferTask(seed: number): Promise<TransferTask> {
  const { features, shape, labels } = await digits();
  const pixels = features.map((value) => value / 16);
  const {
    train: source,
    validation: target,
    test,
  } = stratifiedSplit(labels, {
    train: 797,
    validation: 500,
    test: 500,
    seed,
  });
  const rows = (indices: Int32Array, turned = false): Labelled => {
    const images = selectRows(pixels, shape, indices);
    return {
      x: tensor(turned ? rotateImages(images, 64, 90) : images, { shape: [indices.length, 64] }),
      labels: tensor(selectEntries(labels, indices)),
    };
  };
  const [initKey, fitKey, headKey] = random.keys(random.key(seed), 3) as [Tensor, Tensor, Tensor];
  let pretrained = classifier.init(initKey);
  for await (const { params } of fit({
    loss: (p: MlpParams, { x, labels: y }: Labelled) => crossEntropy(classifier.apply(p, x), y),
    optimizer: adam<MlpParams>({ learningRate: 2e-3 }),
    params: pretrained,
    data: rows(source, true),
    batchSize: 128,
    epochs: 60,
    epochsPerRun: 60,
    key: fitKey,
  }))
    pretrained = params;
  const head = classifier.init(headKey).layers.at(-1)!;
  const chosen = (size: number): Int32Array => {
    const { train } = stratifiedSplit(selectEntries(labels, target), {
      train: size,
      test: target.length - size,
      seed,
    });
    return Int32Array.from(train, (i) => target[i]!);
  };
  return {
    pretrained: { layers: [...pretrained.layers.slice(0, -1), head] },
    train: (size) => rows(chosen(size)),
    split(size) {
      const all = chosen(size);
      const { train, test: validation } = stratifiedSplit(selectEntries(labels, all), {
        train: size - Math.round(size / 5),
        test: Math.round(size / 5),
        seed,
      });
      const picked = (part: Int32Array): Labelled => rows(Int32Array.from(part, (i) => all[i]!));
      return { train: picked(train), validation: picked(validation) };
    },
    test: rows(test),
  };
}

export interface PenalizedOptions {
  readonly init: MlpParams;
  readonly data: Labelled;
  /** Penalties `½α‖w − w₀‖²` on the backbone and `½β‖V‖²` on the head, and the learning rate, side by side. */
  readonly backbone: readonly number[];
  readonly head: readonly number[];
  readonly learningRates: readonly number[];
  readonly steps: number;
  readonly key: Tensor;
}

/** Networks trained side by side on mean cross-entropy with penalties, by the optimizer of `learnHyperparameters`. */
export async function trainPenalized(options: PenalizedOptions): Promise<MlpParams> {
  const { init, data, backbone, head, learningRates, steps, key } = options;
  const count = treeLeaves(data)[0]!.shape[0]!;
  const batch = Math.min(128, count);
  const perEpoch = Math.floor(count / batch);
  const orders = random
    .keys(key, Math.ceil(steps / perEpoch))
    .map((each) => shuffledBatches(each, count, batch));
  const order = orders.length === 1 ? orders[0]! : await concatenated(orders);
  const optimizer = chain(
    clipByGlobalNorm<MlpParams>(1),
    nesterov<MlpParams>({ learningRate: 1, decay: 0.9 }),
  );
  const squares = (tree: unknown): Tensor =>
    treeLeaves(tree)
      .map((t) => sum(mul(t, t)))
      .reduce((a, b) => add(a, b));
  const train = (
    alpha: Tensor,
    beta: Tensor,
    rate: Tensor,
    examples: Labelled,
    from: MlpParams,
    rows: Tensor,
  ) => {
    const times = tensor(Float32Array.from({ length: steps }, (_, t) => t));
    const decay = mul(0.5, add(1, cos(mul(Math.PI / steps, times))));
    const [[trained]] = scan(
      (
        [before, memory]: readonly [MlpParams, ReturnType<typeof optimizer.init>],
        [at, share]: readonly [Tensor, Tensor],
      ) => {
        const { x, labels } = treeMap((t) => take(t, at), examples);
        const loss = (p: MlpParams): Tensor => {
          const gap = treeMap(sub, backboneOf(p), backboneOf(from));
          const penalty = add(mul(alpha, squares(gap)), mul(beta, squares(headOf(p))));
          return add(crossEntropy(classifier.apply(p, x), labels), mul(0.5, penalty));
        };
        const [updates, next] = optimizer.update(grad(loss)(before), memory, before);
        const size = mul(rate, share);
        return [
          [
            applyUpdates(
              before,
              treeMap((u) => mul(size, u), updates as MlpParams),
            ),
            next,
          ] as const,
          null,
        ] as const;
      },
      [from, optimizer.init(from)] as const,
      [rows, decay] as const,
    );
    return trained;
  };
  const run = jit(vmap(train, { inAxes: [0, 0, 0, null, null, null] }));
  try {
    const column = (values: readonly number[]): Tensor => tensor(Float32Array.from(values));
    return await run(column(backbone), column(head), column(learningRates), data, init, order);
  } finally {
    await run.release();
  }
}

async function concatenated(orders: readonly Tensor[]): Promise<Tensor> {
  const parts = await Promise.all(orders.map((each) => each.data()));
  const [batches, size] = orders[0]!.shape as [number, number];
  const whole = new Int32Array(orders.length * batches * size);
  parts.forEach((part, i) => {
    whole.set(part as Int32Array, i * batches * size);
  });
  return tensor(whole, { shape: [orders.length * batches, size] });
}

/** Negative log-likelihood and accuracy of each network in a stack. */
export async function scoreStack(stack: MlpParams, { x, labels }: Labelled): Promise<Score[]> {
  const probabilities = vmap((p: MlpParams) => softmax(classifier.apply(p, x)))(stack);
  return scores(
    Float32Array.from(await probabilities.data(), Number),
    probabilities.shape[0]!,
    Int32Array.from(await labels.data(), Number),
  );
}

/** Those of the average prediction of ten networks drawn from `N(ŵ, σ²I)`. */
export async function scorePosterior(mean: MlpParams, sigma: number, { x, labels }: Labelled, key: Tensor) {
  const draws = random
    .keys(key, 10)
    .map((each) => softmax(classifier.apply(sampleWeights(mean, tensor(sigma), each), x)));
  const average = div(
    draws.reduce((a, b) => add(a, b)),
    draws.length,
  );
  const [score] = scores(
    Float32Array.from(await average.data(), Number),
    1,
    Int32Array.from(await labels.data(), Number),
  );
  return score!;
}

export interface Score {
  readonly loss: number;
  readonly accuracy: number;
}

function scores(probabilities: Float32Array, networks: number, labels: Int32Array): Score[] {
  const classes = probabilities.length / networks / labels.length;
  return Array.from({ length: networks }, (_, k) => {
    let [loss, right] = [0, 0];
    labels.forEach((label, i) => {
      const from = (k * labels.length + i) * classes;
      const row = probabilities.subarray(from, from + classes);
      loss -= Math.log(Math.max(row[label]!, 1e-12));
      if (row.every((p) => p <= row[label]!)) right++;
    });
    return { loss: loss / labels.length, accuracy: right / labels.length };
  });
}

/** Log-likelihood of the classifier, a batch's mean. */
export const logLik = (p: MlpParams, { x, labels }: Labelled): Tensor =>
  neg(crossEntropy(classifier.apply(p, x), labels));

/** First learning rates that every way of training tries. */
export const RATES = [0.1, 0.01, 0.001, 0.0001];

/** Penalties of the grid, on the backbone and on the head. */
export const STRENGTHS = [1e-4, 1e-3, 1e-2, 1e-1, 1, 10];

export type PenaltyChoice = readonly [backbone: number, head: number];

export interface TransferOptions {
  readonly task: TransferTask;
  /** Upright digits to train on. */
  readonly size: number;
  readonly steps: number;
  readonly seed: number;
}

export interface Transferred {
  /** On the test digits. */
  readonly score: Score;
  readonly rate: number;
  readonly penalty?: PenaltyChoice;
  /** Steps of all training runs. */
  readonly steps: number;
}

/** L2-SP with prior variances by the bound, the learning rate by the bound too. */
export async function trainVariationally(
  kappa: Emphasis,
  { task, size, steps, seed }: TransferOptions,
): Promise<Transferred> {
  const init = task.pretrained;
  const prior = transferPrior("sp", { backbone: backboneOf, head: headOf, pretrained: init });
  const found = await learnHyperparameters({
    logLik,
    init,
    data: task.train(size),
    prior,
    kappa,
    steps,
    learningRates: RATES,
    key: random.key(seed),
  });
  const score = await scorePosterior(found.mean, found.sigma, task.test, random.key(seed + 500_000));
  return { score, rate: found.learningRate, steps: steps * found.candidates.length };
}

/** Every penalty with every learning rate on four fifths of the data; the one with the least validation loss is refit on all. */
export async function gridSearch(
  penalties: readonly PenaltyChoice[],
  { task, size, steps, seed }: TransferOptions,
): Promise<Transferred> {
  const candidates = penalties.flatMap((penalty) => RATES.map((rate) => ({ penalty, rate })));
  const trained = (data: Labelled, chosen: typeof candidates) =>
    trainPenalized({
      init: task.pretrained,
      data,
      backbone: chosen.map(({ penalty: [backbone] }) => backbone),
      head: chosen.map(({ penalty: [, head] }) => head),
      learningRates: chosen.map(({ rate }) => rate),
      steps,
      key: random.key(seed),
    });
  const { train, validation } = task.split(size);
  const losses = (await scoreStack(await trained(train, candidates), validation)).map(({ loss }) => loss);
  const best = candidates[losses.indexOf(Math.min(...losses))]!;
  const [score] = await scoreStack(await trained(task.train(size), [best]), task.test);
  return { score: score!, ...best, steps: steps * (candidates.length + 1) };
}
