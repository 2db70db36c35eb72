export { type AdditiveFit, additiveFit } from "./additive.ts";
export {
  type BootstrapOptions,
  bootstrapInterval,
  type Interval,
  pairedDifferences,
  pairedInterval,
} from "./bootstrap.ts";
export {
  brierScore,
  expectedCalibrationError,
  logScore,
  maximumCalibrationError,
  type ReliabilityBin,
  reliabilityDiagram,
} from "./calibration.ts";
export { chiSquareCdf, chiSquareQuantile, normalQuantile } from "./distributions.ts";
export {
  type Alternative,
  type PermutationOptions,
  type PermutationResult,
  permutationTest,
  signFlipTest,
} from "./permutation.ts";
export { type RandomStream, randomStream } from "./random.ts";
export { linearSlope, logLogSlope, type SlopeFit } from "./slope.ts";
export { mean, quantile, ranks, type Summary, spearman, summarize } from "./summary.ts";
