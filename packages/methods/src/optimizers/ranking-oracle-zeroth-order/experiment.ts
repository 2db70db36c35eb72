import {
  type ArmSpec,
  type Claim,
  DivergedError,
  defineExperiment,
  type Mode,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { randomStream } from "@prior-art/toolkit/stats";
import { cmaEs, gradientlessDescent, type Minimizer, type Problem, valueSgd } from "./baselines.ts";
import { rankingOracle, rankWeights, zoRankSgdSteps } from "./method.ts";
import { type FunctionName, noisyPolicyProblem, testFunction, trueReturn } from "./problems.ts";

const geometric = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

const MU = 0.01;
const M = 15;

/** ZO-RankSGD as a method that only sees the order of a function's values. */
const ranked =
  (m: number, k: number, mu = MU, lineSearch = false): Minimizer =>
  ({ f, start, seed }, stepSize) =>
    zoRankSgdSteps({
      oracle: rankingOracle(f),
      start,
      m,
      k,
      mu,
      stepSize,
      seed,
      ...(lineSearch && { lineSearch: { steps: 5 } }),
    });

const METHODS = {
  rank: { label: "ZO-RankSGD, 15 of 15", minimizer: ranked(M, M) },
  top: { label: "ZO-RankSGD, best 5 of 15", minimizer: ranked(M, 5) },
  search: { label: "ZO-RankSGD, line search", minimizer: ranked(M, M, MU, true) },
  pair: { label: "comparisons of two", minimizer: ranked(2, 2) },
  gld: { label: "gradientless descent", minimizer: gradientlessDescent(8) },
  value: { label: "ZO-SGD with values", minimizer: valueSgd(MU) },
  cma: { label: "CMA-ES", minimizer: cmaEs },
} as const satisfies Record<string, { label: string; minimizer: Minimizer }>;
type Method = keyof typeof METHODS;
const methods = Object.keys(METHODS) as Method[];

const FUNCTIONS = {
  sphere: { label: "Sphere", dimensions: 100 },
  ill: { label: "Quadratic of condition 10", dimensions: 100 },
  rosenbrock: { label: "Rosenbrock", dimensions: 20 },
} as const;
const functions = Object.keys(FUNCTIONS) as FunctionName[];

/** Six step sizes (radii, first deviations) for each method and function. */
const SIZES: Readonly<Record<Method, Readonly<Record<FunctionName, readonly number[]>>>> = {
  rank: {
    sphere: geometric(0.0125, 1.25, 6),
    ill: geometric(0.0125, 1.25, 6),
    rosenbrock: geometric(0.002, 2.5, 6),
  },
  top: {
    sphere: geometric(0.009, 1.3, 6),
    ill: geometric(0.009, 1.3, 6),
    rosenbrock: geometric(0.002, 2.5, 6),
  },
  search: { sphere: geometric(0.02, 3, 6), ill: geometric(0.02, 3, 6), rosenbrock: geometric(0.005, 3, 6) },
  pair: {
    sphere: geometric(0.0014, 1.25, 6),
    ill: geometric(0.0018, 1.3, 6),
    rosenbrock: geometric(1e-4, 2.5, 6),
  },
  // As many with its two numbers of radii.
  gld: { sphere: geometric(0.45, 1.45, 3), ill: geometric(0.3, 1.45, 3), rosenbrock: geometric(0.15, 5, 3) },
  value: {
    sphere: geometric(1e-3, 2, 6),
    ill: geometric(2e-4, 2, 6),
    rosenbrock: geometric(3e-6, 3, 6),
  },
  cma: { sphere: geometric(0.05, 2.5, 6), ill: geometric(0.05, 2.5, 6), rosenbrock: geometric(0.02, 2.5, 6) },
};

/** Of gradientless descent; more of them are too short or too long to matter and take queries all the same. */
const RADII = [6, 8];

type Arm = `${Method}-${FunctionName}` | "horizon" | "variance" | "policyRank" | "policyCma";

const functionArms = Object.fromEntries(
  functions.flatMap((name) =>
    methods.map((method): [string, ArmSpec] => [
      `${method}-${name}`,
      {
        label: `${METHODS[method].label}: ${FUNCTIONS[name].label}`,
        space: { size: SIZES[method][name], ...(method === "gld" && { radii: RADII }) },
      },
    ]),
  ),
) as Record<`${Method}-${FunctionName}`, ArmSpec>;

/** Every unit has these; what it doesn't measure is empty or 0. */
type Metrics = {
  /** What tuning minimizes. */
  readonly score: number;
  /** log₁₀ f after all queries. */
  readonly finalLog: number;
  /** log₁₀ f at the queries of `marks`. */
  readonly curve: readonly number[];
  /** Smallest ‖∇f‖ by number of steps. */
  readonly leastGradient: readonly number[];
  /**
   * Variance of the estimate across the gradient over the squared mean along it, by m (full rankings), and for m = 15
   * by k: the estimate's scale, which depends on both, cancels.
   */
  readonly varianceByM: readonly number[];
  readonly varianceByK: readonly number[];
  /** Of the last policy, over 200 episodes. */
  readonly return: number;
};
const NOTHING: Metrics = {
  score: 0,
  finalLog: 0,
  curve: [],
  leastGradient: [],
  varianceByM: [],
  varianceByK: [],
  return: 0,
};

interface Settings {
  readonly queries: number;
  /** Dimensions over this. */
  readonly shrink: number;
  readonly horizons: readonly number[];
  readonly estimates: number;
  readonly evaluations: number;
  /** Else only what the quick look is about. */
  readonly everything: boolean;
}
const SETTINGS: Readonly<Record<Mode, Settings>> = {
  full: {
    queries: 10_000,
    shrink: 1,
    horizons: [200, 400, 800, 1600],
    estimates: 400,
    evaluations: 1500,
    everything: true,
  },
  quick: {
    queries: 1000,
    shrink: 5,
    horizons: [],
    estimates: 50,
    evaluations: 0,
    everything: false,
  },
};

/** Queries at which curves are read. */
const marksOf = ({ queries }: Settings): number[] =>
  Array.from({ length: 25 }, (_, i) => Math.round(30 * (queries / 30) ** (i / 24)));

const log10 = (value: number): number => Math.log10(Math.max(value, 1e-300));

/** Runs a method for a number of queries. */
async function follow(
  minimizer: Minimizer,
  problem: Problem,
  size: number,
  queries: number,
  visit: (x: Float64Array, queries: number) => void,
): Promise<Float64Array> {
  for await (const step of minimizer(problem, size)) {
    visit(step.x, step.queries);
    if (step.queries >= queries) return step.x;
    if (step.x.some((v) => !(Math.abs(v) < 1e100))) throw new DivergedError(`x left for ${step.x[0]}`);
  }
  return problem.start;
}

async function onFunction(
  minimizer: Minimizer,
  name: FunctionName,
  size: number,
  seed: number,
  settings: Settings,
) {
  const problem = testFunction(name, FUNCTIONS[name].dimensions / settings.shrink, seed);
  const marks = marksOf(settings);
  const curve: number[] = [];
  let before = log10(problem.f(problem.start));
  const last = await follow(minimizer, problem, size, settings.queries, (x, queries) => {
    while (curve.length < marks.length && marks[curve.length]! < queries) curve.push(before);
    before = log10(problem.f(x));
  });
  while (curve.length < marks.length) curve.push(before);
  const finalLog = log10(problem.f(last));
  return { ...NOTHING, score: finalLog, finalLog, curve };
}

/** The smallest gradient of T steps of length `size / √T`, for each T. */
async function overHorizons(size: number, seed: number, { horizons }: Settings) {
  const leastGradient: number[] = [];
  for (const steps of horizons) {
    const problem = testFunction("sphere", FUNCTIONS.sphere.dimensions, seed);
    let least = Number.POSITIVE_INFINITY;
    const minimizer = ranked(M, M, 1 / Math.sqrt(problem.start.length * steps));
    await follow(minimizer, problem, size / Math.sqrt(steps), M * steps, (x) => {
      // The sphere's gradient is x.
      least = Math.min(least, Math.hypot(...x));
    });
    leastGradient.push(least);
  }
  const score = leastGradient.reduce((sum, v) => sum + Math.log(v), 0);
  return { ...NOTHING, score, leastGradient };
}

const BY_M = [2, 5, 15, 30];
const BY_K = [1, 5, 15];

/** Variance across the gradient (per dimension) over the squared mean along it, of the estimate for a linear function. */
function relativeVariance(m: number, k: number, estimates: number, seed: number) {
  const random = randomStream(seed, `estimates ${m} ${k}`);
  const across = 20;
  let along = 0;
  let square = 0;
  for (let trial = 0; trial < estimates; trial++) {
    const values = Float64Array.from({ length: m }, () => random.normal());
    const order = values.map((_, i) => i).sort((i, j) => values[i]! - values[j]!);
    const weights = rankWeights(order.slice(0, k), m);
    along += weights.reduce((sum, w, i) => sum + w * values[i]!, 0);
    for (let d = 0; d < across; d++) square += weights.reduce((sum, w) => sum + w * random.normal(), 0) ** 2;
  }
  return square / (estimates * across) / (along / estimates) ** 2;
}

async function* run({
  arm,
  seed,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { size = 1, radii = 8 } = hyperparameters as { readonly size?: number; readonly radii?: number };
  if (arm === "variance") {
    return {
      ...NOTHING,
      varianceByM: BY_M.map((m) => relativeVariance(m, m, settings.estimates, seed)),
      varianceByK: BY_K.map((k) => relativeVariance(M, k, settings.estimates, seed)),
    };
  }
  if (arm === "horizon") return settings.everything ? await overHorizons(size, seed, settings) : NOTHING;
  if (arm === "policyRank" || arm === "policyCma") {
    if (!settings.everything) return NOTHING;
    const minimizer = arm === "policyRank" ? ranked(M, M, 0.3) : cmaEs;
    const last = await follow(minimizer, noisyPolicyProblem(seed), size, settings.evaluations, () => {});
    const value = trueReturn(last);
    return { ...NOTHING, score: -value, return: value };
  }
  const [method, name] = arm.split("-") as [Method, FunctionName];
  if (!settings.everything && name !== "sphere") return NOTHING;
  const minimizer = method === "gld" ? gradientlessDescent(radii) : METHODS[method].minimizer;
  return await onFunction(minimizer, name, size, seed, settings);
}

const below = (id: string, better: Method, worse: Method, statement: string): Claim<Arm, Metrics>[] =>
  functions.map((name) => ({
    kind: "comparison",
    id: `${id}-${name}`,
    of: "query-efficiency",
    statement: `${FUNCTIONS[name].label}: ${statement}`,
    ...(name !== "sphere" && { modes: ["full"] as const }),
    metric: "finalLog",
    better: `${better}-${name}`,
    worse: `${worse}-${name}`,
    goal: "minimize",
  }));

/** Largest log ratio of a number to the one before: negative when they fall all along. */
const largestRise = (values: readonly number[]): number =>
  Math.max(...values.slice(1).map((v, i) => Math.log(v / values[i]!)));

export default defineExperiment({
  settings: SETTINGS,
  seeds: { full: 10, quick: 2 },
  arms: {
    ...functionArms,
    horizon: { label: "ZO-RankSGD by number of steps", space: { size: geometric(0.3, 1.7, 6) } },
    variance: { label: "Estimates" },
    policyRank: { label: "ZO-RankSGD on ranked returns", space: { size: geometric(0.03, 2.2, 6) } },
    policyCma: { label: "CMA-ES on returns", space: { size: geometric(0.15, 2.2, 6) } },
  } as Readonly<Record<Arm, ArmSpec>>,
  run,
  tuning: { metric: "score", goal: "minimize", budget: { full: 6, quick: 2 }, seeds: { full: 3, quick: 1 } },
  claims: [
    ...below(
      "pairs",
      "rank",
      "pair",
      "full rankings of 15 end below comparisons of two, log₁₀ f after as many queries",
    ),
    ...below("gradientless", "rank", "gld", "full rankings of 15 end below gradientless descent, log₁₀ f"),
    ...below(
      "gradientless-search",
      "search",
      "gld",
      "full rankings of 15 with the oracle's line search end below gradientless descent, log₁₀ f",
    ),
    ...functions.map(
      (name): Claim<Arm, Metrics> => ({
        kind: "comparison",
        id: `values-${name}`,
        of: "query-efficiency",
        statement: `${FUNCTIONS[name].label}: full rankings of 15 end within a factor of 2 of ZO-SGD, which sees values`,
        modes: ["full"],
        metric: "finalLog",
        better: `rank-${name}`,
        worse: `value-${name}`,
        goal: "minimize",
        margin: -Math.log10(2),
      }),
    ),
    {
      kind: "statistic",
      id: "variance-in-m",
      of: "variance-falls-with-m-and-k",
      statement:
        "The estimate's variance across the gradient, over its squared mean along it, falls from m = 2 to 5, 15 and 30",
      quantity: "largest log ratio of neighbours",
      arms: ["variance"],
      perSeed: ({ variance }) => largestRise(variance.varianceByM),
      pass: { max: 0 },
    },
    {
      kind: "statistic",
      id: "variance-in-k",
      of: "variance-falls-with-m-and-k",
      statement: "and from k = 1 to 5 and 15 of m = 15",
      quantity: "largest log ratio of neighbours",
      arms: ["variance"],
      perSeed: ({ variance }) => largestRise(variance.varianceByK),
      pass: { max: 0 },
    },
    {
      kind: "statistic",
      id: "few-positions-suffice",
      of: "variance-falls-with-m-and-k",
      statement:
        "With the best 5 of 15, at most half of what a full ranking gains over pairs is lost (sphere, log f)",
      quantity: "share of the gain that is lost",
      modes: ["full"],
      arms: ["rank-sphere", "top-sphere", "pair-sphere"],
      perSeed: (m) =>
        (m["top-sphere"].finalLog - m["rank-sphere"].finalLog) /
        (m["pair-sphere"].finalLog - m["rank-sphere"].finalLog),
      pass: { max: 0.5 },
    },
    {
      kind: "scaling",
      id: "gradient-norm-rate",
      of: "query-efficiency",
      statement: "The smallest gradient of T steps of length ∝ 1/√T falls at least as T^-0.4",
      modes: ["full"],
      arm: "horizon",
      x: SETTINGS.full.horizons,
      y: "leastGradient",
      slope: { max: -0.4 },
    },
    {
      kind: "comparison",
      id: "ranked-return-policy-search",
      statement:
        "Point mass: from the ranks of noisy returns, the policy's return is at most 5% below that of CMA-ES",
      modes: ["full"],
      metric: "return",
      better: "policyRank",
      worse: "policyCma",
      goal: "maximize",
      relative: true,
      margin: -0.05,
    },
  ],
  figure: ({ Plot, units, mode }) => {
    const marks = marksOf(SETTINGS[mode]);
    const panels = (mode === "full" ? functions : (["sphere"] as const)).map((name) => {
      const points = methods.flatMap((method) => {
        const curves = units
          .filter(({ arm }) => arm === `${method}-${name}`)
          .map(({ metrics }) => metrics.curve);
        return marks.flatMap((queries, i) => {
          const values = curves.map((curve) => curve[i]!).filter((v) => v !== undefined);
          if (values.length === 0) return [];
          const value = 10 ** (values.reduce((a, b) => a + b, 0) / values.length);
          return [{ method: METHODS[method].label, queries, value }];
        });
      });
      return {
        title: FUNCTIONS[name].label,
        options: {
          width: 460,
          height: 320,
          x: { label: "queries", type: "log" as const, grid: true },
          y: { label: "f", type: "log" as const, grid: true },
          // One legend for all functions, as wide as their panels.
          color: { legend: name === "sphere", domain: methods.map((method) => METHODS[method].label) },
          marks: [Plot.line(points, { x: "queries", y: "value", stroke: "method" })],
        },
      };
    });
    const noise = units
      .filter(({ arm }) => arm === "variance")
      .flatMap(({ metrics }) => [
        ...metrics.varianceByM.map((value, i) => ({ points: BY_M[i]!, value, told: "all" })),
        ...metrics.varianceByK.map((value, i) => ({ points: M, value, told: `best ${BY_K[i]}` })),
      ]);
    return [
      ...panels,
      {
        title: "Relative variance of the estimate",
        options: {
          width: 320,
          height: 320,
          x: { label: "points ranked", type: "log" as const },
          y: { label: "variance across the gradient / mean² along it", type: "log" as const, grid: true },
          color: { legend: true },
          marks: [Plot.dot(noise, { x: "points", y: "value", stroke: "told" })],
        },
      },
    ];
  },
});
