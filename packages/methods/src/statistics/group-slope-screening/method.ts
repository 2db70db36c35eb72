import {
  correlations,
  type Design,
  dualityGap,
  fittedValues,
  type Groups,
  groupNorms,
  groupSize,
  groupSortedL1Penalty,
  type NormPenalty,
  selectGroups,
  selectVariables,
  solveLeastSquares,
  sortedL1DualNorm,
} from "@prior-art/toolkit/convex";
import { difference, dot, powerIteration } from "@prior-art/toolkit/linalg";
import type { Estimator, Fit, FitOptions, RegressionData } from "../family.ts";
import { afterVariablePenalty, scaledGroupNorms, strongSet, violations } from "./screening.ts";
import { rootSizes, type SparseGroupPenalty, solveSparseGroup, sparseGroupGap } from "./sparseGroup.ts";
import { groupSlopeWeights, slopeWeights } from "./weights.ts";

export { afterVariablePenalty, scaledGroupNorms, strongSet, violations } from "./screening.ts";
export { type SparseGroupPenalty, solveSparseGroup, sparseGroupValue } from "./sparseGroup.ts";
export { groupSlopeWeights, oscarWeights, slopeWeights } from "./weights.ts";

/** A fit along a path, with what screening did. */
export interface ScreenedFit extends Fit {
  /** Variables handed to the solver in its last run. */
  readonly candidates: number;
  /** Variables of the solution that are not zero (group SLOPE: in groups that are not). */
  readonly active: number;
  /** Groups (group SLOPE) or variables (sparse-group SLOPE) that the check of the optimality conditions added back. */
  readonly violations: number;
}

export interface GroupSlopeOptions {
  /** w, `[groups]`, decreasing. Default: those that control the groups' false discovery rate at 0.05. */
  readonly weights?: ArrayLike<number>;
  /** Whether groups are screened (default) or the solver sees all of them at every strength. */
  readonly screen?: boolean;
}

export interface SparseGroupSlopeOptions {
  /** α in (0, 1), the share of the variables' penalty. Default 0.95. */
  readonly alpha?: number;
  /** v, `[variables]`, decreasing. Default: those that control the false discovery rate at 0.05. */
  readonly variableWeights?: Float64Array;
  /** w, `[groups]`, decreasing. Default as for group SLOPE. */
  readonly groupWeights?: Float64Array;
  readonly screen?: boolean;
}

/** The estimator of one of the paper's models; `largestLambda` is where its paths start. */
export interface ScreenedEstimator extends Estimator<ScreenedFit> {
  /** A strength from which on the solution is zero (the smallest such for group SLOPE). */
  largestLambda(data: RegressionData): number;
}

/**
 * Group SLOPE, `(1/2n) ‖y − Xβ‖² + λ Σ w_i (√p_g ‖β_g‖)_(i)`, and with other decreasing weights any group-based ordered
 * weighted ℓ1 model: OSCAR, and the group lasso for constant ones.
 *
 * With screening, a fit sees only the groups that the strong rule keeps (propositions 3.1 and 3.2 with algorithm 1) or that
 * are active already; whatever then breaks the optimality conditions is added and the fit repeated. A fit counts as finished
 * when the duality gap *of the full problem* is within the tolerance.
 *
 * @throws RangeError from `fit` and `path` when sizes do not fit or weights increase.
 *
 * @example
 * const model = groupSlope();
 * const path = model.path(data, lambdaPath(model.largestLambda(data), 50, 0.05));
 */
