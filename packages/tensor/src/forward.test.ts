import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, test } from "vitest";
import type { Tensor } from "./index.ts";
import * as T from "./index.ts";
import { farthest } from "./testing/derivatives.ts";
import { spreadNumbers } from "./testing/numbers.ts";

/** What the engine computes, and what tfjs does. */
type Pair = readonly [ours: Tensor, theirs: () => tf.Tensor];

function inputs(shapes: number[][], domain: readonly [number, number] = [-2, 2]) {
  const [x, y, z] = spreadNumbers(shapes, domain, 5).map((t) => T.cast(t, "float32"));
  const same = async (t: Tensor): Promise<tf.Tensor> =>
    tf.tensor(Array.from(await T.data(t)), [...t.shape], t.dtype === "int32" ? "int32" : "float32");
  return Promise.all([x, y, z].map(async (t) => (t ? ([t, await same(t)] as const) : undefined)));
}

async function differences(pairs: Record<string, Pair>, tolerance = 2e-5): Promise<string[]> {
  const names = Object.keys(pairs);
  const ours = await T.evaluate(names.map((n) => pairs[n]![0]));
  const wrong: string[] = [];
  for (const [i, t] of ours.entries()) {
    const theirs = pairs[names[i]!]![1]();
    if (theirs.shape.join() !== t.shape.join()) wrong.push(`${names[i]}: ${t.shape}, not ${theirs.shape}`);
    else {
      const off = farthest(await T.data(t), await theirs.data(), tolerance);
      if (off) wrong.push(`${names[i]}: ${off}`);
    }
  }
  return wrong;
}

test("element by element", async () => {
  const [[x, a]] = (await inputs([[3, 7]])) as [readonly [Tensor, tf.Tensor]];
  const [[p, q]] = (await inputs([[3, 7]], [0.05, 3])) as [readonly [Tensor, tf.Tensor]];
  const [[u, v]] = (await inputs([[3, 7]], [-0.98, 0.98])) as [readonly [Tensor, tf.Tensor]];
  const big = T.tensor([-100, -30, 30, 100, 0, 1e-6, -1e-6]);
  const large = tf.tensor1d([-100, -30, 30, 100, 0, 1e-6, -1e-6]);
  const pairs: Record<string, Pair> = {
    abs: [T.abs(x), () => tf.abs(a)],
    neg: [T.neg(x), () => tf.neg(a)],
    sign: [T.sign(x), () => tf.sign(a)],
    floor: [T.floor(x), () => tf.floor(a)],
    ceil: [T.ceil(x), () => tf.ceil(a)],
    round: [T.round(x), () => tf.round(a)],
    "round of halves, to even": [T.round(T.tensor([0.5, 1.5, -0.5, 2.5])), () => tf.tensor1d([0, 2, 0, 2])],
    exp: [T.exp(x), () => tf.exp(a)],
    expm1: [T.expm1(x), () => tf.expm1(a)],
    log: [T.log(p), () => tf.log(q)],
    log1p: [T.log1p(p), () => tf.log1p(q)],
    sqrt: [T.sqrt(p), () => tf.sqrt(q)],
    rsqrt: [T.rsqrt(p), () => tf.rsqrt(q)],
    reciprocal: [T.reciprocal(p), () => tf.reciprocal(q)],
    square: [T.square(x), () => tf.square(a)],
    sin: [T.sin(x), () => tf.sin(a)],
    cos: [T.cos(x), () => tf.cos(a)],
    tan: [T.tan(u), () => tf.tan(v)],
    asin: [T.asin(u), () => tf.asin(v)],
    acos: [T.acos(u), () => tf.acos(v)],
    atan: [T.atan(x), () => tf.atan(a)],
    sinh: [T.sinh(x), () => tf.sinh(a)],
    cosh: [T.cosh(x), () => tf.cosh(a)],
    tanh: [T.tanh(x), () => tf.tanh(a)],
    asinh: [T.asinh(x), () => tf.asinh(a)],
    acosh: [T.acosh(T.add(p, 1)), () => tf.acosh(tf.add(q, 1))],
    atanh: [T.atanh(u), () => tf.atanh(v)],
    erf: [T.erf(x), () => tf.erf(a)],
    sigmoid: [T.sigmoid(x), () => tf.sigmoid(a)],
    "sigmoid far out": [T.sigmoid(big), () => tf.sigmoid(large)],
    "tanh far out": [T.tanh(big), () => tf.tanh(large)],
    logSigmoid: [T.logSigmoid(x), () => tf.logSigmoid(a)],
    "logSigmoid far out": [T.logSigmoid(big), () => tf.logSigmoid(large)],
    softplus: [T.softplus(x), () => tf.softplus(a)],
    "softplus far out": [T.softplus(big), () => tf.softplus(large)],
    relu: [T.relu(x), () => tf.relu(a)],
    silu: [T.silu(x), () => tf.mul(a, tf.sigmoid(a))],
    gelu: [T.gelu(x), () => tf.mul(tf.mul(0.5, a), tf.add(1, tf.erf(tf.mul(a, Math.SQRT1_2))))],
    clip: [T.clip(x, -0.5, 1), () => tf.clipByValue(a, -0.5, 1)],
    isNaN: [T.cast(T.isNaN(T.div(T.sub(x, x), T.sub(x, x))), "float32"), () => tf.onesLike(a)],
  };
  expect(await differences(pairs)).toEqual([]);
});

