export { AveragePlan, type PolicyNode, sampleAction } from "./averagePlan.ts";
export {
  type BanditEnvironment,
  type BanditFeedback,
  banditFtrl,
  banditRegret,
  stochasticBandit,
  switchingBandit,
} from "./bandits.ts";
export { dilatedEntropyLeader } from "./dilatedEntropy.ts";
export { type Decision, type OnlineLearner, type SelfPlayLearner, strategyOfPolicy } from "./learner.ts";
export { outcomeSamplingMccfr } from "./outcomeSampling.ts";
export {
  bregmanDivergence,
  entropy,
  euclideanBall,
  euclideanSimplex,
  logBarrier,
  mirrorStep,
  type Regularizer,
  tsallis,
} from "./regularizers.ts";
export { playEpisode, type SelfPlayPoint, selfPlay } from "./selfPlay.ts";
