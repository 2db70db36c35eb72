import {
  conjugateGradient,
  gram,
  identity,
  matrix,
  maxAbs,
  norm,
  solveSPD,
  times,
  transposedTimes,
} from "@prior-art/toolkit/linalg";
import { logLogSlope, randomStream } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import { exactGradientDescent } from "../exactGradient.ts";
import { answerAfter, type BilevelProblem } from "../family.ts";
import { maid } from "../inexact-bilevel/method.ts";
import {
  countWork,
  exactOuter,
  exactSolution,
  exactValueAndGradient,
  gradientScale,
  leastOuter,
  solveInner,
  trainInner,
} from "../innerSolver.ts";
import { parzenSearch } from "../parzenSearch.ts";
import {
  diabetesSplit,
  kernelRidgeProblem,
  logisticProblem,
  ridgeProblem,
  tumourSplit,
} from "../problems.ts";
import { goldenSearch, gridSearch, randomSearch } from "../search.ts";
import { hoag, hypergradient, toleranceAt } from "./method.ts";

function sample(rows: number, columns: number, seed: number) {
  const stream = randomStream(seed, "sample");
  const normals = (count: number) => Float64Array.from({ length: count }, () => stream.normal());
  return { features: matrix(rows, columns, normals(rows * columns)), response: normals(rows) };
}

const split = { train: sample(20, 5, 1), validation: sample(15, 5, 2) };

/** h = ½ (x − 1)² + ½ e^λ x², g = ½ (x − 0.3)². */
const scalar: BilevelProblem = {
  parameters: 1,
  lower: Float64Array.of(-6),
  upper: Float64Array.of(6),
  inner: {
    evaluate: ([x], [l]) => ({
      value: 0.5 * (x! - 1) ** 2 + 0.5 * Math.exp(l!) * x! ** 2,
      gradient: Float64Array.of(x! - 1 + Math.exp(l!) * x!),
    }),
    hessianProduct: (_, [l], [v]) => Float64Array.of((1 + Math.exp(l!)) * v!),
    strongConvexity: ([l]) => 1 + Math.exp(l!),
    crossProduct: ([x], [l], [q]) => Float64Array.of(Math.exp(l!) * x! * q!),
  },
  outer: {
    value: ([x]) => 0.5 * (x! - 0.3) ** 2,
    gradient: ([x]) => Float64Array.of(x! - 0.3),
  },
};

/** The hypergradient by central differences of the exactly solved problem. */
function numericGradient(problem: BilevelProblem, lambda: Float64Array): Float64Array {
  return lambda.map((_, j) => {
    const at = (h: number) =>
      exactOuter(
        problem,
        lambda.map((value, k) => (k === j ? value + h : value)),
      );
    return (at(1e-4) - at(-1e-4)) / 2e-4;
  });
}

