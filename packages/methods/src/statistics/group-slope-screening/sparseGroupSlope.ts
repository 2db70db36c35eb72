import {
  correlations,
  fittedValues,
  groupSize,
  selectGroups,
  selectVariables,
  sortedL1DualNorm,
} from "@prior-art/toolkit/convex";
import { difference } from "@prior-art/toolkit/linalg";
import type { FitOptions, RegressionData } from "../family.ts";
import {
  activeGroups,
  requireData,
  requireWeights,
  type ScreenedEstimator,
  type ScreenedFit,
} from "./estimator.ts";
import { afterVariablePenalty, scaledGroupNorms, strongSet, violations } from "./screening.ts";
import { type SparseGroupPenalty, solveSparseGroup, sparseGroupGap } from "./sparseGroup.ts";
import { groupSlopeWeights, slopeWeights } from "./weights.ts";

export interface SparseGroupSlopeOptions {
  /** α in (0, 1), the share of the variables' penalty. Default 0.95. */
  readonly alpha?: number;
  /** v, `[variables]`, decreasing. Default: those that control the false discovery rate at 0.05. */
  readonly variableWeights?: Float64Array;
  /** w, `[groups]`, decreasing. Default as for group SLOPE. */
  readonly groupWeights?: Float64Array;
  readonly screen?: boolean;
}

/**
 * Sparse-group SLOPE, `(1/2n) ‖y − Xβ‖² + λ (α Σ v_i |β|_(i) + (1 − α) Σ w_i (√p_g ‖β_g‖)_(i))`, screened in two layers:
 * first groups, by what the variables' penalty leaves of the gradient, then variables within the groups kept.
 *
 * The check of the optimality conditions is the paper's and sees each layer by itself.
 *
 * @throws RangeError from `fit` and `path` when sizes do not fit, weights increase or α is outside (0, 1).
 */
