export {
  chain,
  frozenLake,
  type GarnetOptions,
  type GridWorldOptions,
  garnet,
  gridWorld,
  riverSwim,
} from "./environments.ts";
export {
  advantage,
  backup,
  type EvaluationOptions,
  expectedReturn,
  occupancyMeasure,
  type PolicyEvaluation,
  policyEvaluation,
} from "./evaluation.ts";
export {
  defineMDP,
  deterministicPolicy,
  greedyActions,
  type MDP,
  type Plan,
  type Planner,
  type Policy,
  uniformPolicy,
} from "./mdp.ts";
export {
  policyIteration,
  softValueIteration,
  type ValueIterationOptions,
  valueIteration,
} from "./planning.ts";
export { sampleIndex, sampleNextState, sampleTrajectory, type Trajectory } from "./sampling.ts";
export { policyEntropy, softmaxPolicy, softValues } from "./soft.ts";