describe("two operands", () => {
  test.each([
    [
      [3, 4],
      [3, 4],
    ],
    [[3, 4], [4]],
    [[], [3, 4]],
    [
      [2, 1, 4],
      [3, 1],
    ],
  ])("of %j and %j", async (left, right) => {
    const [[x, a], [y, b]] = (await inputs([left, right], [0.2, 3])) as (readonly [Tensor, tf.Tensor])[] as [
      readonly [Tensor, tf.Tensor],
      readonly [Tensor, tf.Tensor],
    ];
    const flags = (t: Tensor): Tensor => T.cast(t, "float32");
    const centred = [T.sub(x, 1.5), T.sub(y, 1.5)] as const;
    const centredTf = [tf.sub(a, 1.5), tf.sub(b, 1.5)] as const;
    const pairs: Record<string, Pair> = {
      add: [T.add(x, y), () => tf.add(a, b)],
      sub: [T.sub(x, y), () => tf.sub(a, b)],
      mul: [T.mul(x, y), () => tf.mul(a, b)],
      div: [T.div(x, y), () => tf.div(a, b)],
      pow: [T.pow(x, y), () => tf.pow(a, b)],
      maximum: [T.maximum(x, y), () => tf.maximum(a, b)],
      minimum: [T.minimum(x, y), () => tf.minimum(a, b)],
      mod: [T.mod(...centred), () => tf.mod(...centredTf)],
      atan2: [T.atan2(...centred), () => tf.atan2(...centredTf)],
      logAddExp: [T.logAddExp(x, y), () => tf.log(tf.add(tf.exp(a), tf.exp(b)))],
      equal: [flags(T.equal(x, T.add(T.sub(x, y), y))), () => tf.equal(a, tf.add(tf.sub(a, b), b))],
      notEqual: [flags(T.notEqual(x, y)), () => tf.notEqual(a, b)],
      less: [flags(T.less(x, y)), () => tf.less(a, b)],
      lessEqual: [flags(T.lessEqual(x, y)), () => tf.lessEqual(a, b)],
      greater: [flags(T.greater(x, y)), () => tf.greater(a, b)],
      greaterEqual: [flags(T.greaterEqual(x, y)), () => tf.greaterEqual(a, b)],
      logicalAnd: [
        flags(T.logicalAnd(T.greater(x, 1), T.greater(y, 1))),
        () => tf.logicalAnd(tf.greater(a, 1), tf.greater(b, 1)),
      ],
      logicalOr: [
        flags(T.logicalOr(T.greater(x, 1), T.greater(y, 1))),
        () => tf.logicalOr(tf.greater(a, 1), tf.greater(b, 1)),
      ],
      logicalXor: [
        flags(T.logicalXor(T.greater(x, 1), T.greater(y, 1))),
        () => tf.logicalXor(tf.greater(a, 1), tf.greater(b, 1)),
      ],
      where: [T.where(T.greater(x, y), x, y), () => tf.maximum(a, b)],
      "where of bools": [
        flags(T.where(T.greater(x, y), T.greater(x, 1), T.less(y, 1))),
        () =>
          tf.where(tf.greater(a, b), tf.cast(tf.greater(a, 1), "float32"), tf.cast(tf.less(b, 1), "float32")),
      ],
    };
    expect(await differences(pairs)).toEqual([]);
  });
});

