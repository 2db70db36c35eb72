import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { difference, matrix, maxAbs } from "../linalg/index.ts";
import { randomStream } from "../stats/index.ts";
import {
  barycentricMap,
  countNonzeros,
  exactTransport,
  type Gaussian,
  gaussianDistance,
  gaussianMap,
  gaussianPair,
  pointProblem,
  quadraticTransport,
  roundToMarginals,
  sampleGaussian,
  semiDualValue,
  sinkhorn,
  type TransportProblem,
  wasserstein1d,
} from "./index.ts";

function randomProblem(m: number, n: number, seed: number, equal = false): TransportProblem {
  const stream = randomStream(seed, "transport");
  const masses = (count: number): Float64Array => {
    const raw = Float64Array.from({ length: count }, () => (equal ? 1 : 0.1 + stream.uniform()));
    const total = raw.reduce((a, b) => a + b, 0);
    return raw.map((mass) => mass / total);
  };
  const cost = matrix(
    m,
    n,
    Float64Array.from({ length: m * n }, () => stream.uniform()),
  );
  return { cost, source: masses(m), target: masses(n) };
}

const sizes = fc.integer({ min: 1, max: 14 });
const seeds = fc.integer({ min: 0, max: 10_000 });

describe("exact transport", () => {
  test("a known plan", () => {
    const { plan, cost } = exactTransport({
      cost: matrix(2, 3, [4, 1, 3, 2, 5, 1]),
      source: Float64Array.of(0.6, 0.4),
      target: Float64Array.of(0.3, 0.5, 0.2),
    });
    // Source 2 serves targets 3 and 1 as far as it can; the rest of target 1 comes dearly from source 1.
    expect(cost).toBeCloseTo(0.1 * 4 + 0.5 * 1 + 0.2 * 2 + 0.2 * 1, 12);
    expect(maxAbs(difference(plan.values, [0.1, 0.5, 0, 0.2, 0, 0.2]))).toBeLessThan(1e-12);
  });

  test("potentials prove every plan optimal", () => {
    fc.assert(
      fc.property(sizes, sizes, seeds, (m, n, seed) => {
        const problem = randomProblem(m, n, seed);
        const { plan, cost, potentials, marginalError } = exactTransport(problem);
        expect(marginalError).toBeLessThan(1e-11);
        expect(countNonzeros(plan)).toBeLessThanOrEqual(m + n - 1);
        const { source: f, target: g } = potentials!;
        let dual = 0;
        for (let i = 0; i < m; i++) dual += f[i]! * problem.source[i]!;
        for (let j = 0; j < n; j++) dual += g[j]! * problem.target[j]!;
        for (let i = 0; i < m; i++)
          for (let j = 0; j < n; j++)
            expect(f[i]! + g[j]!).toBeLessThanOrEqual(problem.cost.values[i * n + j]! + 1e-12);
        expect(dual).toBeCloseTo(cost, 10);
        expect(semiDualValue(problem, f)).toBeCloseTo(cost, 10);
      }),
      { numRuns: 200 },
    );
  });

  test("equal masses give a permutation", () => {
    const { plan } = exactTransport(randomProblem(30, 30, 1, true));
    expect(countNonzeros(plan, 1e-9)).toBe(30);
  });

  test("on the line it is the sorted matching", () => {
    fc.assert(
      fc.property(seeds, sizes, sizes, (seed, m, n) => {
        const stream = randomStream(seed, "line");
        const points = (count: number) => Float64Array.from({ length: count }, () => stream.normal());
        const [x, y] = [points(m), points(n)];
        const { cost } = exactTransport(pointProblem(matrix(m, 1, x), matrix(n, 1, y)));
        expect(wasserstein1d({ points: x }, { points: y }, 2)).toBeCloseTo(Math.sqrt(cost), 8);
      }),
    );
  });
});

