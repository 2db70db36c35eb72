import { matmul, matrixTranspose, type Tensor, take } from "@prior-art/tensor";
import { type FloatDType, type Initializer, normal } from "./initializers.ts";

export interface EmbeddingParams {
  /** `[vocabulary, width]` */
  readonly table: Tensor;
}

export interface EmbeddingOptions {
  readonly vocabulary: number;
  readonly width: number;
  /** `normal(0.02)` by default. */
  readonly weights?: Initializer;
  readonly dtype?: FloatDType;
}

export const init = (
  key: Tensor,
  { vocabulary, width, weights = normal(), dtype = "float32" }: EmbeddingOptions,
): EmbeddingParams => ({ table: weights(key, [vocabulary, width], dtype) });

/** Rows of the table at int32 `tokens`, `[…] → […, width]`; tokens out of range read the nearest row. */
export const apply = ({ table }: EmbeddingParams, tokens: Tensor): Tensor => take(table, tokens);

/** Logits by the same table, `[…, width] → […, vocabulary]` (tied weights; Press & Wolf, 2017). */
export const logits = ({ table }: EmbeddingParams, x: Tensor): Tensor => matmul(x, matrixTranspose(table));
