import {
  type ComparisonClaim,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import type { BilevelProblem, HyperparameterSolver, SearchResult } from "../family.ts";
import { exactOuter, exactSolution, exactValueAndGradient, leastOuter, solveInner } from "../innerSolver.ts";
import {
  diabetesSplit,
  digitSplit,
  kernelRidgeProblem,
  logisticProblem,
  ridgeProblem,
  tumourSplit,
} from "../problems.ts";
import { goldenSearch, gridSearch, randomSearch } from "../search.ts";
import { hoag, hypergradient } from "./method.ts";

/** Accuracy at which the hypergradient's error is measured. */
const TOLERANCES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];

type Arm = "exponential" | "quadratic" | "cubic" | "exact" | "grid" | "random" | "golden";

/** How well a search trains its candidates is tuned; HOAG has the paper's constants. */
const SEARCH = { tolerance: [1e-2, 1e-3, 1e-4] } as const;

function solverOf(arm: Arm, { tolerance }: Readonly<Record<string, number>>): HyperparameterSolver {
  switch (arm) {
    case "grid":
      return gridSearch(20, { tolerance: tolerance! });
    case "random":
      return randomSearch({ tolerance: tolerance! });
    case "golden":
      return goldenSearch({ tolerance: tolerance! });
    default:
      return hoag({ schedule: arm });
  }
}

interface Settings {
  readonly digits: number;
  readonly maxWork: number;
  /** For the problem with a penalty for each of 61 features. */
  readonly ridgeWork: number;
}

type Metrics = {
  /** Work until the first λ whose exact outer objective is within 1e-3 of the least; the whole budget if there is none. */
  readonly workTumours: number;
  readonly workDigits: number;
  readonly workKernel: number;
  /** Mean of the three. */
  readonly work: number;
  /** The best λ of the logistic problems by the solver's account, and its distance from optimal, relative. */
  readonly lambdas: readonly number[];
  readonly excesses: readonly number[];
  /** Exact outer objective at the best λ, over that at the start. */
  readonly ridge: number;
  readonly kernel: number;
  /** Error of the hypergradient by tolerance, relative to its size; only with exact gradients, as it is the same for all. */
  readonly gradientErrors: readonly number[];
  /** Tried λ of the digits' problem: work and distance from optimal, relative. */
  readonly curve: readonly (readonly [work: number, excess: number])[];
};

