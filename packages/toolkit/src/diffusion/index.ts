export {
  type ConsistencyLossOptions,
  type ConsistencyOptions,
  type ConsistencySampleOptions,
  consistencyFunction,
  consistencyLoss,
  consistencySample,
} from "./consistency.ts";
export {
  DIGIT_CLASSES,
  DIGIT_PIXELS,
  type DigitClassifier,
  type DigitImages,
  type DigitQuality,
  type DigitView,
  digitClassifier,
  digitDenoiser,
  digitImages,
  digitModels,
  digitQuality,
  viewDigits,
} from "./digits.ts";
export {
  classifierFreeGuidance,
  type Denoiser,
  type Guidance,
  type GuidedStep,
  intervalGuidance,
  stateless,
  unconditional,
  unguided,
} from "./guidance.ts";
export {
  cosineSchedule,
  type DdpmOptions,
  ddpmSchedule,
  diffuse,
  flowSchedule,
  type KarrasOptions,
  karrasSchedule,
  type Level,
  type LevelNumbers,
  levelOf,
  levelTable,
  type NoiseSchedule,
  noiseIn,
  type Path,
  pathOf,
} from "./levels.ts";
export {
  type Coverage,
  frechetDistance,
  type Manifold,
  type MmdOptions,
  manifoldOf,
  maximumMeanDiscrepancy,
  type Points,
  precisionRecall,
  squaredDistances,
} from "./metrics.ts";
export { type GaussianMixture, gaussianMixture, type MixtureComponent } from "./mixture.ts";
export {
  type DenoiserMlpOptions,
  type DenoiserMlpParams,
  type DenoiserNetwork,
  denoiserMlp,
  denoiserOf,
} from "./network.ts";
export {
  cleanFrom,
  cleanFromScore,
  outputFrom,
  type Prediction,
  predictionTarget,
  scoreFrom,
} from "./prediction.ts";
export {
  type DdimOptions,
  ddim,
  ddimStep,
  ddimTrajectory,
  heun,
  type SamplingProblem,
  startingNoise,
} from "./samplers.ts";
export {
  type DenoisingLossOptions,
  type DiffusionBatch,
  type DiffusionLoss,
  denoisingLoss,
  drawNoisy,
  dropLabels,
  type NoisyBatch,
} from "./training.ts";
