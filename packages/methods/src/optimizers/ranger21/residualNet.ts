import { add, random, relu, type Tensor } from "@prior-art/tensor";
import { type DenseParams, dense, initializers } from "@prior-art/toolkit/nn";

export interface ResidualParams {
  readonly first: DenseParams;
  readonly blocks: readonly DenseParams[];
  readonly last: DenseParams;
}

/**
 * A deep perceptron of plain residual blocks `h + relu(hW + b)` without normalization or down-scaling: with He's initialization
 * each block doubles the activations' second moment, so that logits of 20 blocks start a thousand times too large.
 */
export function residualNet({
  inputs,
  width,
  depth,
  classes,
}: {
  readonly inputs: number;
  readonly width: number;
  readonly depth: number;
  readonly classes: number;
}) {
  const weights = initializers.he();
  const layer = (key: Tensor, from: number, to: number) =>
    dense.init(key, { inputs: from, outputs: to, weights });
  return {
    init: (key: Tensor): ResidualParams => ({
      first: layer(random.fold(key, 0), inputs, width),
      blocks: Array.from({ length: depth }, (_, i) => layer(random.fold(key, i + 1), width, width)),
      last: layer(random.fold(key, depth + 1), width, classes),
    }),
    /** `[batch, inputs] → [batch, classes]` */
    apply: ({ first, blocks, last }: ResidualParams, x: Tensor): Tensor =>
      dense.apply(
        last,
        blocks.reduce((h, block) => add(h, relu(dense.apply(block, h))), relu(dense.apply(first, x))),
      ),
  };
}
