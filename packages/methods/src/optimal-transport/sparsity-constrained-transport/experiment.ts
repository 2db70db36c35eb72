import {
  defineExperiment,
  type Progress,
  type RunContext,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import { difference, dot, matrix, maxAbs } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import {
  countNonzeros,
  exactTransport,
  pointProblem,
  quadraticTransport,
  type TransportProblem,
} from "@prior-art/toolkit/transport";
import { sparseTransport } from "./method.ts";

/** k of each arm; `all` is the number of sources, quadratic regularization. */
const CARDINALITIES = { k1: 1, k2: 2, k4: 4, k8: 8, k16: 16, all: Number.POSITIVE_INFINITY } as const;
type Arm = keyof typeof CARDINALITIES;
const ARMS = Object.keys(CARDINALITIES) as Arm[];
/** Weight of the regularizer when costs are at most 1. */
const GAMMA = 5;

interface Settings {
  /** Points of each cloud. */
  readonly points: number;
  readonly maxIterations: number;
}

type Metrics = {
  /** Most non-zeros of a column less k; not positive when the constraint holds. */
  readonly excess: number;
  /** Share of the plan's entries that are not zero. */
  readonly density: number;
  readonly ties: number;
  readonly marginalError: number;
  /** ⟨T, C⟩ over the cost of unregularized transport. */
  readonly relativeCost: number;
  /** Primal objective of the plan less the semi-dual's, relative: its distance from optimal if it is feasible. */
  readonly gap: number;
  /** Evaluations of the semi-dual and of the dual until within 1e-3 of the best value found, relative. */
  readonly evaluations: number;
  readonly dualEvaluations: number;
  /** |optimum − that of the limit it should equal|: unregularized for k = 1, quadratic for all; else 0. */
  readonly limitError: number;
  /** Largest difference of the plan from that of the limit, times the number of points. */
  readonly limitPlanError: number;
  /** Shares of the semi-dual's rise from zero that are missing after 1, 2, … evaluations. */
  readonly curve: readonly number[];
};

/** Two clouds in the plane, the second moved by (2, 2); costs are squared distances over the largest. */
function clouds(points: number, seed: number): TransportProblem {
  const stream = randomStream(seed, "clouds");
  const cloud = (shift: number) =>
    matrix(
      points,
      2,
      Float64Array.from({ length: 2 * points }, () => shift + stream.normal()),
    );
  const problem = pointProblem(cloud(0), cloud(2));
  const largest = maxAbs(problem.cost.values);
  return {
    ...problem,
    cost: matrix(
      points,
      points,
      problem.cost.values.map((value) => value / largest),
    ),
  };
}

async function* run({
  arm,
  seed,
  settings: { points, maxIterations },
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const problem = clouds(points, seed);
  const k = Math.min(points, CARDINALITIES[arm]);
  const exact = exactTransport(problem);
  const solve = (formulation: "semi-dual" | "dual") => {
    const trace: [evaluations: number, objective: number][] = [];
    const found = sparseTransport(problem, {
      k,
      gamma: GAMMA,
      formulation,
      maxIterations,
      onIteration: (objective, evaluations) => trace.push([evaluations, objective]),
    });
    return { found, trace };
  };
  const { found, trace } = solve("semi-dual");
  yield { step: 1, of: 2 };
  const dual = solve("dual");

  const constant = 0.5 * GAMMA * dot(problem.target, problem.target);
  const reached = (steps: typeof trace, best: number): number =>
    steps.find(([, objective]) => best - objective <= 1e-3 * Math.abs(best))?.[0] ?? Number.POSITIVE_INFINITY;
  // For k = 1 the optimum is known; else the best value of a long run stands for it.
  const best = k === 1 ? exact.cost + constant : found.objective;
  const { plan } = found;
  const perColumn = Array.from({ length: points }, (_, j) =>
    plan.values.reduce((count, mass, at) => count + (at % points === j && mass > 0 ? 1 : 0), 0),
  );
  const limit =
    k === 1
      ? { objective: exact.cost + constant, plan: exact.plan }
      : k === points
        ? quadraticTransport(problem, { gamma: GAMMA, tolerance: 1e-9 })
        : found;
  const primal = found.cost + 0.5 * GAMMA * dot(plan.values, plan.values);
  const first = trace[0]![1];
  return {
    excess: Math.max(...perColumn) - k,
    density: countNonzeros(plan) / points ** 2,
    ties: found.ties,
    marginalError: found.marginalError,
    relativeCost: found.cost / exact.cost,
    gap: (primal - found.objective) / found.objective,
    evaluations: reached(trace, best),
    dualEvaluations: reached(dual.trace, dual.found.objective),
    limitError: Math.abs(found.objective - limit.objective),
    limitPlanError: points * maxAbs(difference(plan.values, limit.plan.values)),
    curve: Array.from({ length: 60 }, (_, e) => {
      const done = trace.filter(([evaluations]) => evaluations <= e + 2).at(-1);
      return Math.max(1e-9, (best - (done?.[1] ?? first)) / best);
    }),
  };
}

const order = (id: string, fewer: Arm, more: Arm, metric: "evaluations" | "dualEvaluations") =>
  ({
    kind: "comparison",
    id,
    of: "smoothness-versus-sparsity",
    statement: `The ${metric === "evaluations" ? "semi-dual" : "dual"} is within 1e-3 of its optimum after fewer evaluations with k = ${nameOf(fewer)} than with k = ${nameOf(more)}`,
    metric,
    better: fewer,
    worse: more,
    goal: "minimize",
  }) as const;

const nameOf = (arm: Arm): string => (arm === "all" ? "m" : String(CARDINALITIES[arm]));

const limitClaim = (
  id: string,
  arm: Arm,
  metric: "limitError" | "limitPlanError",
  statement: string,
): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id,
  of: "interpolates",
  statement,
  quantity: metric === "limitError" ? "difference of the optima" : "largest difference of the plans, times n",
  arms: [arm],
  perSeed: (seed) => seed[arm][metric],
  seedsHolding: 1,
  pass: { max: metric === "limitError" ? 1e-6 : 1e-4 },
});

