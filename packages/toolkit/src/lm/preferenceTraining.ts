import { add, evaluate, jit, mean, random, type Tensor, TensorError } from "@prior-art/tensor";
import type { TransformerParams } from "../nn/index.ts";
import { type GradientTransformation, trainSteps } from "../optim/index.ts";
import type { Adapter } from "./adapters.ts";
import type { FineTuned } from "./fineTuning.ts";
import { tokenLogProbabilities } from "./logProbabilities.ts";
import type { PolicyRegularizer, PreferenceBatch, PreferenceLoss, PreferenceSide } from "./preferences.ts";
import type { TextBatch } from "./sequenceLosses.ts";
import type { Transformer } from "./tokenModel.ts";

export interface PreferenceTrainingOptions<A, S> {
  readonly model: Transformer;
  /** The weights to start from, and the reference of all log-ratios. */
  readonly base: TransformerParams;
  readonly adapter: Adapter<TransformerParams, A>;
  readonly loss: PreferenceLoss;
  /** A term of the chosen side to add to the loss; none by default. */
  readonly regularizer?: PolicyRegularizer;
  readonly optimizer: GradientTransformation<A, S>;
  /** Preferred texts and, row for row, those they were preferred to. */
  readonly chosen: TextBatch;
  readonly rejected: TextBatch;
  readonly steps: number;
  /** Pairs a step, drawn with replacement. */
  readonly batchSize: number;
  readonly key: Tensor;
}

type Pairs = Readonly<Record<keyof PreferenceBatch, TextBatch & { readonly reference: Tensor }>>;

/**
 * Trains a policy on pairs, all steps in one compiled run; the reference's log-probabilities are computed once.
 * @throws TensorError when the two sides don't fit. @throws RangeError unless there is at least one step and one pair.
 */
export async function trainPreferences<A, S>(
  options: PreferenceTrainingOptions<A, S>,
): Promise<FineTuned<A>> {
  const { model, base, adapter, loss, regularizer, optimizer, chosen, rejected, steps, batchSize, key } =
    options;
  if (chosen.tokens.shape.join() !== rejected.tokens.shape.join())
    throw new TensorError(
      "trainPreferences",
      `chosen ${chosen.tokens.toString()} and rejected ${rejected.tokens.toString()} don't pair up`,
    );
  for (const [name, count] of Object.entries({ steps, batchSize }))
    if (!(Number.isInteger(count) && count >= 1))
      throw new RangeError(`trainPreferences: ${name} is a whole number of at least 1, got ${count}`);
  const logProbabilities = (params: TransformerParams, tokens: Tensor): Tensor =>
    tokenLogProbabilities(model.apply(params, tokens), tokens);
  const side = (params: TransformerParams, { tokens, mask, reference }: Pairs["chosen"]): PreferenceSide => ({
    logProbabilities: logProbabilities(params, tokens),
    referenceLogProbabilities: reference,
    mask,
  });
  const referenceOf = jit((tokens: Tensor) => logProbabilities(base, tokens));
  const pairs: Pairs = {
    chosen: { ...chosen, reference: await referenceOf(chosen.tokens) },
    rejected: { ...rejected, reference: await referenceOf(rejected.tokens) },
  };
  await referenceOf.release();
  const train = jit(
    trainSteps({
      optimizer,
      loss: (adapted: A, batch: Pairs, noise: Tensor) => {
        const weights = adapter.merge(base, adapted, noise);
        const both = { chosen: side(weights, batch.chosen), rejected: side(weights, batch.rejected) };
        const value = mean(loss(both));
        return regularizer ? add(value, regularizer(both.chosen)) : value;
      },
    }),
  );
  const [initKey, orderKey, stepKey] = random.keys(key, 3) as [Tensor, Tensor, Tensor];
  const start = adapter.init(initKey, base);
  const rows = random.randint(orderKey, [steps, batchSize], 0, chosen.tokens.shape[0]!);
  const [adapted, , losses] = await train(
    start,
    optimizer.init(start),
    pairs,
    rows,
    random.split(stepKey, steps),
  );
  await train.release();
  const params = adapter.merge(base, adapted);
  await evaluate(params);
  return { params, adapted, losses };
}