describe("the implicit gradient", () => {
  test("a scalar problem by hand", () => {
    const { gradient, q } = hypergradient(scalar, Float64Array.of(0.5), Float64Array.of(0), 1e-12);
    expect(q[0]).toBeCloseTo(0.1, 12);
    expect(gradient[0]).toBeCloseTo(-0.05, 12);
  });

  test("ridge in closed form: −e^λ xᵀ(AᵀA + e^λ I)⁻¹∇g", () => {
    const problem = ridgeProblem(split, { shared: true });
    const penalty = Math.exp(0.7);
    const normal = gram(split.train.features);
    const system = matrix(
      5,
      5,
      normal.values.map((value, i) => value + penalty * identity(5).values[i]!),
    );
    const x = solveSPD(system, transposedTimes(split.train.features, split.train.response));
    const outerGradient = problem.outer.gradient(x, Float64Array.of(0.7));
    const solved = solveSPD(system, outerGradient);
    const expected = -penalty * x.reduce((sum, value, j) => sum + value * solved[j]!, 0);
    const { gradient } = hypergradient(problem, x, Float64Array.of(0.7), 1e-12);
    expect(gradient[0]).toBeCloseTo(expected, 10);
  });

  test.each([
    [
      "logistic",
      () => logisticProblem({ train: signs(split.train), validation: signs(split.validation) }),
      [0.3],
    ],
    ["ridge, one penalty each", () => ridgeProblem(split), [0.3, -1, 2, 0, 1]],
    ["kernel ridge", () => kernelRidgeProblem(split), [-1.5, -0.5]],
  ] as const)("%s: as finite differences say", (_, make, at) => {
    const problem = make();
    const lambda = Float64Array.from(at);
    const x = solveInner(problem, new Float64Array(problem.parameters), lambda, 1e-10);
    const { gradient } = hypergradient(problem, x, lambda, 1e-12);
    const numeric = numericGradient(problem, lambda);
    const exact = exactValueAndGradient(problem, lambda).gradient;
    expect(maxAbs(exact.map((value, j) => value - gradient[j]!))).toBeLessThan(1e-7);
    expect(maxAbs(gradient)).toBeGreaterThan(1e-4);
    expect(maxAbs(gradient.map((value, j) => value - numeric[j]!))).toBeLessThan(1e-6);
  });

  test("Hessian products are derivatives of the gradient", () => {
    for (const problem of [
      logisticProblem({ train: signs(split.train), validation: split.validation }),
      kernelRidgeProblem(split),
    ]) {
      const lambda = problem.lower.map((low, j) => (low + problem.upper[j]!) / 2);
      const x = Float64Array.from({ length: problem.parameters }, (_, i) => Math.sin(i));
      const v = Float64Array.from({ length: problem.parameters }, (_, i) => Math.cos(i));
      const gradientAt = (h: number) =>
        problem.inner.evaluate(
          x.map((value, i) => value + h * v[i]!),
          lambda,
        ).gradient;
      const [plus, minus] = [gradientAt(1e-5), gradientAt(-1e-5)];
      const product = problem.inner.hessianProduct(x, lambda, v);
      expect(maxAbs(product.map((value, i) => value - (plus[i]! - minus[i]!) / 2e-5))).toBeLessThan(1e-6);
      const whole = times(problem.inner.hessian!(x, lambda), v);
      expect(maxAbs(product.map((value, i) => value - whole[i]!))).toBeLessThan(1e-9);
    }
  });

  test("its error is proportional to the tolerance", async () => {
    const problem = logisticProblem(await tumourSplit(1_000_000));
    const lambda = Float64Array.of(1);
    const zero = new Float64Array(problem.parameters);
    const scale = gradientScale(problem, lambda);
    const exact = hypergradient(problem, solveInner(problem, zero, lambda, 1e-12 * scale), lambda, 1e-13)
      .gradient[0]!;
    const x = solveInner(problem, zero, lambda, 1e-12 * scale);
    const direction = Float64Array.from(x, (_, i) => Math.sin(3 * i + 1));
    const sizes = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];
    const errors = sizes.map((size) => {
      const rough = x.map((value, i) => value + (size * direction[i]!) / norm(direction));
      return Math.abs(hypergradient(problem, rough, lambda, 1e-13).gradient[0]! - exact);
    });
    const { slope } = logLogSlope(sizes, errors);
    expect(slope).toBeGreaterThan(0.8);
    expect(slope).toBeLessThan(1.2);
  });
});

function signs({ features, response }: typeof split.train) {
  return { features, response: response.map(Math.sign) };
}

