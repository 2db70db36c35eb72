import {
  add,
  data,
  div,
  jit,
  linalg,
  matmul,
  mean,
  mul,
  neg,
  random,
  slice,
  stack,
  sub,
  sum,
  type Tensor,
  tensor,
} from "@prior-art/tensor";
import {
  type ClassificationDataset,
  digits,
  mnist,
  selectEntries,
  selectRows,
  stratifiedSplit,
} from "@prior-art/toolkit/data";
import { type MarkovSource, markovSource, tokenLogProbabilities } from "@prior-art/toolkit/lm";
import {
  type CnnParams,
  cnn,
  crossEntropy,
  type MlpParams,
  mlp,
  type TransformerParams,
  transformer,
} from "@prior-art/toolkit/nn";
import type { OutputLoss } from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";
import type { ProblemName } from "./family.ts";

/** A training problem with one seed's data and first parameters. */
export interface Prepared<P, D> {
  readonly params: P;
  /** Tensors `[examples, …]`. */
  readonly train: D;
  readonly examples: number;
  readonly loss: (params: P, batch: D) => Tensor;
  readonly outputs?: (batch: D) => OutputLoss<P>;
  /** Losses of held-out examples, less what nobody could do better: to tune on, and to rank by. */
  readonly score: (params: P) => Promise<{ readonly validationLoss: number; readonly testLoss: number }>;
}

export interface Problem {
  readonly label: string;
  readonly batchSize: number;
  /** Of the full comparison. */
  readonly steps: number;
  // biome-ignore lint/suspicious/noExplicitAny: each problem has parameters and data of its own type
  prepare(seed: number): Promise<Prepared<any, any>>;
}

interface Examples {
  /** `[examples, …]` */
  readonly x: Tensor;
  /** int32 `[examples]` of classes, or values `[examples, 1]`. */
  readonly y: Tensor;
}

/** Held-out examples, with the loss on them that is not to be counted: of whoever knows where they come from. */
interface HeldOut<D> {
  readonly batch: D;
  readonly known?: number;
}

/** Validation and test loss by one compiled function. */
const scoreBy =
  <P, D>(
    loss: (params: P, batch: D) => Tensor,
    validation: HeldOut<D>,
    test: HeldOut<D>,
  ): Prepared<P, D>["score"] =>
  async (params) => {
    const score = jit((p: P) => stack([loss(p, validation.batch), loss(p, test.batch)]));
    const [validationLoss, testLoss] = [...(await data(await score(params)))] as [number, number];
    await score.release();
    return {
      validationLoss: validationLoss - (validation.known ?? 0),
      testLoss: testLoss - (test.known ?? 0),
    };
  };

interface Classifier<P> {
  init(key: Tensor): P;
  apply(params: P, x: Tensor): Tensor;
}

/** A classifier on images; grey levels become 0–1. */
function classify<P>(
  { features, shape, labels }: ClassificationDataset,
  model: Classifier<P>,
  {
    seed,
    image,
    levels,
    ...sizes
  }: {
    readonly seed: number;
    /** Shape of one image as the model takes it. */
    readonly image: readonly number[];
    readonly levels: number;
    readonly train: number;
    readonly validation: number;
    readonly test: number;
  },
): Prepared<P, Examples> {
  const split = stratifiedSplit(labels, { ...sizes, seed });
  const part = (indices: Int32Array): Examples => ({
    x: tensor(
      selectRows(features, shape, indices).map((v) => v / levels),
      { shape: [indices.length, ...image] },
    ),
    y: tensor(selectEntries(labels, indices)),
  });
  const loss = (params: P, { x, y }: Examples): Tensor => crossEntropy(model.apply(params, x), y);
  return {
    params: model.init(random.key(seed)),
    train: part(split.train),
    examples: sizes.train,
    loss,
    outputs: ({ x, y }) => ({ predict: (p) => model.apply(p, x), targets: y, kind: "crossEntropy" }),
    score: scoreBy(loss, { batch: part(split.validation) }, { batch: part(split.test) }),
  };
}

let loadedMnist: Promise<ClassificationDataset> | undefined;
/** Decoded once a worker: it takes half a second. */
const loadMnist = (): Promise<ClassificationDataset> => {
  loadedMnist ??= mnist();
  return loadedMnist;
};

/** The source is the same for every seed, so that losses can be compared; texts and first parameters differ. */
const SOURCE = 0;

/** Mean loss, in nats a token from the second on, of the source itself on texts that it wrote: int32 `[count, length]`. */
export function lossOfSource(source: MarkovSource, tokens: Int32Array, length: number): number {
  const { vocabulary, transitions, stationary } = source;
  const first = new Float64Array(vocabulary);
  stationary.forEach((share, context) => {
    first[Math.floor(context / vocabulary)]! += share;
  });
  let [total, count] = [0, 0];
  for (let at = 0; at < tokens.length; at++) {
    const step = at % length;
    if (step === 0) continue;
    const context = tokens[at - 1]! + (step > 1 ? vocabulary * tokens[at - 2]! : 0);
    const probability =
      step > 1
        ? transitions[context * vocabulary + tokens[at]!]!
        : stationary[context * vocabulary + tokens[at]!]! / first[context]!;
    total -= Math.log(probability);
    count++;
  }
  return total / count;
}