const denser = (more: Arm, fewer: Arm) =>
  ({
    kind: "comparison",
    id: `denser-${more}`,
    of: "smoothness-versus-sparsity",
    statement: `The plan with k = ${nameOf(more)} has more non-zeros than that with k = ${nameOf(fewer)}`,
    metric: "density",
    better: more,
    worse: fewer,
    goal: "maximize",
  }) as const;

export default defineExperiment({
  settings: {
    full: { points: 64, maxIterations: 1000 },
    quick: { points: 24, maxIterations: 300 },
  },
  seeds: { full: 10, quick: 3 },
  arms: {
    k1: { label: "k = 1 (unregularized)" },
    k2: { label: "k = 2" },
    k4: { label: "k = 4" },
    k8: { label: "k = 8" },
    k16: { label: "k = 16" },
    all: { label: "k = m (quadratic)" },
  },
  run,
  claims: [
    {
      kind: "statistic",
      id: "cardinality",
      of: "at-most-k-nonzeros",
      statement: "No column of any plan has more than k non-zeros, on every problem",
      quantity: "largest excess over k",
      perSeed: (seed) => Math.max(...ARMS.map((arm) => seed[arm].excess)),
      seedsHolding: 1,
      pass: { max: 0 },
    },
    {
      kind: "statistic",
      id: "optimal-without-ties",
      of: "at-most-k-nonzeros",
      statement:
        "Wherever no column ties at its k-th score, the plan has its marginals to 1e-4 and is optimal to 1e-4, on every problem",
      quantity: "largest marginal error or gap of plans without ties",
      perSeed: (seed) =>
        Math.max(
          0,
          ...ARMS.filter((arm) => seed[arm].ties === 0).flatMap((arm) => [
            seed[arm].marginalError,
            Math.abs(seed[arm].gap),
          ]),
        ),
      seedsHolding: 1,
      pass: { max: 1e-4 },
    },
    limitClaim(
      "k1-optimum",
      "k1",
      "limitError",
      "k = 1: the optimum is that of unregularized transport to 1e-6, on every problem",
    ),
    limitClaim(
      "k1-plan",
      "k1",
      "limitPlanError",
      "k = 1: the plan is the unregularized one, on every problem",
    ),
    limitClaim(
      "all-optimum",
      "all",
      "limitError",
      "k = m: the optimum is that of quadratic regularization to 1e-6, on every problem",
    ),
    limitClaim(
      "all-plan",
      "all",
      "limitPlanError",
      "k = m: the plan is the quadratically regularized one, on every problem",
    ),
    order("faster-2", "k2", "k1", "evaluations"),
    order("faster-4", "k4", "k2", "evaluations"),
    order("faster-8", "k8", "k4", "evaluations"),
    order("faster-all", "all", "k8", "evaluations"),
    order("dual-faster-8", "k8", "k2", "dualEvaluations"),
    order("dual-faster-all", "all", "k8", "dualEvaluations"),
    denser("k4", "k2"),
    denser("k8", "k4"),
    denser("all", "k8"),
  ],
  figure: ({ Plot, units, arms }) => {
    const of = (name: Arm) => units.filter((unit) => unit.arm === name);
    const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    const shown = arms.filter(({ name }) => of(name).length > 0);
    const curves = shown.flatMap(({ name, label }) =>
      Array.from({ length: 60 }, (_, e) => ({
        label,
        evaluations: e + 2,
        missing: mean(of(name).map((unit) => unit.metrics.curve[e]!)),
      })),
    );
    const dots = shown.flatMap(({ name, label }) =>
      of(name).map(({ metrics }) => ({ label, density: metrics.density, evaluations: metrics.evaluations })),
    );
    const color = { domain: shown.map(({ label }) => label) };
    return [
      {
        title: "The semi-dual on its way up",
        options: {
          width: 640,
          height: 320,
          x: { label: "evaluations →" },
          y: { label: "missing, relative", type: "log" as const, grid: true, tickFormat: ".0e" },
          color: { ...color, legend: true },
          marks: [Plot.line(curves, { x: "evaluations", y: "missing", stroke: "label", strokeWidth: 2 })],
        },
      },
      {
        title: "Denser plans are found sooner",
        options: {
          width: 460,
          height: 320,
          x: { label: "share of non-zeros in the plan →", type: "log" as const, ticks: 4, tickFormat: ".0%" },
          y: { label: "evaluations to 1e-3", grid: true },
          color,
          marks: [Plot.dot(dots, { x: "density", y: "evaluations", fill: "label", r: 4 })],
        },
      },
    ];
  },
});
