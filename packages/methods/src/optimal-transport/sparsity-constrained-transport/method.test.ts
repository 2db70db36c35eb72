import { difference, dot, matrix, maxAbs } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import { exactTransport, quadraticTransport, type TransportProblem } from "@prior-art/toolkit/transport";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sparseTransport, sparseTransportSolver, topKConjugate, topKSimplexConjugate } from "./method.ts";

function randomProblem(m: number, n: number, seed: number): TransportProblem {
  const stream = randomStream(seed, "transport");
  return {
    cost: matrix(
      m,
      n,
      Float64Array.from({ length: m * n }, () => stream.uniform()),
    ),
    source: new Float64Array(m).fill(1 / m),
    target: new Float64Array(n).fill(1 / n),
  };
}

const scores = fc
  .uniqueArray(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 5, maxLength: 5 })
  .map((values) => Float64Array.from(values));

/** All supports of at most k of five entries. */
const supports = (k: number): number[][] =>
  Array.from({ length: 32 }, (_, bits) => [0, 1, 2, 3, 4].filter((i) => bits & (1 << i))).filter(
    (set) => set.length >= 1 && set.length <= k,
  );

describe("conjugates", () => {
  test("known values", () => {
    const column = new Float64Array(3);
    expect(topKConjugate({ k: 1, gamma: 2 })(Float64Array.of(1, 3, -1), column)).toBe(9 / 4);
    expect([...column]).toEqual([0, 1.5, 0]);
    column.fill(0);
    // The two largest, (3, 1)/2, projected on the simplex of mass 1/2: only the first stays.
    expect(topKSimplexConjugate({ k: 2, gamma: 2 })(Float64Array.of(1, 3, -1), 0.5, column)).toBe(1.5 - 0.25);
    expect([...column]).toEqual([0, 0.5, 0]);
    column.fill(0);
    topKSimplexConjugate({ k: 2, gamma: 2 })(Float64Array.of(1, 3, 0.9), 2, column);
    expect([...column]).toEqual([0.5, 1.5, 0]);
  });

  test("the top k scores are the best support: no other does better", () => {
    fc.assert(
      fc.property(
        scores,
        fc.integer({ min: 1, max: 5 }),
        fc.double({ min: 0.1, max: 2, noNaN: true }),
        (s, k, gamma) => {
          const free = topKConjugate({ k, gamma })(s, new Float64Array(5));
          const fixed = topKSimplexConjugate({ k, gamma })(s, 0.7, new Float64Array(5));
          const values = supports(k).map((set) => {
            const inner = Float64Array.from(set, (i) => s[i]!);
            return [
              topKConjugate({ k: 5, gamma })(inner, new Float64Array(set.length)),
              topKSimplexConjugate({ k: 5, gamma })(inner, 0.7, new Float64Array(set.length)),
            ];
          });
          expect(free).toBeCloseTo(Math.max(0, ...values.map(([value]) => value!)), 10);
          expect(fixed).toBeCloseTo(Math.max(...values.map(([, value]) => value!)), 10);
        },
      ),
    );
  });

  test("the maximizer is the gradient", () => {
    fc.assert(
      fc.property(scores, fc.integer({ min: 1, max: 5 }), (s, k) => {
        // Where the top k set changes within a step there is no gradient.
        const sorted = [...s].sort((a, b) => b - a);
        fc.pre(k === 5 || sorted[k - 1]! - sorted[k]! > 1e-3);
        for (const conjugate of [
          topKConjugate({ k, gamma: 0.7 }),
          (x: Float64Array, c: Float64Array) => topKSimplexConjugate({ k, gamma: 0.7 })(x, 0.5, c),
        ]) {
          const column = new Float64Array(5);
          conjugate(s, column);
          const numeric = s.map((_, i) => {
            const at = (h: number) =>
              conjugate(
                s.map((v, j) => (j === i ? v + h : v)),
                new Float64Array(5),
              );
            return (at(1e-5) - at(-1e-5)) / 2e-5;
          });
          expect(maxAbs(difference(numeric, column))).toBeLessThan(1e-4);
        }
      }),
    );
  });
});

