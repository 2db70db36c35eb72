export { flat, masked, ravel, unravel } from "./combinators.ts";
export { multiTransform, setToZero } from "./multiTransform.ts";
export { adagrad, adam, adamw, lion, momentum, nesterov, rmsprop, sgd } from "./optimizers.ts";
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
export {
  type FitOptions,
  type FitProgress,
  fit,
  shuffledBatches,
  type Trained,
  type Training,
  trainSteps,
} from "./training.ts";
export { applyUpdates, chain, type GradientTransformation, stateless } from "./transformation.ts";
