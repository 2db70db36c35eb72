import type { Tensor } from "@prior-art/tensor";
import type { TransformerCache, TransformerParams, transformer } from "../nn/index.ts";

/**
 * An autoregressive model with its parameters: the distribution of each next token, one position at a time. What
 * changes how a model decodes (mixing, guidance, look-ahead) makes one of these from others.
 */
export interface TokenModel<State> {
  /** State before the first token of `batch` sequences of at most `length` tokens. */
  start(batch: number, length: number): State;
  /**
   * Logits `[batch, vocabulary]` of the token after `tokens` (int32 `[batch]`), which stand at `position` (int32
   * scalar), and the state after them.
   */
  next(tokens: Tensor, position: Tensor, state: State): readonly [logits: Tensor, state: State];
}

export type Transformer = ReturnType<typeof transformer>;

/** A transformer with these parameters, decoding with a cache of keys and values. */
export const decoder = (model: Transformer, params: TransformerParams): TokenModel<TransformerCache> => ({
  start: (batch, length) => model.cache(batch, length),
  next: (tokens, position, cache) => model.step(params, tokens, position, cache),
});
