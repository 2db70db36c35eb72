import {
  correlations,
  type Design,
  design,
  fittedValues,
  type Groups,
  groupPenalty,
  groupSize,
  groupsOfSizes,
  lambdaPath,
  solveLeastSquares,
} from "@prior-art/toolkit/convex";
import { difference, dot, maxAbs } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { RegressionData } from "../family.ts";
import {
  groupSlope,
  groupSlopeWeights,
  oscarWeights,
  slopeWeights,
  solveSparseGroup,
  sparseGroupSlope,
  sparseGroupValue,
  strongSet,
  violations,
} from "./method.ts";

function simulate(seed: number, sizes: readonly number[], n = 40): RegressionData {
  const stream = randomStream(seed, "data");
  const groups = groupsOfSizes(sizes);
  const p = groups.starts[groups.count]!;
  const x: Design = design(
    n,
    p,
    Float64Array.from({ length: n * p }, () => stream.normal()),
  );
  const beta = new Float64Array(p);
  for (let g = 0; g < groups.count; g += 5)
    for (let j = groups.starts[g]!; j < groups.starts[g + 1]!; j++) beta[j] = 2 * stream.normal();
  return { design: x, groups, response: fittedValues(x, beta).map((v) => v + stream.normal()) };
}

const sizes = Array.from({ length: 20 }, (_, g) => 2 + (g % 4));
const data = simulate(1, sizes);

describe("weights", () => {
  test("SLOPE's are normal quantiles, group SLOPE's of groups of one variable the same at twice the rate", () => {
    expect(slopeWeights(2, 0.1)[0]).toBeCloseTo(1.959964, 5);
    const single = groupSlopeWeights(groupsOfSizes([1, 1, 1, 1]), 0.1);
    // P(|Z| ≤ w) = 1 − iq/m, so that w = Φ⁻¹(1 − iq/2m).
    expect(maxAbs(difference(single, slopeWeights(4, 0.1)))).toBeLessThan(1e-6);
  });

  test("all decrease", () => {
    for (const w of [slopeWeights(30), groupSlopeWeights(data.groups), oscarWeights(30)])
      for (let i = 1; i < w.length; i++) expect(w[i]!).toBeLessThan(w[i - 1]!);
    expect([...oscarWeights(4)]).toEqual([1.75, 1.5, 1.25, 1]);
    expect(() => slopeWeights(3, 0)).toThrow("false discovery rate");
  });
});

describe("the strong rule", () => {
  test("constant weights make it the strong rule of the lasso: keep |z| ≥ 2λ' − λ", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 1, maxLength: 12 }),
        fc.double({ min: 0.5, max: 1, noNaN: true }),
        (z, ratio) => {
          const constant = (value: number) => new Float64Array(z.length).fill(value);
          const kept = [...strongSet(z, constant(1), constant(ratio))].sort((a, b) => a - b);
          const expected = [...z.keys()].filter((i) => Math.abs(z[i]!) + 1 - 2 * ratio >= 0);
          expect(kept).toEqual(expected);
        },
      ),
    );
  });

  test("known values: a small entry is kept when the run that it ends reaches zero", () => {
    // c = z + w − 2w' with w = w' = (3, 1): (2.5 − 3, 1.6 − 1) sums to 0.1.
    expect([...strongSet([1.6, 2.5], [3, 1], [3, 1])]).toEqual([1, 0]);
    expect([...strongSet([1.4, 2.5], [3, 1], [3, 1])]).toEqual([]);
    expect([...strongSet([0.5, 3.5], [3, 1], [3, 1])]).toEqual([1]);
  });

  test("without a step it keeps exactly what the optimality conditions leave undecided", () => {
    const lambda = 0.3 * groupSlope().largestLambda(data);
    const w = groupSlopeWeights(data.groups).map((v) => v * lambda);
    const fit = groupSlope({ screen: false }).fit(data, lambda, { tolerance: 1e-13 });
    const residual = difference(data.response, fittedValues(data.design, fit.coefficients));
    const norms = Float64Array.from({ length: data.groups.count }, (_, g) => {
      const [from, to] = [data.groups.starts[g]!, data.groups.starts[g + 1]!];
      const z = correlations(data.design, residual).subarray(from, to);
      return Math.sqrt(dot(z, z) / (to - from)) / 40;
    });
    const active = new Set(activeGroups(fit.coefficients, data.groups));
    expect(active.size).toBeGreaterThan(0);
    const kept = new Set(
      strongSet(
        norms.map((v) => v * (1 + 1e-6)),
        w,
        w,
      ),
    );
    for (const g of active) expect(kept).toContain(g);
    expect(
      violations(
        norms.map((v) => v * (1 - 1e-6)),
        active,
        w,
      ),
    ).toEqual([]);
    // Called zero, the active groups break the conditions.
    expect(
      violations(
        norms.map((v) => v * (1 + 1e-6)),
        new Set(),
        w,
      ).length,
    ).toBe(active.size);
  });
});

function activeGroups(beta: Float64Array, groups: Groups): number[] {
  return Array.from({ length: groups.count }, (_, g) => g).filter((g) =>
    beta.subarray(groups.starts[g]!, groups.starts[g + 1]!).some((value) => value !== 0),
  );
}

