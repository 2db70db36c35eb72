export { evaluateClaims } from "./claims/evaluate.ts";
export { type ClaimResult, describeRegion, overallVerdict, short, type Verdict } from "./claims/verdict.ts";
export { type Board, byProblem, type LeaderboardRow, leaderboard, type Score } from "./leaderboard.ts";
export { inMemory, inThread } from "./local.ts";
export { type Drawing, drawFigure, figureData } from "./report/figure.ts";
export { escapeHtml, type ReportedPaper, renderReport } from "./report/html.ts";
export {
  type ComparedFamily,
  leaderboardsDocument,
  type ReproducedPaper,
  resultsDocument,
} from "./report/markdown.ts";
export {
  type Executor,
  type LabEvent,
  type ReproduceOptions,
  reproduce,
  type UnitStore,
} from "./reproduce.ts";
export {
  CorruptedError,
  decode,
  type Environment,
  encode,
  type Results,
  resultsSchema,
  unitResultSchema,
} from "./results.ts";
export { runUnit, UnitError, type UnitHooks } from "./runUnit.ts";
export { type Candidate, chooseHyperparameters, tuningUnits } from "./tuning.ts";
export {
  describeHyperparameters,
  describeUnit,
  firstTuningSeed,
  type Hyperparameters,
  type Unit,
  type UnitResult,
  unitId,
} from "./units.ts";