export function sparseGroupSlope({
  alpha = 0.95,
  variableWeights,
  groupWeights,
  screen = true,
}: SparseGroupSlopeOptions = {}): ScreenedEstimator {
  if (!(alpha > 0 && alpha < 1))
    throw new RangeError(`sparseGroupSlope: alpha must be in (0, 1), got ${alpha}`);
  const penaltyOf = ({ groups, design }: RegressionData): SparseGroupPenalty => {
    const penalty = {
      groups,
      alpha,
      variableWeights: variableWeights ?? slopeWeights(design.variables),
      groupWeights: groupWeights ?? groupSlopeWeights(groups),
    };
    requireWeights("sparseGroupSlope", penalty.variableWeights, design.variables);
    requireWeights("sparseGroupSlope", penalty.groupWeights, groups.count);
    return penalty;
  };
  const largestLambda = (data: RegressionData): number => {
    const penalty = penaltyOf(data);
    const z = correlations(data.design, data.response).map((value) => value / data.design.observations);
    return Math.min(
      sortedL1DualNorm(z, penalty.variableWeights) / alpha,
      sortedL1DualNorm(scaledGroupNorms(data.groups, z), penalty.groupWeights) / (1 - alpha),
    );
  };

  function path(data: RegressionData, lambdas: ArrayLike<number>, options: FitOptions = {}): ScreenedFit[] {
    requireData("sparseGroupSlope", data);
    const { design: x, response, groups } = data;
    const penalty = penaltyOf(data);
    const v = penalty.variableWeights;
    const w = penalty.groupWeights;
    const { tolerance = 1e-6 } = options;
    const n = x.observations;
    const groupOf = new Int32Array(x.variables);
    for (let g = 0; g < groups.count; g++) groupOf.fill(g, groups.starts[g]!, groups.starts[g + 1]!);
    let beta: Float64Array = new Float64Array(x.variables);
    let share: Float64Array = new Float64Array(x.variables);
    let gradient = correlations(x, response).map((value) => value / n);
    let previous = largestLambda(data);
    let pending = x.variables;

    /** Variables that the two layers keep. */
    const screened = (lambda: number): number[] => {
      const last = Math.max(previous, lambda);
      const left = afterVariablePenalty(
        gradient,
        beta,
        v.map((value) => value * alpha * last),
      );
      const keptGroups = strongSet(
        scaledGroupNorms(groups, left),
        w.map((value) => value * (1 - alpha) * last),
        w.map((value) => value * (1 - alpha) * lambda),
      );
      if (keptGroups.length === 0) return [];
      const { variables } = selectGroups(groups, keptGroups);
      const kept = strongSet(
        Float64Array.from(variables, (j) => gradient[j]!),
        v.map((value) => value * alpha * last),
        v.map((value) => value * alpha * lambda),
      );
      return [...kept].map((k) => variables[k]!);
    };
    /** Variables outside `chosen` that break the conditions at the current gradient. */
    const missing = (chosen: ReadonlySet<number>, lambda: number): number[] => {
      const left = afterVariablePenalty(
        gradient,
        beta,
        v.map((value) => value * alpha * lambda),
      );
      const active = new Set(activeGroups(groups, beta));
      const suspicious = violations(
        scaledGroupNorms(groups, left),
        active,
        w.map((value) => value * (1 - alpha) * lambda),
      );
      const { variables } = selectGroups(groups, [...new Set([...active, ...suspicious])]);
      const activeVariables = new Set([...variables.keys()].filter((k) => beta[variables[k]!] !== 0));
      return violations(
        Float64Array.from(variables, (j) => gradient[j]!),
        activeVariables,
        v.map((value) => value * alpha * lambda),
      )
        .map((k) => variables[k]!)
        .filter((j) => !chosen.has(j));
    };

    return Array.from(lambdas, (lambda): ScreenedFit => {
      let columnProducts = pending;
      pending = 0;
      const active = [...beta.keys()].filter((j) => beta[j] !== 0);
      const chosen = new Set<number>(screen ? [...screened(lambda), ...active] : beta.keys());
      previous = lambda;
      let added = 0;
      let iterations = 0;
      for (;;) {
        const variables = [...chosen].sort((a, b) => a - b);
        if (variables.length > 0) {
          const solution = solveSparseGroup(
            {
              design: screen ? selectVariables(x, variables) : x,
              response,
              lambda,
              penalty: restrict(penalty, variables, groupOf),
            },
            {
              tolerance,
              start: Float64Array.from(variables, (j) => beta[j]!),
              variableShare: Float64Array.from(variables, (j) => share[j]!),
            },
          );
          iterations += solution.iterations;
          columnProducts += solution.columnProducts;
          beta = scatter(solution.coefficients, variables, x.variables);
          share = scatter(solution.variableShare, variables, x.variables);
        }
        gradient = correlations(x, difference(response, fittedValues(x, beta))).map((value) => value / n);
        columnProducts += 2 * x.variables;
        const broken = screen ? missing(chosen, lambda) : [];
        if (broken.length > 0) {
          for (const j of broken) chosen.add(j);
          added += broken.length;
          continue;
        }
        // Outside the candidates the variables' penalty takes as much of the gradient as its weights allow.
        const outside = afterVariablePenalty(
          gradient,
          beta,
          v.map((value) => value * alpha * lambda),
        );
        const split = share.map((value, j) => (chosen.has(j) ? value : gradient[j]! - outside[j]!));
        return {
          lambda,
          coefficients: beta,
          gap: sparseGroupGap({ design: x, response, penalty, lambda }, beta, split),
          columnProducts,
          iterations,
          candidates: variables.length,
          active: beta.reduce((count, value) => count + (value === 0 ? 0 : 1), 0),
          violations: added,
        };
      }
    });
  }
  return {
    largestLambda,
    path,
    fit: (data, lambda, options) => path(data, [lambda], options)[0]!,
    predict: (design, fit) => fittedValues(design, fit.coefficients),
  };
}

/** The penalty on some of the variables: as the others are zero, these meet the largest weights. */
function restrict(
  { alpha, variableWeights, groupWeights, groups }: SparseGroupPenalty,
  variables: readonly number[],
  groupOf: Int32Array,
): SparseGroupPenalty {
  const starts: number[] = [0];
  const roots: number[] = [];
  variables.forEach((j, k) => {
    if (k === 0 || groupOf[j] !== groupOf[variables[k - 1]!]) {
      if (k > 0) starts.push(k);
      roots.push(Math.sqrt(groupSize(groups, groupOf[j]!)));
    }
  });
  starts.push(variables.length);
  return {
    alpha,
    groups: { count: roots.length, starts: Int32Array.from(starts) },
    variableWeights: variableWeights.subarray(0, variables.length),
    groupWeights: groupWeights.subarray(0, roots.length),
    groupScales: Float64Array.from(roots),
  };
}

function scatter(values: Float64Array, at: readonly number[], size: number): Float64Array {
  const full = new Float64Array(size);
  at.forEach((j, k) => {
    full[j] = values[k]!;
  });
  return full;
}
