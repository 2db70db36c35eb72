import {
  broadcastTo,
  expandDims,
  mean,
  mul,
  random,
  square,
  sub,
  type Tensor,
  take,
  where,
} from "@prior-art/tensor";
import { diffuse, type Level, levelTable, type NoiseSchedule } from "./levels.ts";
import type { DenoiserNetwork } from "./network.ts";
import { predictionTarget } from "./prediction.ts";

/** What diffusion models train on. */
export interface DiffusionBatch {
  /** Clean data, `[batch, dimensions]`. */
  readonly x: Tensor;
  /** int32 `[batch]`. */
  readonly labels: Tensor;
}

/** The loss of a batch, one number, with the random numbers of `key`. */
export type DiffusionLoss<P> = (params: P, batch: DiffusionBatch, key: Tensor) => Tensor;

export interface DenoisingLossOptions {
  readonly schedule: NoiseSchedule;
  /** Share of examples trained without their class, for classifier-free guidance; 0.1 by default. */
  readonly dropLabel?: number;
  /** A weight for each example from its level, `[batch, 1]`; 1 by default. */
  readonly weight?: (level: Level) => Tensor;
}

/** Levels, noise and noisy data of a batch, drawn as the loss draws them. */
export interface NoisyBatch {
  /** `[batch, 1]` */
  readonly level: Level;
  /** ε, `[batch, dimensions]` */
  readonly epsilon: Tensor;
  readonly noisy: Tensor;
}

/** Draws a level for each example, uniform in time, and noise. */
export function drawNoisy(schedule: NoiseSchedule, clean: Tensor, key: Tensor): NoisyBatch {
  const [levelKey, noiseKey] = random.keys(key) as [Tensor, Tensor];
  const table = levelTable(schedule);
  const rows = random.randint(levelKey, [clean.shape[0]!], 0, table.signal.size);
  const column = (values: Tensor): Tensor => expandDims(take(values, rows), 1);
  const level = { signal: column(table.signal), noise: column(table.noise) };
  const epsilon = random.normal(noiseKey, clean.shape);
  return { level, epsilon, noisy: diffuse(clean, epsilon, level) };
}

/** Labels of which a share is replaced by `classes`, the label of no class. */
export const dropLabels = (labels: Tensor, classes: number, share: number, key: Tensor): Tensor =>
  share > 0 ? where(random.bernoulli(key, share, labels.shape), classes, labels) : labels;

/**
 * Mean squared error of the network's prediction of noise, data, velocity or flow, at levels uniform in time: the
 * simplified loss of Ho et al. (2020, eq. 14), or flow matching (Lipman et al., 2023) on a straight path.
 */
export function denoisingLoss<P>(
  network: DenoiserNetwork<P>,
  { schedule, dropLabel = 0.1, weight }: DenoisingLossOptions,
): DiffusionLoss<P> {
  return (params, { x, labels }, key) => {
    const [noiseKey, labelKey] = random.keys(key) as [Tensor, Tensor];
    const { level, epsilon, noisy } = drawNoisy(schedule, x, noiseKey);
    const given = network.classes > 0 ? dropLabels(labels, network.classes, dropLabel, labelKey) : null;
    const output = network.apply(params, noisy, level, given);
    const error = square(sub(output, predictionTarget(network.prediction, x, epsilon, level)));
    return mean(weight ? mul(error, broadcastTo(weight(level), error.shape)) : error);
  };
}
