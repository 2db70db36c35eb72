import { type Tensor, take, tensor } from "@prior-art/tensor";
import { digits } from "@prior-art/toolkit/data";
import { crossEntropy, type MlpParams } from "@prior-art/toolkit/nn";
import { type MetaTask, muParametrize, type Parametrization } from "./method.ts";

/** Width of the networks that the narrow variant of the shipped optimizers was trained to train. */
export const META_WIDTH = 16;
export const DEPTH = 3;
export const BATCH = 64;

/** All digits, grey levels 0–1: the optimizers are judged by how they train. */
async function digitTensors(): Promise<{ readonly x: Tensor; readonly labels: Tensor }> {
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
