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
import { hoag, hypergradient, type Schedule } from "./method.ts";

/** Accuracy at which the hypergradient's error is measured. */
const TOLERANCES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];

type Arm = Schedule | SearchArm | RidgeArm;
type SearchArm = "grid" | "random" | "golden";
/** The searches on the problem with a penalty for each feature, for which they are tuned by themselves. */
type RidgeArm = "ridgeGrid" | "ridgeRandom";

/** How well a search trains its candidates is tuned; HOAG has the paper's constants. */
const SEARCH = { tolerance: [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7] } as const;

function solverOf(arm: Arm, { tolerance }: Readonly<Record<string, number>>): HyperparameterSolver {
  switch (arm) {
    case "grid":
    case "ridgeGrid":
      return gridSearch(20, { tolerance: tolerance! });
    case "random":
    case "ridgeRandom":
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

/** Every problem's are 0 or empty where the arm is not run on it. */
type Metrics = {
  /** Work until the first λ whose exact outer objective is within 1e-3 of the least; the whole budget if there is none. */
  readonly workTumours: number;
  readonly workDigits: number;
  readonly workKernel: number;
  /** Which of the three problems ended without one: 1, else 0. */
  readonly missed: readonly number[];
  /** Work until the solver's own answer is that good, for the three problems; the whole budget if it never is. */
  readonly answers: readonly number[];
  /** What a search is tuned by: the mean of `answers`, or `ridge` where it is run on that problem alone. */
  readonly tuned: number;
  /** The answers to the logistic problems, and their distance from optimal, relative. */
  readonly lambdas: readonly number[];
  readonly excesses: readonly number[];
  /** Exact outer objective at the answer, over that at the start. */
  readonly ridge: number;
  readonly kernel: number;
  /** Error of the hypergradient by tolerance, relative to its size; only with exact gradients, as it is the same for all. */
  readonly gradientErrors: readonly number[];
  /** The answers on the way to that of the digits' problem: work and distance from optimal, relative. */
  readonly curve: readonly (readonly [work: number, excess: number])[];
};

const isRidgeArm = (arm: Arm): arm is RidgeArm => arm.startsWith("ridge");
const isSearch = (arm: Arm): arm is SearchArm => ["grid", "random", "golden"].includes(arm);

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

  const ridgeRatio = async (): Promise<number> => {
    const problem = ridgeProblem(await tumourSplit(seed, { noiseFeatures: 30 }));
    return ratio(problem, search(problem, ridgeWork).lambda);
  };
  if (isRidgeArm(arm)) {
    const ridge = await ridgeRatio();
    return { ...NOT_RUN, ridge, tuned: ridge };
  }

  const tumourProblem = logisticProblem(await tumourSplit(seed));
  const tumourLeast = leastOuter(tumourProblem, STARTS);
  const tumours = judge(tumourProblem, search(tumourProblem, maxWork), tumourLeast, maxWork);
  yield { step: 1, of: 4 };
  const digitProblem = logisticProblem(await digitSplit(seed, digits));
  const digitLeast = leastOuter(digitProblem, STARTS);
  const digit = judge(digitProblem, search(digitProblem, maxWork), digitLeast, maxWork);
  yield { step: 2, of: 4 };
  const kernelProblem = kernelRidgeProblem(await diabetesSplit(seed));
  const kernelResult = search(kernelProblem, maxWork);
  const kernelLeast = leastOuter(kernelProblem, KERNEL_STARTS);
  const kernel = judge(kernelProblem, kernelResult, kernelLeast, maxWork);
  yield { step: 3, of: 4 };
  const all = [tumours, digit, kernel];
  return {
    workTumours: tumours.work,
    workDigits: digit.work,
    workKernel: kernel.work,
    missed: all.map(({ missed }) => (missed ? 1 : 0)),
    answers: all.map(({ answer }) => answer),
    tuned: mean(all.map(({ answer }) => answer)),
    lambdas: [tumours.lambda, digit.lambda],
    excesses: [tumours.excess, digit.excess],
    ridge: isSearch(arm) ? 0 : await ridgeRatio(),
    kernel: ratio(kernelProblem, kernelResult.lambda),
    gradientErrors: arm === "exact" ? gradientErrors(tumourProblem) : [],
    curve: digit.curve,
  };
}

const NOT_RUN = {
  workTumours: 0,
  workDigits: 0,
  workKernel: 0,
  missed: [],
  answers: [],
  lambdas: [],
  excesses: [],
  kernel: 0,
  gradientErrors: [],
  curve: [],
};

/** What the tried hyperparameters are worth when the inner problem is solved exactly. */
function judge(problem: BilevelProblem, { history, lambda }: SearchResult, least: number, maxWork: number) {
  const curve: (readonly [work: number, excess: number])[] = [];
  let first: number | undefined;
  let x: Float64Array | undefined;
  for (const step of history) {
    if (step.rejected && first !== undefined) continue;
    x = exactSolution(problem, step.lambda, x);
    const excess = Math.max(0, problem.outer.value(x, step.lambda) / least - 1);
    if (excess <= CLOSE) first ??= step.work;
    if (!step.rejected) curve.push([step.work, excess]);
  }
  const answer = curve.find(([, excess]) => excess <= CLOSE)?.[0] ?? maxWork;
  return {
    curve,
    missed: first === undefined,
    work: Math.min(maxWork, first ?? maxWork),
    answer: Math.min(maxWork, answer),
    lambda: lambda[0]!,
    excess: exactOuter(problem, lambda) / least - 1,
  };
}

/** Distance from optimal, relative, that counts as reached. */
const CLOSE = 1e-3;

/** Strengths from weak to strong, between which the valley of one hyperparameter is found. */
const STARTS = Array.from({ length: 9 }, (_, i) => Float64Array.of(-4 + i));

/** Over the box of the two hyperparameters, the same for every solver that is judged. */
const KERNEL_STARTS = Array.from({ length: 7 }, (_, i) =>
  Array.from({ length: 8 }, (_, j) => Float64Array.of(-6.5 + 1.25 * i, -5.5 + 1.25 * j)),
).flat();

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
  statement: `${what}: HOAG with the exponential schedule tries a λ within 1e-3 of optimal after less work than ${NAMES[worse]}; where one tries none, the whole budget counts`,
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
  ridgeGrid: "grid search, 61 penalties",
  ridgeRandom: "random search, 61 penalties",
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
    ridgeGrid: { label: NAMES.ridgeGrid, space: SEARCH },
    ridgeRandom: { label: NAMES.ridgeRandom, space: SEARCH },
  },
  run,
  tuning: { metric: "tuned", goal: "minimize", budget: { full: 7, quick: 1 }, seeds: { full: 4, quick: 1 } },
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
    ...(["ridgeRandom", "ridgeGrid", "exact"] as const).map(
      (rival): ComparisonClaim<Arm, keyof Metrics & string> => ({
        kind: "comparison",
        id: `ridge-below-${rival === "exact" ? rival : rival.slice(5).toLowerCase()}`,
        of: "faster-than-exact",
        statement: `With a penalty for each of 61 features, 30 of them noise, its validation error after the same work is below that of ${NAMES[rival].split(",")[0]}`,
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
      .flatMap((unit) =>
        unit.metrics.curve.map(([work, excess]) => ({
          label: labelOf(unit.arm),
          work,
          excess: Math.max(excess, 1e-8),
        })),
      );
    const works = units
      .filter(({ arm }) => !isRidgeArm(arm))
      .flatMap(({ arm, metrics: { workTumours, workDigits, workKernel, missed } }) =>
        [workTumours, workDigits, workKernel].map((work, i) => ({
          label: labelOf(arm),
          problem: ["tumours", "digits", "kernel ridge"][i]!,
          work,
          missed: missed[i] === 1,
        })),
      );
    const ridge = units
      .filter(({ arm }) => !isSearch(arm))
      .map((unit) => ({ label: labelOf(unit.arm), ridge: unit.metrics.ridge }));
    return [
      {
        title: "Digits, one split: the λ that each would answer",
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
        title: "Work until a λ within 1e-3 of optimal is tried (crosses: none was)",
        options: {
          width: 640,
          height: 340,
          marginLeft: 150,
          fx: { label: null },
          x: { label: "work →", type: "log" as const, grid: true },
          y: { label: null, domain: arms.filter(({ name }) => !isRidgeArm(name)).map(({ label }) => label) },
          color: { domain: arms.map(({ label }) => label) },
          marks: [
            Plot.dot(works, {
              x: "work",
              y: "label",
              fx: "problem",
              stroke: "label",
              symbol: ({ missed }: (typeof works)[number]) => (missed ? "times" : "circle"),
            }),
          ],
        },
      },
      {
        title: "61 penalties: validation error over that at the start",
        options: {
          width: 460,
          height: 340,
          marginLeft: 180,
          x: { label: "ratio →", grid: true },
          y: { label: null, domain: arms.filter(({ name }) => !isSearch(name)).map(({ label }) => label) },
          color: { domain: arms.map(({ label }) => label) },
          marks: [Plot.dot(ridge, { x: "ridge", y: "label", fill: "label", r: 4 })],
        },
      },
    ];
  },
});
