import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomStream } from "../stats/index.ts";
import {
  choleskyFactor,
  choleskySolve,
  conjugateGradient,
  denseOperator,
  difference,
  gram,
  identity,
  inverseSquareRootSPD,
  logDeterminant,
  type Matrix,
  matrix,
  maxAbs,
  multiply,
  norm,
  operatorNorm,
  powerIteration,
  solveSPD,
  squareRootSPD,
  symmetricEigen,
  thinSVD,
  times,
  transpose,
  transposedTimes,
} from "./index.ts";

function random(rows: number, columns: number, seed: number): Matrix {
  const stream = randomStream(seed, "matrix");
  return matrix(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => stream.normal()),
  );
}

/** MᵀM + I/10. */
function randomSPD(n: number, seed: number): Matrix {
  const product = gram(random(n + 2, n, seed));
  return matrix(
    n,
    n,
    product.values.map((value, i) => value + (i % (n + 1) === 0 ? 0.1 : 0)),
  );
}

const distance = (a: Matrix, b: Matrix): number => maxAbs(difference(a.values, b.values));
const sizes = fc.integer({ min: 1, max: 12 });
const seeds = fc.integer({ min: 0, max: 1000 });

describe("matrices", () => {
  test("known products", () => {
    const a = matrix(2, 3, [1, 2, 3, 4, 5, 6]);
    expect([...times(a, [1, 0, -1])]).toEqual([-2, -2]);
    expect([...transposedTimes(a, [1, -1])]).toEqual([-3, -3, -3]);
    expect([...multiply(a, transpose(a)).values]).toEqual([14, 32, 32, 77]);
    expect([...gram(a).values]).toEqual([17, 22, 27, 22, 29, 36, 27, 36, 45]);
    expect(() => multiply(a, a)).toThrow(RangeError);
    expect(() => matrix(2, 2, [1])).toThrow("needs 4 values");
  });

  test("the operator's products are adjoint", () => {
    fc.assert(
      fc.property(sizes, sizes, seeds, (rows, columns, seed) => {
        const operator = denseOperator(random(rows, columns, seed));
        const x = random(columns, 1, seed + 1).values;
        const y = random(rows, 1, seed + 2).values;
        const left = operator.apply(x).reduce((sum, value, i) => sum + value * y[i]!, 0);
        const right = operator.applyTransposed(y).reduce((sum, value, i) => sum + value * x[i]!, 0);
        expect(left).toBeCloseTo(right, 9);
      }),
    );
  });
});

describe("positive definite systems", () => {
  test("a known factor", () => {
    const a = matrix(3, 3, [4, 12, -16, 12, 37, -43, -16, -43, 98]);
    expect([...choleskyFactor(a).values]).toEqual([2, 0, 0, 6, 1, 0, -8, 5, 3]);
    expect(logDeterminant(choleskyFactor(a))).toBeCloseTo(Math.log(36), 12);
    expect(() => choleskyFactor(matrix(2, 2, [1, 2, 2, 1]))).toThrow("not positive definite");
    expect(() => choleskyFactor(matrix(1, 2))).toThrow("square");
  });

  test("Cholesky and conjugate gradients solve the same system, the latter in at most n steps", () => {
    fc.assert(
      fc.property(sizes, seeds, (n, seed) => {
        const a = randomSPD(n, seed);
        const b = random(n, 1, seed + 1).values;
        const direct = solveSPD(a, b);
        expect(maxAbs(difference(times(a, direct), b))).toBeLessThan(1e-9);
        const iterated = conjugateGradient((x) => times(a, x), b, { tolerance: 1e-9 });
        expect(iterated.converged).toBe(true);
        // Rounding costs a step or two on the worst conditioned of them.
        expect(iterated.iterations).toBeLessThanOrEqual(n + 2);
        expect(maxAbs(difference(iterated.x, direct))).toBeLessThan(1e-6);
        const again = conjugateGradient((x) => times(a, x), b, { start: direct, tolerance: 1e-8 });
        expect(again.iterations).toBe(0);
      }),
    );
  });

  test("the exact inverse as preconditioner needs one step", () => {
    const a = randomSPD(9, 5);
    const factor = choleskyFactor(a);
    const b = random(9, 1, 6).values;
    const solution = conjugateGradient((x) => times(a, x), b, {
      precondition: (r) => choleskySolve(factor, r),
    });
    expect(solution.iterations).toBe(1);
  });

  test("an indefinite matrix is refused", () => {
    const a = matrix(2, 2, [1, 0, 0, -1]);
    expect(() => conjugateGradient((x) => times(a, x), Float64Array.of(0, 1))).toThrow("positive definite");
  });
});

describe("spectra", () => {
  test("power iteration finds the eigenvalue that is largest in size", () => {
    const a = matrix(2, 2, [1, 2, 2, -2]);
    const { value, vector } = powerIteration((x) => times(a, x), 2, { tolerance: 1e-14 });
    expect(value).toBeCloseTo(-3, 9);
    expect(
      maxAbs(
        difference(
          times(a, vector),
          vector.map((v) => -3 * v),
        ),
      ),
    ).toBeLessThan(1e-5);
    expect(operatorNorm(denseOperator(matrix(2, 2)))).toBe(0);
  });

  test("singular values rebuild the matrix and the largest is its norm", () => {
    fc.assert(
      fc.property(sizes, sizes, seeds, (rows, columns, seed) => {
        const a = random(rows, columns, seed);
        const { u, s, v } = thinSVD(a);
        const k = s.length;
        const scaled = matrix(
          rows,
          k,
          u.values.map((value, i) => value * s[i % k]!),
        );
        expect(distance(multiply(scaled, transpose(v)), a)).toBeLessThan(1e-10);
        expect(
          Math.abs(operatorNorm(denseOperator(a), { tolerance: 1e-12, maxIterations: 5000 }) - s[0]!),
        ).toBeLessThan(1e-4 * s[0]!);
      }),
    );
  });

  test("roots of positive definite matrices", () => {
    fc.assert(
      fc.property(sizes, seeds, (n, seed) => {
        const a = randomSPD(n, seed);
        const root = squareRootSPD(a);
        expect(distance(multiply(root, root), a)).toBeLessThan(1e-8);
        const inverse = inverseSquareRootSPD(a);
        expect(distance(multiply(multiply(inverse, a), inverse), identity(n))).toBeLessThan(1e-8);
      }),
    );
    expect([...symmetricEigen(matrix(2, 2, [2, 1, 1, 2])).values]).toEqual([
      expect.closeTo(1, 12),
      expect.closeTo(3, 12),
    ]);
    expect(norm(squareRootSPD(matrix(2, 2)).values)).toBe(0);
    expect(() => inverseSquareRootSPD(matrix(1, 1, [-1]))).toThrow("not positive");
  });
});
