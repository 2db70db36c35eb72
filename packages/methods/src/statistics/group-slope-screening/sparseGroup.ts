import {
  column,
  correlations,
  type Design,
  dualityGap,
  fittedValues,
  type Groups,
  groupNorms,
  groupSize,
  groupSortedL1Penalty,
  type RegressionSolution,
  sortedL1Penalty,
} from "@prior-art/toolkit/convex";
import {
  addScaled,
  choleskyFactor,
  choleskySolve,
  difference,
  dot,
  type Matrix,
  matrix,
  norm,
} from "@prior-art/toolkit/linalg";

/** Sparse-group SLOPE: `λ (α Σ v_i |β|_(i) + (1 − α) Σ w_i (√p_g ‖β_g‖)_(i))`. */
export interface SparseGroupPenalty {
  readonly groups: Groups;
  /** v, `[variables]`, decreasing. */
  readonly variableWeights: Float64Array;
  /** w, `[groups]`, decreasing. */
  readonly groupWeights: Float64Array;
  /** α in (0, 1). */
  readonly alpha: number;
  /** What multiplies a group's norm, `[groups]`. Default √p_g; screening keeps it when it drops variables of a group. */
  readonly groupScales?: Float64Array;
}

export interface SparseGroupProblem {
  readonly design: Design;
  readonly response: Float64Array;
  readonly penalty: SparseGroupPenalty;
  readonly lambda: number;
}

export interface SparseGroupSolution extends RegressionSolution {
  /** The multiplier of the variable penalty: its share of the correlation with the residual, over n. */
  readonly variableShare: Float64Array;
}

export interface SparseGroupOptions {
  readonly tolerance: number;
  readonly start?: Float64Array;
  /** The multiplier of the variable penalty at the start. */
  readonly variableShare?: Float64Array;
  /** Default 5,000. */
  readonly maxIterations?: number;
}

/** √p_g, or what stands in its place, for each variable: `[variables]`. */
export function rootSizes(groups: Groups, scales?: Float64Array): Float64Array {
  const roots = new Float64Array(groups.starts[groups.count]!);
  for (let g = 0; g < groups.count; g++)
    roots.fill(scales?.[g] ?? Math.sqrt(groupSize(groups, g)), groups.starts[g]!, groups.starts[g + 1]!);
  return roots;
}

/**
 * Solves least squares with the penalty of sparse-group SLOPE by the alternating direction method of multipliers, one copy
 * of the coefficients for each of the two norms, until the duality gap is at most the tolerance times ‖y‖²/2n.
 *
 * The penalty has no proximal operator in closed form, but each of its parts has; any split of the correlations between
 * the parts is feasible for the dual after scaling, and the multipliers converge to the best one.
 */
export function solveSparseGroup(
  { design: x, response, penalty, lambda }: SparseGroupProblem,
  { tolerance, start, variableShare, maxIterations = 5000 }: SparseGroupOptions,
): SparseGroupSolution {
  const { observations: n, variables: p } = x;
  const { groups, alpha } = penalty;
  const roots = rootSizes(groups, penalty.groupScales);
  const variablePart = sortedL1Penalty(penalty.variableWeights);
  const groupPart = groupSortedL1Penalty(groups, penalty.groupWeights);
  const stop = (tolerance * dot(response, response)) / (2 * n);
  const target = correlations(x, response).map((value) => value / n);
  let products = p;

  let beta: Float64Array = start?.slice() ?? new Float64Array(p);
  let z: Float64Array = beta.slice();
  let t: Float64Array = beta.map((value, j) => value * roots[j]!);
  const residual = difference(response, fittedValues(x, beta));
  const correlation = correlations(x, residual).map((value) => value / n);
  products += 2 * p;
  // Unscaled multipliers: at the optimum their sum, the second times √p_g, is the correlation.
  const u = variableShare?.slice() ?? new Float64Array(p);
  let s: Float64Array = correlation.map((value, j) => (value - u[j]!) / roots[j]!);
  if (!variableShare) s = new Float64Array(p);

  let rho = balancedStep(x, roots);
  let inner = innerFactor(x, roots, rho);
  products += p;
  let iterations = 0;
  let solution = certify();
  while (solution.gap > stop && iterations < maxIterations) {
    iterations++;
    const right = target.map((value, j) => value + rho * z[j]! - u[j]! + roots[j]! * (rho * t[j]! - s[j]!));
    beta = woodbury(x, inner, right, roots, rho);
    products += 2 * p;
    const [oldZ, oldT] = [z, t];
    // Over-relaxed by 1.6, as Boyd et al. (2011) advise.
    const mixed = beta.map((value, j) => 1.6 * value - 0.6 * oldZ[j]!);
    const mixedGroup = beta.map((value, j) => 1.6 * roots[j]! * value - 0.6 * oldT[j]!);
    z = variablePart.prox(
      mixed.map((value, j) => value + u[j]! / rho),
      (lambda * alpha) / rho,
    );
    t = groupPart.prox(
      mixedGroup.map((value, j) => value + s[j]! / rho),
      (lambda * (1 - alpha)) / rho,
    );
    addScaled(addScaled(u, rho, mixed), -rho, z);
    addScaled(addScaled(s, rho, mixedGroup), -rho, t);
    if (iterations % 10 === 0) solution = certify();
    if (iterations % 50 === 0 && iterations <= 500) {
      const primal = Math.hypot(
        norm(difference(beta, z)),
        norm(
          difference(
            beta.map((b, j) => b * roots[j]!),
            t,
          ),
        ),
      );
      const dual = rho * Math.hypot(norm(difference(z, oldZ)), norm(difference(t, oldT)));
      const factor = primal > 5 * dual ? 3 : dual > 5 * primal ? 1 / 3 : 1;
      if (factor !== 1) {
        rho *= factor;
        inner = innerFactor(x, roots, rho);
        products += p;
      }
    }
  }
  return { ...solution, iterations, columnProducts: products, converged: solution.gap <= stop };

  /** Coefficients that are zero wherever either copy is, and their gap. */
  function certify() {
    const alive = groupNorms(groups, t);
    const coefficients = z.slice();
    for (let g = 0; g < groups.count; g++)
      if (alive[g] === 0) coefficients.fill(0, groups.starts[g]!, groups.starts[g + 1]!);
    products += 2 * p;
    const gap = sparseGroupGap({ design: x, response, penalty, lambda }, coefficients, u);
    return { coefficients, gap, variableShare: u.slice() };
  }
}

