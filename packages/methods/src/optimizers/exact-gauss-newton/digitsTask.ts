import { data, item, jit, mean, random, slice, stack, sub, type Tensor, tensor } from "@prior-art/tensor";
import { digits, selectEntries, selectRows, stratifiedSplit } from "@prior-art/toolkit/data";
import { accuracy, crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { type AnyOptimizer, fit } from "@prior-art/toolkit/optim";
import { BATCH } from "./sweep.ts";

const model = mlp({ sizes: [64, 32, 10] });

interface Part {
  /** Grey levels 0–1, `[examples, 64]`. */
  readonly x: Tensor;
  readonly labels: Tensor;
}

export interface DigitScores {
  /** Log loss of 300 digits to choose by, in nats. */
  readonly validationLoss: number;
  /** Share of 900 digits that are classified wrongly. */
  readonly testError: number;
}

/** Trains a perceptron on 500 digits; yields the epochs done and the last step's loss. */
export async function* trainDigits(
  // biome-ignore lint/suspicious/noExplicitAny: each optimizer keeps a state of its own type
  optimizer: AnyOptimizer<MlpParams, any>,
  { epochs, seed }: { readonly epochs: number; readonly seed: number },
): AsyncGenerator<{ readonly epoch: number; readonly loss: number }, DigitScores> {
  const { features, shape, labels } = await digits();
  const split = stratifiedSplit(labels, { train: 500, validation: 300, test: 900, seed });
  const part = (indices: Int32Array): Part => ({
    x: tensor(
      selectRows(features, shape, indices).map((v) => v / 16),
      { shape: [indices.length, 64] },
    ),
    labels: tensor(selectEntries(labels, indices)),
  });
  let params = model.init(random.key(seed));
  const training = fit({
    loss: (p: MlpParams, batch: Part) => crossEntropy(model.apply(p, batch.x), batch.labels),
    outputs: (batch: Part) => ({
      predict: (p: MlpParams) => model.apply(p, batch.x),
      targets: batch.labels,
      kind: "crossEntropy",
    }),
    optimizer,
    params,
    data: part(split.train),
    batchSize: BATCH,
    epochs,
    key: random.fold(random.key(seed), 1),
  });
  for await (const progress of training) {
    params = progress.params;
    yield { epoch: progress.epoch, loss: await item(mean(slice(progress.losses, -1))) };
  }
  const [validation, test] = [part(split.validation), part(split.test)];
  const score = jit((p: MlpParams) =>
    stack([
      crossEntropy(model.apply(p, validation.x), validation.labels),
      sub(1, accuracy(model.apply(p, test.x), test.labels)),
    ]),
  );
  const [validationLoss, testError] = (await data(await score(params))) as unknown as [number, number];
  await score.release();
  return { validationLoss, testError };
}