describe("HOAG", () => {
  test("schedules", () => {
    expect(toleranceAt(2, { schedule: "quadratic" })).toBeCloseTo(0.025, 12);
    expect(toleranceAt(2, { schedule: "cubic" })).toBeCloseTo(0.0125, 12);
    expect(toleranceAt(2)).toBeCloseTo(0.081, 12);
    expect(toleranceAt(1, { schedule: "exact" })).toBe(1e-12);
    expect(toleranceAt(1e6)).toBe(1e-12);
  });

  test.each(["quadratic", "cubic", "exponential", "exact"] as const)(
    "%s: finds λ* = log(7/3)",
    (schedule) => {
      const { lambda } = hoag({ schedule })(scalar, { start: Float64Array.of(-3), maxWork: 5000, seed: 0 });
      expect(lambda[0]).toBeCloseTo(Math.log(7 / 3), 2);
    },
  );

  test("a bound that the gradient points beyond holds it", () => {
    // The target 2 lies beyond what any penalty reaches, so the smallest is best.
    const problem = {
      ...scalar,
      outer: {
        value: ([x]: Float64Array) => 0.5 * (x! - 2) ** 2,
        gradient: ([x]: Float64Array) => Float64Array.of(x! - 2),
      },
    };
    const { history } = hoag({ stepSize: 5 })(problem, {
      start: Float64Array.of(-5.9),
      maxWork: 400,
      seed: 0,
    });
    expect(history.at(-1)!.lambda[0]).toBe(-6);
    expect(history.length).toBeGreaterThan(3);
  });

  test("approximate gradients cost less than exact ones on the way to the same place", async () => {
    const problem = logisticProblem(await tumourSplit(1_000_000));
    const options = { start: Float64Array.of(0), maxWork: 2000, seed: 0 };
    const rough = hoag()(problem, options);
    const exact = hoag({ schedule: "exact" })(problem, options);
    expect(Math.abs(rough.lambda[0]! - exact.lambda[0]!)).toBeLessThan(0.05);
    expect(rough.history[3]!.work).toBeLessThan(exact.history[3]!.work / 2);
  });

  test("every inner gradient is at most ε_k μ, so that every x is within ε_k of the solution", async () => {
    const problem = logisticProblem(await tumourSplit(1_000_000));
    const trained: { x: Float64Array; lambda: Float64Array }[] = [];
    const watched: BilevelProblem = {
      ...problem,
      outer: {
        ...problem.outer,
        value: (x, lambda) => {
          trained.push({ x, lambda });
          return problem.outer.value(x, lambda);
        },
      },
    };
    hoag()(watched, { start: Float64Array.of(-4), maxWork: 1500, seed: 0 });
    expect(trained.length).toBeGreaterThan(4);
    trained.forEach(({ x, lambda }, i) => {
      const epsilon = toleranceAt(i + 1);
      const size = norm(problem.inner.evaluate(x, lambda).gradient);
      expect(size).toBeLessThanOrEqual(epsilon * problem.inner.strongConvexity(lambda));
      const gap = exactSolution(problem, lambda).map((value, j) => value - x[j]!);
      expect(norm(gap)).toBeLessThanOrEqual(epsilon);
    });
  });

  test("exact gradients stop where rounding is close instead of spending the work on it", async () => {
    const problem = ridgeProblem(await tumourSplit(1_000_000, { noiseFeatures: 30 }));
    const start = new Float64Array(problem.lower.length);
    const { history } = hoag({ schedule: "exact" })(problem, { start, maxWork: 4000, seed: 0 });
    expect(history.length).toBeGreaterThan(4);
  });

  test("neither training nor the linear system is asked for more than 1e-8, relatively", () => {
    const scaled = ({ features, response }: ReturnType<typeof sample>) => ({
      features,
      response: response.map((value) => 1e9 * value),
    });
    const problem = ridgeProblem({ train: scaled(split.train), validation: scaled(split.validation) });
    let [gradients, products] = [0, 0];
    const watched: BilevelProblem = {
      ...problem,
      inner: {
        ...problem.inner,
        evaluate: (x, lambda) => {
          gradients++;
          return problem.inner.evaluate(x, lambda);
        },
        hessianProduct: (x, lambda, v) => {
          products++;
          return problem.inner.hessianProduct(x, lambda, v);
        },
      },
    };
    const start = new Float64Array(problem.lower.length);
    hoag({ schedule: "exact", stepSize: 1e-12, maxIterations: 1 })(watched, {
      start,
      maxWork: 5000,
      seed: 0,
    });
    expect(gradients).toBeLessThan(50);
    expect(products).toBeLessThan(10);
  });

  test("an adaptive step is 1/L: L from the first gradient, doubled when a step holds less than promised, else lowered by 5%", () => {
    // h = ½ (x − λ)², g = ½ x²: the exact objective is ½ λ².
    const tracking: BilevelProblem = {
      parameters: 1,
      lower: Float64Array.of(-6),
      upper: Float64Array.of(6),
      inner: {
        evaluate: ([x], [l]) => ({ value: 0.5 * (x! - l!) ** 2, gradient: Float64Array.of(x! - l!) }),
        hessianProduct: (_, __, v) => v.slice(),
        strongConvexity: () => 1,
        crossProduct: (_, __, q) => q.map((value) => -value),
      },
      outer: { value: ([x]) => 0.5 * x! ** 2, gradient: (x) => x.slice() },
    };
    const { history } = hoag({ epsilon0: 1e-9, maxIterations: 6 })(tracking, {
      start: Float64Array.of(0.2),
      maxWork: 1000,
      seed: 0,
    });
    // L = 0.2 steps by 1, then by a half and a quarter, which lowers the objective, but by less than ½ L ‖step‖²; an eighth does.
    const places = [0.2, -0.8, -0.3, -0.05, 0.075, 0.075 * (1 - 1 / (0.95 * 1.6))];
    expect(history.map(({ lambda }) => lambda[0])).toEqual(places.map((value) => expect.closeTo(value, 6)));
    expect(history.map(({ rejected }) => rejected ?? false)).toEqual([false, true, true, true, false, false]);
  });

  test("the linear solver starts from the last q", async () => {
    const problem = ridgeProblem(await tumourSplit(1_000_000));
    let products = 0;
    const afterEach: number[] = [];
    const watched: BilevelProblem = {
      ...problem,
      inner: {
        ...problem.inner,
        hessianProduct: (x, lambda, v) => {
          products++;
          return problem.inner.hessianProduct(x, lambda, v);
        },
        crossProduct: (x, lambda, q) => {
          afterEach.push(products);
          return problem.inner.crossProduct(x, lambda, q);
        },
      },
    };
    // λ hardly moves, so that the last q solves the next system too.
    const start = new Float64Array(problem.lower.length);
    hoag({ schedule: "exact", stepSize: 1e-12, maxIterations: 2 })(watched, {
      start,
      maxWork: 5000,
      seed: 0,
    });
    expect(afterEach).toHaveLength(2);
    expect(afterEach[0]).toBeGreaterThan(10);
    expect(afterEach[1]! - afterEach[0]!).toBeLessThan(afterEach[0]! / 4);
  });

  test("a fixed step must be positive", () => {
    expect(() => hoag({ stepSize: 0 })).toThrow("stepSize");
  });
});

