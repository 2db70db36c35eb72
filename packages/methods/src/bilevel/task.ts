import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { contenders } from "./contenders.generated.ts";
import { exactGradientDescent } from "./exactGradient.ts";
import { answerAfter, type BilevelProblem, type Contender, type Hyperparameters } from "./family.ts";
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
  /** The same mean after a quarter of the work. */
  readonly outerEarly: number;
  /** Work done at the points of `curve`. */
  readonly work: readonly number[];
  /** The mean after that work; only its last point while tuning. */
  readonly curve: readonly number[];
};

/** Shares of the work at which the exact outer objective is looked at. */
const LOOKS = [1 / 12, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 5 / 6];

/** As everywhere in this task, six values of one setting, with room on both sides of what is best on the tuning splits. */
const TOLERANCES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8];

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
    space: { firstStep: [0.1, 0.3, 1, 3, 10, 30] },
    solver: ({ firstStep }) => exactGradientDescent(firstStep!),
  },
} satisfies Readonly<Record<string, Contender>>;

const solvers: Readonly<Record<string, Contender>> = { ...baselines, ...contenders };

async function* run({
  arm,
  seed,
  phase,
  settings: { maxWork },
  hyperparameters,
}: RunContext<string, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const solve = solvers[arm]!.solver(hyperparameters as Hyperparameters);
  const looks = phase === "tune" ? [] : LOOKS;
  /** The exact outer objective over that at the start: at each look, and at the end. */
  const ratios = (problem: BilevelProblem): number[] => {
    const start = new Float64Array(problem.lower.length);
    const { lambda, history } = solve(problem, { start, maxWork, seed });
    const atStart = exactOuter(problem, start);
    const known = new Map<string, number>([[start.join(), atStart]]);
    const exact = (at: Float64Array): number => {
      const value = known.get(at.join()) ?? exactOuter(problem, at);
      known.set(at.join(), value);
      return value / atStart;
    };
    return [...looks.map((share) => exact(answerAfter(history, share * maxWork) ?? start)), exact(lambda)];
  };
  const logistic = ratios(logisticProblem(await digitSplit(seed, 200)));
  yield { step: 1, of: 3 };
  const kernel = ratios(kernelRidgeProblem(await diabetesSplit(seed)));
  yield { step: 2, of: 3 };
  const ridge = ratios(ridgeProblem(await tumourSplit(seed, { noiseFeatures: 30 })));
  const curve = logistic.map((value, i) => Math.cbrt(value * kernel[i]! * ridge[i]!));
  const outer = curve.at(-1)!;
  return {
    outer,
    logistic: logistic.at(-1)!,
    kernel: kernel.at(-1)!,
    ridge: ridge.at(-1)!,
    outerEarly: curve[looks.indexOf(1 / 4)] ?? outer,
    work: [...looks, 1].map((share) => Math.round(share * maxWork)),
    curve,
  };
}

/** Tuning 1, 2 and 61 hyperparameters with the same inner work: the validation loss that is reached. */
export default defineExperiment({
  settings: { full: { maxWork: 600 }, quick: { maxWork: 150 } },
  seeds: { full: 8, quick: 1 },
  arms: solvers,
  run,
  tuning: { metric: "outer", goal: "minimize", budget: { full: 6, quick: 2 }, seeds: { full: 6, quick: 1 } },
  claims: [],
  figure: ({ Plot, units, arms }) => {
    const labelOf = new Map(arms.map(({ name, label }) => [name, label]));
    const means = arms.flatMap(({ name }) => {
      const mine = units.filter(({ arm }) => arm === name);
      return (mine[0]?.metrics.work ?? []).map((work, i) => ({
        work,
        method: labelOf.get(name)!,
        outer: mine.reduce((sum, { metrics }) => sum + metrics.curve[i]!, 0) / mine.length,
      }));
    });
    return {
      title: "Outer loss against inner work",
      options: {
        width: 640,
        height: 380,
        x: { label: "inner gradients and Hessian-vector products", grid: true },
        y: { label: "exact validation loss over that at the start", grid: true },
        color: { legend: true },
        marks: [
          Plot.line(means, { x: "work", y: "outer", stroke: "method" }),
          Plot.dot(means, { x: "work", y: "outer", fill: "method", r: 3 }),
        ],
      },
    };
  },
  leaderboard: { metric: "outer", goal: "minimize", also: ["outerEarly"] },
});