async function* run({
  arm,
  seed,
  settings: { digits, maxWork, ridgeWork },
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const solver = solverOf(arm, hyperparameters as Readonly<Record<string, number>>);
  const search = (problem: BilevelProblem, work: number): SearchResult =>
    solver(problem, { start: new Float64Array(problem.lower.length), maxWork: work, seed });
  const ratio = (problem: BilevelProblem, lambda: Float64Array): number =>
    exactOuter(problem, lambda) / exactOuter(problem, new Float64Array(lambda.length));

  const tumourProblem = logisticProblem(await tumourSplit(seed));
  const tumours = judge(
    tumourProblem,
    search(tumourProblem, maxWork),
    leastOuter(tumourProblem, STARTS),
    maxWork,
  );
  yield { step: 1, of: 4 };
  const digitProblem = logisticProblem(await digitSplit(seed, digits));
  const digit = judge(
    digitProblem,
    search(digitProblem, maxWork),
    leastOuter(digitProblem, STARTS),
    maxWork,
    { whole: true },
  );
  yield { step: 2, of: 4 };
  const kernelProblem = kernelRidgeProblem(await diabetesSplit(seed));
  const kernelResult = search(kernelProblem, maxWork);
  const kernelLeast = leastOuter(kernelProblem, [kernelResult.lambda, Float64Array.of(-4, 0)]);
  const kernel = judge(kernelProblem, kernelResult, kernelLeast, maxWork);
  yield { step: 3, of: 4 };
  const ridgeOfEach = ridgeProblem(await tumourSplit(seed, { noiseFeatures: 30 }));
  const ridge = ratio(ridgeOfEach, search(ridgeOfEach, ridgeWork).lambda);
  return {
    workTumours: tumours.work,
    workDigits: digit.work,
    workKernel: kernel.work,
    work: mean([tumours.work, digit.work, kernel.work]),
    lambdas: [tumours.lambda, digit.lambda],
    excesses: [tumours.excess, digit.excess],
    ridge,
    kernel: ratio(kernelProblem, kernelResult.lambda),
    gradientErrors: arm === "exact" ? gradientErrors(tumourProblem) : [],
    curve: digit.curve,
  };
}

/** What the tried hyperparameters are worth when the inner problem is solved exactly. */
function judge(
  problem: BilevelProblem,
  { history, lambda }: SearchResult,
  least: number,
  maxWork: number,
  { whole = false } = {},
) {
  const curve: (readonly [work: number, excess: number])[] = [];
  let x: Float64Array | undefined;
  for (const step of history.slice(0, 60)) {
    x = exactSolution(problem, step.lambda, x);
    const excess = Math.max(0, problem.outer.value(x, step.lambda) / least - 1);
    curve.push([step.work, excess]);
    if (excess <= 1e-3 && !whole) break;
  }
  return {
    curve,
    work: Math.min(maxWork, curve.find(([, excess]) => excess <= 1e-3)?.[0] ?? maxWork),
    lambda: lambda[0]!,
    excess: exactOuter(problem, lambda) / least - 1,
  };
}

/** Strengths from weak to strong, between which the valley of one hyperparameter is found. */
const STARTS = Array.from({ length: 9 }, (_, i) => Float64Array.of(-4 + i));

/** Mean error over five strengths of gradients whose two inner solves stop at a tolerance, relative to the exact gradients. */
function gradientErrors(problem: BilevelProblem): number[] {
  const strengths = [-2, -1, 0, 1, 2];
  const at = (strength: number, tolerance: number): number => {
    const lambda = Float64Array.of(strength);
    const stop = tolerance * problem.inner.strongConvexity(lambda);
    const x = solveInner(problem, new Float64Array(problem.parameters), lambda, stop, 20_000);
    return hypergradient(problem, x, lambda, tolerance).gradient[0]!;
  };
  const exact = strengths.map(
    (strength) => exactValueAndGradient(problem, Float64Array.of(strength)).gradient[0]!,
  );
  return TOLERANCES.map((tolerance) =>
    mean(strengths.map((strength, i) => Math.abs(at(strength, tolerance) - exact[i]!) / Math.abs(exact[i]!))),
  );
}

const sooner = (
  worse: Arm,
  metric: "workTumours" | "workDigits" | "workKernel",
  what: string,
): ComparisonClaim<Arm, keyof Metrics & string> => ({
  kind: "comparison",
  id: `${metric}-before-${worse}`,
  of: "faster-than-exact",
  statement: `${what}: HOAG with the exponential schedule tries a λ within 1e-3 of optimal after less work than ${NAMES[worse]}`,
  metric,
  better: "exponential",
  worse,
  goal: "minimize",
});

const NAMES: Readonly<Record<Arm, string>> = {
  exponential: "HOAG, exponential",
  quadratic: "HOAG, quadratic",
  cubic: "HOAG, cubic",
  exact: "exact gradients",
  grid: "grid search",
  random: "random search",
  golden: "golden-section search",
};

const RIVALS = ["exact", "grid", "random", "golden"] as const;
const SCHEDULES = ["exponential", "quadratic", "cubic"] as const;

export default defineExperiment({
  settings: {
    full: { digits: 400, maxWork: 1500, ridgeWork: 4000 },
    quick: { digits: 100, maxWork: 200, ridgeWork: 200 },
  },
  seeds: { full: 8, quick: 1 },
  arms: {
    exponential: { label: NAMES.exponential },
    quadratic: { label: NAMES.quadratic },
    cubic: { label: NAMES.cubic },
    exact: { label: NAMES.exact },
    grid: { label: NAMES.grid, space: SEARCH },
    random: { label: NAMES.random, space: SEARCH },
    golden: { label: NAMES.golden, space: SEARCH },
  },
  run,
  tuning: { metric: "work", goal: "minimize", budget: { full: 3, quick: 1 }, seeds: { full: 4, quick: 1 } },
  claims: [
    ...RIVALS.map((rival) => sooner(rival, "workTumours", "Logistic regression on tumours")),
    ...RIVALS.map((rival) => sooner(rival, "workDigits", "Logistic regression on digits")),
    ...RIVALS.map((rival) => sooner(rival, "workKernel", "Kernel ridge regression, two hyperparameters")),
    {
      kind: "statistic",
      id: "half-of-exact",
      of: "faster-than-exact",
      statement: "On both logistic problems it needs at most half the work of exact gradients",
      quantity: "work over that of exact gradients, the worse of two problems",
      arms: ["exponential", "exact"],
      perSeed: ({ exponential, exact }) =>
        Math.max(exponential.workTumours / exact.workTumours, exponential.workDigits / exact.workDigits),
      pass: { max: 0.5 },
    },
    ...(["random", "grid", "exact"] as const).map(
      (rival): ComparisonClaim<Arm, keyof Metrics & string> => ({
        kind: "comparison",
        id: `ridge-below-${rival}`,
        of: "faster-than-exact",
        statement: `With a penalty for each of 61 features, 30 of them noise, its validation error after the same work is below that of ${NAMES[rival]}`,
        metric: "ridge",
        better: "exponential",
        worse: rival,
        goal: "minimize",
      }),
    ),
    {
      kind: "statistic",
      id: "same-optimum",
      of: "summable-schedules-agree",
      statement:
        "All three schedules end within 1e-4 of the least outer objective of both logistic problems, on every split",
      quantity: "largest distance from optimal, relative",
      arms: SCHEDULES,
      perSeed: (seed) => Math.max(...SCHEDULES.flatMap((arm) => seed[arm].excesses)),
      seedsHolding: 1,
      pass: { max: 1e-4 },
    },
    {
      kind: "statistic",
      id: "same-hyperparameter",
      of: "summable-schedules-agree",
      statement: "Their λ (a logarithm) differ by at most 0.05, on every split",
      quantity: "largest difference of two schedules' λ",
      arms: SCHEDULES,
      perSeed: (seed) =>
        Math.max(
          ...[0, 1].map((problem) => {
            const found = SCHEDULES.map((arm) => seed[arm].lambdas[problem]!);
            return Math.max(...found) - Math.min(...found);
          }),
        ),
      seedsHolding: 1,
      pass: { max: 0.05 },
    },
    {
      kind: "scaling",
      id: "error-slope",
      of: "error-proportional-to-tolerance",
      statement:
        "The hypergradient's error is proportional to the tolerance: log–log slope between 0.8 and 1.2",
      arm: "exact",
      x: TOLERANCES,
      y: "gradientErrors",
      slope: { min: 0.8, max: 1.2 },
    },
  ],
  figure: ({ Plot, units, arms }) => {
    const labelOf = (name: Arm): string => arms.find((arm) => arm.name === name)!.label;
    const seed = Math.min(...units.map((unit) => unit.seed));
    const curves = units
      .filter((unit) => unit.seed === seed)
      .flatMap((unit) => {
        let best = Number.POSITIVE_INFINITY;
        return unit.metrics.curve.map(([work, excess]) => {
          best = Math.min(best, excess);
          return { label: labelOf(unit.arm), work, excess: Math.max(best, 1e-8) };
        });
      });
    const ridge = units.map((unit) => ({ label: labelOf(unit.arm), ridge: unit.metrics.ridge }));
    return [
      {
        title: "Digits, one split: best λ so far",
        options: {
          width: 520,
          height: 340,
          x: { label: "inner gradients and Hessian-vector products →", type: "log" as const, grid: true },
          y: { label: "distance from optimal, relative", type: "log" as const, grid: true },
          color: { legend: true, domain: arms.map(({ label }) => label) },
          marks: [
            Plot.ruleY([1e-3], { strokeDasharray: "3 3" }),
            Plot.line(curves, {
              x: "work",
              y: "excess",
              stroke: "label",
              strokeWidth: 2,
              curve: "step-after",
            }),
          ],
        },
      },
      {
        title: "61 penalties: validation error over that at the start",
        options: {
          width: 460,
          height: 340,
          marginLeft: 150,
          x: { label: "ratio →", grid: true },
          y: { label: null, domain: arms.map(({ label }) => label) },
          color: { domain: arms.map(({ label }) => label) },
          marks: [Plot.dot(ridge, { x: "ridge", y: "label", fill: "label", r: 4 })],
        },
      },
    ];
  },
});