/** The value of the penalty at coefficients, without λ. */
export function sparseGroupValue(penalty: SparseGroupPenalty, coefficients: Float64Array): number {
  const roots = rootSizes(penalty.groups, penalty.groupScales);
  return (
    penalty.alpha * sortedL1Penalty(penalty.variableWeights).value(coefficients) +
    (1 - penalty.alpha) *
      groupSortedL1Penalty(penalty.groups, penalty.groupWeights).value(
        coefficients.map((b, j) => b * roots[j]!),
      )
  );
}

/** The duality gap that a split of the correlations certifies. */
export function sparseGroupGap(
  { design, response, penalty, lambda }: SparseGroupProblem,
  coefficients: Float64Array,
  variableShare: Float64Array,
): number {
  const { groups, alpha } = penalty;
  const roots = rootSizes(groups, penalty.groupScales);
  const variablePart = sortedL1Penalty(penalty.variableWeights);
  const groupPart = groupSortedL1Penalty(groups, penalty.groupWeights);
  const n = design.observations;
  return dualityGap(
    {
      design,
      response,
      lambda,
      penalty: {
        value: (b) => sparseGroupValue(penalty, b),
        prox: () => {
          throw new Error("sparse-group SLOPE has no proximal operator in closed form");
        },
        dualNorm: (correlation) =>
          n *
          Math.max(
            variablePart.dualNorm(variableShare) / alpha,
            groupPart.dualNorm(correlation.map((c, j) => (c / n - variableShare[j]!) / roots[j]!)) /
              (1 - alpha),
          ),
      },
    },
    coefficients,
  );
}

/** The geometric mean curvature of the loss, over that of the copies. */
function balancedStep({ observations: n, variables: p, values }: Design, roots: Float64Array): number {
  return dot(values, values) / (n * Math.min(n, p)) / (1 + dot(roots, roots) / p);
}

/** The Cholesky factor of `n I + X M⁻¹ Xᵀ`, `M = ρ (I + D²)`, D the root sizes. */
function innerFactor(x: Design, roots: Float64Array, rho: number): Matrix {
  const n = x.observations;
  const inner = matrix(n, n);
  for (let i = 0; i < n; i++) inner.values[i * n + i] = n;
  for (let j = 0; j < x.variables; j++) {
    const values = column(x, j);
    const scale = 1 / (rho * (1 + roots[j]! ** 2));
    for (let i = 0; i < n; i++) {
      const weight = scale * values[i]!;
      for (let k = 0, at = i * n; k <= i; k++, at++) inner.values[at]! += weight * values[k]!;
    }
  }
  return choleskyFactor(inner);
}

/** Solves `(XᵀX/n + M) β = right` through the n × n system. */
function woodbury(
  x: Design,
  inner: Matrix,
  right: Float64Array,
  roots: Float64Array,
  rho: number,
): Float64Array {
  const weights = roots.map((root) => 1 / (rho * (1 + root * root)));
  const first = right.map((value, j) => value * weights[j]!);
  const correction = correlations(x, choleskySolve(inner, fittedValues(x, first)));
  return first.map((value, j) => value - weights[j]! * correction[j]!);
}