describe("searches", () => {
  test("golden section closes in; grid and random stay within the box and the work", async () => {
    const options = { start: Float64Array.of(0), maxWork: 500, seed: 3 };
    expect(goldenSearch({ tolerance: 1e-8 })(scalar, options).lambda[0]).toBeCloseTo(Math.log(7 / 3), 2);
    const problem = kernelRidgeProblem(await diabetesSplit(1_000_000));
    for (const solver of [gridSearch(16), randomSearch(), goldenSearch()]) {
      const { lambda, history } = solver(problem, { start: Float64Array.of(0, 0), maxWork: 300, seed: 3 });
      expect(lambda.every((value, j) => value >= problem.lower[j]! && value <= problem.upper[j]!)).toBe(true);
      expect(new Set(history.map((step) => step.lambda.join())).size).toBe(history.length);
      expect(Math.min(...history.map((step) => step.outer))).toBe(problemValue(history, lambda));
    }
  });

  test("the grid is refined while the work lasts and tries no point twice", async () => {
    const problem = kernelRidgeProblem(await diabetesSplit(1_000_000));
    const options = { start: Float64Array.of(0, 0), maxWork: 6000, seed: 3 };
    const { history } = gridSearch(9, { tolerance: 1e-2 })(problem, options);
    expect(history.length).toBeGreaterThan(25);
    expect(new Set(history.map(({ lambda }) => lambda.join())).size).toBe(history.length);
    const places = history.map(({ lambda }) => lambda.map((v, j) => v - problem.lower[j]!));
    for (const [width, ridge] of places.slice(0, 9)) expect([width! % 4.5, ridge! % 5]).toEqual([0, 0]);
    for (const [width, ridge] of places.slice(9, 25)) expect([width! % 2.25, ridge! % 2.5]).toEqual([0, 0]);
  });

  test("an answer is the last λ that was not rejected, and training that the work cuts short counts for none", async () => {
    const problem = logisticProblem(await tumourSplit(1_000_000));
    const solvers = [
      gridSearch(20),
      randomSearch(),
      goldenSearch(),
      parzenSearch(),
      exactGradientDescent(),
      hoag(),
      maid(),
    ];
    for (const solver of solvers)
      for (const maxWork of [1, 30, 150]) {
        const start = Float64Array.of(-1);
        const { lambda, history } = solver(problem, { start, maxWork, seed: 3 });
        expect(lambda).toEqual(answerAfter(history, Number.POSITIVE_INFINITY) ?? start);
        expect(answerAfter(history, 0)).toBeUndefined();
      }
    // A single candidate is charged its training, not the scale of its gradient.
    const { history: first } = gridSearch(20)(problem, { start: Float64Array.of(0), maxWork: 1000, seed: 0 });
    const stop = 1e-4 * gradientScale(problem, first[0]!.lambda);
    const alone = countWork(problem);
    trainInner(alone.problem, new Float64Array(problem.parameters), first[0]!.lambda, stop);
    expect(first[0]!.work).toBe(alone.work());
    for (const search of [gridSearch(20), randomSearch(), goldenSearch(), parzenSearch()]) {
      const tried: { x: Float64Array; lambda: Float64Array }[] = [];
      const watched: BilevelProblem = {
        ...problem,
        outer: {
          ...problem.outer,
          value: (x, lambda) => {
            tried.push({ x, lambda });
            return problem.outer.value(x, lambda);
          },
        },
      };
      for (const maxWork of [25, 35, 45, 55])
        search(watched, { start: Float64Array.of(0), maxWork, seed: 3 });
      for (const { x, lambda } of tried) {
        const size = norm(problem.inner.evaluate(x, lambda).gradient);
        expect(size).toBeLessThanOrEqual(1e-4 * gradientScale(problem, lambda));
      }
    }
  });

  test("training ends at its limit or where rounding forbids the tolerance", async () => {
    const problem = ridgeProblem(await tumourSplit(1_000_000));
    const lambda = new Float64Array(problem.lower.length).fill(-6);
    const zero = new Float64Array(problem.parameters);
    const cut = countWork(problem);
    expect(trainInner(cut.problem, zero, lambda, 1e-8, 20).finished).toBe(false);
    expect(cut.work()).toBeLessThan(30);
    const { problem: counted, work } = countWork(problem);
    const { x, finished } = trainInner(counted, zero, lambda, 1e-300, 100_000);
    expect(finished).toBe(true);
    expect(work()).toBeLessThan(3000);
    const scale = gradientScale(problem, lambda);
    expect(norm(problem.inner.evaluate(x, lambda).gradient)).toBeLessThan(1e-9 * scale);
  });

  test("work counts inner gradients and Hessian products alone", () => {
    const { problem, work } = countWork(scalar);
    const one = Float64Array.of(1);
    problem.inner.evaluate(one, one);
    problem.inner.hessianProduct(one, one, one);
    problem.inner.crossProduct(one, one, one);
    expect(work()).toBe(2);
  });

  test("conjugate gradients: a warm start at the solution costs nothing", () => {
    const a = matrix(2, 2, [2, 1, 1, 3]);
    const b = Float64Array.of(1, 2);
    const { x } = conjugateGradient((v) => times(a, v), b);
    expect(conjugateGradient((v) => times(a, v), b, { start: x, tolerance: 1e-8 }).iterations).toBe(0);
  });
});

