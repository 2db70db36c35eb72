import { difference, dot, maxAbs, norm } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import type { BilevelProblem } from "../family.ts";
import { exactValueAndGradient, solveInner } from "../innerSolver.ts";
import { diabetesSplit, kernelRidgeProblem, logisticProblem, tumourSplit } from "../problems.ts";
import { constantsOf } from "./errorBound.ts";
import {
  fistaToTolerance,
  hypergradientErrorBound,
  inexactHypergradient,
  maid,
  outerUncertainty,
} from "./method.ts";
import { noisyDigits, quadraticProblem, ridgePerFeatureProblem } from "./problems.ts";

const stream = randomStream(7, "tests");
const normals = (size: number, scale = 1): Float64Array =>
  Float64Array.from({ length: size }, () => scale * stream.normal());

/** h = ½(x − θ)², g = ½(x − 2)². */
const scalar: BilevelProblem = {
  parameters: 1,
  lower: Float64Array.of(-10),
  upper: Float64Array.of(10),
  inner: {
    evaluate: ([x], [t]) => ({ value: 0.5 * (x! - t!) ** 2, gradient: Float64Array.of(x! - t!) }),
    hessianProduct: (_, __, v) => v.slice(),
    strongConvexity: () => 1,
    crossProduct: (_, __, [q]) => Float64Array.of(-q!),
  },
  outer: {
    value: ([x]) => 0.5 * (x! - 2) ** 2,
    gradient: ([x]) => Float64Array.of(x! - 2),
  },
};
const scalarConstants = {
  smoothness: () => 1,
  outerSmoothness: 1,
  crossNorm: () => 1,
  crossLipschitz: () => 0,
  inverseLipschitz: () => 0,
};

const known = quadraticProblem(40, 5, 3);
const { problem, constants } = known;
const origin = new Float64Array(5);

describe("FISTA to a tolerance", () => {
  test("certifies the distance from the minimizer: ‖∇h‖ ≤ με gives ‖x̃ − x̂‖ ≤ ε", () => {
    for (const epsilon of [1, 1e-2, 1e-5]) {
      const theta = normals(5);
      const mu = problem.inner.strongConvexity(theta);
      const { x, gradientNorm, converged } = fistaToTolerance(
        (at) => problem.inner.evaluate(at, theta).gradient,
        normals(5, 10),
        { smoothness: constants.smoothness!(theta), strongConvexity: mu, tolerance: mu * epsilon },
      );
      expect(converged).toBe(true);
      expect(gradientNorm).toBeCloseTo(norm(problem.inner.evaluate(x, theta).gradient), 12);
      expect(norm(difference(x, known.solution(theta)))).toBeLessThanOrEqual(epsilon);
    }
  });

  test("is accelerated: √κ log(1/ε) iterations, where gradient descent takes κ log(1/ε)", () => {
    const values = Float64Array.from({ length: 50 }, (_, i) => 1 + (1e4 - 1) * (i / 49) ** 4);
    const gradient = (x: Float64Array) => x.map((value, i) => values[i]! * (value - 1));
    const { iterations } = fistaToTolerance(gradient, new Float64Array(50), {
      smoothness: 1e4,
      strongConvexity: 1,
      tolerance: 1e-6,
    });
    expect(iterations).toBeLessThan(3000);
    expect(iterations).toBeGreaterThan(300);
  });

  test("one step solves a problem of condition 1, and a solution costs one gradient", () => {
    const options = { smoothness: 2, strongConvexity: 2, tolerance: 1e-12 };
    const gradient = (x: Float64Array) => x.map((value) => 2 * (value - 3));
    expect(fistaToTolerance(gradient, Float64Array.of(-5), options).iterations).toBe(2);
    expect(fistaToTolerance(gradient, Float64Array.of(3), options).iterations).toBe(1);
  });

  test("says when the smoothness is wrong", () => {
    const gradient = (x: Float64Array) => x.map((value) => 100 * value);
    const start = Float64Array.of(1);
    expect(() =>
      fistaToTolerance(gradient, start, { smoothness: 2, strongConvexity: 1, tolerance: 1e-9 }),
    ).toThrow("is the smoothness 2 too small?");
    expect(() =>
      fistaToTolerance(gradient, start, { smoothness: 1, strongConvexity: 2, tolerance: 1e-9 }),
    ).toThrow("0 < strongConvexity ≤ smoothness");
  });
});

