export {
  type AcceleratedOptions,
  type AcceleratedResult,
  acceleratedProximalGradient,
} from "./accelerated.ts";
export {
  type CoordinateDescentOptions,
  type ElasticNet,
  elasticNet,
  type GroupLasso,
  groupLasso,
} from "./coordinateDescent.ts";
export {
  column,
  correlations,
  type Design,
  design,
  designOperator,
  fittedValues,
  selectVariables,
  standardize,
} from "./design.ts";
export { type Groups, groupNorms, groupSize, groupsOfSizes, selectGroups } from "./groups.ts";
export { type LbfgsOptions, type LbfgsResult, lbfgs } from "./lbfgs.ts";
export {
  dualityGap,
  type LeastSquaresOptions,
  lambdaPath,
  largestLambda,
  type PenalizedRegression,
  type RegressionSolution,
  requireRegression,
  solveLeastSquares,
} from "./leastSquares.ts";
export {
  groupPenalty,
  groupSortedL1Penalty,
  l1Penalty,
  type NormPenalty,
  sortedL1Penalty,
} from "./penalty.ts";
export {
  projectBox,
  projectL1Ball,
  projectL2Ball,
  projectSimplex,
  simplexThreshold,
} from "./projections.ts";
export { proxElasticNet, proxL1, proxL2Norm, proxNuclear, softThreshold } from "./prox.ts";
export { decreasingOrder, proxSortedL1, sortedL1DualNorm, sortedL1Norm } from "./sortedL1.ts";
