import { data, item, jit, mean, random, slice, stack, type Tensor, take } from "@prior-art/tensor";
import { DivergedError } from "@prior-art/toolkit/experiment";
import { accuracy, type MlpParams } from "@prior-art/toolkit/nn";
import { addDecayedWeights, chain, type GradientTransformation, sgd } from "@prior-art/toolkit/optim";
import type { RobustObjective } from "./family.ts";
import { type NoisyDigitsOptions, noisyDigits } from "./noisyDigits.ts";
import { featureMlp, robustTraining } from "./training.ts";

export interface NoisyDigitsCourseOptions<S> {
  readonly objective: RobustObjective<S>;
  readonly learningRate: number;
  readonly weightDecay: number;
  /** Share of the training labels that are wrong. */
  readonly rate: number;
  /** `"symmetric"` by default. */
  readonly kind?: NoisyDigitsOptions["kind"];
  readonly trainSize: number;
  readonly epochs: number;
  /** Epochs from one point of the curves to the next. */
  readonly every: number;
  readonly seed: number;
}

/** Accuracies after some epochs, shares of 1. */
export interface CoursePoint {
  readonly epoch: number;
  readonly loss: number;
  /** Wrongly labelled training examples that are assigned to their true class, and to their wrong label. */
  readonly wrongTrue: number;
  readonly memorized: number;
  readonly validation: number;
  readonly test: number;
}

/** Trains a multilayer perceptron on digits with wrong labels by SGD with momentum. */
export async function* noisyDigitsCourse<S>(
  options: NoisyDigitsCourseOptions<S>,
): AsyncGenerator<CoursePoint, void> {
  const { objective, learningRate, weightDecay, rate, kind, trainSize, epochs, every, seed } = options;
  const { train, validation, test } = await noisyDigits({ train: trainSize, rate, kind, seed });
  const network = featureMlp([64, 256, 10]);
  const optimizer: GradientTransformation<MlpParams, unknown> = chain(
    addDecayedWeights<MlpParams>(weightDecay),
    sgd<MlpParams>({ learningRate, momentum: 0.9 }),
  );
  const training = robustTraining({
    network,
    objective,
    optimizer,
    data: { inputs: train.inputs, labels: train.observed },
    classes: 10,
    batchSize: 50,
  });
  const score = (params: MlpParams): Tensor => {
    const share = (inputs: Tensor, labels: Tensor): Tensor =>
      accuracy(network.apply(params, inputs).logits, labels);
    const wrong = take(train.inputs, train.wrong);
    return stack([
      share(wrong, take(train.labels, train.wrong)),
      share(wrong, take(train.observed, train.wrong)),
      share(validation.inputs, validation.labels),
      share(test.inputs, test.labels),
    ]);
  };
  let state = training.init(random.key(seed));
  const run = jit((before: typeof state, keys: Tensor) => {
    const [after, losses] = training.epochs(before, keys);
    return [after, mean(losses), score(after.params)] as const;
  });
  try {
    const keys = training.epochKeys(seed, epochs);
    for (let from = 0; from < epochs; from += every) {
      const epoch = Math.min(from + every, epochs);
      const [after, meanLoss, scores] = await run(state, slice(keys, [from, epoch]));
      state = after;
      const loss = await item(meanLoss);
      if (!Number.isFinite(loss)) throw new DivergedError(`the loss is ${loss} in epoch ${epoch}`);
      const [wrongTrue, memorized, onValidation, onTest] = await data(scores);
      yield {
        epoch,
        loss,
        wrongTrue: wrongTrue!,
        memorized: memorized!,
        validation: onValidation!,
        test: onTest!,
      };
    }
  } finally {
    await run.release();
  }
}
