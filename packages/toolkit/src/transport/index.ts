export { exactTransport } from "./exact.ts";
export {
  barycentricMap,
  type Gaussian,
  gaussianDistance,
  gaussianMap,
  gaussianPair,
  sampleGaussian,
} from "./maps.ts";
export { type WeightedPoints, wasserstein1d } from "./oneDimensional.ts";
export {
  countNonzeros,
  describePlan,
  pointProblem,
  requireProblem,
  roundToMarginals,
  squaredDistances,
  type TransportPlan,
  type TransportProblem,
  type TransportSolver,
} from "./problem.ts";
export {
  type ColumnConjugate,
  quadraticConjugate,
  quadraticTransport,
  type SemiDualOptions,
  type SemiDualPlan,
  semiDualValue,
  solveSemiDual,
} from "./semiDual.ts";
export { type SinkhornOptions, sinkhorn } from "./sinkhorn.ts";