test("whole numbers", async () => {
  const x = T.tensor([7, -7, 7, -7], { dtype: "int32" });
  const y = T.tensor([2, 2, -2, -2], { dtype: "int32" });
  expect(await T.toArray(T.div(x, y))).toEqual([3, -3, -3, 3]);
  expect(await T.toArray(T.mod(x, y))).toEqual([1, 1, -1, -1]);
  expect(await T.toArray(T.mul(x, y))).toEqual([14, -14, -14, 14]);
  expect(await T.toArray(T.maximum(T.abs(x), y))).toEqual([7, 7, 7, 7]);
  expect(await T.toArray(T.cast(T.tensor([2.9, -2.9, 0]), "int32"))).toEqual([2, -2, 0]);
  expect(await T.toArray(T.cast(T.tensor([2.9, -2.9, 0]), "bool"))).toEqual([true, true, false]);
  expect(await T.toArray(T.matmul(T.reshape(x, [2, 2]), T.reshape(y, [2, 2])))).toEqual([
    [28, 28],
    [28, 28],
  ]);
});

test("reductions", async () => {
  const [[x, a]] = (await inputs([[2, 3, 4]])) as [readonly [Tensor, tf.Tensor3D]];
  const pairs: Record<string, Pair> = {};
  for (const axes of [undefined, 0, 1, -1, [0, 2], [1, 2]] as const)
    for (const keep of [false, true]) {
      const list = axes === undefined ? undefined : typeof axes === "number" ? [axes] : [...axes];
      const name = `over ${list ?? "all"}${keep ? ", kept" : ""}`;
      pairs[`sum ${name}`] = [T.sum(x, list, keep), () => tf.sum(a, list, keep)];
      pairs[`mean ${name}`] = [T.mean(x, list, keep), () => tf.mean(a, list, keep)];
      pairs[`max ${name}`] = [T.max(x, list, keep), () => tf.max(a, list, keep)];
      pairs[`min ${name}`] = [T.min(x, list, keep), () => tf.min(a, list, keep)];
      pairs[`prod ${name}`] = [T.prod(x, list, keep), () => tf.prod(a, list, keep)];
      pairs[`logSumExp ${name}`] = [T.logSumExp(x, list, keep), () => tf.logSumExp(a, list, keep)];
      pairs[`norm ${name}`] = [T.norm(x, list, keep), () => tf.sqrt(tf.sum(tf.square(a), list, keep))];
      pairs[`variance ${name}`] = [
        T.variance(x, list, { keepDims: keep }),
        () => tf.moments(a, list, keep).variance,
      ];
      pairs[`std ${name}`] = [
        T.std(x, list, { keepDims: keep }),
        () => tf.sqrt(tf.moments(a, list, keep).variance),
      ];
      pairs[`any ${name}`] = [
        T.cast(T.any(T.greater(x, 1.6), list, keep), "float32"),
        () => tf.any(tf.greater(a, 1.6), list, keep),
      ];
      pairs[`all ${name}`] = [
        T.cast(T.all(T.greater(x, -1.8), list, keep), "float32"),
        () => tf.all(tf.greater(a, -1.8), list, keep),
      ];
    }
  for (const axis of [0, 1, -1]) {
    pairs[`argmax ${axis}`] = [T.argmax(x, axis), () => tf.argMax(a, axis)];
    pairs[`argmin ${axis}`] = [T.argmin(x, axis), () => tf.argMin(a, axis)];
    pairs[`cumSum ${axis}`] = [T.cumSum(x, axis), () => tf.cumsum(a, (axis + 3) % 3)];
    pairs[`softmax ${axis}`] = [T.softmax(x, axis), () => tf.div(tf.exp(a), tf.sum(tf.exp(a), axis, true))];
    pairs[`logSoftmax ${axis}`] = [T.logSoftmax(x, axis), () => tf.sub(a, tf.logSumExp(a, axis, true))];
  }
  const moments = tf.moments(a, -1, true);
  pairs.layerNorm = [
    T.layerNorm(x),
    () => tf.div(tf.sub(a, moments.mean), tf.sqrt(tf.add(moments.variance, 1e-5))),
  ];
  pairs.rmsNorm = [T.rmsNorm(x), () => tf.div(a, tf.sqrt(tf.add(tf.mean(tf.square(a), -1, true), 1e-6)))];
  const { mean, variance } = tf.moments(a, [0, 2]);
  pairs.batchNorm = [
    T.batchNorm(x, T.batchStatistics(x)),
    () =>
      tf.transpose(
        tf.batchNorm(
          tf.transpose(a, [0, 2, 1]) as tf.Tensor3D,
          mean as tf.Tensor1D,
          variance as tf.Tensor1D,
          undefined,
          undefined,
          1e-5,
        ),
        [0, 2, 1],
      ),
  ];
  expect(await differences(pairs)).toEqual([]);
});