function problemValue(
  history: readonly { readonly lambda: Float64Array; readonly outer: number }[],
  lambda: Float64Array,
): number {
  return history.find((step) => step.lambda === lambda)!.outer;
}

describe("the optimum that solvers are measured against", () => {
  test("is that of a fine grid, and stays within the bounds", async () => {
    const problem = logisticProblem(await tumourSplit(1_000_000));
    const starts = [-4, 0, 4].map((value) => Float64Array.of(value));
    const grid = Array.from({ length: 121 }, (_, i) => exactOuter(problem, Float64Array.of(-6 + i / 10)));
    const free = leastOuter(problem, starts);
    expect(free).toBeLessThanOrEqual(Math.min(...grid) + 1e-9);
    expect(free).toBeGreaterThan(0.999 * Math.min(...grid));
    const at = -6 + grid.indexOf(Math.min(...grid)) / 10;
    // The valley lies below these bounds, so the best within them is at the lower one.
    const bounded = { ...problem, lower: Float64Array.of(at + 1), upper: Float64Array.of(6) };
    const least = leastOuter(bounded, [Float64Array.of(at + 2), Float64Array.of(5)]);
    const edge = exactOuter(problem, Float64Array.of(at + 1));
    expect(least).toBeGreaterThanOrEqual(edge - 1e-9);
    expect(least).toBeLessThan(edge * 1.001);
  });
});
