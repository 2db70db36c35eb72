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
import type { FitOptions, RegressionData } from "../family.ts";
import {
  activeGroups,
  requireData,
  requireWeights,
  type ScreenedEstimator,
  type ScreenedFit,
} from "./estimator.ts";
import { scaledGroupNorms, strongSet, violations } from "./screening.ts";
import { rootSizes } from "./sparseGroup.ts";
import { groupSlopeWeights } from "./weights.ts";

export type { ScreenedEstimator, ScreenedFit } from "./estimator.ts";
export { afterVariablePenalty, scaledGroupNorms, strongSet, violations } from "./screening.ts";
export { type SparseGroupPenalty, solveSparseGroup, sparseGroupValue } from "./sparseGroup.ts";
export { type SparseGroupSlopeOptions, sparseGroupSlope } from "./sparseGroupSlope.ts";
export { groupSlopeWeights, oscarWeights, slopeWeights } from "./weights.ts";

export interface GroupSlopeOptions {
  /** w, `[groups]`, decreasing. Default: those that control the groups' false discovery rate at 0.05. */
  readonly weights?: ArrayLike<number>;
  /** Whether groups are screened (default) or the solver sees all of them at every strength. */
  readonly screen?: boolean;
}

/**
 * Group SLOPE, `(1/2n) ‖y − Xβ‖² + λ Σ w_i (√p_g ‖β_g‖)_(i)`, and with other decreasing weights any group-based ordered
 * weighted ℓ1 model: OSCAR, and the group lasso for constant ones.
 *
 * With screening, a fit sees only the groups that the strong rule keeps or that
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

function scaleColumns(x: Design, divisors: Float64Array): Design {
  const n = x.observations;
  return { ...x, values: x.values.map((value, at) => value / divisors[Math.floor(at / n)]!) };
}
