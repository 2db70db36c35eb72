export { choleskyFactor, choleskySolve, logDeterminant, solveSPD } from "./cholesky.ts";
export {
  type ConjugateGradientOptions,
  conjugateGradient,
  type LinearSolution,
} from "./conjugateGradient.ts";
export {
  denseOperator,
  gram,
  identity,
  type Matrix,
  matrix,
  multiply,
  times,
  transpose,
  transposedTimes,
} from "./matrix.ts";
export {
  type EigenPair,
  type LinearOperator,
  operatorNorm,
  type PowerIterationOptions,
  powerIteration,
} from "./operator.ts";
export {
  inverseSquareRootSPD,
  type SymmetricEigen,
  squareRootSPD,
  symmetricEigen,
  symmetricFunction,
  type ThinSVD,
  thinSVD,
} from "./symmetric.ts";
export { addScaled, difference, dot, maxAbs, norm } from "./vectors.ts";