describe("the hypergradient and its bound", () => {
  test("a scalar problem by hand: z = −1.9, ∇f = −2, and ω = 0.1 is tight", () => {
    const { gradient } = inexactHypergradient(scalar, Float64Array.of(0.1), Float64Array.of(0), 0);
    expect(gradient[0]).toBeCloseTo(-1.9, 12);
    const omega = hypergradientErrorBound({
      epsilon: 0.1,
      delta: 0,
      strongConvexity: 1,
      outerSmoothness: 1,
      crossNorm: 1,
      crossLipschitz: 0,
      inverseLipschitz: 0,
      directLipschitz: 0,
      outerGradientNorm: 1.9,
    });
    expect(omega).toBeCloseTo(0.1, 14);
  });

  test("every term of the bound by hand", () => {
    const terms = {
      epsilon: 0.5,
      delta: 0.25,
      strongConvexity: 2,
      outerSmoothness: 3,
      crossNorm: 5,
      crossLipschitz: 7,
      inverseLipschitz: 11,
      directLipschitz: 13,
      outerGradientNorm: 17,
    };
    // (3·5/2 + 11·17·5 + 7·17/2 + 13)·½ + 5·¼/2 + 7·3·¼/2
    expect(hypergradientErrorBound(terms)).toBeCloseTo(507.5 + 0.625 + 2.625, 10);
  });

  test("with accurate solves it is −A₃ᵀA₂(A₂ᵀA₂)⁻¹A₁ᵀ(A₁x̂ − b₁), as finite differences of the exact f say", () => {
    const theta = normals(5);
    const { gradient } = inexactHypergradient(problem, known.solution(theta), theta, 0);
    const numeric = theta.map((_, j) => {
      const at = (h: number) => known.exact(theta.map((value, k) => (k === j ? value + h : value))).value;
      return (at(1e-4) - at(-1e-4)) / 2e-4;
    });
    expect(maxAbs(difference(gradient, known.exact(theta).gradient))).toBeLessThan(1e-8);
    expect(maxAbs(difference(gradient, numeric))).toBeLessThan(1e-5 * norm(gradient));
  });

  test("holds on 200 random accuracies and θ of the quadratic problem", () => {
    let tightest = 0;
    for (let k = 0; k < 200; k++) {
      const theta = normals(5);
      const [epsilon, delta] = [10 ** (-4 * stream.uniform()), 10 ** (-4 * stream.uniform())];
      const off = normals(5);
      const mu = problem.inner.strongConvexity(theta);
      const x = known.solution(theta).map((value, i) => value + (epsilon * off[i]!) / norm(off));
      const outerGradient = problem.outer.gradient(x, theta);
      const { gradient } = inexactHypergradient(problem, x, theta, delta);
      const omega = hypergradientErrorBound({
        epsilon,
        delta,
        strongConvexity: mu,
        outerSmoothness: constants.outerSmoothness!,
        crossNorm: constants.crossNorm!(x, theta),
        crossLipschitz: 0,
        inverseLipschitz: 0,
        directLipschitz: 0,
        outerGradientNorm: norm(outerGradient),
      });
      const error = norm(difference(gradient, known.exact(theta).gradient));
      expect(error).toBeLessThanOrEqual(omega);
      tightest = Math.max(tightest, error / omega);
    }
    expect(tightest).toBeGreaterThan(0.01);
  });

  test("bounds of g at an inexact solution hold on both sides, and are κ apart", () => {
    for (let k = 0; k < 50; k++) {
      const theta = normals(5);
      const off = normals(5);
      const epsilon = 10 ** (-3 * stream.uniform());
      const exact = known.solution(theta);
      const x = exact.map((value, i) => value + (epsilon * off[i]!) / norm(off));
      const { above, below } = outerUncertainty(
        norm(problem.outer.gradient(x, theta)),
        epsilon,
        constants.outerSmoothness!,
        true,
      );
      const gap = problem.outer.value(exact, theta) - problem.outer.value(x, theta);
      expect(gap).toBeLessThanOrEqual(above);
      expect(-gap).toBeLessThanOrEqual(below);
    }
    expect(outerUncertainty(2, 0.1, 4, true)).toEqual({ above: 0.2 + 0.5 * 4 * 0.1 ** 2, below: 0.2 });
    expect(outerUncertainty(2, 0.1, 4, false).below).toBeCloseTo(0.22, 12);
  });

  test("estimated constants close in on the known ones from below", () => {
    const estimates = constantsOf(problem, {}, randomStream(0, "estimates"));
    const theta = normals(5);
    const x = known.solution(theta);
    const outerGradient = problem.outer.gradient(x, theta);
    const { q } = inexactHypergradient(problem, x, theta, 0);
    let found = estimates.at(x, theta, outerGradient, q);
    for (let k = 0; k < 20; k++) found = estimates.at(x, theta, outerGradient, q);
    expect(found.crossNorm / constants.crossNorm!(x, theta)).toBeCloseTo(1, 4);
    expect(found.outerSmoothness / constants.outerSmoothness!).toBeCloseTo(1, 4);
    expect(found.crossLipschitz).toBeLessThan(1e-5);
    expect(found.inverseLipschitz * norm(outerGradient)).toBeLessThan(1e-3 * norm(q));
  });
});

