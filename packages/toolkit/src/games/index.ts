export { type BestResponse, bestResponse, deviationGain, exploitability, nashConv } from "./bestResponse.ts";
export { cfrPlus, type Equilibrium, type EquilibriumOptions } from "./cfrPlus.ts";
export type { Game, Player, Turn } from "./game.ts";
export {
  CHANCE,
  type GameTree,
  gameTree,
  type InformationSet,
  type SequenceForm,
  TERMINAL,
} from "./gameTree.ts";
export { kuhnPoker } from "./kuhnPoker.ts";
export { leducPoker } from "./leducPoker.ts";
export { matrixGame } from "./matrixGame.ts";
export {
  behaviorStrategy,
  expectedUtility,
  type Profile,
  payoffGradient,
  type RealizationPlan,
  realizationPlan,
  type Strategy,
  strategyFrom,
  uniformProfile,
  uniformStrategy,
} from "./strategies.ts";
