import { maxPool2d, random, reshape, type Tensor } from "@prior-art/tensor";
import { type Activation, activationOf } from "./activations.ts";
import * as conv2d from "./conv2d.ts";
import * as dense from "./dense.ts";
import type { ConvParams } from "./filters.ts";
import { type FloatDType, he, type Initializer, lecun } from "./initializers.ts";

export interface CnnOptions {
  /** Sizes of one image. */
  readonly image: readonly [channels: number, height: number, width: number];
  readonly classes: number;
  /** Filters of each block, `[16, 32]` by default. */
  readonly filters?: readonly number[];
  /** Of the filters, 3 by default. */
  readonly kernel?: number;
  /** `"relu"` by default. */
  readonly activation?: Activation;
  /** Of the filters; `he()` by default. */
  readonly weights?: Initializer;
  readonly dtype?: FloatDType;
}

export interface CnnParams {
  readonly blocks: readonly ConvParams[];
  readonly head: dense.DenseParams;
}

/**
 * A small convolutional network: blocks of convolution, activation and 2×2 max-pooling, then a linear layer. The default
 * fits digits of 8×8 and 28×28 pixels.
 * @throws RangeError when the blocks halve the image to nothing.
 * @example
 * const model = cnn({ image: [1, 8, 8], classes: 10 });
 * const logits = model.apply(model.init(random.key(0)), images); // [batch, 1, 8, 8] → [batch, 10]
 */
export function cnn({
  image: [channels, height, width],
  classes,
  filters = [16, 32],
  kernel = 3,
  activation = "relu",
  weights = he(),
  dtype = "float32",
}: CnnOptions) {
  const shrink = 2 ** filters.length;
  const features = (filters.at(-1) ?? channels) * Math.floor(height / shrink) * Math.floor(width / shrink);
  if (!(features > 0))
    throw new RangeError(`cnn: ${filters.length} blocks leave nothing of ${height} × ${width} pixels`);
  const activate = activationOf(activation);
  return {
    init: (key: Tensor): CnnParams => ({
      blocks: filters.map((count, i) =>
        conv2d.init(random.fold(key, i), {
          channels: filters[i - 1] ?? channels,
          filters: count,
          kernel,
          weights,
          dtype,
        }),
      ),
      head: dense.init(random.fold(key, filters.length), {
        inputs: features,
        outputs: classes,
        weights: lecun(),
        dtype,
      }),
    }),
    /** `[batch, channels, height, width] → [batch, classes]` */
    apply: ({ blocks, head }: CnnParams, images: Tensor): Tensor => {
      const maps = blocks.reduce(
        (x, block) => maxPool2d(activate(conv2d.apply(block, x, { padding: "same" })), 2),
        images,
      );
      return dense.apply(head, reshape(maps, [images.shape[0]!, features]));
    },
  };
}
