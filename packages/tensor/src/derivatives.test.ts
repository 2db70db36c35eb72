import { describe, expect, test } from "vitest";
import type { Shape, Tensor } from "./index.ts";
import * as engine from "./index.ts";
import { type DerivativeCase, wrongDerivatives } from "./testing/derivatives.ts";

type Domain = readonly [number, number];

const T = engine;
const onePerShape = (
  name: string,
  f: (...xs: Tensor[]) => Tensor,
  shapes: readonly (readonly Shape[])[],
  domain?: Domain,
): DerivativeCase[] => shapes.map((s) => ({ name, f, shapes: s, ...(domain && { domain }) }));

const unary = (
  name: keyof typeof T,
  domain?: Domain,
  shapes: readonly Shape[] = [[2, 3]],
): DerivativeCase[] =>
  onePerShape(
    name,
    T[name] as (x: Tensor) => Tensor,
    shapes.map((s) => [s]),
    domain,
  );

const broadcasting: readonly (readonly Shape[])[] = [
  [
    [2, 3],
    [2, 3],
  ],
  [[2, 3], [3]],
  [[], [2, 3]],
  [
    [2, 1],
    [1, 3],
  ],
];
const binary = (name: keyof typeof T, domain?: Domain): DerivativeCase[] =>
  onePerShape(name, T[name] as (x: Tensor, y: Tensor) => Tensor, broadcasting, domain);

const positive: Domain = [0.3, 2.5];

const elementwise: DerivativeCase[] = [
  ...[
    "abs",
    "neg",
    "exp",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "erf",
    "softplus",
    "relu",
    "square",
    "sinh",
    "cosh",
  ].flatMap((name) => unary(name as keyof typeof T)),
  ...["expm1", "atan", "asinh", "silu", "gelu", "logSigmoid", "sign", "floor", "ceil", "round"].flatMap(
    (name) => unary(name as keyof typeof T),
  ),
  ...["log", "sqrt", "reciprocal", "rsqrt", "log1p"].flatMap((name) =>
    unary(name as keyof typeof T, positive),
  ),
  ...["asin", "acos", "atanh", "tan"].flatMap((name) => unary(name as keyof typeof T, [-0.8, 0.8])),
  ...unary("acosh", [1.3, 3]),
  ...unary("exp", undefined, [[], [4], [2, 1, 2]]),
  ...["add", "sub", "mul", "maximum", "minimum", "logAddExp", "atan2"].flatMap((name) =>
    binary(name as keyof typeof T),
  ),
  ...binary("div", positive),
  ...binary("pow", positive),
  ...binary("mod", positive),
  ...[2, 3, -1, 0.5, 1.7].flatMap((p) => onePerShape(`pow ${p}`, (x) => T.pow(x, p), [[[2, 3]]], positive)),
  ...onePerShape("x·x and x/x share an operand", (x) => T.add(T.mul(x, x), T.div(x, T.add(1, T.mul(x, x)))), [
    [[3]],
  ]),
  ...onePerShape("clip", (x) => T.clip(x, -0.71, 0.83), [[[2, 3]]]),
  ...onePerShape("where", (x, y) => T.where(T.greater(x, 0.11), x, y), broadcasting),
  ...onePerShape("stopGradient", (x) => T.mul(x, T.exp(T.mul(0, T.stopGradient(x)))), [[[3]]]),
];