describe("ridge weights of a multinomial regression", () => {
  test("derivatives are those of finite differences, constants bound what they should", async () => {
    const { problem: digits, constants: bounds } = ridgePerFeatureProblem(
      await noisyDigits(1_000_000, 30, 3),
      10,
    );
    const theta = normals(digits.lower.length, 0.5);
    const [x, v] = [normals(digits.parameters, 0.1), normals(digits.parameters)];
    const moved = (h: number) => x.map((value, i) => value + h * v[i]!);
    const value = (h: number) => digits.inner.evaluate(moved(h), theta).value;
    const gradient = (h: number) => digits.inner.evaluate(moved(h), theta).gradient;
    expect(dot(gradient(0), v)).toBeCloseTo((value(1e-4) - value(-1e-4)) / 2e-4, 5);
    const product = digits.inner.hessianProduct(x, theta, v);
    const numeric = difference(gradient(1e-4), gradient(-1e-4)).map((change) => change / 2e-4);
    expect(maxAbs(difference(product, numeric))).toBeLessThan(1e-5);
    expect(dot(v, product)).toBeLessThanOrEqual(bounds.smoothness!(theta) * dot(v, v));
    expect(dot(v, product)).toBeGreaterThanOrEqual(digits.inner.strongConvexity(theta) * dot(v, v));
    // What it keeps of x belongs to the values in x, not to the array.
    const reused = moved(0.1);
    const elsewhere = digits.inner.hessianProduct(reused, theta, v);
    reused.set(x);
    expect(digits.inner.hessianProduct(reused, theta, v)).toEqual(product);
    expect(maxAbs(difference(elsewhere, product))).toBeGreaterThan(1e-3);
    const outer = (h: number) => digits.outer.value(moved(h), theta);
    expect(dot(digits.outer.gradient(x, theta), v)).toBeCloseTo((outer(1e-4) - outer(-1e-4)) / 2e-4, 5);
    const bump = theta.map((_, j) => (j === 4 ? 1e-4 : 0));
    const cross = difference(
      digits.inner.evaluate(
        x,
        theta.map((t, j) => t + bump[j]!),
      ).gradient,
      digits.inner.evaluate(
        x,
        theta.map((t, j) => t - bump[j]!),
      ).gradient,
    ).map((change) => change / 2e-4);
    expect(digits.inner.crossProduct(x, theta, v)[4]).toBeCloseTo(dot(cross, v), 6);
    expect(norm(cross)).toBeLessThanOrEqual(bounds.crossNorm!(x, theta) * (1 + 1e-6));
  });
});

