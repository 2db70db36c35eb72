import { type Groups, groupNorms } from "@prior-art/toolkit/convex";
import type { Estimator, Fit, RegressionData } from "../family.ts";

/** A fit along a path, with what screening did. */
export interface ScreenedFit extends Fit {
  /** Variables handed to the solver in its last run. */
  readonly candidates: number;
  /** Variables of the solution that are not zero (group SLOPE: in groups that are not). */
  readonly active: number;
  /** Groups (group SLOPE) or variables (sparse-group SLOPE) that the check of the optimality conditions added back. */
  readonly violations: number;
}

/** The estimator of one of the paper's models; `largestLambda` is where its paths start. */
export interface ScreenedEstimator extends Estimator<ScreenedFit> {
  /** A strength from which on the solution is zero (the smallest such for group SLOPE). */
  largestLambda(data: RegressionData): number;
}

/** Groups of which some coefficient is not zero. */
export function activeGroups(groups: Groups, beta: Float64Array): number[] {
  const norms = groupNorms(groups, beta);
  return [...norms.keys()].filter((g) => norms[g]! > 0);
}

/** Throws a RangeError unless there is a weight for each norm, and none is negative or larger than the one before. */
export function requireWeights(name: string, weights: Float64Array, count: number): void {
  if (weights.length !== count)
    throw new RangeError(`${name}: ${weights.length} weights for ${count} penalized norms`);
  for (let i = 0; i < count; i++)
    if (!(weights[i]! >= 0 && (i === 0 || weights[i]! <= weights[i - 1]!)))
      throw new RangeError(
        `${name}: weights must decrease and not be negative; weight ${i} is ${weights[i]}`,
      );
}

/** Throws a RangeError unless sizes fit. */
export function requireData(name: string, { design, response, groups }: RegressionData): void {
  if (response.length !== design.observations)
    throw new RangeError(`${name}: ${response.length} responses for ${design.observations} observations`);
  if (groups.starts[groups.count] !== design.variables)
    throw new RangeError(
      `${name}: groups of ${groups.starts[groups.count]} variables for ${design.variables}`,
    );
}