const reductions: DerivativeCase[] = [
  ...["sum", "mean", "max", "min", "prod", "logSumExp", "norm", "variance", "std"].flatMap((name) => {
    const f = T[name as "sum"] as (x: Tensor, axes?: number | number[], keepDims?: boolean) => Tensor;
    return [
      ...onePerShape(name, (x) => f(x), [[[3]], [[2, 3]]]),
      ...onePerShape(`${name} over axis 0`, (x) => f(x, 0), [[[2, 3]]]),
      ...onePerShape(`${name} over [0, -1]`, (x) => f(x, [0, -1]), [[[2, 3, 2]]]),
    ];
  }),
  ...["sum", "mean", "max", "min", "prod", "logSumExp", "norm"].flatMap((name) => {
    const f = T[name as "sum"];
    return onePerShape(`${name}, keepDims`, (x) => T.mul(x, f(x, 1, true)), [[[2, 3]]]);
  }),
  ...onePerShape("variance, ddof", (x) => T.variance(x, 1, { keepDims: true, ddof: 1 }), [[[2, 3]]]),
  ...onePerShape("cumSum", (x) => T.cumSum(x, 1), [[[2, 3]]]),
  ...onePerShape("cumSum over axis 0", (x) => T.cumSum(T.mul(x, x)), [[[2, 3]], [[3]]]),
  ...onePerShape("softmax", (x) => T.softmax(x), [[[2, 3]]]),
  ...onePerShape("softmax over axis 0", (x) => T.softmax(x, 0), [[[2, 3]]]),
  ...onePerShape("logSoftmax", (x) => T.logSoftmax(x), [[[2, 3]]]),
  ...onePerShape("logSoftmax over axis 0", (x) => T.logSoftmax(x, 0), [[[2, 3]]]),
  ...onePerShape("standardize", (x) => T.standardize(x, 0.1), [[[2, 3]]]),
  ...onePerShape("layerNorm", (x, s, o) => T.layerNorm(x, s, o), [[[2, 3], [3], [3]]]),
  ...onePerShape("rmsNorm", (x, s) => T.rmsNorm(x, s), [[[2, 3], [3]]]),
  ...onePerShape("batchNorm", (x, s, o) => T.batchNorm(x, T.batchStatistics(x), s, o), [[[4, 2], [2], [2]]]),
];

const losses: DerivativeCase[] = onePerShape("crossEntropy", (x, y) => T.crossEntropy(x, T.softmax(y)), [
  [
    [2, 3],
    [2, 3],
  ],
]);

const indices = (values: number[]) => T.tensor(Int32Array.from(values));

const shapes: DerivativeCase[] = [
  ...onePerShape("reshape", (x) => T.exp(T.reshape(x, [3, 2])), [[[2, 3]]]),
  ...onePerShape("expandDims", (x) => T.exp(T.expandDims(x, 1)), [[[2, 3]]]),
  ...onePerShape("squeeze", (x) => T.exp(T.squeeze(x)), [[[2, 1, 3]]]),
  ...onePerShape("transpose", (x) => T.exp(T.transpose(x, [1, 2, 0])), [[[2, 3, 2]]]),
  ...onePerShape("matrixTranspose", (x) => T.exp(T.matrixTranspose(x)), [[[2, 3]]]),
  ...onePerShape("moveAxis", (x) => T.exp(T.moveAxis(x, 0, -1)), [[[2, 3, 2]]]),
  ...onePerShape("broadcastTo", (x) => T.exp(T.broadcastTo(x, [2, 3])), [[[2, 1]], [[3]], [[]]]),
  ...onePerShape("slice", (x) => T.exp(T.slice(x, [1, 3], [null, null, 2])), [[[4, 3]]]),
  ...onePerShape("slice backwards", (x) => T.exp(T.slice(x, [null, null, -2], -1)), [[[4, 3]], [[5, 3]]]),
  ...onePerShape("flip", (x) => T.exp(T.flip(x, 1)), [[[2, 3]]]),
  ...onePerShape(
    "pad",
    (x) =>
      T.exp(
        T.pad(x, [
          [1, 0],
          [0, 2],
        ]),
      ),
    [[[2, 3]]],
  ),
  ...onePerShape(
    "pad with a value",
    (x) =>
      T.exp(
        T.pad(
          x,
          [
            [1, 0],
            [0, 2],
          ],
          0.5,
        ),
      ),
    [[[2, 3]]],
  ),
  ...onePerShape("concat", (x, y) => T.exp(T.concat([x, y, x], 1)), [
    [
      [2, 3],
      [2, 1],
    ],
  ]),
  ...onePerShape("stack", (x, y) => T.exp(T.stack([x, y], 1)), [
    [
      [2, 3],
      [2, 3],
    ],
  ]),
  ...onePerShape("split", (x) => T.mul(...(T.split(T.exp(x), 2, 1) as [Tensor, Tensor])), [[[2, 4]]]),
  ...onePerShape("tile", (x) => T.exp(T.tile(x, [2, 1, 2])), [[[2, 3]]]),
  ...onePerShape("roll", (x) => T.mul(x, T.roll(x, 2, 1)), [[[2, 3]]]),
  ...onePerShape("tril", (x) => T.exp(T.tril(x, -1)), [[[3, 3]]]),
  ...onePerShape("triu", (x) => T.exp(T.triu(x, 1)), [[[2, 3]]]),
  ...onePerShape("take", (x) => T.exp(T.take(x, indices([2, 0, 2, -1]))), [[[3, 2]]]),
  ...onePerShape("take along axis 1", (x) => T.exp(T.take(x, T.reshape(indices([2, 0, 2, 9]), [2, 2]), 1)), [
    [[2, 3]],
  ]),
  ...onePerShape(
    "take by indices that depend on the argument",
    (x) => T.exp(T.take(x, T.argsort(T.slice(x, null, 0)))),
    [[[3, 2]]],
  ),
  ...onePerShape("takeAlongAxis", (x) => T.exp(T.takeAlongAxis(x, T.argsort(x, 1), 1)), [[[2, 3]]]),
  ...onePerShape(
    "takeAlongAxis over axis 0",
    (x) => T.exp(T.takeAlongAxis(x, T.reshape(indices([1, 0, 1]), [1, 3]), 0)),
    [[[2, 3]]],
  ),
  ...onePerShape("scatterAdd", (x, u) => T.exp(T.scatterAdd(x, indices([1, 0, 1]), u)), [
    [
      [3, 2],
      [3, 2],
    ],
  ]),
  ...onePerShape(
    "scatterAdd at indices that depend on the argument",
    (x, u) => T.exp(T.scatterAdd(x, T.argsort(x), u)),
    [[[3], [3]]],
  ),
  ...onePerShape("topK", (x) => T.exp(T.topK(x, 2).values), [[[2, 3]]]),
  ...onePerShape("topK smallest over axis 0", (x) => T.exp(T.topK(x, 2, 0, false).values), [[[3, 2]]]),
  ...onePerShape("sort", (x) => T.mul(T.exp(T.sort(x)), T.sort(x, -1, true)), [[[2, 3]]]),
];