/**
 * Mean loss, in nats a token from the second on, of the tokens `[count, length]` under logits `[count, length, vocabulary]`, each
 * place's those of the next token.
 */
export function nextTokenLoss(logits: Tensor, tokens: Tensor): Tensor {
  // Nothing foretells the first token; its place holds a 0.
  return neg(mean(slice(tokenLogProbabilities(logits, tokens), null, [1])));
}

/**
 * Texts of a source of order 2 for a transformer of one block; what is scored is how much worse than the source itself it
 * foretells them.
 */
function texts(seed: number): Prepared<TransformerParams, { readonly tokens: Tensor }> {
  const [vocabulary, length] = [6, 24];
  const source = markovSource({ vocabulary, order: 2, concentration: 0.3, seed: SOURCE });
  const stream = randomStream(seed, "texts");
  const part = (count: number) => {
    const tokens = source.sample(count, length, stream);
    const batch = { tokens: tensor(tokens, { shape: [count, length] }) };
    return { batch, known: lossOfSource(source, tokens, length) };
  };
  const model = transformer({ vocabulary, context: length, width: 32, heads: 2, layers: 1 });
  const loss = (params: TransformerParams, { tokens }: { readonly tokens: Tensor }): Tensor =>
    nextTokenLoss(model.apply(params, tokens), tokens);
  const examples = 6400;
  return {
    params: model.init(random.key(seed)),
    train: part(examples).batch,
    examples,
    loss,
    score: scoreBy(loss, part(200), part(400)),
  };
}

/**
 * Deviations of the directions of the input: the Hessian's condition number is the square of their ratio. The solution's
 * weights are below 1, within reach of every method's steps.
 */
const SPREAD = { largest: 4, smallest: 0.2 } as const;

/**
 * Least squares with a condition number of 400 along rotated axes, each of which matters equally to the target. Targets
 * are noisy in training; held-out ones are not, so that the score of the true weights is 0.
 */
function regression(seed: number): Prepared<{ readonly weights: Tensor }, Examples> {
  const inputs = 32;
  const key = (i: number): Tensor => random.fold(random.key(seed), i);
  const deviations = tensor(
    Float32Array.from(
      { length: inputs },
      (_, i) => SPREAD.largest * (SPREAD.smallest / SPREAD.largest) ** (i / (inputs - 1)),
    ),
  );
  const { q: rotation } = linalg.qr(random.normal(key(0), [inputs, inputs]));
  const truth = div(random.normal(key(1), [inputs, 1]), Math.sqrt(inputs));
  const part = (count: number, i: number, noise: number): Examples => {
    const [inputKey, noiseKey] = random.keys(key(i)) as [Tensor, Tensor];
    const directions = random.normal(inputKey, [count, inputs]);
    return {
      x: matmul(mul(directions, deviations), rotation),
      y: add(matmul(directions, truth), mul(noise, random.normal(noiseKey, [count, 1]))),
    };
  };
  const predict = ({ weights }: { readonly weights: Tensor }, x: Tensor): Tensor => matmul(x, weights);
  const loss = (params: { readonly weights: Tensor }, { x, y }: Examples): Tensor => {
    const away = sub(predict(params, x), y);
    return mul(0.5, mean(sum(mul(away, away), 1)));
  };
  return {
    params: { weights: mul(0, truth) },
    train: part(4000, 2, 0.1),
    examples: 4000,
    loss,
    outputs: ({ x, y }) => ({ predict: (p) => predict(p, x), targets: y, kind: "squaredError" }),
    score: scoreBy(loss, { batch: part(1000, 3, 0) }, { batch: part(2000, 4, 0) }),
  };
}

const sizes = { train: 900, validation: 300, test: 500 };

export const problems: Readonly<Record<ProblemName, Problem>> = {
  digitsCnn: {
    label: "CNN on 8×8 digits",
    batchSize: 32,
    steps: 240,
    prepare: async (seed) =>
      classify<CnnParams>(await digits(), cnn({ image: [1, 8, 8], classes: 10, filters: [8, 16] }), {
        seed,
        image: [1, 8, 8],
        levels: 16,
        ...sizes,
      }),
  },
  mnistMlp: {
    label: "MLP on MNIST",
    batchSize: 64,
    steps: 240,
    prepare: async (seed) =>
      classify<MlpParams>(await loadMnist(), mlp({ sizes: [784, 64, 64, 10] }), {
        seed,
        image: [784],
        levels: 255,
        train: 1200,
        validation: 300,
        test: 500,
      }),
  },
  transformer: {
    label: "transformer on a Markov source, loss above the source's own",
    batchSize: 16,
    steps: 400,
    prepare: async (seed) => texts(seed),
  },
  regression: {
    label: "ill-conditioned least squares, loss above the noise's",
    batchSize: 32,
    steps: 500,
    prepare: async (seed) => regression(seed),
  },
};
