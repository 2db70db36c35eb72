import {
  data,
  item,
  jit,
  mean,
  random,
  scalar,
  slice,
  softmax,
  type Tensor,
  tensor,
} from "@prior-art/tensor";
import { digits, labelNoise, selectEntries, selectRows, stratifiedSplit } from "@prior-art/toolkit/data";
import { DivergedError } from "@prior-art/toolkit/experiment";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { adam, warmupCosine } from "@prior-art/toolkit/optim";
import { brierScore, expectedCalibrationError, logScore } from "@prior-art/toolkit/stats";
import type { Regularizer } from "./family.ts";
import { type ResidualMlpParams, residualMlp } from "./residualMlp.ts";
import { regularizedTraining } from "./training.ts";

export interface DigitsPart {
  /** Grey levels 0–1, `[examples, 64]`. */
  readonly inputs: Tensor;
  /** int32 `[examples]` */
  readonly labels: Tensor;
}

export interface DigitsProblem {
  readonly trainSize: number;
  /** Share of the training labels that are wrong, 0 by default. */
  readonly noise?: number;
  /** Width of the network's residual stream and of its blocks. */
  readonly width: number;
  readonly blocks: number;
  readonly epochs: number;
  readonly batchSize: number;
  readonly seed: number;
}

export interface DigitsTrainingOptions<S> extends DigitsProblem {
  readonly regularizer: Regularizer<ResidualMlpParams, S>;
  /** Of Adam, at its peak: it rises over a tenth of the steps, then falls as half a cosine. */
  readonly learningRate: number;
}

/** How good predictions are. */
export interface Score {
  readonly error: number;
  /** Mean log loss, nats. */
  readonly nll: number;
  /** Expected calibration error, 15 bins. */
  readonly calibration: number;
  readonly brier: number;
}

export interface Parts {
  readonly train: DigitsPart;
  readonly validation: DigitsPart;
  readonly test: DigitsPart;
}

/** Validation and test labels are right, whatever the noise. */
export async function digitsParts({ trainSize, noise = 0, seed }: DigitsProblem): Promise<Parts> {
  const { features, shape, labels } = await digits();
  const split = stratifiedSplit(labels, { train: trainSize, validation: 250, test: 500, seed });
  const part = (indices: Int32Array, classes = selectEntries(labels, indices)): DigitsPart => ({
    inputs: tensor(
      selectRows(features, shape, indices).map((v) => v / 16),
      { shape: [indices.length, 64] },
    ),
    labels: tensor(classes),
  });
  const noisy = labelNoise(selectEntries(labels, split.train), { rate: noise, classes: 10, seed });
  return {
    train: part(split.train, noisy.labels),
    validation: part(split.validation),
    test: part(split.test),
  };
}

/** The network and its training loop for a problem. */
export function digitsTraining<S>(options: DigitsTrainingOptions<S>, train: DigitsPart) {
  const { width, blocks, epochs, batchSize, learningRate, trainSize, regularizer } = options;
  const steps = epochs * Math.floor(trainSize / batchSize);
  const network = residualMlp({ inputs: 64, width, blocks, classes: 10 });
  const optimizer = adam<ResidualMlpParams>({
    learningRate: warmupCosine(learningRate, Math.ceil(steps / 10), steps),
  });
  return {
    network,
    ...regularizedTraining({ network, regularizer, optimizer, data: train, classes: 10, batchSize, epochs }),
  };
}

export async function scoreOf(logits: Tensor, labels: Tensor): Promise<Score> {
  const [p, y] = [await data(softmax(logits)), await data(labels)];
  const classes = logits.shape[1]!;
  let wrong = 0;
  y.forEach((label, i) => {
    const row = p.subarray(i * classes, (i + 1) * classes);
    wrong += Number(row.indexOf(Math.max(...row)) !== label);
  });
  return {
    error: wrong / y.length,
    nll: logScore(p, y),
    calibration: expectedCalibrationError(p, y),
    brier: brierScore(p, y),
  };
}

export interface DigitsFit {
  readonly params: ResidualMlpParams;
  /** Mean cross-entropy of all training examples in evaluation mode. */
  readonly trainLoss: number;
  readonly validation: Score;
  readonly test: Score;
}

/**
 * Trains a residual perceptron on digits; yields the epochs done with the training loss and the parameters.
 * @param every epochs from one report to the next
 * @throws DivergedError when the loss is not finite.
 */
export async function* fitDigits<S>(
  options: DigitsTrainingOptions<S>,
  every: number,
): AsyncGenerator<{ epoch: number; loss: number; params: ResidualMlpParams }, DigitsFit, void> {
  const { epochs, seed } = options;
  const { train, validation, test } = await digitsParts(options);
  const training = digitsTraining(options, train);
  let state = training.init(random.key(seed));
  const run = jit((before: typeof state, keys: Tensor, first: Tensor) => {
    const [after, losses] = training.run(before, keys, first);
    return [after, mean(losses)] as const;
  });
  try {
    const keys = training.epochKeys(seed);
    for (let from = 0; from < epochs; from += every) {
      const epoch = Math.min(from + every, epochs);
      const [after, meanLoss] = await run(state, slice(keys, [from, epoch]), scalar(from, "int32"));
      state = after;
      const loss = await item(meanLoss);
      if (!Number.isFinite(loss)) throw new DivergedError(`the loss is ${loss} in epoch ${epoch}`);
      yield { epoch, loss, params: state.params };
    }
  } finally {
    await run.release();
  }
  const logits = ({ inputs }: DigitsPart): Tensor => training.predict(state.params, inputs);
  return {
    params: state.params,
    trainLoss: await item(crossEntropy(logits(train), train.labels)),
    validation: await scoreOf(logits(validation), validation.labels),
    test: await scoreOf(logits(test), test.labels),
  };
}
