import { item, jit, random, tensor } from "@prior-art/tensor";
import { digits, selectEntries, selectRows, stratifiedSplit } from "@prior-art/toolkit/data";
import { DivergedError, type Progress } from "@prior-art/toolkit/experiment";
import { crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import { adam, cosineDecay, fit, type GradientTransformation } from "@prior-art/toolkit/optim";
import { muonGeometry, orthogonalSgdm, trustRegionMomentum } from "./method.ts";

const [TRAIN, BATCH] = [900, 32];
const model = mlp({ sizes: [64, 128, 128, 10] });

export type DigitsMethod = "digitsMuon" | "digitsOrthogonal" | "digitsAdam";

/** All with a share of 0.1 for the new gradient, and a rate that falls to 0 along a cosine. */
function optimizerOf(
  method: DigitsMethod,
  rate: number,
  epochs: number,
): GradientTransformation<MlpParams, unknown> {
  const radius = cosineDecay(rate, epochs * Math.floor(TRAIN / BATCH));
  const options = { norm: muonGeometry(), radius, momentum: 0.1 };
  const makers: Record<DigitsMethod, () => GradientTransformation<MlpParams, unknown>> = {
    digitsMuon: () => trustRegionMomentum(options),
    digitsOrthogonal: () => orthogonalSgdm(options),
    digitsAdam: () => adam({ learningRate: radius }),
  };
  return makers[method]();
}

export interface DigitsRun {
  readonly method: DigitsMethod;
  readonly rate: number;
  readonly seed: number;
  readonly epochs: number;
  /** Score validation digits, not test digits. */
  readonly tune: boolean;
}

/** Held-out log loss in nats of an MLP after training. @throws DivergedError when it is not finite. */
export async function* digitsLoss({
  method,
  rate,
  seed,
  epochs,
  tune,
}: DigitsRun): AsyncGenerator<Progress, number, void> {
  const { features, shape, labels } = await digits();
  const split = stratifiedSplit(labels, { train: TRAIN, validation: 300, test: 500, seed });
  const part = (indices: Int32Array) => ({
    x: tensor(
      selectRows(features, shape, indices).map((v) => v / 16),
      { shape: [indices.length, 64] },
    ),
    labels: tensor(selectEntries(labels, indices)),
  });
  const lossOf = (p: MlpParams, batch: ReturnType<typeof part>) =>
    crossEntropy(model.apply(p, batch.x), batch.labels);
  const score = jit((p: MlpParams) => lossOf(p, part(tune ? split.validation : split.test)));
  const training = fit({
    loss: lossOf,
    optimizer: optimizerOf(method, rate, epochs),
    params: model.init(random.key(seed)),
    data: part(split.train),
    batchSize: BATCH,
    epochs,
    epochsPerRun: epochs,
    key: random.fold(random.key(seed), 1),
  });
  let loss = Number.NaN;
  for await (const { epoch, params } of training) {
    loss = await item(await score(params));
    if (!Number.isFinite(loss)) throw new DivergedError(`the loss is ${loss} after ${epoch} epochs`);
    yield { step: epoch, of: epochs, metrics: { loss } };
  }
  await score.release();
  return loss;
}
