import { defineExperiment, type Mode, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { norm } from "@prior-art/toolkit/linalg";
import { hoag, type Schedule } from "../approximate-gradient-hyperparameters/method.ts";
import type { HyperparameterSolver, SearchResult, Step } from "../family.ts";
import { solveInner } from "../innerSolver.ts";
import { gridSearch } from "../search.ts";
import { type MaidOptions, maid } from "./method.ts";
import { noisyDigits, type QuadraticProblem, quadraticProblem, ridgePerFeatureProblem } from "./problems.ts";

/** First accuracies ε₀ = δ₀ of the runs on the quadratic problem. */
const ACCURACIES = [1e-1, 1e-3, 1e-5] as const;
const STEP_SIZES = [1e-2, 1e-1, 1] as const;
const SCHEDULES = ["quadratic", "exponential"] as const;

type Arm = "maid" | "fixed" | "hoag" | "grid";

interface Settings {
  readonly rows: number;
  readonly quadraticWork: number;
  /** Examples for training and as many for validation; none leaves the digits out. */
  readonly examples: number;
  readonly noise: number;
  readonly digitWork: number;
}

type Curve = readonly (readonly [work: number, excess: number])[];

type Metrics = {
  /** f − f* at the end over that at the start, quadratic problem: for each first accuracy (MAID, fixed) or schedule (HOAG). */
  readonly quadratic: readonly number[];
  /** The same for each first step; MAID only. */
  readonly steps: readonly number[];
  /** The same as `quadratic` with L-BFGS inside, as HOAG has, instead of FISTA; MAID only. */
  readonly byLbfgs: readonly number[];
  /** Accepted steps of all these runs that raised the exact f. */
  readonly increases: number;
  /** Largest exact ‖∇f‖ at the end of these runs over that at the start. */
  readonly gradientShare: number;
  readonly curves: readonly Curve[];
  /** Digits: cross-entropy of the validation data with the inner problem solved exactly at the λ found. */
  readonly digits: number;
  readonly digitCurve: Curve;
};

type Hyperparameters = Readonly<Record<string, number | string>>;

function digitSolver(
  arm: Arm,
  hyperparameters: Hyperparameters,
  constants: MaidOptions,
): HyperparameterSolver {
  const number = (name: string): number => hyperparameters[name] as number;
  switch (arm) {
    case "maid":
    case "fixed":
      return maid({
        ...constants,
        stepSize: number("stepSize"),
        epsilon: number("epsilon"),
        adaptive: arm === "maid",
      });
    case "hoag":
      return hoag({ schedule: hyperparameters.schedule as Schedule, epsilon0: number("epsilon0") });
    case "grid":
      return gridSearch(20, { tolerance: number("tolerance") });
  }
}

async function* run({
  arm,
  seed,
  phase,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const quadratic = phase === "test" ? runQuadratic(arm, seed, settings) : NOTHING;
  yield { step: 1, of: 2 };
  if (settings.examples === 0) return { ...quadratic, digits: 0, digitCurve: [] };

  const { problem, constants } = ridgePerFeatureProblem(
    await noisyDigits(seed, settings.examples, settings.noise),
    10,
  );
  // The smoothness stays away, so that all solve the inner problem by L-BFGS and only accuracies and steps differ.
  const { smoothness: _, ...known } = constants;
  const solver = digitSolver(arm, hyperparameters as Hyperparameters, known);
  const start = new Float64Array(problem.lower.length);
  const { lambda, history } = solver(problem, { start, maxWork: settings.digitWork, seed });
  const exact = (at: Float64Array): number => {
    const origin = new Float64Array(problem.parameters);
    return problem.outer.value(solveInner(problem, origin, at, 1e-6, 5000), at);
  };
  return {
    ...quadratic,
    digits: exact(lambda),
    digitCurve:
      phase === "test" && seed === 0
        ? thinned(history, 12).map((step) => [step.work, exact(step.lambda)] as const)
        : [],
  };
}

const NOTHING = { quadratic: [], steps: [], byLbfgs: [], increases: 0, gradientShare: 0, curves: [] };

function runQuadratic(arm: Arm, seed: number, { rows, quadraticWork }: Settings) {
  if (arm === "grid") return NOTHING;
  const known = quadraticProblem(rows, 10, seed);
  const start = new Float64Array(10);
  const search = { start, maxWork: quadraticWork, seed };
  const first = known.exact(start);
  const fista = known.constants;
  // Where the smoothness is not known, L-BFGS takes FISTA's place.
  const { smoothness: _, ...lbfgs } = fista;
  const solve = (options: MaidOptions): SearchResult =>
    maid({ loosen: 1.25, adaptive: arm === "maid", ...options })(known.problem, search);
  const runs =
    arm === "hoag"
      ? SCHEDULES.map((schedule) => hoag({ schedule })(known.problem, search))
      : ACCURACIES.map((epsilon) => solve({ ...fista, epsilon, stepSize: 0.1 }));
  const bySteps = arm === "maid" ? STEP_SIZES.map((stepSize) => solve({ ...fista, stepSize })) : [];
  const byLbfgs =
    arm === "maid" ? ACCURACIES.map((epsilon) => solve({ ...lbfgs, epsilon, stepSize: 0.1 })) : [];
  const all = [...runs, ...bySteps, ...byLbfgs];
  const share = ({ lambda }: SearchResult): number => excess(known, lambda) / (first.value - known.least);
  return {
    quadratic: runs.map(share),
    steps: bySteps.map(share),
    byLbfgs: byLbfgs.map(share),
    increases: all.reduce((sum, { history }) => sum + raised(known, history), 0),
    gradientShare: Math.max(
      ...all.map(({ lambda }) => norm(known.exact(lambda).gradient) / norm(first.gradient)),
    ),
    curves:
      seed === 0
        ? [...runs, ...byLbfgs].map(({ history }) =>
            thinned(history, 60).map(({ work, lambda }) => [work, excess(known, lambda)] as const),
          )
        : [],
  };
}

const excess = (known: QuadraticProblem, lambda: Float64Array): number =>
  known.exact(lambda).value - known.least;

function raised(known: QuadraticProblem, history: readonly Step[]): number {
  const values = history.map(({ lambda }) => known.exact(lambda).value);
  return values.filter((value, i) => i > 0 && value > values[i - 1]!).length;
}

/** About `count` steps, evenly spread in the logarithm of work. */
function thinned(history: readonly Step[], count: number): readonly Step[] {
  let next = 0;
  return history.filter((step, i) => {
    if (i < history.length - 1 && step.work < next) return false;
    next = step.work * (1 + 10 / count);
    return true;
  });
}

const largestOverLeast = (values: readonly number[]): number => Math.max(...values) / Math.min(...values);

const SETTINGS: Readonly<Record<Mode, Settings>> = {
  full: { rows: 200, quadraticWork: 100_000, examples: 200, noise: 32, digitWork: 3000 },
  quick: { rows: 100, quadraticWork: 20_000, examples: 0, noise: 0, digitWork: 0 },
};

export default defineExperiment({
  settings: SETTINGS,
  seeds: { full: 5, quick: 1 },
  arms: {
    maid: {
      label: "MAID",
      space: { stepSize: [30, 100, 300, 1e3], epsilon: [1e-1, 1e-3, 1e-5] },
    },
    fixed: {
      label: "fixed accuracy",
      space: { stepSize: [30, 100, 300], epsilon: [1e-1, 1e-2, 1e-3, 1e-4] },
    },
    hoag: {
      label: "HOAG",
      space: { schedule: ["quadratic", "cubic", "exponential"], epsilon0: [1, 0.3, 0.1, 0.03] },
    },
    grid: { label: "one shared λ, grid", space: { tolerance: [1e-1, 1e-2, 1e-3, 1e-4] } },
  },
  run,
  tuning: {
    metric: "digits",
    goal: "minimize",
    budget: { full: 12, quick: 1 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    {
      kind: "statistic",
      id: "accuracies-merge",
      of: "robust-to-initialization",
      statement:
        "Quadratic problem: from first accuracies of 1e-1, 1e-3 and 1e-5 MAID ends within 25% of the same f − f*, on every seed",
      quantity: "largest f − f* over the least",
      arms: ["maid"],
      perSeed: ({ maid }) => largestOverLeast(maid.quadratic),
      seedsHolding: 1,
      pass: { max: 1.25 },
    },
    {
      kind: "statistic",
      id: "steps-merge",
      of: "robust-to-initialization",
      statement: "and so it does from first steps of 0.01, 0.1 and 1",
      quantity: "largest f − f* over the least",
      arms: ["maid"],
      perSeed: ({ maid }) => largestOverLeast(maid.steps),
      seedsHolding: 1,
      pass: { max: 1.25 },
    },
    {
      kind: "statistic",
      id: "accuracies-converge",
      of: "robust-to-initialization",
      statement: "All of them end below 0.5% of the first f − f*, on every seed",
      quantity: "largest f − f* at the end over that at the start",
      arms: ["maid"],
      perSeed: ({ maid }) => Math.max(...maid.quadratic, ...maid.steps),
      seedsHolding: 1,
      pass: { max: 5e-3 },
    },
    {
      kind: "statistic",
      id: "fixed-stagnates",
      of: "robust-to-initialization",
      statement: "Fixed accuracies of 1e-1 and 1e-3 end at least 5 times above MAID, on every seed",
      quantity: "f − f* of the better fixed accuracy over that of the worst MAID run",
      arms: ["maid", "fixed"],
      perSeed: ({ maid, fixed }) =>
        Math.min(fixed.quadratic[0]!, fixed.quadratic[1]!) / Math.max(...maid.quadratic),
      seedsHolding: 1,
      pass: { min: 5 },
    },
    {
      kind: "deterministic",
      id: "monotone",
      of: "certified-decrease",
      statement: "Quadratic problem: no accepted step of MAID raises the exact objective",
      arm: "maid",
      metric: "increases",
      expected: 0,
      tolerance: 0,
    },
    {
      kind: "statistic",
      id: "gradient-vanishes",
      of: "certified-decrease",
      statement: "The exact gradient ends at most 1% of its first size, on every seed",
      quantity: "‖∇f‖ at the end over that at the start, the worst run",
      arms: ["maid"],
      perSeed: ({ maid }) => maid.gradientShare,
      seedsHolding: 1,
      pass: { max: 0.01 },
    },
    {
      kind: "statistic",
      id: "quadratic-hoag",
      of: "lower-loss-for-equal-work",
      statement:
        "Quadratic problem: after the same work, all by L-BFGS, f − f* of the worst of MAID's three first accuracies is below that of the better of HOAG's two schedules",
      quantity: "log₁₀ of HOAG's f − f* over MAID's",
      arms: ["maid", "hoag"],
      perSeed: ({ maid, hoag: other }) =>
        Math.log10(Math.min(...other.quadratic) / Math.max(...maid.byLbfgs)),
      pass: { min: 0 },
    },
    {
      kind: "statistic",
      id: "quadratic-fixed",
      of: "lower-loss-for-equal-work",
      statement:
        "Quadratic problem: after the same work, all by FISTA, f − f* of the worst of MAID's three first accuracies is below that of the best of the fixed accuracies, 1e-1 to 1e-5",
      quantity: "log₁₀ of the fixed accuracies' least f − f* over MAID's",
      arms: ["maid", "fixed"],
      perSeed: ({ maid, fixed }) => Math.log10(Math.min(...fixed.quadratic) / Math.max(...maid.quadratic)),
      pass: { min: 0 },
    },
    {
      kind: "comparison",
      id: "digits-hoag",
      of: "lower-loss-for-equal-work",
      statement:
        "Digits, one ridge weight for each of 97 features: after the same work MAID's validation loss is at most 1% above HOAG's with its best schedule",
      metric: "digits",
      better: "maid",
      worse: "hoag",
      goal: "minimize",
      relative: true,
      margin: -0.01,
      modes: ["full"],
    },
    {
      kind: "comparison",
      id: "digits-fixed",
      of: "lower-loss-for-equal-work",
      statement: "and below that of the best fixed accuracy",
      metric: "digits",
      better: "maid",
      worse: "fixed",
      goal: "minimize",
      modes: ["full"],
    },
    {
      kind: "comparison",
      id: "digits-grid",
      of: "lower-loss-for-equal-work",
      statement:
        "and below that of the best shared weight of a grid of 20 that is refined while the work lasts",
      metric: "digits",
      better: "maid",
      worse: "grid",
      goal: "minimize",
      modes: ["full"],
    },
  ],
  figure: ({ Plot, units, arms, mode }) => {
    const first = units.filter((unit) => unit.seed === 0);
    const named = (arm: Arm, i: number): string => {
      if (arm === "hoag") return `HOAG, ${SCHEDULES[i]}`;
      const accuracy = ACCURACIES[i % ACCURACIES.length]!.toExponential(0);
      if (arm === "fixed") return `fixed ${accuracy}`;
      return `MAID from ${accuracy}${i < ACCURACIES.length ? "" : ", L-BFGS"}`;
    };
    const quadratic = first.flatMap(({ arm, metrics }) =>
      metrics.curves.flatMap((curve, i) =>
        // Of the three by L-BFGS, which end alike, one.
        i >= ACCURACIES.length && i !== ACCURACIES.length + 1
          ? []
          : curve.map(([work, value]) => ({ run: named(arm, i), work, value: Math.max(value, 1e-8) })),
      ),
    );
    const labelOf = (name: Arm): string => arms.find((arm) => arm.name === name)!.label;
    const digits = first.flatMap(({ arm, metrics }) => {
      let best = Number.POSITIVE_INFINITY;
      const points = metrics.digitCurve.map(([work, value]) => {
        best = Math.min(best, value);
        return { label: labelOf(arm), work, value: best };
      });
      // To the end of the work, which some spend without a better λ.
      return [...points, { label: labelOf(arm), work: SETTINGS[mode].digitWork, value: best }];
    });
    const work = { label: "inner gradients and Hessian products →", type: "log" as const, grid: true };
    return [
      {
        title: "Quadratic problem: exact f − f*",
        options: {
          width: 520,
          height: 360,
          x: work,
          y: { label: "f − f*", type: "log" as const, grid: true },
          color: { legend: true },
          marks: [
            Plot.line(quadratic, {
              x: "work",
              y: "value",
              stroke: "run",
              strokeWidth: 2,
              curve: "step-after",
            }),
            Plot.dot(quadratic, Plot.selectLast({ x: "work", y: "value", z: "run", fill: "run", r: 3 })),
          ],
        },
      },
      ...(digits.length > 0
        ? [
            {
              title: "Digits: validation loss of the best λ so far",
              options: {
                width: 460,
                height: 360,
                x: work,
                y: { label: "cross-entropy", grid: true },
                color: { legend: true },
                marks: [
                  Plot.line(digits, {
                    x: "work",
                    y: "value",
                    stroke: "label",
                    strokeWidth: 2,
                    curve: "step-after",
                  }),
                ],
              },
            },
          ]
        : []),
    ];
  },
});