const products: DerivativeCase[] = [
  ...onePerShape("matmul", (x, y) => T.matmul(x, y), [
    [
      [2, 3],
      [3, 2],
    ],
    [
      [2, 2, 3],
      [3, 2],
    ],
    [
      [2, 3],
      [2, 3, 2],
    ],
    [
      [2, 1, 2, 3],
      [3, 3, 1],
    ],
    [[3], [3]],
    [[2, 3], [3]],
    [[3], [2, 3, 2]],
  ]),
  ...onePerShape("dot", (x, y) => T.dot(x, y), [[[3], [3]]]),
  ...onePerShape("outer", (x, y) => T.outer(x, y), [[[2], [3]]]),
  ...onePerShape("matmul of transposes", (x, y) => T.matmul(T.transpose(x), T.transpose(y)), [
    [
      [3, 2],
      [2, 3],
    ],
  ]),
  ...onePerShape("einsum", (x, y) => T.einsum("bij,bjk->bik", x, y), [
    [
      [2, 2, 3],
      [2, 3, 2],
    ],
  ]),
  ...onePerShape("einsum with a diagonal", (x, y) => T.einsum("iij,jk->ki", x, y), [
    [
      [2, 2, 3],
      [3, 2],
    ],
  ]),
  ...onePerShape("einsum of three", (x, y, z) => T.einsum("ij,j,jk->ik", x, y, z), [[[2, 3], [3], [3, 2]]]),
  ...onePerShape("einsum with an ellipsis", (x, y) => T.einsum("...ij,j...->i...", x, y), [
    [
      [2, 3, 2],
      [2, 2],
    ],
  ]),
];

