import { describe, expect, test } from "vitest";
import * as T from "../index.ts";
import { generator } from "../testing/numbers.ts";

const { linalg: L, matmul } = T;
type Tensor = T.Tensor;
const transposed = T.matrixTranspose;

function randomMatrices(shape: number[], dtype: "float32" | "float64", seed: number): Tensor {
  const next = generator(seed);
  const size = shape.reduce((a, b) => a * b, 1);
  return T.tensor(
    Float64Array.from({ length: size }, () => 2 * next() - 1 + (next() - 0.5)),
    { shape, dtype },
  );
}

/** The largest difference of two tensors, relative to the largest expected number. */
const error = (actual: Tensor, expected: Tensor): Tensor =>
  T.div(T.max(T.abs(T.sub(actual, expected))), T.maximum(T.max(T.abs(expected)), 1e-30));
const identityOf = (x: Tensor): Tensor => matmul(transposed(x), x);
const unit = (n: number, like: Tensor): Tensor =>
  T.broadcastTo(T.eye(n, n, like.dtype), [...like.shape.slice(0, -2), n, n]);
const scaled = (u: Tensor, s: Tensor, v: Tensor): Tensor =>
  matmul(T.mul(u, T.expandDims(s, -2)), transposed(v));

async function errorsOf(claims: Record<string, [actual: Tensor, expected: Tensor]>, limit: number) {
  const names = Object.keys(claims);
  const errors = await T.jit(() => names.map((name) => error(...claims[name]!)))();
  const found = await Promise.all(errors.map(T.item));
  return names
    .filter((_, i) => !(found[i]! <= limit))
    .map((name) => `${name}: ${found[names.indexOf(name)]}`);
}

describe.each([
  ["float64", 1e-12],
  ["float32", 1e-4],
] as const)("%s", (dtype, limit) => {
  test.each([1, 2, 3, 8, 17, 64])("random matrices of size %i", async (n) => {
    const a = randomMatrices([2, n, n], dtype, n);
    const dominant = T.add(a, T.mul(unit(n, a), Math.sqrt(n) + 1));
    const positive = T.add(matmul(a, transposed(a)), T.mul(unit(n, a), 0.5));
    const symmetric = T.add(a, transposed(a));
    const b = randomMatrices([2, n, 3], dtype, n + 1);
    const tall = randomMatrices([2, 2 * n + 1, n], dtype, n + 2);
    const l = L.cholesky(positive);
    const { permutation, lower, upper } = L.lu(a);
    const qr = L.qr(tall);
    const eigen = L.eigh(symmetric);
    const svd = L.svd(a);
    const wide = L.svd(transposed(tall));
    const { sign, logAbs } = L.slogdet(T.mul(dominant, 0.12));
    const wrong = await errorsOf(
      {
        cholesky: [matmul(l, transposed(l)), positive],
        "cholesky is lower": [T.triu(l, 1), T.mul(l, 0)],
        lu: [matmul(lower, upper), matmul(permutation, a)],
        "lu pivots": [T.maximum(T.abs(lower), 1), T.onesLike(lower)],
        solve: [matmul(dominant, L.solve(dominant, b)), b],
        inverse: [matmul(dominant, L.inverse(dominant)), unit(n, a)],
        det: [L.det(T.mul(dominant, 0.12)), T.mul(sign, T.exp(logAbs))],
        triangularSolve: [matmul(l, L.triangularSolve(l, b)), b],
        "triangularSolve transposed": [
          matmul(transposed(l), L.triangularSolve(l, b, { transpose: true })),
          b,
        ],
        qr: [matmul(qr.q, qr.r), tall],
        "q is orthonormal": [identityOf(qr.q), unit(n, a)],
        "r is upper": [T.tril(qr.r, -1), T.mul(qr.r, 0)],
        eigh: [scaled(eigen.vectors, eigen.values, eigen.vectors), symmetric],
        "eigenvectors are orthonormal": [identityOf(eigen.vectors), unit(n, a)],
        "eigenvalues ascend": [T.sort(eigen.values), eigen.values],
        svd: [scaled(svd.u, svd.s, svd.v), a],
        "u is orthonormal": [identityOf(svd.u), unit(n, a)],
        "v is orthonormal": [identityOf(svd.v), unit(n, a)],
        "singular values descend": [T.sort(svd.s, -1, true), svd.s],
        "svd of wide matrices": [scaled(wide.u, wide.s, wide.v), transposed(tall)],
        pinv: [matmul(L.pinv(tall), tall), unit(n, a)],
        "nuclear norm": [L.matrixNorm(a, "nuclear"), T.sum(svd.s, -1)],
        "spectral norm": [L.matrixNorm(symmetric, "spectral"), T.max(T.abs(eigen.values), -1)],
        "frobenius norm": [T.square(L.matrixNorm(a)), T.sum(T.square(svd.s), -1)],
        matrixPower: [L.matrixPower(a, 5), matmul(a, matmul(matmul(a, a), matmul(a, a)))],
        "inverse power": [matmul(L.matrixPower(dominant, -2), matmul(dominant, dominant)), unit(n, a)],
      },
      limit,
    );
    expect(wrong).toEqual([]);
  });
});

