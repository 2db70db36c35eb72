import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { difference, dot, matrix, maxAbs, norm, thinSVD } from "../linalg/index.ts";
import { randomStream } from "../stats/index.ts";
import {
  acceleratedProximalGradient,
  column,
  type Design,
  design,
  dualityGap,
  elasticNet,
  fittedValues,
  groupLasso,
  groupPenalty,
  groupSortedL1Penalty,
  groupsOfSizes,
  l1Penalty,
  lambdaPath,
  largestLambda,
  lbfgs,
  type NormPenalty,
  projectBox,
  projectL1Ball,
  projectL2Ball,
  projectSimplex,
  proxElasticNet,
  proxL1,
  proxL2Norm,
  proxNuclear,
  proxSortedL1,
  selectGroups,
  selectVariables,
  solveLeastSquares,
  sortedL1Penalty,
  standardize,
} from "./index.ts";

/** Rounded: next to others, numbers at the edge of what floats can hold only test the singular value decomposition. */
const entries = fc.double({ min: -5, max: 5, noNaN: true }).map((value) => Math.round(value * 1e6) / 1e6);
const six = fc.array(entries, { minLength: 6, maxLength: 6 }).map((values) => Float64Array.from(values));
const groups = groupsOfSizes([2, 1, 3]);
const penalties: Record<string, NormPenalty> = {
  lasso: l1Penalty(),
  "group lasso": groupPenalty(groups, [1, 0.5, 2]),
  SLOPE: sortedL1Penalty([3, 2, 2, 1, 0.5, 0]),
  "group SLOPE": groupSortedL1Penalty(groups, [3, 1, 0.5]),
};

function regression(n: number, p: number, seed: number): { design: Design; response: Float64Array } {
  const stream = randomStream(seed, "regression");
  const x = design(
    n,
    p,
    Float64Array.from({ length: n * p }, () => stream.normal()),
  );
  const truth = Float64Array.from({ length: p }, (_, j) => (j % 7 === 0 ? stream.normal() : 0));
  return { design: x, response: fittedValues(x, truth).map((value) => value + 0.3 * stream.normal()) };
}

describe("proximal operators", () => {
  test("known values", () => {
    expect([...proxL1([3, -0.5, -2], 1)]).toEqual([2, 0, -1]);
    expect([...proxL2Norm([3, 4], 1)]).toEqual([expect.closeTo(2.4, 12), expect.closeTo(3.2, 12)]);
    expect([...proxL2Norm([0.3, 0.4], 1)]).toEqual([0, 0]);
    expect([...proxElasticNet([3, -2], 1, 1)]).toEqual([1, -0.5]);
    // The second and third would cross, so they are pooled at their mean, (4 − 3 + 3.5 − 1)/2.
    expect([...proxSortedL1([-9, 4, 3.5], [3, 3, 1])]).toEqual([-6, 1.75, 1.75]);
    expect([...proxNuclear(matrix(2, 2, [3, 0, 0, 1]), 2).values]).toEqual([expect.closeTo(1, 12), 0, 0, 0]);
  });

  test.each(Object.entries(penalties))("%s: the prox minimizes its objective", (_, penalty) => {
    fc.assert(
      fc.property(six, six, fc.double({ min: 0.01, max: 2, noNaN: true }), (x, direction, step) => {
        const objective = (z: Float64Array): number =>
          0.5 * dot(difference(z, x), difference(z, x)) + step * penalty.value(z);
        const z = penalty.prox(x, step);
        for (const size of [1e-3, 0.1, 1])
          expect(objective(z.map((v, i) => v + size * direction[i]!))).toBeGreaterThanOrEqual(
            objective(z) - 1e-9,
          );
      }),
    );
  });

  test.each(Object.entries(penalties))("%s: dual norm and prox agree (Moreau)", (_, penalty) => {
    fc.assert(
      fc.property(six, six, (x, y) => {
        // x − prox(x) is the projection on the unit ball of the dual norm.
        const projected = difference(x, penalty.prox(x, 1));
        expect(penalty.dualNorm(projected)).toBeLessThanOrEqual(1 + 1e-9);
        if (penalty.dualNorm(x) <= 1) expect(maxAbs(penalty.prox(x, 1))).toBeLessThan(1e-9);
        expect(Math.abs(dot(x, y))).toBeLessThanOrEqual(penalty.value(x) * penalty.dualNorm(y) + 1e-9);
      }),
    );
  });

  test("constant weights make SLOPE the lasso and group SLOPE the group lasso", () => {
    fc.assert(
      fc.property(six, (x) => {
        expect(maxAbs(difference(proxSortedL1(x, [2, 2, 2, 2, 2, 2]), proxL1(x, 2)))).toBeLessThan(1e-12);
        const sorted = groupSortedL1Penalty(groups, [2, 2, 2]).prox(x, 0.5);
        expect(maxAbs(difference(sorted, groupPenalty(groups, [2, 2, 2]).prox(x, 0.5)))).toBeLessThan(1e-12);
      }),
    );
  });

  test("the nuclear norm's prox thresholds the singular values", () => {
    fc.assert(
      fc.property(six, (values) => {
        const { s } = thinSVD(matrix(2, 3, values));
        const shrunk = thinSVD(proxNuclear(matrix(2, 3, values), 0.7)).s;
        expect(
          maxAbs(
            difference(
              shrunk,
              s.map((v) => Math.max(0, v - 0.7)),
            ),
          ),
        ).toBeLessThan(1e-8);
      }),
    );
  });
});

