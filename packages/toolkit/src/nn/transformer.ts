import { add, random, slice, type Tensor, TensorError } from "@prior-art/tensor";
import { type Activation, activationOf } from "./activations.ts";
import * as attention from "./attention.ts";
import * as dense from "./dense.ts";
import { dropout } from "./dropout.ts";
import * as embedding from "./embedding.ts";
import { type FloatDType, normal } from "./initializers.ts";
import * as layerNorm from "./layerNorm.ts";

export interface TransformerOptions {
  readonly vocabulary: number;
  /** The longest sequence. */
  readonly context: number;
  readonly width: number;
  readonly heads: number;
  readonly layers: number;
  /** Width of the feed-forward layers, `4 · width` by default. */
  readonly hidden?: number;
  /** `"gelu"` by default. */
  readonly activation?: Activation;
  /** Share of embeddings, attention weights and residual branches to drop when `apply` gets a key, 0 by default. */
  readonly dropout?: number;
  readonly dtype?: FloatDType;
}

export interface TransformerBlock {
  readonly attentionNorm: layerNorm.LayerNormParams;
  readonly attention: attention.SelfAttentionParams;
  readonly feedForwardNorm: layerNorm.LayerNormParams;
  readonly expand: dense.DenseParams;
  readonly contract: dense.DenseParams;
}

export interface TransformerParams {
  readonly tokens: embedding.EmbeddingParams;
  readonly positions: embedding.EmbeddingParams;
  readonly blocks: readonly TransformerBlock[];
  readonly norm: layerNorm.LayerNormParams;
}

/**
 * A decoder of pre-norm blocks as in GPT-2 (Radford et al., 2019): learned positions, logits by the embedding's table,
 * weights of deviation 0.02, and those that end a residual branch divided by `√(2 · layers)`.
 * @throws RangeError unless `heads` divides `width`.
 * @example
 * const model = transformer({ vocabulary: 65, context: 64, width: 128, heads: 4, layers: 2 });
 * const params = model.init(random.key(0));
 * const logits = model.apply(params, tokens); // int32 [batch, length] → [batch, length, 65]
 */
export function transformer({
  vocabulary,
  context,
  width,
  heads,
  layers,
  hidden = 4 * width,
  activation = "gelu",
  dropout: rate = 0,
  dtype = "float32",
}: TransformerOptions) {
  if (width % heads !== 0)
    throw new RangeError(`transformer: ${heads} heads don't divide a width of ${width}`);
  const activate = activationOf(activation);
  const weights = normal();
  const lastWeights = normal(0.02 / Math.sqrt(2 * layers));

  const initBlock = (key: Tensor): TransformerBlock => {
    const [attentionKey, expandKey, contractKey] = random.keys(key, 3) as [Tensor, Tensor, Tensor];
    return {
      attentionNorm: layerNorm.init(width, dtype),
      attention: attention.init(attentionKey, { width, weights, outputWeights: lastWeights, dtype }),
      feedForwardNorm: layerNorm.init(width, dtype),
      expand: dense.init(expandKey, { inputs: width, outputs: hidden, weights, dtype }),
      contract: dense.init(contractKey, { inputs: hidden, outputs: width, weights: lastWeights, dtype }),
    };
  };

  const applyBlock = (block: TransformerBlock, x: Tensor, key: Tensor | undefined): Tensor => {
    const drop = (t: Tensor, i: number): Tensor => (key ? dropout(random.fold(key, i), t, rate) : t);
    const attended = attention.apply(block.attention, layerNorm.apply(block.attentionNorm, x), {
      heads,
      causal: true,
      ...(key ? { dropout: { key: random.fold(key, 0), rate } } : {}),
    });
    const mixed = add(x, drop(attended, 1));
    const expanded = activate(dense.apply(block.expand, layerNorm.apply(block.feedForwardNorm, mixed)));
    return add(mixed, drop(dense.apply(block.contract, expanded), 2));
  };

  return {
    init: (key: Tensor): TransformerParams => {
      const [tokenKey, positionKey, blockKey] = random.keys(key, 3) as [Tensor, Tensor, Tensor];
      return {
        tokens: embedding.init(tokenKey, { vocabulary, width, weights, dtype }),
        positions: embedding.init(positionKey, { vocabulary: context, width, weights, dtype }),
        blocks: Array.from({ length: layers }, (_, i) => initBlock(random.fold(blockKey, i))),
        norm: layerNorm.init(width, dtype),
      };
    },
    /**
     * Logits of each next token, int32 `[batch, length] → [batch, length, vocabulary]`; with a key, in training mode.
     * @throws TensorError unless `tokens` has two axes and fits the context.
     */
    apply: (params: TransformerParams, tokens: Tensor, key?: Tensor): Tensor => {
      const length = tokens.shape[1];
      if (tokens.rank !== 2 || length === undefined || length > context)
        throw new TensorError(
          "transformer",
          `takes int32 [batch, length] of at most ${context} tokens, got ${tokens.toString()}`,
        );
      const embedded = add(
        embedding.apply(params.tokens, tokens),
        slice(params.positions.table, [0, length]),
      );
      const first = key ? dropout(random.fold(key, layers), embedded, rate) : embedded;
      const last = params.blocks.reduce(
        (x, block, i) => applyBlock(block, x, key && random.fold(key, i)),
        first,
      );
      return embedding.logits(params.tokens, layerNorm.apply(params.norm, last));
    },
  };
}
