import {
  abs,
  clip,
  data,
  item,
  jit,
  mean,
  random,
  relu,
  std,
  sub,
  type Tensor,
  tensor,
} from "@prior-art/tensor";
import { type Checkpoint, checkpoint } from "../checkpoints/index.ts";
import { digits } from "../data/index.ts";
import { accuracy, crossEntropy, type MlpParams, mlp } from "../nn/index.ts";
import { adam, cosineDecay, fit, type GradientTransformation } from "../optim/index.ts";
import type { Denoiser } from "./guidance.ts";
import { cosineSchedule } from "./levels.ts";
import { frechetDistance, type Manifold, manifoldOf, type Points, precisionRecall } from "./metrics.ts";
import { type DenoiserMlpParams, denoiserMlp, denoiserOf } from "./network.ts";
import { type DiffusionLoss, denoisingLoss } from "./training.ts";

/** The handwritten digits as a diffusion model sees them. */
export interface DigitImages {
  /** 8×8 images with grey levels from −1 (paper) to 1 (ink), row-major `[count, 64]`. */
  readonly values: Float32Array;
  /** `[count]` */
  readonly labels: Int32Array;
  readonly count: number;
}

export const DIGIT_PIXELS = 64;
export const DIGIT_CLASSES = 10;

/** All 1,797 digits. */
export async function digitImages(): Promise<DigitImages> {
  const { features, labels, shape } = await digits();
  return { values: features.map((grey) => grey / 8 - 1), labels, count: shape[0] };
}

const asTensors = ({ values, labels, count }: DigitImages) => ({
  x: tensor(values, { shape: [count, DIGIT_PIXELS] }),
  labels: tensor(labels),
});

/** Trains for `epochs` with Adam at a rate that falls to zero along a cosine. */
async function train<P>(
  loss: DiffusionLoss<P>,
  params: P,
  settings: {
    readonly epochs: number;
    readonly batchSize: number;
    readonly rate: number;
    readonly seed: number;
  },
): Promise<P> {
  const { epochs, batchSize, rate, seed } = settings;
  const images = await digitImages();
  const steps = epochs * Math.floor(images.count / batchSize);
  const optimizer: GradientTransformation<P, unknown> = adam<P>({ learningRate: cosineDecay(rate, steps) });
  const key = random.fold(random.key(seed), 1);
  const progress = fit({
    loss,
    optimizer,
    params,
    data: asTensors(images),
    batchSize,
    epochs,
    key,
    epochsPerRun: 10,
  });
  let trained = params;
  for await (const { params: after } of progress) trained = after;
  return trained;
}

const classifier = mlp({ sizes: [DIGIT_PIXELS, 64, 32, DIGIT_CLASSES] });
const classifierSettings = { sizes: [64, 64, 32, 10], epochs: 60, batchSize: 64, rate: 3e-3, seed: 0 };

const classifierCheckpoint = checkpoint<MlpParams>({
  name: "diffusion-digit-classifier",
  settings: classifierSettings,
  train: () =>
    train(
      (params: MlpParams, { x, labels }) => crossEntropy(classifier.apply(params, x), labels),
      classifier.init(random.key(classifierSettings.seed)),
      classifierSettings,
    ),
});

/** Judges generated digits. */
export interface DigitClassifier {
  /** `[batch, 64] → [batch, 10]` */
  logits(x: Tensor): Tensor;
  /** Its last hidden layer, `[batch, 32]`: what Fréchet distance, precision and recall are computed on. */
  features(x: Tensor): Tensor;
}

/** A perceptron that was trained on all digits; trained on first use and kept. */
export async function digitClassifier(): Promise<DigitClassifier> {
  const params = await classifierCheckpoint.load();
  const body = mlp({ sizes: [DIGIT_PIXELS, 64, 32] });
  return {
    logits: (x) => classifier.apply(params, x),
    features: (x) => relu(body.apply({ layers: params.layers.slice(0, -1) }, x)),
  };
}

/** What a set of images looks like to the classifier. */
export interface DigitView {
  /** `[count, 32]` */
  readonly features: Points;
  /** Share of the images that are taken for their labels. */
  readonly accuracy: number;
}

/** Looks at images `[count, 64]` with labels `[count]`. */
export async function viewDigits(images: Tensor, labels: Tensor): Promise<DigitView> {
  const { logits, features } = await digitClassifier();
  const look = jit((x: Tensor, y: Tensor) => ({
    features: features(x),
    accuracy: accuracy(logits(x), y),
  }));
  const seen = await look(images, labels);
  await look.release();
  const values = (await data(seen.features)) as Float32Array;
  return { features: { values, dimensions: seen.features.shape[1]! }, accuracy: await seen.accuracy.item() };
}

/** How good generated digits are, against all real ones. */
export interface DigitQuality {
  /** Fréchet distance of the classifier's features. */
  readonly frechet: number;
  /** Of the features, with 3 neighbours. */
  readonly precision: number;
  readonly recall: number;
  readonly accuracy: number;
  /** Mean over images of the standard deviation of their pixels after clipping; 0.748 for the data. */
  readonly contrast: number;
  /** Mean distance of pixels from the data's range before clipping. */
  readonly overshoot: number;
}

let realManifold: Promise<Manifold> | undefined;

/** Measures images `[count, 64]` with labels `[count]`; they are clipped to the data's range first. */
export async function digitQuality(images: Tensor, labels: Tensor): Promise<DigitQuality> {
  realManifold ??= digitImages().then(async (digits) => {
    const { x, labels: classes } = asTensors(digits);
    return manifoldOf((await viewDigits(x, classes)).features);
  });
  const real = await realManifold;
  const clipped = clip(images, -1, 1);
  const { features, accuracy: share } = await viewDigits(clipped, labels);
  return {
    frechet: frechetDistance(real.points, features),
    ...precisionRecall(real, manifoldOf(features)),
    accuracy: share,
    contrast: await item(mean(std(clipped, -1))),
    overshoot: await item(mean(abs(sub(images, clipped)))),
  };
}

const denoiserSettings = {
  width: 128,
  depth: 3,
  prediction: "velocity" as const,
  dataDeviation: 0.75,
  schedule: "cosine",
  dropLabel: 0.1,
  epochs: 250,
  batchSize: 128,
  rate: 3e-3,
  seed: 0,
};
const denoiserNetwork = denoiserMlp({
  dimensions: DIGIT_PIXELS,
  classes: DIGIT_CLASSES,
  width: denoiserSettings.width,
  depth: denoiserSettings.depth,
  prediction: denoiserSettings.prediction,
  dataDeviation: denoiserSettings.dataDeviation,
});

const denoiserCheckpoint = checkpoint<DenoiserMlpParams>({
  name: "diffusion-digit-denoiser",
  settings: denoiserSettings,
  train: () =>
    train(
      denoisingLoss(denoiserNetwork, { schedule: cosineSchedule(), dropLabel: denoiserSettings.dropLabel }),
      denoiserNetwork.init(random.key(denoiserSettings.seed)),
      denoiserSettings,
    ),
});

/**
 * A class-conditional denoiser of digits for any path, trained without the class a tenth of the time; trained on first
 * use and kept.
 */
export async function digitDenoiser(): Promise<Denoiser> {
  return denoiserOf(denoiserNetwork, await denoiserCheckpoint.load());
}

/** The pretrained models of this file, for an experiment's `checkpoints`. */
export const digitModels: readonly Checkpoint<unknown>[] = [classifierCheckpoint, denoiserCheckpoint];
