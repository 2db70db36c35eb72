export type { Activation } from "./activations.ts";
export { type AttackOptions, fgsm, type InputLoss, type PgdOptions, pgd } from "./attacks.ts";
export type {
  AttendOptions,
  CacheOptions,
  KeyValueCache,
  MaskOptions,
  SelfAttentionOptions,
  SelfAttentionParams,
} from "./attention.ts";
export * as attention from "./attention.ts";
export type { BatchNormOptions, BatchNormParams, BatchNormState } from "./batchNorm.ts";
export * as batchNorm from "./batchNorm.ts";
export { type Cell, type CellOptions, type RecurrentOptions, recurrent } from "./cell.ts";
export { type CnnOptions, type CnnParams, cnn } from "./cnn.ts";
export * as conv1d from "./conv1d.ts";
export * as conv2d from "./conv2d.ts";
export { countParameters } from "./countParameters.ts";
export type { DenseOptions, DenseParams } from "./dense.ts";
export * as dense from "./dense.ts";
export { dropout } from "./dropout.ts";
export type { EmbeddingOptions, EmbeddingParams } from "./embedding.ts";
export * as embedding from "./embedding.ts";
export type { ConvParams, FilterOptions } from "./filters.ts";
export type { GruParams } from "./gru.ts";
export * as gru from "./gru.ts";
export type { Distribution, FloatDType, Initializer } from "./initializers.ts";
export * as initializers from "./initializers.ts";
export type { LayerNormParams } from "./layerNorm.ts";
export * as layerNorm from "./layerNorm.ts";
export * from "./losses.ts";
export type { LstmParams, LstmState } from "./lstm.ts";
export * as lstm from "./lstm.ts";
export { type MlpOptions, type MlpParams, mlp } from "./mlp.ts";
export type { RmsNormParams } from "./rmsNorm.ts";
export * as rmsNorm from "./rmsNorm.ts";
export {
  type TransformerBlock,
  type TransformerCache,
  type TransformerOptions,
  type TransformerParams,
  transformer,
} from "./transformer.ts";