describe("sparse transport", () => {
  const gamma = 2;

  test.each(["semi-dual", "dual"] as const)("%s: no column has more than k non-zeros", (formulation) => {
    for (const k of [1, 2, 3]) {
      const { plan } = sparseTransport(randomProblem(8, 6, k), { k, gamma, formulation, maxIterations: 100 });
      for (let j = 0; j < 6; j++)
        expect([...plan.values].filter((mass, at) => at % 6 === j && mass > 0).length).toBeLessThanOrEqual(k);
    }
  });

  test("k = 1: the semi-dual's optimum is the unregularized cost and a constant", () => {
    for (const seed of [1, 2, 3]) {
      const problem = randomProblem(7, 7, seed);
      const { objective, cost, plan } = sparseTransport(problem, { k: 1, gamma });
      const exact = exactTransport(problem);
      expect(objective - 0.5 * gamma * dot(problem.target, problem.target)).toBeCloseTo(exact.cost, 8);
      expect(cost).toBeCloseTo(exact.cost, 8);
      expect(maxAbs(difference(plan.values, exact.plan.values))).toBeLessThan(1e-8);
    }
  });

  test("k = m: quadratic regularization, by the dual as by the semi-dual", () => {
    const problem = randomProblem(6, 9, 4);
    const reference = quadraticTransport(problem, { gamma, tolerance: 1e-10 });
    for (const formulation of ["semi-dual", "dual"] as const) {
      const { objective, plan, ties } = sparseTransport(problem, {
        k: 6,
        gamma,
        formulation,
        tolerance: 1e-9,
      });
      expect(objective).toBeCloseTo(reference.objective, 8);
      expect(maxAbs(difference(plan.values, reference.plan.values))).toBeLessThan(1e-6);
      expect(ties).toBe(0);
    }
  });

  test("the optimum falls with k, and a plan with the right marginals is optimal", () => {
    const problem = randomProblem(8, 8, 5);
    const optima = [1, 2, 3, 4, 8].map((k) => sparseTransport(problem, { k, gamma, maxIterations: 3000 }));
    optima.forEach(({ objective, marginalError, cost, plan }, i) => {
      if (i > 0) expect(objective).toBeLessThanOrEqual(optima[i - 1]!.objective + 1e-9);
      if (marginalError < 1e-6)
        expect(cost + 0.5 * gamma * dot(plan.values, plan.values)).toBeCloseTo(objective, 6);
    });
    expect(optima.at(-1)!.marginalError).toBeLessThan(1e-6);
  });

  test("the solver form, and refusals", () => {
    const problem = randomProblem(4, 4, 6);
    expect(sparseTransportSolver({ k: 2, gamma })(problem).cost).toBe(
      sparseTransport(problem, { k: 2, gamma }).cost,
    );
    expect(() => sparseTransport(problem, { k: 0, gamma })).toThrow("k must be");
    expect(() => sparseTransport(problem, { k: 1.5, gamma, formulation: "dual" })).toThrow("k must be");
    expect(() => sparseTransport(problem, { k: 1, gamma: 0 })).toThrow("gamma");
  });
});

test("a column that could take either of two sources counts as a tie, and its plan misses their marginal", () => {
  const symmetric: TransportProblem = {
    cost: matrix(2, 1, Float64Array.of(0, 0)),
    source: Float64Array.of(0.5, 0.5),
    target: Float64Array.of(1),
  };
  const one = sparseTransport(symmetric, { k: 1, gamma: 1 });
  expect(one.ties).toBe(1);
  expect(one.marginalError).toBeGreaterThan(0.5);
  const both = sparseTransport(symmetric, { k: 2, gamma: 1 });
  expect(both.ties).toBe(0);
  expect(both.marginalError).toBeLessThan(1e-6);
  // Nothing ties where one source is clearly cheaper.
  const apart = {
    ...symmetric,
    cost: matrix(2, 2, Float64Array.of(0, 1, 1, 0)),
    target: Float64Array.of(0.5, 0.5),
  };
  expect(sparseTransport(apart, { k: 1, gamma: 0.1 }).ties).toBe(0);
});
