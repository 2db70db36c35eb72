import { random, type Tensor, take, tensor } from "@prior-art/tensor";
import { type Checkpoint, checkpoint } from "@prior-art/toolkit/checkpoints";
import { digits } from "@prior-art/toolkit/data";
import { crossEntropy, type MlpParams } from "@prior-art/toolkit/nn";
import {
  type LearnedOptimizerParams,
  type MetaTask,
  metaTrain,
  muParametrize,
  type Parametrization,
  smallFcLopt,
} from "./method.ts";

/** Width of the networks that the shipped optimizers were trained to train. */
export const META_WIDTH = 8;
export const DEPTH = 3;
export const BATCH = 64;
/** Number of shipped optimizers of each parametrization, from seeds 0, 1, …. */
export const META_SEEDS = 5;

export const learnedOptimizer = smallFcLopt({ hidden: 8 });

/** All digits, grey levels 0–1: the optimizers are judged by how they train. */
export async function digitTensors(): Promise<{ readonly x: Tensor; readonly labels: Tensor }> {
  const { features, shape, labels } = await digits();
  return {
    x: tensor(
      features.map((v) => v / 16),
      { shape },
    ),
    labels: tensor(labels),
  };
}

export interface DigitTask extends MetaTask<MlpParams> {
  readonly model: ReturnType<typeof muParametrize>;
}

/** A perceptron on digits, in one of the parametrizations. */
export async function digitTask(
  parametrization: Parametrization,
  { width = META_WIDTH, depth = DEPTH }: { readonly width?: number; readonly depth?: number } = {},
): Promise<DigitTask> {
  const { x, labels } = await digitTensors();
  const model = muParametrize({ inputs: 64, width, depth, outputs: 10 }, parametrization);
  return {
    model,
    init: model.init,
    loss: (params, rows) => crossEntropy(model.apply(params, take(x, rows)), take(labels, rows)),
    examples: labels.size,
    batchSize: BATCH,
    scale: model.updateScale,
  };
}

const SETTINGS = {
  metaSteps: 200,
  pairs: 8,
  truncation: 20,
  horizon: 200,
  sigma: 0.03,
};

/** Of those tried, the fastest at which no meta-seed's training broke down: networks in standard parametrization bear less. */
const META_LEARNING_RATES: Readonly<Record<Parametrization, number>> = { mup: 0.06, sp: 0.03 };

const shipped = (parametrization: Parametrization): Checkpoint<LearnedOptimizerParams> =>
  checkpoint({
    name: `learned-optimizer-${parametrization}`,
    settings: {
      ...SETTINGS,
      metaLearningRate: META_LEARNING_RATES[parametrization],
      seeds: META_SEEDS,
      hidden: 8,
      width: META_WIDTH,
      depth: DEPTH,
      batch: BATCH,
    },
    async train() {
      const task = await digitTask(parametrization);
      const metaLearningRate = META_LEARNING_RATES[parametrization];
      const keys = random.split(random.key(0), META_SEEDS);
      return (await metaTrain({ task, optimizer: learnedOptimizer, ...SETTINGS, metaLearningRate }, keys))
        .phi;
    },
  });

/** Learned optimizers φ meta-trained on narrow perceptrons; each tensor `[META_SEEDS, …]`. */
export const shippedOptimizers: Readonly<Record<Parametrization, Checkpoint<LearnedOptimizerParams>>> = {
  mup: shipped("mup"),
  sp: shipped("sp"),
};
