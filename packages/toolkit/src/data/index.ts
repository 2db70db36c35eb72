export { type BatchOptions, batches, epochOrder } from "./batches.ts";
export {
  breastCancer,
  type ClassificationDataset,
  diabetes,
  digits,
  iris,
  mnist,
  type RegressionDataset,
  wine,
} from "./datasets.ts";
export { colorize, type SpuriousAttribute, type SpuriousOptions, spuriousAttribute } from "./groups.ts";
export { permuteColumns, rotateImages } from "./images.ts";
export { type InstanceNoise, instanceNoise, type NoisyLabels, transitionNoise } from "./noise.ts";
export { type Split, type SplitSizes, stratifiedSplit, trainTestSplit } from "./splits.ts";
export { type AccuracyMatrix, type StreamScores, streamScores } from "./streamScores.ts";
export {
  permutedStream,
  relabelledStream,
  rotatedStream,
  type StreamOptions,
  type StreamTask,
  splitStream,
  type TaskPart,
} from "./streams.ts";
export {
  type LabelNoise,
  labelNoise,
  type Standardizer,
  selectEntries,
  selectRows,
  standardize,
} from "./transforms.ts";
