import { add, random, relu, type Tensor } from "@prior-art/tensor";
import { dense, initializers } from "@prior-art/toolkit/nn";
import type { Site } from "./family.ts";

export interface ResidualMlpOptions {
  readonly inputs: number;
  /** Of the residual stream. */
  readonly width: number;
  /** Hidden units of each block; `width` by default. */
  readonly hidden?: number;
  readonly blocks: number;
  readonly classes: number;
}

export interface ResidualMlpParams {
  readonly stem: dense.DenseParams;
  readonly blocks: readonly { readonly into: dense.DenseParams; readonly out: dense.DenseParams }[];
  readonly head: dense.DenseParams;
}

/** What is done to the activations at a site. */
export type SiteHook = (x: Tensor, site: Site) => Tensor;

/**
 * A perceptron whose blocks add to a residual stream, `x ← x + W₂ relu(W₁ x)`: a small network with places for dropout
 * of units and of whole branches.
 */
export function residualMlp({ inputs, width, hidden = width, blocks, classes }: ResidualMlpOptions) {
  const weights = initializers.he();
  return {
    init: (key: Tensor): ResidualMlpParams => ({
      stem: dense.init(random.fold(key, 0), { inputs, outputs: width, weights }),
      blocks: Array.from({ length: blocks }, (_, i) => ({
        into: dense.init(random.fold(key, 2 * i + 1), { inputs: width, outputs: hidden, weights }),
        // Smaller with depth, so that the stream's variance doesn't grow with the number of blocks.
        out: dense.init(random.fold(key, 2 * i + 2), {
          inputs: hidden,
          outputs: width,
          weights: initializers.normal(Math.sqrt(1 / (hidden * blocks))),
        }),
      })),
      head: dense.init(random.fold(key, 2 * blocks + 1), { inputs: width, outputs: classes }),
    }),
    /** `[batch, inputs] → [batch, classes]`. */
    apply: (params: ResidualMlpParams, x: Tensor, hook: SiteHook = (value) => value): Tensor => {
      const hiddenSite = (index: number): Site => ({ kind: "hidden", index, count: blocks + 1 });
      const stream = params.blocks.reduce(
        (state, { into, out }, i) => {
          const units = hook(relu(dense.apply(into, state)), hiddenSite(i + 1));
          return add(state, hook(dense.apply(out, units), { kind: "branch", index: i, count: blocks }));
        },
        hook(relu(dense.apply(params.stem, x)), hiddenSite(0)),
      );
      return dense.apply(params.head, stream);
    },
  };
}
