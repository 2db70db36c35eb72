export { type BatchOptions, batches, epochOrder } from "./batches.ts";
export {
  breastCancer,
  type ClassificationDataset,
  diabetes,
  digits,
  iris,
  type RegressionDataset,
  wine,
} from "./datasets.ts";
export { type Split, type SplitSizes, stratifiedSplit, trainTestSplit } from "./splits.ts";
export {
  type LabelNoise,
  labelNoise,
  type Standardizer,
  selectEntries,
  selectRows,
  standardize,
} from "./transforms.ts";
