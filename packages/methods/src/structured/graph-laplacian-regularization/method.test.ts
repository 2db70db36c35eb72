import { choleskyFactor, choleskySolve, dot, matrix, maxAbs, norm } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Image } from "../family.ts";
import { l2lq } from "../l2lq.ts";
import { bilateralFilter, tikhonov, totalVariation } from "../reconstructors.ts";
import { differenceOperator, sparseOperator } from "../sparseOperator.ts";
import {
  filteredBackProjection,
  measure,
  phantom,
  radonTransform,
  relativeError,
  structuralSimilarity,
} from "../tomography.ts";
import { graphLaPlus, imageGraphLaplacian } from "./method.ts";

function randomImage(size: number, seed: number): Image {
  const stream = randomStream(seed, "image");
  return { size, values: Float64Array.from({ length: size * size }, () => stream.uniform()) };
}

const geometry = { size: 16, angles: 30, rays: 23 };
const forward = radonTransform(geometry);
const truth = phantom(16, 1_000_000);
const problem = measure(truth, forward, 0.02, 1);

describe("the image's graph", () => {
  test("the Laplacian is symmetric and positive semidefinite, and constants are in its kernel", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 7 }), fc.integer({ min: 0, max: 99 }), (size, seed) => {
        const laplacian = imageGraphLaplacian(randomImage(size, seed), { radius: 2, sigma: 0.1 });
        const x = randomImage(size, seed + 100).values;
        const y = randomImage(size, seed + 200).values;
        expect(maxAbs(laplacian.apply(new Float64Array(size * size).fill(1)))).toBeLessThan(1e-12);
        expect(dot(laplacian.apply(x), y)).toBeCloseTo(dot(x, laplacian.apply(y)), 10);
        expect(dot(laplacian.apply(x), laplacian.applyTransposed(y))).toBeCloseTo(
          dot(laplacian.apply(laplacian.apply(x)), y),
          10,
        );
        expect(dot(x, laplacian.apply(x))).toBeGreaterThanOrEqual(-1e-12);
      }),
    );
  });

  test("known weights: (0, 0, 1) in a row of a 3 × 3 image, radius 1, σ = 1", () => {
    const values = Float64Array.of(0, 0, 1, 0, 0, 1, 0, 0, 1);
    const laplacian = imageGraphLaplacian({ size: 3, values }, { radius: 1, sigma: 1, normalize: false });
    const column = (j: number) =>
      laplacian.apply(Float64Array.from({ length: 9 }, (_, i) => (i === j ? 1 : 0)));
    expect(column(0)[1]).toBe(-1);
    expect(column(1)[2]).toBeCloseTo(-Math.exp(-1), 12);
    expect(column(0)[2]).toBe(0);
    // The first pixel has three neighbours, all like it.
    expect(column(0)[0]).toBe(3);
    expect(column(2)[2]).toBeCloseTo(1 + 2 * Math.exp(-1), 12);
  });

  test("an image is nearly harmonic on its own graph when its jumps are large", () => {
    const steps: Image = {
      size: 8,
      values: Float64Array.from({ length: 64 }, (_, i) => (i % 8 < 4 ? 0.2 : 0.7)),
    };
    expect(maxAbs(imageGraphLaplacian(steps).apply(steps.values))).toBeLessThan(1e-8);
    const smooth = imageGraphLaplacian({ size: 8, values: new Float64Array(64).fill(0.5) });
    expect(maxAbs(smooth.apply(steps.values))).toBeGreaterThan(0.01);
    expect(() => imageGraphLaplacian(steps, { radius: 0 })).toThrow("radius");
    expect(() => imageGraphLaplacian(steps, { sigma: 0 })).toThrow("sigma");
  });
});

