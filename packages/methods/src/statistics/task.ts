import {
  correlations,
  dualityGap,
  fittedValues,
  groupLasso,
  groupNorms,
  groupPenalty,
  groupSize,
  type LeastSquaresOptions,
  lambdaPath,
  largestLambda,
  selectGroups,
  selectVariables,
  solveLeastSquares,
} from "@prior-art/toolkit/convex";
import {
  DivergedError,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { difference, dot } from "@prior-art/toolkit/linalg";
import { contenders } from "./contenders.generated.ts";
import type { Contender, Fit, Hyperparameters, RegressionData } from "./family.ts";
import { simulateGroups } from "./problems.ts";

const TOLERANCE = 1e-6;

interface Settings {
  readonly observations: number;
  readonly groups: number;
  readonly strengths: number;
}

type Metrics = {
  /** Passes over the whole design until every strength of the path has the gap asked for. */
  readonly passes: number;
  readonly seconds: number;
  /** Largest gap on the path, over what was asked for. */
  readonly gap: number;
};

const penaltyOf = ({ groups }: RegressionData) =>
  groupPenalty(
    groups,
    Float64Array.from({ length: groups.count }, (_, g) => Math.sqrt(groupSize(groups, g))),
  );

function firstOrder(label: string, { warm, ...options }: LeastSquaresOptions & { warm: boolean }): Contender {
  return {
    label,
    path: (data, lambdas, { tolerance }) => {
      const penalty = penaltyOf(data);
      let start: Float64Array | undefined;
      return Array.from(lambdas, (lambda): Fit => {
        const solution = solveLeastSquares(
          { ...data, penalty, lambda },
          { ...options, tolerance, maxIterations: 50_000, ...(warm && start ? { start } : {}) },
        );
        start = solution.coefficients;
        return { lambda, ...solution };
      });
    },
  };
}

const baselines = {
  proximalGradient: firstOrder("proximal gradient, from zero", { warm: false, momentum: false }),
  fista: firstOrder("FISTA, from zero", { warm: false, momentum: "no-restart" }),
  restartedFista: firstOrder("FISTA with restart, warm starts", { warm: true }),
  blockCoordinateDescent: {
    label: "block coordinate descent, active set, warm starts",
    path: (data, lambdas, { tolerance }) => {
      let start: Float64Array | undefined;
      return Array.from(lambdas, (lambda): Fit => {
        const solution = groupLasso({ ...data, lambda }, { tolerance, ...(start ? { start } : {}) });
        start = solution.coefficients;
        return { lambda, ...solution };
      });
    },
  },
  strongRuleCoordinateDescent: {
    label: "block coordinate descent, strong rule",
    path: strongRulePath,
  },
} satisfies Readonly<Record<string, Contender>>;

/** Coordinate descent on the groups that the strong rule of the group lasso keeps (Tibshirani et al. 2012). */
function strongRulePath(
  data: RegressionData,
  lambdas: Float64Array,
  { tolerance }: { readonly tolerance: number },
): Fit[] {
  const { design: x, response, groups } = data;
  const n = x.observations;
  const penalty = penaltyOf(data);
  const roots = Float64Array.from({ length: groups.count }, (_, g) => Math.sqrt(groupSize(groups, g)));
  const stop = (tolerance * dot(response, response)) / (2 * n);
  let beta: Float64Array = new Float64Array(x.variables);
  let gradient = correlations(x, response);
  let previous = penalty.dualNorm(gradient) / n;
  /** λ at which each group would enter, were the gradient to stay as it is. */
  const strengths = (): Float64Array => groupNorms(groups, gradient).map((v, g) => v / (n * roots[g]!));
  return Array.from(lambdas, (lambda, k): Fit => {
    const norms = groupNorms(groups, beta);
    const strength = strengths();
    const kept = new Set(
      [...norms.keys()].filter((g) => norms[g]! > 0 || strength[g]! >= 2 * lambda - previous),
    );
    previous = lambda;
    let columnProducts = k === 0 ? x.variables : 0;
    let iterations = 0;
    for (let inner = tolerance / 2; ; ) {
      const subset = selectGroups(
        groups,
        [...kept].sort((a, b) => a - b),
      );
      const solution = groupLasso(
        { design: selectVariables(x, subset.variables), response, lambda, groups: subset.groups },
        { tolerance: inner, start: Float64Array.from(subset.variables, (j) => beta[j]!) },
      );
      iterations += solution.iterations;
      beta = new Float64Array(x.variables);
      subset.variables.forEach((j, i) => {
        beta[j] = solution.coefficients[i]!;
      });
      const residual = difference(response, fittedValues(x, beta));
      gradient = correlations(x, residual);
      columnProducts += solution.columnProducts + 2 * x.variables;
      const gap = dualityGap({ ...data, penalty, lambda }, beta, residual, gradient);
      if (gap <= stop) return { lambda, coefficients: beta, gap, columnProducts, iterations };
      const before = kept.size;
      strengths().forEach((value, g) => {
        if (value > lambda) kept.add(g);
      });
      if (kept.size === before) inner /= 4;
    }
  });
}

const solvers: Readonly<Record<string, Contender>> = { ...baselines, ...contenders };

async function* run({
  arm,
  seed,
  settings,
  hyperparameters,
}: RunContext<string, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { strengths, ...size } = settings;
  const data = simulateGroups({ ...size, activeGroups: 0.05, activeVariables: 0.5 }, seed);
  const penalty = penaltyOf(data);
  const lambdas = lambdaPath(largestLambda({ ...data, penalty }), strengths, 0.1);
  yield { step: 0, of: 1 };
  const begin = performance.now();
  const fits = solvers[arm]!.path(
    data,
    lambdas,
    { tolerance: TOLERANCE },
    hyperparameters as Hyperparameters,
  );
  const seconds = (performance.now() - begin) / 1000;
  const allowed = (TOLERANCE * dot(data.response, data.response)) / (2 * data.design.observations);
  const gap = Math.max(
    ...fits.map((fit) => dualityGap({ ...data, penalty, lambda: fit.lambda }, fit.coefficients)),
  );
  // A hair of slack: solver and task add up the same numbers in different orders.
  if (fits.length !== strengths || gap > 1.01 * allowed)
    throw new DivergedError(`the largest gap on the path is ${gap / allowed} times what was asked for`);
  return {
    passes: fits.reduce((sum, fit) => sum + fit.columnProducts, 0) / data.design.variables,
    seconds,
    gap: gap / allowed,
  };
}

/** Sparse-regression path: passes over the data until every strength of a group lasso path is solved to a gap of 1e-6. */
export default defineExperiment({
  settings: {
    full: { observations: 200, groups: 200, strengths: 30 },
    quick: { observations: 80, groups: 60, strengths: 10 },
  },
  seeds: { full: 8, quick: 2 },
  arms: solvers,
  run,
  claims: [],
  leaderboard: { metric: "passes", goal: "minimize" },
  tuning: { metric: "passes", goal: "minimize", budget: { full: 8, quick: 2 } },
});
