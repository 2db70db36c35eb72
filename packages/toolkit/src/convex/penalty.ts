import { maxAbs } from "../linalg/index.ts";
import { type Groups, groupNorms } from "./groups.ts";
import { proxL1 } from "./prox.ts";
import { proxSortedL1, sortedL1DualNorm, sortedL1Norm } from "./sortedL1.ts";

/** A norm Ω that penalizes coefficients, with what first-order solvers and certificates need of it. */
export interface NormPenalty {
  /** Ω(β). */
  value(coefficients: Float64Array): number;
  /** argmin_z ½‖z − x‖² + step Ω(z). */
  prox(x: Float64Array, step: number): Float64Array;
  /** Ω°(z) = max {⟨z, β⟩ : Ω(β) ≤ 1}: β = 0 is optimal exactly when Ω°(−∇f(0)) ≤ λ. */
  dualNorm(z: Float64Array): number;
}

/** ‖β‖₁: the lasso. */
export function l1Penalty(): NormPenalty {
  return {
    value: (x) => x.reduce((sum, value) => sum + Math.abs(value), 0),
    prox: proxL1,
    dualNorm: maxAbs,
  };
}

/** Σ_g w_g ‖β_g‖₂: the group lasso; weights `[groups]`, positive. */
export function groupPenalty(groups: Groups, weights: ArrayLike<number>): NormPenalty {
  return {
    value: (x) => groupNorms(groups, x).reduce((sum, length, g) => sum + weights[g]! * length, 0),
    prox: (x, step) =>
      shrinkGroups(groups, x, (norms) => norms.map((v, g) => Math.max(0, v - step * weights[g]!))),
    dualNorm: (z) => groupNorms(groups, z).reduce((largest, v, g) => Math.max(largest, v / weights[g]!), 0),
  };
}

/** Σ w_i |β|_(i): SLOPE; weights decreasing and not negative. */
export function sortedL1Penalty(weights: ArrayLike<number>): NormPenalty {
  return {
    value: (x) => sortedL1Norm(x, weights),
    prox: (x, step) => proxSortedL1(x, weights, step),
    dualNorm: (z) => sortedL1DualNorm(z, weights),
  };
}

/**
 * Σ w_i ‖β‖_(i): the sorted ℓ1 norm of the groups' Euclidean norms, group SLOPE for groups of one size (Brzyski et
 * al. 2019). Groups that count differently are first scaled in the design.
 */
export function groupSortedL1Penalty(groups: Groups, weights: ArrayLike<number>): NormPenalty {
  return {
    value: (x) => sortedL1Norm(groupNorms(groups, x), weights),
    prox: (x, step) => shrinkGroups(groups, x, (norms) => proxSortedL1(norms, weights, step)),
    dualNorm: (z) => sortedL1DualNorm(groupNorms(groups, z), weights),
  };
}

/** Rescales every group to the norm that `shrink` makes of its own. */
function shrinkGroups(
  groups: Groups,
  x: Float64Array,
  shrink: (norms: Float64Array) => Float64Array,
): Float64Array {
  const norms = groupNorms(groups, x);
  const shrunk = shrink(norms);
  const result = new Float64Array(x.length);
  for (let g = 0; g < groups.count; g++) {
    if (!(shrunk[g]! > 0)) continue;
    const scale = shrunk[g]! / norms[g]!;
    for (let j = groups.starts[g]!; j < groups.starts[g + 1]!; j++) result[j] = scale * x[j]!;
  }
  return result;
}