describe("the ℓ2–ℓq solver", () => {
  test("q = 2 is Tikhonov's direct solution, whatever ε", () => {
    const penalty = differenceOperator(16);
    const alpha = 0.3;
    const n = 256;
    const normal = matrix(n, n);
    for (let j = 0; j < n; j++) {
      const unit = Float64Array.from({ length: n }, (_, i) => (i === j ? 1 : 0));
      const column = forward.applyTransposed(forward.apply(unit));
      const rough = penalty.applyTransposed(penalty.apply(unit));
      normal.values.set(
        column.map((value, i) => value + alpha * rough[i]!),
        j * n,
      );
    }
    const direct = choleskySolve(choleskyFactor(normal), forward.applyTransposed(problem.data));
    for (const epsilon of [1e-3, 0.1]) {
      const { x } = l2lq({
        ...problem,
        noiseNorm: 0,
        penalty,
        q: 2,
        alpha,
        epsilon,
        tolerance: 1e-9,
        maxIterations: 400,
        restart: 100,
      });
      expect(norm(x.map((value, i) => value - direct[i]!)) / norm(direct)).toBeLessThan(1e-6);
    }
  });

  test("a fixed weight: the objective never rises", () => {
    const { objective } = l2lq({
      ...problem,
      penalty: differenceOperator(16),
      alpha: 0.5,
      maxIterations: 60,
      tolerance: 0,
    });
    for (let k = 1; k < objective.length; k++)
      expect(objective[k]!).toBeLessThanOrEqual(objective[k - 1]! * (1 + 1e-9));
    expect(objective.at(-1)!).toBeLessThan(0.9 * objective[0]!);
  });

  test("the discrepancy principle is met", () => {
    for (const q of [1, 2]) {
      const { residual } = l2lq({ ...problem, penalty: differenceOperator(16), q, tau: 1.05 });
      expect(Math.abs(residual / problem.noiseNorm - 1.05)).toBeLessThan(0.01);
    }
  });

  test("parameters out of range are refused", () => {
    const { data } = problem;
    expect(() => l2lq({ forward, data, penalty: differenceOperator(16) })).toThrow("noiseNorm");
    expect(() => l2lq({ forward, data, penalty: differenceOperator(16), alpha: 1, q: 3 })).toThrow("q");
  });
});

describe("tomography", () => {
  test("the transform of a constant disc is the length of its chords", () => {
    const size = 31;
    const disc = Float64Array.from({ length: size * size }, (_, at) =>
      (Math.floor(at / size) - 15) ** 2 + ((at % size) - 15) ** 2 <= 100 ? 1 : 0,
    );
    const sinogram = radonTransform({ size, angles: 7, rays: 31 }).apply(disc);
    for (let angle = 0; angle < 7; angle++) {
      expect(Math.abs(sinogram[angle * 31 + 15]! - 20)).toBeLessThan(1.5);
      expect(Math.abs(sinogram[angle * 31 + 21]! - 16)).toBeLessThan(1.5);
      expect(sinogram[angle * 31]!).toBe(0);
    }
  });

  test("forward and transposed products are adjoint", () => {
    const x = randomImage(16, 1).values;
    const y = Float64Array.from({ length: forward.rows }, (_, i) => Math.sin(i));
    expect(dot(forward.apply(x), y)).toBeCloseTo(dot(x, forward.applyTransposed(y)), 8);
    expect([...sparseOperator(2, [[[1, 3]], []]).apply(Float64Array.of(5, 7))]).toEqual([21, 0]);
  });

  test("noise has the norm asked for, and measures of likeness their limits", () => {
    const clean = forward.apply(truth.values);
    expect(norm(problem.data.map((value, i) => value - clean[i]!))).toBeCloseTo(problem.noiseNorm, 10);
    expect(relativeError(truth, truth)).toBe(0);
    expect(structuralSimilarity(truth, truth)).toBeCloseTo(1, 12);
    expect(structuralSimilarity(randomImage(16, 2), truth)).toBeLessThan(0.5);
    const flat = { size: 4, values: new Float64Array(16).fill(0.3) };
    expect(maxAbs(bilateralFilter(flat, { range: 0.1 }).values.map((v) => v - 0.3))).toBeLessThan(1e-12);
  });
});

describe("graphLa+Ψ", () => {
  test("it improves every first reconstruction, and the truth's graph is best", async () => {
    const firsts = [filteredBackProjection(problem, 23), tikhonov(problem), totalVariation(problem)];
    const errors: number[] = [];
    for (const initial of firsts) {
      const { image, residual } = await graphLaPlus(problem, { initial });
      expect(relativeError(image, truth)).toBeLessThan(relativeError(initial, truth));
      expect(Math.abs(residual / problem.noiseNorm - 1.01)).toBeLessThan(0.01);
      errors.push(relativeError(image, truth));
    }
    const oracle = await graphLaPlus(problem, { initial: () => truth });
    expect(oracle.initial).toBe(truth);
    expect(relativeError(oracle.image, truth)).toBeLessThan(Math.min(...errors));
  });

  test("a graph that joins all neighbours alike blurs", async () => {
    const blind = await graphLaPlus(problem, {
      initial: { size: 16, values: new Float64Array(256) },
      alpha: 10,
    });
    const seeing = await graphLaPlus(problem, { initial: truth, alpha: 10 });
    expect(relativeError(blind.image, truth)).toBeGreaterThan(2 * relativeError(seeing.image, truth));
  });
});
