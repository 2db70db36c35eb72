import {
  add,
  clip,
  concat,
  cos,
  div,
  log,
  matmul,
  mul,
  oneHot,
  random,
  reshape,
  rmsNorm,
  silu,
  sin,
  slice,
  sqrt,
  square,
  type Tensor,
  tensor,
} from "@prior-art/tensor";
import { dense, initializers } from "../nn/index.ts";
import type { Denoiser } from "./guidance.ts";
import type { Level } from "./levels.ts";
import { cleanFrom, type Prediction } from "./prediction.ts";

/** A network that sees noisy data, their level and a class, and predicts noise, data, velocity or flow. */
export interface DenoiserNetwork<P> {
  readonly prediction: Prediction;
  readonly dimensions: number;
  /** 0 for a network without classes. */
  readonly classes: number;
  init(key: Tensor): P;
  /** Its output, `[batch, dimensions]`; without labels (int32 `[batch]`), for no class. */
  apply(params: P, x: Tensor, level: Level, labels: Tensor | null): Tensor;
}

/** The denoiser that a trained network is. */
export const denoiserOf =
  <P>(network: DenoiserNetwork<P>, params: P): Denoiser =>
  (x, level, labels) =>
    cleanFrom(network.prediction, network.apply(params, x, level, labels), x, level);

export interface DenoiserMlpOptions {
  readonly dimensions: number;
  /** 0 by default: no classes. */
  readonly classes?: number;
  /** 128 by default. */
  readonly width?: number;
  /** Residual blocks, 3 by default. */
  readonly depth?: number;
  /** `"velocity"` by default. */
  readonly prediction?: Prediction;
  /** Standard deviation of the clean data, by which inputs are scaled; 1 by default. */
  readonly dataDeviation?: number;
}

export interface DenoiserMlpParams {
  readonly input: dense.DenseParams;
  readonly level: dense.DenseParams;
  /** `[classes + 1, width]`; the last row is for no class. */
  readonly classes: Tensor;
  readonly blocks: readonly dense.DenseParams[];
  readonly output: dense.DenseParams;
}

/** Frequencies of the sines and cosines by which a network sees log(σ/α). */
const FREQUENCIES = [0.5, 1, 2, 4, 8, 16];
/** log(σ/α) is cut off here: paths start at pure noise and end without any. */
const EXTREME = 7;

/** `[2 · frequencies]`, or with a batch axis as the level has. */
function levelFeatures({ signal, noise }: Level): Tensor {
  const ratio = div(noise, signal);
  const position = div(clip(log(ratio), -EXTREME, EXTREME), EXTREME);
  const flat = position.rank === 0 ? reshape(position, [1]) : position;
  const angles = mul(flat, tensor(FREQUENCIES.map((f) => (f * Math.PI) / 2)));
  return concat([sin(angles), cos(angles)], -1);
}

/**
 * A residual perceptron: blocks `h ← h + W silu(norm(h) + c)`, where c embeds level and class, and a last layer that
 * starts at zero.
 * @throws RangeError for sizes that are not whole numbers in range.
 */
export function denoiserMlp(options: DenoiserMlpOptions): DenoiserNetwork<DenoiserMlpParams> {
  const { dimensions, classes = 0, width = 128, depth = 3, dataDeviation = 1 } = options;
  for (const [name, value, least] of [
    ["dimensions", dimensions, 1],
    ["classes", classes, 0],
    ["width", width, 1],
    ["depth", depth, 1],
  ] as const)
    if (!(Number.isInteger(value) && value >= least))
      throw new RangeError(`denoiserMlp: ${name} must be a whole number of at least ${least}, got ${value}`);
  return {
    prediction: options.prediction ?? "velocity",
    dimensions,
    classes,
    init(key) {
      const [first, second, third, fourth] = random.keys(key, 4) as [Tensor, Tensor, Tensor, Tensor];
      return {
        input: dense.init(first, { inputs: dimensions, outputs: width }),
        level: dense.init(second, { inputs: 2 * FREQUENCIES.length, outputs: width }),
        classes: initializers.normal(0.5)(third, [classes + 1, width]),
        blocks: Array.from({ length: depth }, (_, i) =>
          dense.init(random.fold(fourth, i), { inputs: width, outputs: width }),
        ),
        output: dense.init(key, { inputs: width, outputs: dimensions, weights: initializers.zeros }),
      };
    },
    apply(params, x, level, labels) {
      const scale = div(1, sqrt(add(mul(square(level.signal), dataDeviation ** 2), square(level.noise))));
      const ofClass = labels
        ? matmul(oneHot(labels, classes + 1), params.classes)
        : slice(params.classes, [classes, classes + 1]);
      const context = add(dense.apply(params.level, levelFeatures(level)), ofClass);
      const hidden = params.blocks.reduce(
        (h, block) => add(h, dense.apply(block, silu(add(rmsNorm(h), context)))),
        dense.apply(params.input, mul(x, scale)),
      );
      return dense.apply(params.output, silu(rmsNorm(hidden)));
    },
  };
}