describe("MAID", () => {
  const search = { start: origin, maxWork: 20_000, seed: 0 };

  test("accepted steps never raise the exact objective, over 500 of them", () => {
    const { history } = maid({ ...constants, loosen: 1.25 })(problem, { ...search, maxWork: 60_000 });
    const values = history.map(({ lambda }) => known.exact(lambda).value);
    expect(values.length).toBeGreaterThan(500);
    expect(values.every((value, i) => i === 0 || value <= values[i - 1]!)).toBe(true);
    expect(values.at(-1)! - known.least).toBeLessThan(1e-3 * (values[0]! - known.least));
  });

  test("by hand: a step is taken only when the worst of g after it lies below the best before it", () => {
    // ε = ½ and θ = x = 0: g is at least 2 − 2·½ = 1. θ = 1 leads to at most ½ + 1·½ + ⅛ = 1.125, θ = 1.5 to ⅛ + ½·½ + ⅛ = ½.
    const taken = (stepSize: number) =>
      maid({ ...scalarConstants, epsilon: 0.5, stepSize, maxBacktracks: 1, adaptive: false })(scalar, {
        start: Float64Array.of(0),
        maxWork: 4,
        seed: 0,
      }).history[1]?.lambda[0];
    expect(taken(0.5)).toBeUndefined();
    expect(taken(0.75)).toBeCloseTo(1.5, 12);
  });

  test("ends at the same place from any first accuracy; a loose fixed one stalls", () => {
    const finals = (adaptive: boolean) =>
      [1, 1e-2, 1e-4].map((epsilon) => {
        const { lambda } = maid({ ...constants, epsilon, adaptive, loosen: 1.25 })(problem, search);
        return known.exact(lambda).value - known.least;
      });
    const adaptive = finals(true);
    expect(Math.max(...adaptive) / Math.min(...adaptive)).toBeLessThan(1.25);
    expect(finals(false)[0]! / Math.max(...adaptive)).toBeGreaterThan(5);
    const { end, history } = maid({ ...constants, adaptive: false })(problem, search);
    expect(end).toBe("stalled");
    expect(history.every(({ epsilon }) => epsilon === 0.1)).toBe(true);
  });

  test("with accuracies at rounding it is gradient descent with backtracking on f", () => {
    const { history } = maid({ ...constants, epsilon: 1e-11, loosen: 1, stepSize: 1, adaptive: false })(
      problem,
      {
        ...search,
        maxWork: 5000,
      },
    );
    let theta: Float64Array = origin.slice();
    let size = 1;
    for (const step of history.slice(1, 15)) {
      const { value, gradient } = known.exact(theta);
      const at = (alpha: number) => theta.map((t, j) => t - alpha * gradient[j]!);
      while (known.exact(at(size)).value > value - 1e-8 * size * dot(gradient, gradient)) size /= 2;
      expect(step.stepSize).toBeCloseTo(size, 12);
      theta = at(size);
      expect(maxAbs(difference(step.lambda, theta))).toBeLessThan(1e-6);
      size *= 10 / 9;
    }
    expect(history.length).toBeGreaterThan(15);
  });

  test("every step was certified: ω below ‖z‖, and accuracies tighten and loosen by their factors", () => {
    const { history } = maid({ ...constants, tighten: 0.5, loosen: 1.25 })(problem, search);
    for (const [i, { omega, gradientNorm, epsilon }] of history.slice(1).entries()) {
      expect(omega).toBeLessThanOrEqual((1 - 1e-4) * gradientNorm);
      const before = history[i]!.epsilon * (i === 0 ? 1 : 1.25);
      const halvings = Math.log2(before / epsilon);
      expect(halvings).toBeCloseTo(Math.round(halvings), 9);
    }
  });

  test("a bound that the objective falls beyond holds it, and ends the run as stationary or stalled", () => {
    const bounded = { ...scalar, upper: Float64Array.of(1) };
    const { lambda, end } = maid(scalarConstants)(bounded, {
      start: Float64Array.of(0),
      maxWork: 2000,
      seed: 0,
    });
    expect(lambda[0]).toBe(1);
    expect(["stationary", "stalled"]).toContain(end);
  });

  test("with estimated constants it lowers the loss of logistic and of kernel ridge regression, and counts all work", async () => {
    for (const [task, stepSize] of [
      [logisticProblem(await tumourSplit(1_000_000)), 0.1],
      [kernelRidgeProblem(await diabetesSplit(1_000_000)), 0.1],
    ] as const) {
      const start = new Float64Array(task.lower.length);
      const { lambda, history } = maid({ stepSize })(task, { start, maxWork: 600, seed: 0 });
      const values = history.map((step) => exactValueAndGradient(task, step.lambda).value);
      expect(exactValueAndGradient(task, lambda).value).toBeLessThan(0.99 * values[0]!);
      expect(values.every((value, i) => i === 0 || value <= values[i - 1]! + 1e-9)).toBe(true);
      const last = history.at(-1)!;
      expect(last.work).toBeGreaterThanOrEqual(last.lowerIterations + last.cgIterations);
    }
  });

  test("the inner solution that it returns belongs to its λ", () => {
    const { x, lambda, history } = maid(constants)(problem, search);
    const { epsilon } = history.at(-1)!;
    const exact = solveInner(problem, origin, lambda, 1e-10);
    expect(norm(difference(x, exact))).toBeLessThanOrEqual(epsilon);
  });

  test("each failed line search of a step has one more trial than the last; the next step begins anew", () => {
    // α = 48 has to be halved five times, to 1.5: with one backtrack at first that takes four failures, which halve ε each.
    // From θ = 3 with α = 32 · 1.5 it takes four again.
    const { history } = maid({
      ...scalarConstants,
      epsilon: 1e-3,
      stepSize: 48,
      grow: 32,
      loosen: 1,
      maxBacktracks: 1,
    })(scalar, { start: Float64Array.of(0), maxWork: 1000, seed: 0 });
    expect(history[1]!.stepSize).toBe(1.5);
    expect(history[1]!.epsilon).toBeCloseTo(1e-3 / 2 ** 4, 12);
    expect(history[2]!.stepSize).toBe(1.5);
    expect(history[2]!.epsilon).toBeCloseTo(1e-3 / 2 ** 8, 12);
  });

  test("bad input", () => {
    expect(() => maid({ stepSize: 0 })).toThrow("stepSize must be positive and finite, got 0");
    expect(() => maid({ epsilon: -1 })).toThrow("epsilon");
    expect(() => maid({ shrink: 1 })).toThrow("shrink");
    expect(() => maid({ loosen: 0.9 })).toThrow("loosen");
    const solve = maid(scalarConstants);
    const run = (at: number[], changes: Partial<BilevelProblem> = {}) =>
      solve({ ...scalar, ...changes }, { start: Float64Array.from(at), maxWork: 100, seed: 0 });
    expect(() => run([11])).toThrow("outside the box: hyperparameter 0 is 11, not from -10 to 10");
    expect(() => run([0, 0])).toThrow("the start has 2 hyperparameters, the box 1");
    expect(() => run([0], { upper: Float64Array.of(1, 2) })).toThrow("1 lower and 2 upper bounds");
    expect(() =>
      maid({ ...scalarConstants, start: Float64Array.of(1, 2) })(scalar, {
        start: origin.slice(0, 1),
        maxWork: 9,
        seed: 0,
      }),
    ).toThrow("the inner start has 2 entries, the problem 1 parameters");
    expect(() => run([0], { inner: { ...scalar.inner, strongConvexity: () => 0 } })).toThrow(
      "strong convexity is 0 at the hyperparameters [0]",
    );
    expect(() =>
      run([0.25], {
        inner: {
          ...scalar.inner,
          evaluate: () => ({ value: 1, gradient: Float64Array.of(Number.NaN) }),
        },
      }),
    ).toThrow("an entry of the inner gradient is NaN at the hyperparameters [0.25]");
    expect(() =>
      run([0], {
        inner: { ...scalar.inner, evaluate: () => ({ value: 1, gradient: Float64Array.of(1, 2) }) },
      }),
    ).toThrow("the inner gradient has 2 entries instead of 1");
  });
});