describe("regularized transport", () => {
  test("Sinkhorn: two by two in closed form", () => {
    const epsilon = 0.5;
    const { plan, converged } = sinkhorn(
      {
        cost: matrix(2, 2, [0, 1, 1, 0]),
        source: Float64Array.of(0.5, 0.5),
        target: Float64Array.of(0.5, 0.5),
      },
      { epsilon },
    );
    const ratio = Math.exp(-1 / epsilon);
    expect(converged).toBe(true);
    expect(plan.values[0]).toBeCloseTo(0.5 / (1 + ratio), 9);
    expect(plan.values[1]).toBeCloseTo((0.5 * ratio) / (1 + ratio), 9);
  });

  test("Sinkhorn keeps the marginals and tends to the exact cost", () => {
    fc.assert(
      fc.property(sizes, sizes, seeds, (m, n, seed) => {
        const problem = randomProblem(m, n, seed);
        const exact = exactTransport(problem).cost;
        const warm = sinkhorn(problem, { epsilon: 0.1, tolerance: 1e-7 });
        expect(warm.marginalError).toBeLessThan(1e-6);
        expect(warm.cost).toBeGreaterThanOrEqual(exact - 1e-6);
        const cold = sinkhorn(problem, { epsilon: 0.01, tolerance: 1e-4, start: warm.potentials!.target });
        expect(cold.cost - exact).toBeLessThan(0.01 * Math.log(m * n + 1) + 1e-3);
      }),
      { numRuns: 30 },
    );
  });

  test("Sinkhorn survives an ε at which exp(−C/ε) is zero", () => {
    const { cost } = sinkhorn(randomProblem(6, 6, 3), {
      epsilon: 1e-4,
      tolerance: 1e-3,
      maxIterations: 5000,
    });
    expect(cost).toBeCloseTo(exactTransport(randomProblem(6, 6, 3)).cost, 2);
  });

  test("quadratic: the optimality conditions hold and the plan is sparse", () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        const problem = randomProblem(9, 11, seed);
        const gamma = 0.5;
        const { plan, converged, objective, cost } = quadraticTransport(problem, { gamma, tolerance: 1e-8 });
        expect(converged).toBe(true);
        const primal = cost + 0.5 * gamma * plan.values.reduce((sum, t) => sum + t * t, 0);
        expect(primal).toBeCloseTo(objective, 7);
        expect(countNonzeros(plan)).toBeLessThan(99);
      }),
      { numRuns: 20 },
    );
    const problem = randomProblem(9, 11, 1);
    const costs = [1, 0.1, 0.01].map((gamma) => quadraticTransport(problem, { gamma }).cost);
    expect(costs[2]!).toBeLessThanOrEqual(costs[1]! + 1e-9);
    expect(costs[1]!).toBeLessThanOrEqual(costs[0]! + 1e-9);
    expect(costs[2]! - exactTransport(problem).cost).toBeLessThan(0.01);
  });

  test("rounding makes any plan feasible", () => {
    const problem = randomProblem(5, 7, 2);
    const rough = sinkhorn(problem, { epsilon: 0.05, maxIterations: 2 });
    const rounded = roundToMarginals(problem, rough.plan);
    for (let i = 0; i < 5; i++)
      expect(rounded.values.subarray(7 * i, 7 * i + 7).reduce((a, b) => a + b, 0)).toBeCloseTo(
        problem.source[i]!,
        12,
      );
    for (let j = 0; j < 7; j++)
      expect([0, 1, 2, 3, 4].reduce((sum, i) => sum + rounded.values[7 * i + j]!, 0)).toBeCloseTo(
        problem.target[j]!,
        12,
      );
  });

  test("problems that do not fit together are refused", () => {
    const problem = randomProblem(2, 2, 1);
    expect(() => exactTransport({ ...problem, source: Float64Array.of(1) })).toThrow("2 × 2");
    expect(() => exactTransport({ ...problem, source: Float64Array.of(1, 1) })).toThrow("mass is 2");
    expect(() => exactTransport({ ...problem, source: Float64Array.of(1, 0) })).toThrow("positive");
    expect(() => sinkhorn(problem, { epsilon: 0 })).toThrow("epsilon");
    expect(() => quadraticTransport(problem, { gamma: -1 })).toThrow("gamma");
  });
});

describe("maps and distances", () => {
  test("Gaussians on the line: (μ − ν)² + (σ − τ)²", () => {
    const p: Gaussian = { mean: Float64Array.of(1), covariance: matrix(1, 1, [4]) };
    const q: Gaussian = { mean: Float64Array.of(4), covariance: matrix(1, 1, [9]) };
    expect(gaussianDistance(p, q)).toBeCloseTo(Math.sqrt(10), 12);
    expect(gaussianMap(p, q)([3])[0]).toBeCloseTo(7, 12);
  });

  test("the map carries one covariance to the other, and its cost is the distance", () => {
    const [p, q] = gaussianPair(3, 5);
    const stream = randomStream(1, "sample");
    const x = sampleGaussian(p, 40_000, stream);
    const map = gaussianMap(p, q);
    const second = matrix(3, 3);
    let cost = 0;
    for (let i = 0; i < x.rows; i++) {
      const point = x.values.subarray(3 * i, 3 * i + 3);
      const image = map(point);
      for (let k = 0; k < 3; k++) {
        cost += (image[k]! - point[k]!) ** 2 / x.rows;
        for (let l = 0; l < 3; l++)
          second.values[3 * k + l]! += ((image[k]! - q.mean[k]!) * (image[l]! - q.mean[l]!)) / x.rows;
      }
    }
    expect(maxAbs(difference(second.values, q.covariance.values))).toBeLessThan(0.05);
    expect(Math.sqrt(cost)).toBeCloseTo(gaussianDistance(p, q), 1);
  });

  test("barycentres and the line", () => {
    const map = barycentricMap(matrix(2, 2, [0.25, 0.25, 0, 0.5]), matrix(2, 1, [0, 4]));
    expect([...map.values]).toEqual([2, 4]);
    expect(wasserstein1d({ points: [0, 1] }, { points: [3, 2] })).toBe(2);
    expect(wasserstein1d({ points: [0, 10], masses: [3, 1] }, { points: [0] })).toBe(2.5);
    expect(() => wasserstein1d({ points: [] }, { points: [1] })).toThrow("at least one point");
  });
});