describe("projections", () => {
  test("known values", () => {
    expect([...projectSimplex([2, 0])]).toEqual([1, 0]);
    expect([...projectSimplex([0.4, 0.4], 2)]).toEqual([expect.closeTo(1, 12), expect.closeTo(1, 12)]);
    expect([...projectL1Ball([3, -1], 2)]).toEqual([2, 0]);
    expect([...projectL2Ball([3, 4], 1)]).toEqual([expect.closeTo(0.6, 12), expect.closeTo(0.8, 12)]);
    expect([...projectBox([-2, 0.5, 2], -1, 1)]).toEqual([-1, 0.5, 1]);
    expect(() => projectSimplex([1], 0)).toThrow(RangeError);
    expect(() => projectSimplex([])).toThrow(RangeError);
  });

  test("the projection is feasible, and the angle to every feasible point is obtuse", () => {
    fc.assert(
      fc.property(six, six, fc.double({ min: 0.1, max: 4, noNaN: true }), (x, other, size) => {
        const onSimplex = projectSimplex(x, size);
        expect(onSimplex.reduce((a, b) => a + b, 0)).toBeCloseTo(size, 9);
        expect(Math.min(...onSimplex)).toBeGreaterThanOrEqual(0);
        for (const project of [projectSimplex, projectL1Ball, projectL2Ball]) {
          const z = project(x, size);
          const feasible = project(other, size);
          expect(dot(difference(x, z), difference(feasible, z))).toBeLessThan(1e-8);
        }
      }),
    );
  });
});

describe("designs and groups", () => {
  test("selections and standard columns", () => {
    const { design: x } = regression(20, 6, 1);
    const chosen = selectGroups(groups, [2, 0]);
    expect([...chosen.variables]).toEqual([3, 4, 5, 0, 1]);
    expect([...chosen.groups.starts]).toEqual([0, 3, 5]);
    expect(column(selectVariables(x, chosen.variables), 3)).toEqual(column(x, 0));
    const standard = standardize(x);
    for (let j = 0; j < 6; j++) {
      expect(norm(column(standard, j))).toBeCloseTo(Math.sqrt(20), 9);
      expect(column(standard, j).reduce((a, b) => a + b, 0)).toBeCloseTo(0, 9);
    }
    expect(maxAbs(standardize(design(3, 1, [2, 2, 2])).values)).toBe(0);
    expect(() => groupsOfSizes([1, 0])).toThrow("group 1");
    expect(() => design(2, 2, [1])).toThrow("need 4 values");
  });
});

