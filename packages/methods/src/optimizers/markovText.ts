import {
  data,
  jit,
  logSoftmax,
  mul,
  neg,
  random,
  reshape,
  scan,
  slice,
  sub,
  sum,
  type Tensor,
  tensor,
  valueAndGrad,
} from "@prior-art/tensor";
import { DivergedError, type Progress } from "@prior-art/toolkit/experiment";
import { type MarkovSource, markovSource, sampleWindows, windowModel } from "@prior-art/toolkit/lm";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { applyUpdates, type GradientTransformation, type Mask } from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";

/** Tokens; the next depends on the last two, which are all that the model sees. */
export const VOCABULARY = 16;
const ORDER = 2;
export const BATCH = 64;

/** Embeddings of 64, and one residual block of width 128: the block's two matrices are the low-rank methods' own. */
export const textModel = windowModel({ vocabulary: VOCABULARY, context: ORDER, width: 64, blocks: 1 });

/** The block's matrices, neither embedding nor output. */
export const blockMatrices: Mask = ({ shape }) => shape.length === 2 && shape.includes(128);

/** A source of this seed's own; its 256 rows have a few likely tokens each, and nothing in common. */
export const textSource = (seed: number): MarkovSource =>
  markovSource({ vocabulary: VOCABULARY, order: ORDER, concentration: CONCENTRATION, seed });
const CONCENTRATION = 0.1;

export interface TextModel<P> {
  init(key: Tensor): P;
  /** Logits `[batch, VOCABULARY]` of the token after each window, int32 `[batch, 2]`. */
  apply(params: P, windows: Tensor): Tensor;
}

/** The mean excess of the model's loss over the source's entropy, in nats a token: exact, over all contexts there are. */
export function excessLoss<P>(source: MarkovSource, model: TextModel<P>): (params: P) => Tensor {
  const contexts = VOCABULARY ** ORDER;
  const windows = tensor(
    Int32Array.from({ length: contexts * ORDER }, (_, i) =>
      i % 2 === 0 ? Math.floor(i / 2 / VOCABULARY) : Math.floor(i / 2) % VOCABULARY,
    ),
    { shape: [contexts, ORDER] },
  );
  const joint = tensor(
    Float32Array.from(source.transitions, (p, i) => p * source.stationary[Math.floor(i / VOCABULARY)]!),
    { shape: [contexts, VOCABULARY] },
  );
  return (params) => sub(neg(sum(mul(joint, logSoftmax(model.apply(params, windows))))), source.entropyRate);
}

export interface TextTraining<P, S> {
  readonly model: TextModel<P>;
  readonly optimizer: GradientTransformation<P, S>;
  readonly source: MarkovSource;
  /** Of the initialization and the text. */
  readonly seed: number;
  readonly steps: number;
  /** Steps between evaluations; divides `steps`. */
  readonly every: number;
  readonly params?: P;
  /** A tensor to be kept at each evaluation, from the parameters, the state and a batch's gradient at that time. */
  readonly observe?: (params: P, state: S, gradients: P) => Tensor;
}

export interface TrainedText<P> {
  readonly params: P;
  /** Excess loss after each `every` steps. */
  readonly excess: readonly number[];
  /** Loss of each step's batch before the step, `[steps]`. */
  readonly losses: readonly number[];
  /** What was observed at each evaluation. */
  readonly observed: readonly (readonly number[])[];
}

/**
 * Trains on text that never repeats.
 * @throws DivergedError when the loss is no longer a number.
 */
export async function* trainText<P, S>({
  model,
  optimizer,
  source,
  seed,
  steps,
  every,
  observe,
  ...given
}: TextTraining<P, S>): AsyncGenerator<Progress, TrainedText<P>, void> {
  const loss = (p: P, windows: Tensor, targets: Tensor): Tensor =>
    crossEntropy(model.apply(p, windows), targets);
  const lossAndGradient = valueAndGrad(loss);
  const excessOf = excessLoss(source, model);
  const run = jit((start: P, memory: S, windows: Tensor, targets: Tensor) => {
    const [[params, state], losses] = scan(
      ([p, s]: readonly [P, S], [w, t]: readonly [Tensor, Tensor]) => {
        const [value, gradients] = lossAndGradient(p, w, t);
        const [updates, next] = optimizer.update(gradients, s, p);
        return [[applyUpdates(p, updates), next] as const, value] as const;
      },
      [start, memory] as const,
      [windows, targets] as const,
    );
    const fresh = () => lossAndGradient(params, slice(windows, -1), slice(targets, -1))[1];
    const seen = observe ? observe(params, state, fresh()) : losses;
    return { params, state, losses, seen, excess: excessOf(params) };
  });
  const stream = randomStream(seed, "text");
  let params = given.params ?? model.init(random.key(seed));
  let state = optimizer.init(params);
  const [excess, losses, observed] = [[] as number[], [] as number[], [] as number[][]];
  try {
    for (let step = every; step <= steps; step += every) {
      const text = sampleWindows(source, every * BATCH, ORDER, stream);
      const windows = reshape(text.windows, [every, BATCH, ORDER]);
      const done = await run(params, state, windows, reshape(text.targets, [every, BATCH]));
      ({ params, state } = done);
      losses.push(...(await data(done.losses)));
      excess.push((await data(done.excess))[0]!);
      if (observe) observed.push([...(await data(done.seen))]);
      const now = excess.at(-1)!;
      if (!Number.isFinite(now)) throw new DivergedError(`the excess loss is ${now} after ${step} steps`);
      yield { step, of: steps, metrics: { excess: now } };
    }
  } finally {
    await run.release();
  }
  return { params, excess, losses, observed };
}