test("shapes and indices", async () => {
  const [[x, a], [y, b]] = (await inputs([
    [2, 3, 4],
    [2, 2, 4],
  ])) as (readonly [Tensor, tf.Tensor3D])[] as [
    readonly [Tensor, tf.Tensor3D],
    readonly [Tensor, tf.Tensor3D],
  ];
  const at = T.tensor(Int32Array.of(2, 0, 2, 1), { shape: [2, 2] });
  const atTf = tf.tensor2d([2, 0, 2, 1], [2, 2], "int32");
  const descending = () => tf.topk(a, 4);
  const pairs: Record<string, Pair> = {
    reshape: [T.reshape(x, [4, -1]), () => tf.reshape(a, [4, -1])],
    transpose: [T.transpose(x), () => tf.transpose(a)],
    "transpose by axes": [T.transpose(x, [1, 2, 0]), () => tf.transpose(a, [1, 2, 0])],
    broadcastTo: [
      T.broadcastTo(T.slice(x, 0), [5, 3, 4]),
      () => tf.broadcastTo(tf.slice(a, [0], [1]), [5, 3, 4]),
    ],
    concat: [T.concat([x, y], 1), () => tf.concat([a, b], 1)],
    stack: [T.stack([x, x], 1), () => tf.stack([a, a], 1)],
    "split and join": [
      T.concat(T.split(x, [1, 3], -1).reverse(), -1),
      () => tf.concat(tf.split(a, [1, 3], 2).reverse(), 2),
    ],
    slice: [T.slice(x, 1, [1, 3], [0, 2]), () => tf.reshape(tf.slice(a, [1, 1, 0], [1, 2, 2]), [2, 2])],
    "slice with steps": [
      T.slice(x, null, [null, null, 2], [-1, 0, -2]),
      () => tf.stridedSlice(a, [0, 0, -1], [2, 3, 0], [1, 2, -2]),
    ],
    flip: [T.flip(x, [0, 2]), () => tf.reverse(a, [0, 2])],
    pad: [
      T.pad(
        x,
        [
          [1, 0],
          [0, 2],
          [1, 1],
        ],
        3,
      ),
      () =>
        tf.pad(
          a,
          [
            [1, 0],
            [0, 2],
            [1, 1],
          ],
          3,
        ),
    ],
    tile: [T.tile(x, [2, 1, 3]), () => tf.tile(a, [2, 1, 3])],
    roll: [
      T.roll(x, 1, 2),
      () => tf.concat([tf.slice(a, [0, 0, 3], [2, 3, 1]), tf.slice(a, [0, 0, 0], [2, 3, 3])], 2),
    ],
    take: [T.take(x, at, 1), () => tf.gather(a, atTf, 1)],
    takeAlongAxis: [T.takeAlongAxis(x, T.argsort(x, -1, true)), () => descending().values],
    scatterAdd: [
      T.scatterAdd(
        T.zeros([3, 2]),
        T.tensor(Int32Array.of(2, 0, 2)),
        T.tensor([
          [1, 2],
          [3, 4],
          [5, 6],
        ]),
      ),
      () =>
        tf.scatterND(
          tf.tensor2d([[2], [0], [2]], [3, 1], "int32"),
          tf.tensor2d([
            [1, 2],
            [3, 4],
            [5, 6],
          ]),
          [3, 2],
        ),
    ],
    oneHot: [T.oneHot(at, 3), () => tf.oneHot(atTf, 3)],
    "topK values": [T.topK(x, 2).values, () => tf.topk(a, 2).values],
    "topK indices": [T.topK(x, 2).indices, () => tf.topk(a, 2).indices],
    "sort descending": [T.sort(x, -1, true), () => descending().values],
    sort: [T.sort(x), () => tf.reverse(descending().values, 2)],
    argsort: [T.argsort(x), () => tf.reverse(descending().indices, 2)],
    tril: [T.tril(x, 1), () => tf.linalg.bandPart(a, -1, 1)],
    triu: [T.triu(x), () => tf.linalg.bandPart(a, 0, -1)],
    eye: [T.eye(3, 4), () => tf.eye(3, 4)],
    linspace: [T.linspace(-1, 2, 7), () => tf.linspace(-1, 2, 7)],
    arange: [T.arange(2, 11, 3), () => tf.range(2, 11, 3, "int32")],
  };
  expect(await differences(pairs)).toEqual([]);
});

