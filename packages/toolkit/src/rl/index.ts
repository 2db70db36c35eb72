export {
  type AdvantageOptions,
  type Advantages,
  discountedReturns,
  generalizedAdvantages,
} from "./advantages.ts";
export {
  type Agent,
  type AgentProgress,
  type OfflineAgent,
  type OfflineProgress,
  type OfflineTraining,
  offlineUpdates,
  type ReplayAgent,
  type ReplayLearningOptions,
  randomBehaviour,
  replayLearning,
  trainOffline,
} from "./agent.ts";
export {
  type BehaviourCloningOptions,
  type BehaviourCloningState,
  behaviourCloning,
} from "./behaviourCloning.ts";
export { cartPole } from "./cartPole.ts";
export { type DqnOptions, type DqnState, dqn, greedyTarget } from "./dqn.ts";
export type {
  Action,
  ActionSpace,
  Environment,
  StepResult,
  TracedDynamics,
  TracedEnvironment,
} from "./environment.ts";
export { randomMaze } from "./mazes.ts";
export { mdpEnvironment } from "./mdpEnvironment.ts";
export {
  actorNetwork,
  criticEnsemble,
  follow,
  hostMlp,
  type ObservationScale,
  observationScale,
  scaled,
} from "./networks.ts";
export {
  DATA_NOISE,
  type DataQuality,
  dataControls,
  normalizedScore,
  type OfflineData,
  type OfflineDataOptions,
  type OfflineTaskName,
  offlineData,
  offlineEnvironment,
  type ReferenceReturns,
  referenceReturns,
} from "./offlineData.ts";
export { pendulum } from "./pendulum.ts";
export { pointMass } from "./pointMass.ts";
export { clippedSurrogate, type PpoOptions, ppo } from "./ppo.ts";
export {
  type Behaviour,
  type Episodes,
  playEpisodes,
  startStates,
  type TracedPolicy,
  tracedReturns,
} from "./rollout.ts";
export { type SacOptions, type SacState, sac, squashedGaussian } from "./sac.ts";
export {
  type ActorContext,
  clippedDoubleTarget,
  type Td3Options,
  type Td3State,
  td3,
} from "./td3.ts";
export { normalizedValueLoss, type Td3BcOptions, td3bc } from "./td3bc.ts";
export {
  ReplayBuffer,
  selectTransitions,
  type Transition,
  type TransitionBatch,
  type TransitionDataset,
  transitionTensors,
} from "./transitions.ts";
