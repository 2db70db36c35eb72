import { data, jit, random, relu, type Tensor, tensor } from "@prior-art/tensor";
import { checkpoint } from "../checkpoints/index.ts";
import { digits } from "../data/index.ts";
import { accuracy, crossEntropy, type MlpParams, mlp } from "../nn/index.ts";
import { adam, cosineDecay, fit, type GradientTransformation } from "../optim/index.ts";
import type { Denoiser } from "./guidance.ts";
import { cosineSchedule } from "./levels.ts";
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
  /** Row-major `[count, 32]`, with `dimensions` for the metrics. */
  readonly features: { readonly values: Float32Array; readonly dimensions: number };
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

/** A class-conditional denoiser of digits for any path, trained without the class a tenth of the time; trained on first use and kept. */
export async function digitDenoiser(): Promise<Denoiser> {
  return denoiserOf(denoiserNetwork, await denoiserCheckpoint.load());
}