test("products", async () => {
  const [[x, a], [y, b]] = (await inputs([
    [2, 3, 4],
    [2, 4, 5],
  ])) as (readonly [Tensor, tf.Tensor3D])[] as [
    readonly [Tensor, tf.Tensor3D],
    readonly [Tensor, tf.Tensor3D],
  ];
  const [first, second] = [T.slice(x, 0), T.slice(y, 0)];
  const [one, two] = [
    tf.reshape(tf.slice(a, [0], [1]), [3, 4]) as tf.Tensor2D,
    tf.reshape(tf.slice(b, [0], [1]), [4, 5]) as tf.Tensor2D,
  ];
  const pairs: Record<string, Pair> = {
    matmul: [T.matmul(first, second), () => tf.matMul(one, two)],
    "matmul of transposes": [
      T.matmul(T.transpose(second), T.transpose(first)),
      () => tf.matMul(two, one, true, true),
    ],
    "matmul in batches": [T.matmul(x, y), () => tf.matMul(a, b)],
    "matmul with one matrix": [T.matmul(x, second), () => tf.einsum("bij,jk->bik", a, two)],
    outer: [
      T.outer(T.slice(first, 0), T.slice(second, 0)),
      () =>
        tf.outerProduct(
          tf.reshape(tf.slice(one, [0], [1]), [4]) as tf.Tensor1D,
          tf.reshape(tf.slice(two, [0], [1]), [5]) as tf.Tensor1D,
        ),
    ],
    "einsum trace of products": [T.einsum("bij,bjk->", x, y), () => tf.sum(tf.matMul(a, b))],
  };
  const both = () => tf.matMul(a, b);
  const equations: Record<string, () => tf.Tensor> = {
    "bij,bjk->bik": both,
    "bij,bjk->kib": () => tf.transpose(both(), [2, 1, 0]),
    "bij,bjk->bi": () => tf.sum(both(), 2),
    "bij,bjk": () => tf.sum(both(), 0),
    "bij,cjk->ik": () => tf.matMul(tf.sum(a, 0), tf.sum(b, 0)),
    "bij,cjk->bcik": () =>
      tf.matMul(tf.tile(tf.expandDims(a, 1), [1, 2, 1, 1]), tf.tile(tf.expandDims(b, 0), [2, 1, 1, 1])),
  };
  for (const [equation, theirs] of Object.entries(equations))
    pairs[`einsum ${equation}`] = [T.einsum(equation, x, y), theirs];
  for (const equation of ["bij->jib", "bij->j", "bij->"])
    pairs[`einsum ${equation}`] = [T.einsum(equation, x), () => tf.einsum(equation, a)];
  pairs["einsum with an ellipsis"] = [T.einsum("...ij,...jk", x, y), () => tf.matMul(a, b)];
  pairs["einsum of three"] = [
    T.einsum("bij,bjk,k->bi", x, y, T.tensor([1, 2, 3, 4, 5])),
    () => tf.einsum("bij,bjk->bi", a, tf.mul(b, tf.tensor1d([1, 2, 3, 4, 5]))),
  ];
  pairs["einsum diagonal"] = [
    T.einsum("ii->i", T.slice(second, null, [0, 4])),
    () => tf.tensor1d([0, 1, 2, 3].map((i) => two.arraySync()[i]![i]!)),
  ];
  expect(await differences(pairs)).toEqual([]);
});

