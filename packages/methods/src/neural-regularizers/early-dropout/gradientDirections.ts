import { data, grad, jit, random, scalar, stack, type Tensor, vmap } from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { ravel, shuffledBatches } from "@prior-art/toolkit/optim";
import { type DigitsPart, type DigitsTrainingOptions, digitsTraining } from "../digitsTraining.ts";
import type { ResidualMlpParams } from "../residualMlp.ts";
import { gradientDirectionError, gradientDirectionVariance } from "./method.ts";

export interface Directions {
  /** Gradient direction variance and error, each in [0, 1]. */
  readonly variance: number;
  readonly error: number;
}

/**
 * Measures how far mini-batch gradients point apart, and from the gradient of the whole training set, at given
 * parameters: with the regularizer's noise in the mini-batches, without it in the whole.
 */
export function gradientDirections<S>(options: DigitsTrainingOptions<S>, train: DigitsPart) {
  const { lossOf, network, init } = digitsTraining(options, train);
  const { regularizer: memory } = init(random.key(0));
  const ofBatch = (params: ResidualMlpParams, indices: Tensor, key: Tensor, progress: Tensor): Tensor =>
    ravel(grad((p: ResidualMlpParams) => lossOf(p, { key, progress, indices }, memory)[0])(params));
  const measure = jit((params: ResidualMlpParams, key: Tensor, progress: Tensor) => {
    const [orderKey, noiseKey] = random.keys(key) as [Tensor, Tensor];
    const batches = shuffledBatches(orderKey, options.trainSize, options.batchSize);
    const noise = random.split(noiseKey, batches.shape[0]!);
    const gradients = vmap(ofBatch, { inAxes: [null, 0, 0, null] })(params, batches, noise, progress);
    const whole = ravel(
      grad((p: ResidualMlpParams) => crossEntropy(network.apply(p, train.inputs), train.labels))(params),
    );
    return stack([gradientDirectionVariance(gradients), gradientDirectionError(gradients, whole)]);
  });
  return {
    at: async (params: ResidualMlpParams, epoch: number): Promise<Directions> => {
      const progress = scalar(epoch / options.epochs);
      const key = random.fold(random.key(options.seed), 1000 + epoch);
      const [variance, error] = await data(await measure(params, key, progress));
      return { variance: variance!, error: error! };
    },
    release: () => measure.release(),
  };
}
