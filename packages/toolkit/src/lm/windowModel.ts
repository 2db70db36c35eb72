import {
  add,
  arange,
  div,
  matmul,
  mean,
  mul,
  random,
  relu,
  reshape,
  slice,
  sqrt,
  sum,
  type Tensor,
  take,
  tensor,
} from "@prior-art/tensor";
import type { RandomStream } from "../stats/index.ts";
import type { MarkovSource } from "./markovSource.ts";

export interface WindowModelOptions {
  readonly vocabulary: number;
  /** Tokens that the next one is predicted from. */
  readonly context: number;
  readonly width: number;
  /** Width inside a block, `2 · width` by default. */
  readonly hidden?: number;
  /** Residual blocks, 2 by default. */
  readonly blocks?: number;
}

export interface WindowModelParams {
  /** A table for each place in the window, one below the other: `[context · vocabulary, width]`. */
  readonly embedding: Tensor;
  readonly blocks: readonly {
    /** `[width, hidden]` */
    readonly expand: Tensor;
    /** `[hidden, width]` */
    readonly contract: Tensor;
  }[];
  /** `[width, vocabulary]` */
  readonly output: Tensor;
}

/** Rows divided by their root mean square; without a gain, so that what precedes it may be scaled freely. */
const normalize = (x: Tensor): Tensor => div(x, sqrt(add(mean(mul(x, x), -1, true), 1e-6)));

/**
 * A small language model over a window of tokens: summed embeddings, residual blocks of two matrices with ReLU behind a
 * root-mean-square normalization, and an untied output matrix behind another. Matrices only: no biases, no gains.
 * Rows of the embedding start with deviation `1/√context`, matrices with `1/√inputs`.
 * @example
 * const model = windowModel({ vocabulary: 32, context: 8, width: 64 });
 * const logits = model.apply(model.init(random.key(0)), tokens); // int32 [batch, 8] → [batch, 32]
 */
export function windowModel({
  vocabulary,
  context,
  width,
  hidden = 2 * width,
  blocks = 2,
}: WindowModelOptions) {
  const matrix = (key: Tensor, inputs: number, outputs: number): Tensor =>
    mul(random.normal(key, [inputs, outputs]), 1 / Math.sqrt(inputs));
  return {
    init(key: Tensor): WindowModelParams {
      const [first, last, ...rest] = random.keys(key, 2 + 2 * blocks) as [Tensor, Tensor, ...Tensor[]];
      return {
        embedding: mul(random.normal(first, [context * vocabulary, width]), 1 / Math.sqrt(context)),
        blocks: Array.from({ length: blocks }, (_, i) => ({
          expand: matrix(rest[2 * i]!, width, hidden),
          contract: matrix(rest[2 * i + 1]!, hidden, width),
        })),
        output: matrix(last, width, vocabulary),
      };
    },
    /** Logits `[batch, vocabulary]` of the token after each window, int32 `[batch, context]`. */
    apply(params: WindowModelParams, windows: Tensor): Tensor {
      const rows = add(windows, mul(arange(context), vocabulary));
      let x = sum(take(params.embedding, rows), 1);
      for (const { expand, contract } of params.blocks)
        x = add(x, matmul(relu(matmul(normalize(x), expand)), contract));
      return matmul(normalize(x), params.output);
    },
  };
}

export interface WindowBatch {
  /** int32 `[examples, context]` */
  readonly windows: Tensor;
  /** The token after each window, int32 `[examples]`. */
  readonly targets: Tensor;
}

/** Independent windows of a source with the token that follows each. */
export function sampleWindows(
  source: MarkovSource,
  count: number,
  context: number,
  stream: RandomStream,
): WindowBatch {
  const texts = tensor(source.sample(count, context + 1, stream), { shape: [count, context + 1] });
  return {
    windows: slice(texts, [0, count], [0, context]),
    targets: reshape(slice(texts, [0, count], [context, context + 1]), [count]),
  };
}