const convolutions: DerivativeCase[] = [
  ...onePerShape("conv1d", (x, w) => T.conv1d(x, w, { padding: "same", dilation: 2 }), [
    [
      [1, 2, 5],
      [2, 2, 2],
    ],
  ]),
  ...onePerShape("conv2d", (x, w) => T.conv2d(x, w, { padding: 1, stride: 2 }), [
    [
      [2, 2, 4, 3],
      [2, 2, 3, 2],
    ],
  ]),
  ...onePerShape("conv2d in groups", (x, w) => T.conv2d(x, w, { groups: 2 }), [
    [
      [1, 4, 3, 3],
      [2, 2, 2, 2],
    ],
  ]),
  ...onePerShape("convTranspose1d", (x, w) => T.convTranspose1d(x, w, { stride: 2 }), [
    [
      [1, 2, 3],
      [2, 2, 2],
    ],
  ]),
  ...onePerShape("convTranspose2d", (x, w) => T.convTranspose2d(x, w, { stride: 2 }), [
    [
      [1, 2, 2, 3],
      [2, 1, 2, 2],
    ],
  ]),
  ...onePerShape("maxPool1d", (x) => T.maxPool1d(x, 2), [[[1, 2, 5]]]),
  ...onePerShape("maxPool2d", (x) => T.maxPool2d(x, 2, { stride: 1, padding: 1 }), [[[1, 2, 4, 3]]]),
  ...onePerShape("upsample", (x) => T.exp(T.upsample(x, [2, 3])), [[[1, 2, 2, 1]]]),
  ...onePerShape("avgPool1d", (x) => T.exp(T.avgPool1d(x, 2)), [[[1, 2, 5]]]),
  ...onePerShape("avgPool2d", (x) => T.exp(T.avgPool2d(x, 2, { stride: 1, padding: 1 })), [[[1, 2, 4, 3]]]),
];

const check = (cases: readonly DerivativeCase[]) =>
  test.each(
    cases.map((c) => [`${c.name} of ${c.shapes.map((s) => `[${s.join(", ")}]`).join(" and ")}`, c] as const),
  )("%s", async (_, given) => expect(await wrongDerivatives(given)).toEqual([]));

describe("element by element", () => check(elementwise));
describe("reductions and normalizations", () => check([...reductions, ...losses]));
describe("shapes and indices", () => check(shapes));
describe("products", () => check(products));
describe("convolutions and pools", () => check(convolutions));

describe("the check itself", () => {
  const wrong = T.customVjp((x: Tensor) => T.mul(x, x), {
    forward: (x: Tensor) => [T.mul(x, x), x] as const,
    backward: (x: Tensor, ct: Tensor) => [T.mul(ct, x)] as [Tensor],
  });
  test("finds a derivative that is off by a factor", async () => {
    const found = await wrongDerivatives({ name: "wrong", f: wrong, shapes: [[3]] });
    expect(found.join()).toContain("vjp against central differences");
    expect(found.join()).toContain("jvp against central differences");
  });
  const half = T.customVjp((x: Tensor) => T.mul(x, T.mul(x, x)), {
    forward: (x: Tensor) => [T.mul(x, T.mul(x, x)), x] as const,
    backward: (x: Tensor, ct: Tensor) => [T.mul(ct, T.mul(3, T.mul(x, T.stopGradient(x))))] as [Tensor],
  });
  test("finds a second derivative that is off", async () => {
    const found = await wrongDerivatives({ name: "half", f: half, shapes: [[3]] });
    expect(found.filter((w) => !w.includes(" over ")).join()).not.toContain("central differences");
    expect(found.join()).toContain("reverse over reverse");
  });
});

test("every operation that is exported is in a table, or has no derivative", () => {
  const withoutDerivative = new Set(
    "all any arange argmax argmin argsort equal evaluate eye full greater greaterEqual isFinite isNaN less lessEqual linspace logicalAnd logicalNot logicalOr logicalXor notEqual oneHot ones onesLike scalar tensor zeros zerosLike".split(
      " ",
    ),
  );
  const elsewhere = new Set(
    "cast cond scan whileLoop data item toArray debugNans grad hessian hvp jacobian jvp valueAndGrad vjp jit vmap toOnnx customVjp treeLeaves treeMap Tensor TensorError linalg random batchStatistics".split(
      " ",
    ),
  );
  const named = new Set(
    [elementwise, reductions, losses, shapes, products, convolutions]
      .flat()
      .map((c) => c.name.split(/[ ,]/)[0]),
  );
  const missing = Object.keys(engine).filter(
    (name) => !withoutDerivative.has(name) && !elsewhere.has(name) && !named.has(name),
  );
  expect(missing).toEqual([]);
});
