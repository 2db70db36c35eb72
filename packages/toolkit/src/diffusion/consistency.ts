import {
  add,
  div,
  expandDims,
  maximum,
  mean,
  mul,
  ones,
  random,
  scalar,
  scan,
  slice,
  sqrt,
  square,
  stopGradient,
  sub,
  type Tensor,
  take,
  tensor,
} from "@prior-art/tensor";
import type { Denoiser } from "./guidance.ts";
import { diffuse, type Level, noiseIn, type Path } from "./levels.ts";
import type { DenoiserNetwork } from "./network.ts";
import type { DiffusionBatch } from "./training.ts";

export interface ConsistencyOptions {
  /** Standard deviation of the clean data, 1 by default. */
  readonly dataDeviation?: number;
  /** σ at and below which data count as clean; 0.002 by default. */
  readonly minNoise?: number;
}

/**
 * A consistency function (Song et al., 2023, eq. 5) on variance-exploding levels (signal 1): a network's output blended
 * with its input so that data at `minNoise` are returned as they are. As a `Denoiser`, it jumps to clean data at once.
 */
export const consistencyFunction =
  <P>(
    network: DenoiserNetwork<P>,
    params: P,
    { dataDeviation = 1, minNoise = 0.002 }: ConsistencyOptions = {},
  ): Denoiser =>
  (x, level, labels) => {
    const above = sub(level.noise, minNoise);
    const variance = dataDeviation ** 2;
    const skip = div(variance, add(square(above), variance));
    const scale = div(mul(dataDeviation, above), sqrt(add(square(level.noise), variance)));
    return add(mul(skip, x), mul(scale, network.apply(params, x, level, labels)));
  };

export interface ConsistencyLossOptions extends ConsistencyOptions {
  /** Levels of growing cleanness (`karrasSchedule`), all with signal 1; its neighbours are made to agree. */
  readonly path: Path;
  /** A diffusion model, to distil (one step of Heun's method between neighbours); by default consistency training. */
  readonly teacher?: Denoiser;
}

/**
 * Squared difference of the consistency function at neighbouring levels of one trajectory (Song et al., 2023, eqs. 7 and
 * 10); the cleaner side uses `target`, parameters that lag behind, and passes no gradient.
 */
export function consistencyLoss<P>(network: DenoiserNetwork<P>, options: ConsistencyLossOptions) {
  const { path, teacher } = options;
  if (path.signal.some((signal) => signal !== 1))
    throw new RangeError("consistencyLoss: the path must keep the signal at 1");
  const noise = tensor(Float32Array.from(path.noise));
  return (params: P, target: P, { x, labels }: DiffusionBatch, key: Tensor): Tensor => {
    const [rowKey, noiseKey] = random.keys(key) as [Tensor, Tensor];
    // The last step of a path ends without noise; its neighbours are the levels before that.
    const rows = random.randint(rowKey, [x.shape[0]!], 0, path.noise.length - 2);
    const at = (index: Tensor): Level => ({ signal: ones([1]), noise: expandDims(take(noise, index), 1) });
    const [level, next] = [at(rows), at(add(rows, 1))];
    const given = network.classes > 0 ? labels : null;
    const epsilon = random.normal(noiseKey, x.shape);
    const noisy = diffuse(x, epsilon, level);
    const cleaner = teacher ? heunStep(teacher, noisy, level, next, given) : diffuse(x, epsilon, next);
    const aim = consistencyFunction(network, target, options)(stopGradient(cleaner), next, given);
    const output = consistencyFunction(network, params, options)(noisy, level, given);
    return mean(square(sub(output, stopGradient(aim))));
  };
}

/** One step of Heun's method on `dx/dσ = ε̂`. */
function heunStep(denoiser: Denoiser, x: Tensor, level: Level, next: Level, labels: Tensor | null): Tensor {
  const width = sub(next.noise, level.noise);
  const slope = noiseIn(x, denoiser(x, level, labels), level);
  const euler = add(x, mul(width, slope));
  return add(x, mul(mul(0.5, width), add(slope, noiseIn(euler, denoiser(euler, next, labels), next))));
}

export interface ConsistencySampleOptions {
  readonly path: Path;
  /** Data at the path's first level, `[batch, dimensions]`. */
  readonly start: Tensor;
  readonly labels: Tensor | null;
  readonly key: Tensor;
  /** As in the consistency function, 0.002 by default. */
  readonly minNoise?: number;
}

/**
 * Multistep consistency sampling (Song et al., 2023, algorithm 1): jump to clean data, add noise of the next level, and
 * so on; a path of one step is a single jump.
 */
export function consistencySample(
  consistency: Denoiser,
  { path, start, labels, key, minNoise = 0.002 }: ConsistencySampleOptions,
): Tensor {
  const steps = path.noise.length - 1;
  const noise = tensor(Float32Array.from(path.noise));
  const first = consistency(start, { signal: scalar(1), noise: slice(noise, 0) }, labels);
  if (steps === 1) return first;
  const [samples] = scan(
    (clean: Tensor, [sigma, stepKey]: readonly [Tensor, Tensor]) => {
      const added = sqrt(maximum(sub(square(sigma), minNoise ** 2), 0));
      const noisy = add(clean, mul(added, random.normal(stepKey, start.shape)));
      return [consistency(noisy, { signal: scalar(1), noise: sigma }, labels), null];
    },
    first,
    [slice(noise, [1, steps]), random.split(key, steps - 1)] as const,
  );
  return samples;
}
