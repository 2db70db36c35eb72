import { add, random, slice, type Tensor, TensorError, take } from "@prior-art/tensor";
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

/** The attention cache of each block. */
export type TransformerCache = readonly attention.KeyValueCache[];

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

  const feedForward = (block: TransformerBlock, x: Tensor): Tensor =>
    dense.apply(
      block.contract,
      activate(dense.apply(block.expand, layerNorm.apply(block.feedForwardNorm, x))),
    );

  const applyBlock = (block: TransformerBlock, x: Tensor, key: Tensor | undefined): Tensor => {
    const drop = (t: Tensor, i: number): Tensor => (key ? dropout(random.fold(key, i), t, rate) : t);
    const attended = attention.apply(block.attention, layerNorm.apply(block.attentionNorm, x), {
      heads,
      causal: true,
      ...(key ? { dropout: { key: random.fold(key, 0), rate } } : {}),
    });
    const mixed = add(x, drop(attended, 1));
    return add(mixed, drop(feedForward(block, mixed), 2));
  };

  /**
   * What the logits are read from: int32 `[batch, length] → [batch, length, width]`; with a key, in training mode.
   * @throws TensorError unless `tokens` has two axes and fits the context.
   */
  const features = (params: TransformerParams, tokens: Tensor, key?: Tensor): Tensor => {
    const length = tokens.shape[1];
    if (tokens.rank !== 2 || length === undefined || length > context)
      throw new TensorError(
        "transformer",
        `takes int32 [batch, length] of at most ${context} tokens, got ${tokens.toString()}`,
      );
    const embedded = add(embedding.apply(params.tokens, tokens), slice(params.positions.table, [0, length]));
    const first = key ? dropout(random.fold(key, layers), embedded, rate) : embedded;
    const last = params.blocks.reduce(
      (x, block, i) => applyBlock(block, x, key && random.fold(key, i)),
      first,
    );
    return layerNorm.apply(params.norm, last);
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
    features,
    /**
     * Logits of each next token, int32 `[batch, length] → [batch, length, vocabulary]`; with a key, in training mode.
     * @throws TensorError unless `tokens` has two axes and fits the context.
     */
    apply: (params: TransformerParams, tokens: Tensor, key?: Tensor): Tensor =>
      embedding.logits(params.tokens, features(params, tokens, key)),
    /** A cache for `step` that has seen nothing, for sequences of at most `length` (by default the context). */
    cache: (batch: number, length = context): TransformerCache =>
      Array.from({ length: layers }, () =>
        attention.emptyCache({ batch, context: length, width, heads, dtype }),
      ),
    /**
     * Logits of the token after `tokens` (int32 `[batch]`), which stand at `position` (int32 scalar), and the next
     * cache: what `apply` gives at that position, without looking at the earlier ones again.
     */
    step: (
      params: TransformerParams,
      tokens: Tensor,
      position: Tensor,
      cache: TransformerCache,
    ): [logits: Tensor, cache: TransformerCache] => {
      const next: attention.KeyValueCache[] = [];
      let x = add(embedding.apply(params.tokens, tokens), take(params.positions.table, position));
      params.blocks.forEach((block, i) => {
        const normal = layerNorm.apply(block.attentionNorm, x);
        const [attended, seen] = attention.step(block.attention, normal, position, cache[i]!);
        next.push(seen);
        const mixed = add(x, attended);
        x = add(mixed, feedForward(block, mixed));
      });
      return [embedding.logits(params.tokens, layerNorm.apply(params.norm, x)), next];
    },
  };
}