describe("convolutions and pools", () => {
  const nhwc = (t: tf.Tensor4D): tf.Tensor4D => tf.transpose(t, [0, 2, 3, 1]);
  const nchw = (t: tf.Tensor4D): tf.Tensor4D => tf.transpose(t, [0, 3, 1, 2]);
  test.each([
    ["plain", {}, 1, "valid", 1],
    ["strided", { stride: 2 }, 2, "valid", 1],
    ["same", { padding: "same" }, 1, "same", 1],
    ["strided same", { padding: "same", stride: 2 }, 2, "same", 1],
    ["dilated", { dilation: 2 }, 1, "valid", 2],
    ["padded", { padding: 1 }, 1, 1, 1],
  ] as const)("%s", async (_, options, stride, padding, dilation) => {
    const [[x, a], [w, k]] = (await inputs([
      [2, 3, 7, 6],
      [4, 3, 3, 2],
    ])) as (readonly [Tensor, tf.Tensor4D])[] as [
      readonly [Tensor, tf.Tensor4D],
      readonly [Tensor, tf.Tensor4D],
    ];
    const kernel = tf.transpose(k, [2, 3, 1, 0]) as tf.Tensor4D;
    // tfjs takes other sizes for padding by numbers, so zeros are put there by hand.
    const mode = padding === 1 ? "valid" : padding;
    const padded = <R extends tf.Tensor>(t: R): R =>
      padding === 1
        ? (tf.pad(
            t,
            t.shape.map((_, i): [number, number] => (i < 2 ? [0, 0] : [1, 1])),
          ) as R)
        : t;
    const [[x1, a1], [w1, k1]] = [
      [T.slice(x, null, null, null, 0), tf.reshape(tf.slice(a, [0, 0, 0, 0], [2, 3, 7, 1]), [2, 3, 7])],
      [T.slice(w, null, null, null, 0), tf.reshape(tf.slice(k, [0, 0, 0, 0], [4, 3, 3, 1]), [4, 3, 3])],
    ] as const;
    const pairs: Record<string, Pair> = {
      conv2d: [
        T.conv2d(x, w, options),
        () => nchw(tf.conv2d(nhwc(padded(a)), kernel, stride, mode, "NHWC", dilation)),
      ],
      conv1d: [
        T.conv1d(x1, w1, options),
        () =>
          tf.transpose(
            tf.conv1d(
              tf.transpose(padded(a1), [0, 2, 1]) as tf.Tensor3D,
              tf.transpose(k1, [2, 1, 0]) as tf.Tensor3D,
              stride,
              mode,
              "NWC",
              dilation,
            ),
            [0, 2, 1],
          ),
      ],
    };
    if (dilation === 1 && padding !== 1) {
      pairs.maxPool2d = [
        T.maxPool2d(x, 2, { stride, padding }),
        () => nchw(tf.maxPool(nhwc(a), 2, stride, padding)),
      ];
    }
    if (padding === "valid" && dilation === 1)
      pairs.avgPool2d = [T.avgPool2d(x, 2, { stride }), () => nchw(tf.avgPool(nhwc(a), 2, stride, "valid"))];
    expect(await differences(pairs)).toEqual([]);
  });

  test("transposed", async () => {
    const [[x, a], [w, k]] = (await inputs([
      [2, 3, 4, 3],
      [3, 2, 3, 2],
    ])) as (readonly [Tensor, tf.Tensor4D])[] as [
      readonly [Tensor, tf.Tensor4D],
      readonly [Tensor, tf.Tensor4D],
    ];
    const kernel = tf.transpose(k, [2, 3, 1, 0]) as tf.Tensor4D;
    const pairs: Record<string, Pair> = {
      convTranspose2d: [
        T.convTranspose2d(x, w, { stride: 2 }),
        () => nchw(tf.conv2dTranspose(nhwc(a), kernel, [2, 9, 6, 2], 2, "valid")),
      ],
    };
    expect(await differences(pairs)).toEqual([]);
  });
});

test("values that only float64 can tell apart", async () => {
  const x = T.tensor(Float64Array.of(1e-9, 0.3, 2.5));
  expect(farthest(await T.data(T.log1p(x)), [1e-9, 0.3, 2.5].map(Math.log1p), 1e-15)).toBeUndefined();
  expect(farthest(await T.data(T.expm1(x)), [1e-9, 0.3, 2.5].map(Math.expm1), 1e-15)).toBeUndefined();
  expect(farthest(await T.data(T.atan(x)), [1e-9, 0.3, 2.5].map(Math.atan), 1e-15)).toBeUndefined();
  const erf = [1.1283791670955127e-9, 0.32862675945912745, 0.999593047982555];
  expect(farthest(await T.data(T.erf(x)), erf, 1e-15)).toBeUndefined();
});
