export {
  type AnyOptimizer,
  asClosure,
  type ClosureOptimizer,
  chainClosure,
  type Objective,
  type OutputLoss,
  requireOutputs,
} from "./closure.ts";
export { flat, masked, ravel, unravel } from "./combinators.ts";
export {
  requireFinite,
  requireLearningRate,
  requireRank,
  type SkipState,
  skipNonFinite,
} from "./guards.ts";
export { multiTransform, setToZero } from "./multiTransform.ts";
export { adagrad, adam, adamw, lion, momentum, nesterov, rmsprop, sgd } from "./optimizers.ts";
export { newtonSchulz, polarFactor } from "./orthogonalize.ts";
export {
  type AdamState,
  addDecayedWeights,
  biasCorrection,
  type CountState,
  centralize,
  clipByGlobalNorm,
  clipByValue,
  globalNorm,
  type LearningRate,
  type Mask,
  type MomentsOptions,
  type SquareState,
  scale,
  scaleByAdagrad,
  scaleByAdam,
  scaleByLearningRate,
  scaleByLion,
  scaleByRms,
  type TraceState,
  trace,
} from "./scaling.ts";
export * from "./schedules.ts";
export { stateBytes } from "./stateBytes.ts";
export {
  type FitOptions,
  type FitProgress,
  fit,
  shuffledBatches,
  type Trained,
  type Training,
  trainSteps,
} from "./training.ts";
export {
  applyUpdates,
  chain,
  type GradientTransformation,
  requireSameTree,
  stateless,
} from "./transformation.ts";
export { mapPaths } from "./treePaths.ts";
