import { describe, expect, test } from "vitest";
import {
  add,
  concat,
  expandDims,
  eye,
  linalg,
  matmul,
  matrixTranspose,
  mul,
  type Shape,
  type Tensor,
  tensor,
} from "../index.ts";
import { type DerivativeCase, wrongDerivatives, wrongInSinglePrecision } from "../testing/derivatives.ts";

const transposed = matrixTranspose;
const gram = (x: Tensor): Tensor => matmul(x, transposed(x));
const identity = (n: number, dtype: "float32" | "float64" = "float64"): Tensor => eye(n, n, dtype);
/** Well conditioned matrices near a fixed one of distinct singular values, from any. */
const near = (x: Tensor): Tensor => {
  const [m, n] = [x.shape.at(-2)!, x.shape.at(-1)!];
  const base = new Float64Array(m * n);
  for (let i = 0; i < Math.min(m, n); i++) base[i * n + i] = 1.5 + i;
  const fixed = tensor(base, { shape: [m, n] });
  return add(mul(0.3, x), x.dtype === "float32" ? tensor(Float32Array.from(base), { shape: [m, n] }) : fixed);
};
const positive = (x: Tensor): Tensor => add(gram(x), identity(x.shape.at(-1)!, x.dtype as "float64"));
/** Sign-free features of singular and eigenvectors. */
const squares = (x: Tensor): Tensor => mul(x, mul(x, add(1, x)));
const outerSquares = (x: Tensor): Tensor => mul(x, x);

const L = linalg;
const cases: [string, (...xs: Tensor[]) => Tensor, Shape[]][] = [
  ["cholesky", (x) => L.cholesky(positive(x)), [[3, 3]]],
  ["cholesky of a batch", (x) => L.cholesky(positive(x)), [[2, 2, 2]]],
  ["cholesky takes the symmetric part", (x) => L.cholesky(near(x)), [[3, 3]]],
  [
    "triangularSolve lower",
    (a, b) => L.triangularSolve(near(a), b),
    [
      [3, 3],
      [3, 2],
    ],
  ],
  ["triangularSolve upper", (a, b) => L.triangularSolve(near(a), b, { lower: false }), [[3, 3], [3]]],
  [
    "triangularSolve transposed",
    (a, b) => L.triangularSolve(near(a), b, { transpose: true }),
    [
      [3, 3],
      [2, 3, 1],
    ],
  ],
  [
    "triangularSolve with unit diagonal",
    (a, b) => L.triangularSolve(near(a), b, { lower: false, transpose: true, unitDiagonal: true }),
    [
      [2, 2, 2],
      [2, 1],
    ],
  ],
  [
    "solve",
    (a, b) => L.solve(near(a), b),
    [
      [3, 3],
      [3, 2],
    ],
  ],
  ["solve for a vector", (a, b) => L.solve(near(a), b), [[2, 2], [2]]],
  [
    "solve with one matrix for a batch",
    (a, b) => L.solve(near(a), b),
    [
      [2, 2],
      [2, 2, 1],
    ],
  ],
  [
    "solve with a batch of matrices",
    (a, b) => L.solve(near(a), b),
    [
      [2, 2, 2],
      [2, 1],
    ],
  ],
  ["inverse", (x) => L.inverse(near(x)), [[3, 3]]],
  ["det", (x) => L.det(near(x)), [[3, 3]]],
  ["det of a batch", (x) => L.det(near(x)), [[2, 2, 2]]],
  ["slogdet", (x) => L.slogdet(near(x)).logAbs, [[3, 3]]],
  ["lu lower", (x) => L.lu(near(x)).lower, [[3, 3]]],
  ["lu", (x) => mul(L.lu(near(x)).lower, L.lu(near(x)).upper), [[3, 3]]],
  ["qr", (x) => concat([L.qr(near(x)).q, L.qr(near(x)).r], -2), [[3, 2]]],
  ["qr r", (x) => L.qr(near(x)).r, [[3, 3]]],
  ["qr of a wide matrix", (x) => matmul(L.qr(near(x)).q, squares(L.qr(near(x)).r)), [[2, 3]]],
  ["eigh values", (x) => L.eigh(near(x)).values, [[3, 3]]],
  ["eigh vectors", (x) => outerSquares(L.eigh(near(x)).vectors), [[3, 3]]],
  [
    "eigh",
    (x) => {
      const { values, vectors } = L.eigh(near(x));
      return matmul(mul(vectors, expandDims(squares(values), -2)), transposed(vectors));
    },
    [[2, 2, 2]],
  ],
  ["svd values", (x) => L.svd(near(x)).s, [[3, 2]]],
  ["svd u", (x) => outerSquares(L.svd(near(x)).u), [[3, 2]]],
  ["svd v", (x) => outerSquares(L.svd(near(x)).v), [[3, 2]]],
  [
    "svd",
    (x) => {
      const { u, s, v } = L.svd(near(x));
      return matmul(mul(u, expandDims(squares(s), -2)), transposed(v));
    },
    [[2, 3]],
  ],
  ["singularValues of a square matrix", (x) => L.singularValues(near(x)), [[2, 2]]],
  ["pinv", (x) => L.pinv(near(x)), [[3, 2]]],
  ["pinv of a wide matrix", (x) => L.pinv(near(x)), [[2, 3]]],
  ["lstsq", (a, b) => L.lstsq(near(a), b), [[3, 2], [3]]],
  ...(["fro", "nuclear", "spectral", "1", "inf"] as const).map(
    (kind): [string, (x: Tensor) => Tensor, Shape[]] => [
      `matrixNorm ${kind}`,
      (x) => L.matrixNorm(near(x), kind),
      [[3, 2]],
    ],
  ),
  ["matrixPower", (x) => add(L.matrixPower(near(x), 3), L.matrixPower(near(x), -2)), [[2, 2]]],
  ["trace", (x) => L.trace(squares(x)), [[3, 2]]],
  ["diagonal", (x) => squares(L.diagonal(x, 1)), [[2, 3]]],
  ["diag", (x) => squares(L.diag(x)), [[2, 3]]],
];

describe("derivatives", () => {
  test.each(cases)("%s", async (name, f, shapes) => {
    const heavy = !name.startsWith("solve with");
    const given: DerivativeCase = { name, f, shapes, heavy, tolerance: 1e-5, singleTolerance: 1e-3 };
    expect([...(await wrongDerivatives(given)), ...(await wrongInSinglePrecision(given))]).toEqual([]);
  });
  test("every function is in the table", () => {
    const named = new Set(cases.map(([name]) => name.split(" ")[0]));
    expect(Object.keys(linalg).filter((name) => !named.has(name))).toEqual([]);
  });
});
