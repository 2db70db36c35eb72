import { add, evaluate, jit, random, type Tensor } from "@prior-art/tensor";
import type { TransformerParams } from "../nn/index.ts";
import { type GradientTransformation, trainSteps } from "../optim/index.ts";
import type { Adapter } from "./adapters.ts";
import { lossOn, type SequenceLoss, type TextBatch } from "./sequenceLosses.ts";
import type { Transformer } from "./tokenModel.ts";

export interface FineTuningOptions<A, S> {
  readonly model: Transformer;
  /** The weights to start from. */
  readonly base: TransformerParams;
  readonly adapter: Adapter<TransformerParams, A>;
  readonly optimizer: GradientTransformation<A, S>;
  /** Maximum likelihood by default. */
  readonly loss?: SequenceLoss;
  /** A term to add to the loss, from the adapter's parameters and the weights in effect. */
  readonly penalty?: (adapted: A, weights: TransformerParams) => Tensor;
  readonly data: TextBatch;
  readonly steps: number;
  /** Texts a step, drawn with replacement. */
  readonly batchSize: number;
  readonly key: Tensor;
  /** The adapter's parameters to start from; `adapter.init` by default. */
  readonly start?: A;
}

export interface FineTuned<A> {
  /** The weights in effect. */
  readonly params: TransformerParams;
  readonly adapted: A;
  /** The loss before each step, `[steps]`. */
  readonly losses: Tensor;
}

/**
 * Trains an adapter's parameters on texts, all steps in one compiled run.
 * @throws RangeError unless there is at least one step and one text a batch.
 */
export async function fineTune<A, S>(options: FineTuningOptions<A, S>): Promise<FineTuned<A>> {
  const { model, base, adapter, optimizer, loss, penalty, data, steps, batchSize, key } = options;
  for (const [name, count] of Object.entries({ steps, batchSize }))
    if (!(Number.isInteger(count) && count >= 1))
      throw new RangeError(`fineTune: ${name} is a whole number of at least 1, got ${count}`);
  const [initKey, orderKey, stepKey] = random.keys(key, 3) as [Tensor, Tensor, Tensor];
  const textLoss = lossOn(model, loss);
  const train = jit(
    trainSteps({
      optimizer,
      loss: (adapted: A, batch: TextBatch, noise: Tensor) => {
        const weights = adapter.merge(base, adapted, noise);
        const value = textLoss(weights, batch);
        return penalty ? add(value, penalty(adapted, weights)) : value;
      },
    }),
  );
  const start = options.start ?? adapter.init(initKey, base);
  const rows = random.randint(orderKey, [steps, batchSize], 0, data.tokens.shape[0]!);
  const [adapted, , losses] = await train(
    start,
    optimizer.init(start),
    data,
    rows,
    random.split(stepKey, steps),
  );
  await train.release();
  const params = adapter.merge(base, adapted);
  await evaluate(params);
  return { params, adapted, losses };
}
