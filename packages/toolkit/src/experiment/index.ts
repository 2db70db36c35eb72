export type {
  Claim,
  ComparisonClaim,
  DeterministicClaim,
  Mode,
  Region,
  ScalingClaim,
  StatisticClaim,
} from "./claim.ts";
export type {
  AnyExperiment,
  ArmContext,
  ArmSpec,
  Experiment,
  Metrics,
  MetricValue,
  PretrainedModel,
  Progress,
  RunContext,
  SearchSpace,
  Tuning,
} from "./experiment.ts";
export { DivergedError, defineExperiment } from "./experiment.ts";
export type { Figure, FigureData, HyperparameterValue, Panel } from "./figure.ts";