export function groupSlope({ weights, screen = true }: GroupSlopeOptions = {}): ScreenedEstimator {
  const weightsOf = (groups: Groups): Float64Array => {
    const w = weights ? Float64Array.from(weights) : groupSlopeWeights(groups);
    requireWeights("groupSlope", w, groups.count);
    return w;
  };
  const largestLambda = ({ design, response, groups }: RegressionData): number =>
    sortedL1DualNorm(scaledGroupNorms(groups, correlations(design, response)), weightsOf(groups)) /
    design.observations;

  function path(data: RegressionData, lambdas: ArrayLike<number>, options: FitOptions = {}): ScreenedFit[] {
    requireData("groupSlope", data);
    const { groups, response } = data;
    const w = weightsOf(groups);
    const roots = rootSizes(groups);
    // With X_g/√p_g in place of X_g the penalty is that of equal groups.
    const x = scaleColumns(data.design, roots);
    const n = x.observations;
    const { tolerance = 1e-6 } = options;
    const stop = (tolerance * dot(response, response)) / (2 * n);
    const everything = Int32Array.from({ length: groups.count }, (_, g) => g);
    const fullPenalty = groupSortedL1Penalty(groups, w);
    let beta: Float64Array = new Float64Array(x.variables);
    let residual = response;
    let gradient = correlations(x, residual);
    let previous = fullPenalty.dualNorm(gradient) / n;
    let pending = x.variables;
    let lipschitz: number | undefined;
    if (!screen) {
      const { value, iterations } = powerIteration((b) => correlations(x, fittedValues(x, b)), x.variables, {
        tolerance: 1e-2,
        maxIterations: 20,
      });
      lipschitz = value / n;
      pending += 2 * iterations * x.variables;
    }
    return Array.from(lambdas, (lambda): ScreenedFit => {
      let columnProducts = pending;
      pending = 0;
      let chosen = new Set(everything);
      if (screen) {
        const last = Math.max(previous, lambda);
        const sizes = groupNorms(groups, gradient).map((size) => size / n);
        chosen = new Set([
          ...strongSet(
            sizes,
            w.map((v) => v * last),
            w.map((v) => v * lambda),
          ),
          ...activeGroups(groups, beta),
        ]);
      }
      previous = lambda;
      // Half, so that groups left out do not spoil the certificate of the full problem by a hair.
      let inner = screen ? tolerance / 2 : tolerance;
      let added = 0;
      let iterations = 0;
      for (;;) {
        const subset = selectGroups(
          groups,
          [...chosen].sort((a, b) => a - b),
        );
        const penalty: NormPenalty = groupSortedL1Penalty(subset.groups, w);
        const solution = solveLeastSquares(
          { design: screen ? selectVariables(x, subset.variables) : x, response, penalty, lambda },
          {
            tolerance: inner,
            start: Float64Array.from(subset.variables, (j) => beta[j]!),
            ...(lipschitz === undefined ? {} : { lipschitz }),
          },
        );
        iterations += solution.iterations;
        columnProducts += solution.columnProducts + 2 * x.variables;
        beta = new Float64Array(x.variables);
        subset.variables.forEach((j, k) => {
          beta[j] = solution.coefficients[k]!;
        });
        residual = difference(response, fittedValues(x, beta));
        gradient = correlations(x, residual);
        const gap = dualityGap(
          { design: x, response, penalty: fullPenalty, lambda },
          beta,
          residual,
          gradient,
        );
        const active = new Set(activeGroups(groups, beta));
        const sizes = groupNorms(groups, gradient).map((size) => size / n);
        const missing = violations(
          sizes,
          active,
          w.map((v) => v * lambda),
        ).filter((g) => !chosen.has(g));
        if (gap > stop && (missing.length > 0 || inner > 1e-14)) {
          for (const g of missing) chosen.add(g);
          added += missing.length;
          // Nothing is missing, so the fit itself was too rough for the full certificate.
          if (missing.length === 0) inner /= 4;
          continue;
        }
        return {
          lambda,
          coefficients: beta.map((value, j) => value / roots[j]!),
          gap,
          columnProducts,
          iterations,
          candidates: subset.variables.length,
          active: [...active].reduce((sum, g) => sum + groupSize(groups, g), 0),
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

/**
 * Sparse-group SLOPE, `(1/2n) ‖y − Xβ‖² + λ (α Σ v_i |β|_(i) + (1 − α) Σ w_i (√p_g ‖β_g‖)_(i))`, screened in two layers:
 * first groups, by what the variables' penalty leaves of the gradient, then variables within the groups kept (section 3.2).
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

function activeGroups(groups: Groups, beta: Float64Array): number[] {
  const norms = groupNorms(groups, beta);
  return [...norms.keys()].filter((g) => norms[g]! > 0);
}

function scatter(values: Float64Array, at: readonly number[], size: number): Float64Array {
  const full = new Float64Array(size);
  at.forEach((j, k) => {
    full[j] = values[k]!;
  });
  return full;
}

function scaleColumns(x: Design, divisors: Float64Array): Design {
  const n = x.observations;
  return { ...x, values: x.values.map((value, at) => value / divisors[Math.floor(at / n)]!) };
}

function requireWeights(name: string, weights: Float64Array, count: number): void {
  if (weights.length !== count)
    throw new RangeError(`${name}: ${weights.length} weights for ${count} penalized norms`);
  for (let i = 0; i < count; i++)
    if (!(weights[i]! >= 0 && (i === 0 || weights[i]! <= weights[i - 1]!)))
      throw new RangeError(
        `${name}: weights must decrease and not be negative; weight ${i} is ${weights[i]}`,
      );
}

function requireData(name: string, { design, response, groups }: RegressionData): void {
  if (response.length !== design.observations)
    throw new RangeError(`${name}: ${response.length} responses for ${design.observations} observations`);
  if (groups.starts[groups.count] !== design.variables)
    throw new RangeError(
      `${name}: groups of ${groups.starts[groups.count]} variables for ${design.variables}`,
    );
}