describe("matrices that are hard on an algorithm", () => {
  const hilbert = T.tensor(
    Float64Array.from({ length: 36 }, (_, i) => 1 / (Math.floor(i / 6) + (i % 6) + 1)),
    { shape: [6, 6] },
  );
  const ones = T.ones([5, 5], "float64");
  const repeated = T.eye(5, 5, "float64");
  const graded = L.diag(T.tensor(Float64Array.of(1, 1e-4, 1e-8, 1e-12)));
  const zero = T.zeros([4, 4], "float64");
  test.each([
    ["badly conditioned", hilbert],
    ["of rank one", ones],
    ["with equal eigenvalues", repeated],
    ["graded", graded],
    ["zero", zero],
    ["negative definite", T.mul(hilbert, -1)],
    ["tiny", T.mul(hilbert, 1e-150)],
    ["huge", T.mul(hilbert, 1e150)],
  ])("%s", async (_, x) => {
    const n = x.shape[0]!;
    const { values, vectors } = L.eigh(x);
    const { u, s, v } = L.svd(x);
    const wrong = await errorsOf(
      {
        eigh: [scaled(vectors, values, vectors), x],
        "eigenvectors are orthonormal": [identityOf(vectors), unit(n, x)],
        svd: [scaled(u, s, v), x],
        "u is orthonormal": [identityOf(u), unit(n, x)],
        "v is orthonormal": [identityOf(v), unit(n, x)],
      },
      1e-13,
    );
    expect(wrong).toEqual([]);
  });
  test("small singular values keep their digits", async () => {
    const s = await T.data(L.singularValues(graded));
    [1, 1e-4, 1e-8, 1e-12].forEach((expected, i) => {
      expect(Math.abs(s[i]! / expected - 1)).toBeLessThan(1e-12);
    });
  });
  test("a zero pivot is exchanged, and permutations have signs", async () => {
    const swap = T.tensor([
      [0, 1],
      [1, 0],
    ]);
    expect(await T.toArray(L.inverse(swap))).toEqual([
      [0, 1],
      [1, 0],
    ]);
    expect(await T.item(L.det(swap))).toBe(-1);
    const cycle = T.tensor([
      [0, 0, 2],
      [3, 0, 0],
      [0, 4, 0],
    ]);
    expect(await T.item(L.det(cycle))).toBeCloseTo(24, 4);
    expect(await T.toArray(L.slogdet(T.mul(cycle, -1)).sign)).toBe(-1);
  });
  test("a singular matrix has determinant 0 and logarithm -∞", async () => {
    const singular = T.tensor([
      [1, 2],
      [2, 4],
    ]);
    expect(Math.abs(await T.item(L.det(singular)))).toBe(0);
    const { sign, logAbs } = L.slogdet(singular);
    expect(Math.abs(await T.item(sign))).toBe(0);
    expect(await T.item(logAbs)).toBe(Number.NEGATIVE_INFINITY);
  });
  test("a matrix that is not positive definite has NaN in its Cholesky factor", async () => {
    const l = await T.data(
      L.cholesky(
        T.tensor([
          [1, 2],
          [2, 1],
        ]),
      ),
    );
    expect([...l.slice(0, 3)]).toEqual([1, 0, 2]);
    expect(l[3]).toBeNaN();
  });
  test("least squares of least length, for a matrix without full rank", async () => {
    const x = L.lstsq(
      T.tensor([
        [1, 1],
        [1, 1],
      ]),
      T.tensor([2, 4]),
    );
    expect((await T.data(x)).map((v) => Math.round(v * 1e5) / 1e5)).toEqual(new Float32Array([1.5, 1.5]));
  });
});

describe("misuse is named", () => {
  test.each([
    ["not square", () => L.cholesky(T.ones([2, 3])), /linalg.cholesky.*square.*\[2, 3\]/],
    ["whole numbers", () => L.eigh(T.ones([2, 2], "int32")), /linalg.eigh.*int32\[2, 2\]/],
    ["a vector", () => L.svd(T.ones([3])), /linalg.svd.*\[3\]/],
    ["sizes that don't fit", () => L.solve(T.ones([2, 2]), T.ones([3])), /linalg.solve.*\[2, 2\].*\[3, 1\]/],
    [
      "leads that don't broadcast",
      () => L.solve(T.ones([2, 2, 2]), T.ones([3, 2, 1])),
      /linalg.solve.*\[2\] and \[3\]/,
    ],
    ["empty", () => L.inverse(T.ones([0, 0])), /linalg.inverse.*empty/],
    ["no such norm", () => L.matrixNorm(T.ones([2, 2]), "max" as "fro"), /linalg.matrixNorm.*max/],
    ["no such diagonal", () => L.diagonal(T.ones([2, 2]), 2), /diagonal 2/],
  ])("%s", (_, f, message) => {
    expect(f).toThrow(message);
    expect(f).toThrow(/accuracy\.test/);
  });
});

test("inside a scan, under vmap and grad, with the numbers of single calls", async () => {
  const xs = T.add(randomMatrices([3, 2, 2], "float64", 4), T.mul(3, T.eye(2, 2, "float64")));
  const f = (x: Tensor): Tensor => T.sum(T.mul(L.inverse(x), L.cholesky(T.matmul(x, transposed(x)))));
  const single = T.stack([0, 1, 2].map((i) => T.grad(f)(T.slice(xs, i))));
  const mapped = T.vmap(T.grad(f))(xs);
  const [, scanned] = T.scan((s: Tensor, x: Tensor) => [s, T.grad(f)(x)] as const, T.scalar(0), xs);
  const total = T.grad(
    (all: Tensor) =>
      T.scan((s: Tensor, x: Tensor) => [T.add(s, f(x)), null] as const, T.scalar(0, "float64"), all)[0],
  )(xs);
  const wrong = await errorsOf(
    { mapped: [mapped, single], scanned: [scanned, single], total: [total, single] },
    1e-12,
  );
  expect(wrong).toEqual([]);
});
