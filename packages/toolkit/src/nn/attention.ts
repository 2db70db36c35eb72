import {
  add,
  arange,
  equal,
  expandDims,
  lessEqual,
  matmul,
  matrixTranspose,
  mul,
  random,
  reshape,
  slice,
  softmax,
  type Tensor,
  TensorError,
  transpose,
  where,
  zeros,
} from "@prior-art/tensor";
import * as dense from "./dense.ts";
import { dropout } from "./dropout.ts";
import type { FloatDType, Initializer } from "./initializers.ts";

export interface MaskOptions {
  /** Each position sees itself and earlier ones only; false by default. */
  readonly causal?: boolean;
  /** Bool, true where a query (row) may see a key (column); broadcasts to `[…, queries, keys]`. */
  readonly mask?: Tensor;
}

const HIDDEN = -1e9;

/** `softmax(query · keyᵀ / √size)`, `[…, queries, keys]`, with what the masks hide at 0. */
export function attentionWeights(
  query: Tensor,
  key: Tensor,
  { causal = false, mask }: MaskOptions = {},
): Tensor {
  let scores = mul(matmul(query, matrixTranspose(key)), 1 / Math.sqrt(query.shape.at(-1)!));
  if (causal) {
    const [queries, keys] = [query.shape.at(-2)!, key.shape.at(-2)!];
    // The last query stands beside the last key, as when earlier keys are kept from before.
    const last = add(expandDims(arange(queries), -1), keys - queries);
    scores = where(lessEqual(arange(keys), last), scores, HIDDEN);
  }
  if (mask) scores = where(mask, scores, HIDDEN);
  return softmax(scores);
}

/**
 * Scaled dot-product attention (Vaswani et al., 2017, eq. 1): `[…, queries, size]` with keys and values
 * `[…, keys, size]` gives `[…, queries, size]`. A query that may see nothing gets the mean of all values.
 */
export const dotProductAttention = (
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: MaskOptions = {},
): Tensor => matmul(attentionWeights(query, key, options), value);

export interface SelfAttentionParams {
  /** Queries, keys and values side by side, `[width, 3 · width]`. */
  readonly projection: dense.DenseParams;
  /** `[width, width]` */
  readonly output: dense.DenseParams;
}

export interface SelfAttentionOptions {
  readonly width: number;
  /** `lecun()` by default. */
  readonly weights?: Initializer;
  /** Of the output matrix; `weights` by default. */
  readonly outputWeights?: Initializer;
  readonly bias?: boolean;
  readonly dtype?: FloatDType;
}

export function init(
  key: Tensor,
  { width, outputWeights, ...options }: SelfAttentionOptions,
): SelfAttentionParams {
  const [projectionKey, outputKey] = random.keys(key) as [Tensor, Tensor];
  return {
    projection: dense.init(projectionKey, { ...options, inputs: width, outputs: 3 * width }),
    output: dense.init(outputKey, {
      ...options,
      ...(outputWeights ? { weights: outputWeights } : {}),
      inputs: width,
      outputs: width,
    }),
  };
}

export interface AttendOptions extends MaskOptions {
  readonly heads: number;
  /** Share of the weights to drop, with the key to draw them by; neither by default. */
  readonly dropout?: { readonly key: Tensor; readonly rate: number };
}

/** `[batch, length, width]` through the projection: query, key and value, each `[batch, heads, length, size]`. */
function project(params: SelfAttentionParams, x: Tensor, heads: number): [Tensor, Tensor, Tensor] {
  const [batch, length, width] = x.shape as [number, number, number];
  const parts = reshape(dense.apply(params.projection, x), [batch, length, 3, heads, width / heads]);
  return [0, 1, 2].map((i) => transpose(slice(parts, null, null, i), [0, 2, 1, 3])) as [
    Tensor,
    Tensor,
    Tensor,
  ];
}

/** `[batch, heads, length, size]` back side by side and through the output matrix. */
function joinHeads(params: SelfAttentionParams, mixed: Tensor): Tensor {
  const [batch, heads, length, size] = mixed.shape as [number, number, number, number];
  return dense.apply(params.output, reshape(transpose(mixed, [0, 2, 1, 3]), [batch, length, heads * size]));
}

/**
 * Multi-head self-attention over positions, `[batch, length, width] → [batch, length, width]` (Vaswani et al., 2017,
 * section 3.2.2).
 * @throws TensorError unless `x` has three axes and `heads` divides its width.
 */
export function apply(params: SelfAttentionParams, x: Tensor, options: AttendOptions): Tensor {
  const { heads, dropout: dropped, ...masks } = options;
  if (x.rank !== 3 || x.shape[2]! % heads !== 0)
    throw new TensorError(
      "selfAttention",
      `takes [batch, length, width] with ${heads} heads dividing the width, got ${x.toString()}`,
    );
  const [query, key, value] = project(params, x, heads);
  const weights = attentionWeights(query, key, masks);
  return joinHeads(params, matmul(dropped ? dropout(dropped.key, weights, dropped.rate) : weights, value));
}

/** Keys and values of earlier positions, each `[batch, heads, context, size]`; what is not seen yet is 0. */
export interface KeyValueCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

export interface CacheOptions {
  readonly batch: number;
  readonly context: number;
  readonly width: number;
  readonly heads: number;
  readonly dtype?: FloatDType;
}

/** A cache that has seen nothing. */
export function emptyCache({ batch, context, width, heads, dtype = "float32" }: CacheOptions): KeyValueCache {
  const empty = zeros([batch, heads, context, width / heads], dtype);
  return { keys: empty, values: empty };
}

/**
 * Causal self-attention one position at a time: what `apply` gives at `position`, from `x` there and the cache of
 * those before.
 * @param x `[batch, width]`
 * @param position int32 scalar; earlier positions have been stepped through in order.
 * @returns `[batch, width]` and the cache with this position in it.
 */
export function step(
  params: SelfAttentionParams,
  x: Tensor,
  position: Tensor,
  cache: KeyValueCache,
): [Tensor, KeyValueCache] {
  const [, heads, context] = cache.keys.shape as [number, number, number, number];
  const [query, key, value] = project(params, expandDims(x, 1), heads);
  const here = expandDims(equal(arange(context), position), -1);
  const keys = where(here, key, cache.keys);
  const values = where(here, value, cache.values);
  const mixed = dotProductAttention(query, keys, values, { mask: lessEqual(arange(context), position) });
  return [reshape(joinHeads(params, mixed), x.shape), { keys, values }];
}