describe("group SLOPE", () => {
  test("zero at λ_max and not just below it", () => {
    const model = groupSlope();
    const largest = model.largestLambda(data);
    expect(maxAbs(model.fit(data, largest * (1 + 1e-9)).coefficients)).toBe(0);
    expect(maxAbs(model.fit(data, largest * 0.99, { tolerance: 1e-10 }).coefficients)).toBeGreaterThan(0);
  });

  test("constant weights are the group lasso", () => {
    const lambda = 0.2 * groupSlope({ weights: Array(20).fill(1) }).largestLambda(data);
    const fit = groupSlope({ weights: Array(20).fill(1) }).fit(data, lambda, { tolerance: 1e-13 });
    const roots = sizes.map(Math.sqrt);
    const reference = solveLeastSquares(
      { ...data, lambda, penalty: groupPenalty(data.groups, roots) },
      { tolerance: 1e-13 },
    );
    expect(maxAbs(difference(fit.coefficients, reference.coefficients))).toBeLessThan(1e-5);
  });

  test("screening changes nothing but the work, and the certificate is that of the full problem", () => {
    for (const seed of [1, 2, 3]) {
      const problem = simulate(seed, sizes);
      const lambdas = lambdaPath(groupSlope().largestLambda(problem), 12, 0.05);
      const all = groupSlope({ screen: false }).path(problem, lambdas, { tolerance: 1e-11 });
      const screened = groupSlope().path(problem, lambdas, { tolerance: 1e-11 });
      const scale = dot(problem.response, problem.response) / 80;
      screened.forEach((fit, k) => {
        expect(maxAbs(difference(fit.coefficients, all[k]!.coefficients))).toBeLessThan(2e-3);
        expect(fit.gap).toBeLessThanOrEqual(1e-11 * scale);
        expect(fit.candidates).toBeGreaterThanOrEqual(fit.active);
      });
      expect(screened[2]!.candidates).toBeLessThan(problem.design.variables);
      // In the sparse half of the path; at its end nothing is left to drop.
      const work = (fits: typeof all): number =>
        fits.slice(0, 6).reduce((sum, fit) => sum + fit.columnProducts, 0);
      expect(work(screened)).toBeLessThan(work(all));
    }
  });

  test("a step too large for the rule is mended by the check", () => {
    const lambda = 0.02 * groupSlope().largestLambda(data);
    const [, last] = groupSlope().path(data, [lambda * 40, lambda], { tolerance: 1e-10 });
    const direct = groupSlope({ screen: false }).fit(data, lambda, { tolerance: 1e-10 });
    expect(maxAbs(difference(last!.coefficients, direct.coefficients))).toBeLessThan(2e-3);
  });

  test("predictions and refusals", () => {
    const fit = groupSlope().fit(data, 0.1);
    expect(groupSlope().predict(data.design, fit)).toEqual(fittedValues(data.design, fit.coefficients));
    expect(() => groupSlope({ weights: [1, 2] }).fit(data, 1)).toThrow("2 weights for 20");
    expect(() => groupSlope({ weights: Array.from({ length: 20 }, (_, i) => i) }).fit(data, 1)).toThrow(
      "decrease",
    );
    expect(() => groupSlope().fit({ ...data, response: new Float64Array(2) }, 1)).toThrow("2 responses");
    expect(() => sparseGroupSlope({ alpha: 1 })).toThrow("alpha");
  });
});

describe("sparse-group SLOPE", () => {
  test("no point nearby is better, and the objective is within the gap", () => {
    const penalty = {
      groups: data.groups,
      alpha: 0.5,
      variableWeights: slopeWeights(data.design.variables),
      groupWeights: groupSlopeWeights(data.groups),
    };
    const lambda = 0.1;
    const objective = (beta: Float64Array): number => {
      const r = difference(data.response, fittedValues(data.design, beta));
      return dot(r, r) / 80 + lambda * sparseGroupValue(penalty, beta);
    };
    const problem = { design: data.design, response: data.response, penalty, lambda };
    const fine = solveSparseGroup(problem, { tolerance: 1e-9 });
    expect(fine.converged).toBe(true);
    expect(fine.coefficients.some((value) => value === 0)).toBe(true);
    expect(maxAbs(fine.coefficients)).toBeGreaterThan(0);
    const best = objective(fine.coefficients);
    const rough = solveSparseGroup(problem, { tolerance: 1e-3 });
    expect(objective(rough.coefficients) - best).toBeLessThanOrEqual(rough.gap);
    const stream = randomStream(4, "directions");
    for (let k = 0; k < 200; k++) {
      const size = 10 ** (-1 - 3 * stream.uniform());
      const moved = fine.coefficients.map((value) => value + size * stream.normal());
      expect(objective(moved)).toBeGreaterThan(best - fine.gap);
    }
  });

  test("the value counts variables and groups", () => {
    const penalty = {
      groups: groupsOfSizes([2, 1]),
      alpha: 0.25,
      variableWeights: Float64Array.of(3, 2, 1),
      groupWeights: Float64Array.of(2, 1),
    };
    // 0.25 (3·4 + 2·3 + 1·1) + 0.75 (2·√2·5 + 1·1)
    expect(sparseGroupValue(penalty, Float64Array.of(3, -4, 1))).toBeCloseTo(
      4.75 + 0.75 * (10 * Math.SQRT2 + 1),
      10,
    );
  });

  test("screening changes nothing but the work", () => {
    const lambdas = lambdaPath(sparseGroupSlope().largestLambda(data), 10, 0.1);
    const all = sparseGroupSlope({ screen: false }).path(data, lambdas, { tolerance: 1e-8 });
    const screened = sparseGroupSlope().path(data, lambdas, { tolerance: 1e-8 });
    screened.forEach((fit, k) => {
      expect(maxAbs(difference(fit.coefficients, all[k]!.coefficients))).toBeLessThan(5e-3);
    });
    expect(maxAbs(screened[9]!.coefficients)).toBeGreaterThan(0);
    expect(screened[3]!.candidates).toBeLessThan(data.design.variables / 2);
    expect(groupSize(data.groups, 0)).toBe(2);
  });
});
