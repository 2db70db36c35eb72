import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { contenders } from "./contenders.generated.ts";
import { exactGradientDescent } from "./exactGradient.ts";
import type { BilevelProblem, Contender, Hyperparameters } from "./family.ts";
import { exactOuter } from "./innerSolver.ts";
import { parzenSearch } from "./parzenSearch.ts";
import {
  diabetesSplit,
  digitSplit,
  kernelRidgeProblem,
  logisticProblem,
  ridgeProblem,
  tumourSplit,
} from "./problems.ts";
import { goldenSearch, gridSearch, randomSearch } from "./search.ts";

interface Settings {
  /** Inner gradients and Hessian-vector products for each problem. */
  readonly maxWork: number;
}

type Metrics = {
  /** Exact outer objective at the λ found, over that at λ = 0: the geometric mean over the problems. */
  readonly outer: number;
  readonly logistic: number;
  readonly kernel: number;
  readonly ridge: number;
};

const TOLERANCES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-6];

const baselines = {
  grid: {
    label: "grid search",
    space: { tolerance: TOLERANCES },
    solver: ({ tolerance }) => gridSearch(20, { tolerance: tolerance! }),
  },
  random: {
    label: "random search",
    space: { tolerance: TOLERANCES },
    solver: ({ tolerance }) => randomSearch({ tolerance: tolerance! }),
  },
  parzen: {
    label: "tree-structured Parzen estimator",
    space: { tolerance: TOLERANCES },
    solver: ({ tolerance }) => parzenSearch({ tolerance: tolerance! }),
  },
  golden: {
    label: "golden-section search",
    space: { tolerance: TOLERANCES },
    solver: ({ tolerance }) => goldenSearch({ tolerance: tolerance! }),
  },
  exactGradient: {
    label: "exact implicit gradients, backtracking",
    space: { firstStep: [0.3, 1, 3] },
    solver: ({ firstStep }) => exactGradientDescent(firstStep!),
  },
} satisfies Readonly<Record<string, Contender>>;

const solvers: Readonly<Record<string, Contender>> = { ...baselines, ...contenders };

async function* run({
  arm,
  seed,
  settings: { maxWork },
  hyperparameters,
}: RunContext<string, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const solve = solvers[arm]!.solver(hyperparameters as Hyperparameters);
  const ratio = (problem: BilevelProblem): number => {
    const start = new Float64Array(problem.lower.length);
    const { lambda } = solve(problem, { start, maxWork, seed });
    return exactOuter(problem, lambda) / exactOuter(problem, start);
  };
  const logistic = ratio(logisticProblem(await digitSplit(seed, 200)));
  yield { step: 1, of: 3 };
  const kernel = ratio(kernelRidgeProblem(await diabetesSplit(seed)));
  yield { step: 2, of: 3 };
  const ridge = ratio(ridgeProblem(await tumourSplit(seed, { noiseFeatures: 30 })));
  return { outer: Math.cbrt(logistic * kernel * ridge), logistic, kernel, ridge };
}

/** Tuning 1, 2 and 61 hyperparameters with the same inner work: the validation loss that is reached. */
export default defineExperiment({
  settings: { full: { maxWork: 600 }, quick: { maxWork: 150 } },
  seeds: { full: 8, quick: 1 },
  arms: solvers,
  run,
  tuning: { metric: "outer", goal: "minimize", budget: { full: 6, quick: 2 }, seeds: { full: 2, quick: 1 } },
  claims: [],
  leaderboard: { metric: "outer", goal: "minimize" },
});