describe("solvers", () => {
  const sizes = Array(10).fill(4) as number[];
  const blocks = groupsOfSizes(sizes);
  const data = regression(30, 40, 3);

  test.each([
    ["lasso", l1Penalty()],
    ["group lasso", groupPenalty(blocks, Array(10).fill(2))],
    [
      "group SLOPE",
      groupSortedL1Penalty(
        blocks,
        Float64Array.from({ length: 10 }, (_, i) => 2 - i / 10),
      ),
    ],
  ])("%s: zero at λ_max and not below; the gap certifies the solution", (_, penalty) => {
    const largest = largestLambda({ ...data, penalty });
    const zero = solveLeastSquares({ ...data, penalty, lambda: largest * (1 + 1e-9) });
    expect(maxAbs(zero.coefficients)).toBe(0);
    expect(
      maxAbs(solveLeastSquares({ ...data, penalty, lambda: 0.95 * largest }).coefficients),
    ).toBeGreaterThan(0);
    const problem = { ...data, penalty, lambda: 0.1 * largest };
    const fine = solveLeastSquares(problem, { tolerance: 1e-13 });
    const rough = solveLeastSquares(problem, { tolerance: 1e-3 });
    const objective = (beta: Float64Array): number => {
      const r = difference(data.response, fittedValues(data.design, beta));
      return dot(r, r) / 60 + problem.lambda * penalty.value(beta);
    };
    const excess = objective(rough.coefficients) - objective(fine.coefficients);
    expect(excess).toBeGreaterThanOrEqual(0);
    expect(excess).toBeLessThanOrEqual(rough.gap);
    expect(dualityGap(problem, fine.coefficients)).toBeLessThan(1e-11);
  });

  test("every solver finds the same lasso and the same group lasso", () => {
    const options = { tolerance: 1e-13 };
    const lambda = 0.1 * largestLambda({ ...data, penalty: l1Penalty() });
    const lasso = elasticNet({ ...data, lambda }, options);
    const fista = solveLeastSquares({ ...data, lambda, penalty: l1Penalty() }, options);
    const plain = solveLeastSquares(
      { ...data, lambda, penalty: l1Penalty() },
      { ...options, momentum: false },
    );
    const generic = acceleratedProximalGradient({
      smooth: (beta) => {
        const r = difference(fittedValues(data.design, beta), data.response);
        const gradient = Float64Array.from({ length: 40 }, (_, j) => dot(column(data.design, j), r) / 30);
        return { value: dot(r, r) / 60, gradient };
      },
      prox: (x, step) => proxL1(x, lambda * step),
      start: new Float64Array(40),
      maxIterations: 20_000,
      tolerance: 1e-12,
    });
    for (const { coefficients } of [fista, plain, { coefficients: generic.x }])
      expect(maxAbs(difference(coefficients, lasso.coefficients))).toBeLessThan(1e-5);
    expect(fista.iterations).toBeLessThan(plain.iterations);

    const weights = Float64Array.from({ length: 10 }, (_, g) => 1 + g / 10);
    const grouped = groupLasso({ ...data, lambda, groups: blocks, weights }, options);
    const reference = solveLeastSquares({ ...data, lambda, penalty: groupPenalty(blocks, weights) }, options);
    expect(maxAbs(difference(grouped.coefficients, reference.coefficients))).toBeLessThan(1e-5);
  });

  test("orthogonal columns: the elastic net is one shrinkage", () => {
    const x = design(4, 2, [2, 0, 0, 0, 0, 2, 0, 0]);
    const { coefficients, gap } = elasticNet({
      design: x,
      response: Float64Array.of(4, -1, 0, 0),
      lambda: 0.5,
      l1Ratio: 0.6,
    });
    // Columns of norm √n: soft(⟨x, y⟩/n, λρ)/(1 + λ(1 − ρ)).
    expect(coefficients[0]).toBeCloseTo(1.7 / 1.2, 9);
    expect(coefficients[1]).toBeCloseTo(-0.2 / 1.2, 9);
    expect(gap).toBeLessThan(1e-7);
  });

  test("L-BFGS finds the bottom of Rosenbrock's valley and of a function with a kink", () => {
    const valley = lbfgs(
      ([x, y]) => ({
        value: (1 - x!) ** 2 + 100 * (y! - x! * x!) ** 2,
        gradient: Float64Array.of(-2 * (1 - x!) - 400 * x! * (y! - x! * x!), 200 * (y! - x! * x!)),
      }),
      { start: Float64Array.of(-1.2, 1), tolerance: 1e-9 },
    );
    expect(valley.converged).toBe(true);
    expect(maxAbs(difference(valley.x, [1, 1]))).toBeLessThan(1e-8);
    // What else an objective returns is not the minimizer's business.
    const crowded = lbfgs(
      ([x]) => ({ value: (x! - 3) ** 4, gradient: Float64Array.of(4 * (x! - 3) ** 3), x: [7] }),
      {
        start: Float64Array.of(-2),
        tolerance: 1e-9,
      },
    );
    expect(crowded.x[0]).toBeCloseTo(3, 2);
    const kink = lbfgs(
      ([x, y]) => ({
        value: Math.abs(x! - 1) + 2 * Math.abs(y! + 2),
        gradient: Float64Array.of(Math.sign(x! - 1), 2 * Math.sign(y! + 2)),
      }),
      { start: Float64Array.of(5.3, 4.7) },
    );
    expect(kink.value).toBeLessThan(1e-6);
  });

  test("paths and refusals", () => {
    expect([...lambdaPath(8, 4, 1 / 8)].map((v) => Math.round(v * 1e9) / 1e9)).toEqual([8, 4, 2, 1]);
    expect(() => lambdaPath(1, 3, 0)).toThrow(RangeError);
    expect(() => elasticNet({ ...data, lambda: -1 })).toThrow("lambda");
    expect(() => elasticNet({ ...data, lambda: 1, l1Ratio: 0 })).toThrow("l1Ratio");
    expect(() => elasticNet({ ...data, response: new Float64Array(3), lambda: 1 })).toThrow("3 responses");
    expect(() => groupLasso({ ...data, lambda: 1, groups })).toThrow("groups of 6");
  });
});
