import {
  add,
  data,
  grad,
  mul,
  random,
  reshape,
  slice,
  sub,
  sum,
  type Tensor,
  tensor,
  toArray,
  treeLeaves,
  treeMap,
  vmap,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import {
  attention,
  batchNorm,
  conv1d,
  conv2d,
  countParameters,
  dense,
  dropout,
  embedding,
  gru,
  initializers,
  layerNorm,
  lstm,
  recurrent,
  rmsNorm,
  transformer,
} from "./index.ts";

const dtype = "float64";
const noise = (seed: number, shape: readonly number[]): Tensor =>
  random.normal(random.key(seed), shape, { dtype });
const numbers = async (t: Tensor): Promise<number[]> => [...(await data(t))];
const close = (values: readonly number[], digits = 10) =>
  values.map((v) => expect.closeTo(v, digits) as number);
const moments = (values: readonly number[]): { mean: number; variance: number } => {
  const mean = values.reduce((total, v) => total + v, 0) / values.length;
  return { mean, variance: values.reduce((total, v) => total + (v - mean) ** 2, 0) / values.length };
};

/** A scalar that every output has a different part in. */
const weighed = (y: Tensor): Tensor => sum(mul(y, noise(99, y.shape)));

/** Moves parameters off zeros and ones, where mistakes hide. */
const perturbed = <P>(params: P): P => {
  let seed = 1000;
  return treeMap((t) => add(t, mul(0.3, noise(seed++, t.shape))), params);
};

/** The derivative in a random direction against the central difference along it, for parameters and inputs. */
async function expectGradient<P>(f: (params: P) => Tensor, params: P): Promise<void> {
  const h = 1e-5;
  for (const [i, leaf] of treeLeaves(params).entries()) {
    const direction = noise(500 + i, leaf.shape);
    let at = 0;
    const moved = (by: number): P => {
      at = 0;
      return treeMap((t) => (at++ === i ? add(t, mul(by, direction)) : t), params);
    };
    const [up, down] = [(await numbers(f(moved(h))))[0]!, (await numbers(f(moved(-h))))[0]!];
    const gradient = treeLeaves(grad(f)(params))[i]!;
    const along = (await numbers(sum(mul(gradient, direction))))[0]!;
    expect(Math.abs(along), `tensor ${i} matters`).toBeGreaterThan(1e-6);
    expect(Math.abs(along - (up - down) / (2 * h)) / Math.abs(along), `tensor ${i}`).toBeLessThan(1e-5);
  }
}

describe("gradients agree with central differences", () => {
  const key = random.key(7);
  const masks = { heads: 2, causal: true };
  const model = transformer({ vocabulary: 5, context: 4, width: 4, heads: 2, layers: 1, dtype });
  const tokens = tensor([[1, 4, 0]], { dtype: "int32" });
  const cases: Record<string, () => Promise<void>> = {
    dense: () =>
      expectGradient(({ p, x }) => weighed(dense.apply(p, x)), {
        p: perturbed(dense.init(key, { inputs: 3, outputs: 4, dtype })),
        x: noise(1, [2, 3]),
      }),
    conv1d: () =>
      expectGradient(({ p, x }) => weighed(conv1d.apply(p, x, { stride: 2, padding: 1 })), {
        p: perturbed(conv1d.init(key, { channels: 2, filters: 3, kernel: 3, dtype })),
        x: noise(1, [2, 2, 7]),
      }),
    conv2d: () =>
      expectGradient(({ p, x }) => weighed(conv2d.apply(p, x, { padding: "same", groups: 2 })), {
        p: perturbed(conv2d.init(key, { channels: 4, filters: 2, kernel: [3, 2], groups: 2, dtype })),
        x: noise(1, [2, 4, 4, 5]),
      }),
    embedding: () =>
      expectGradient(
        (p) => weighed(embedding.logits(p, embedding.apply(p, tokens))),
        perturbed(embedding.init(key, { vocabulary: 5, width: 3, dtype })),
      ),
    layerNorm: () =>
      expectGradient(({ p, x }) => weighed(layerNorm.apply(p, x)), {
        p: perturbed(layerNorm.init(4, dtype)),
        x: noise(1, [3, 4]),
      }),
    rmsNorm: () =>
      expectGradient(({ p, x }) => weighed(rmsNorm.apply(p, x)), {
        p: perturbed(rmsNorm.init(4, dtype)),
        x: noise(1, [3, 4]),
      }),
    batchNorm: () =>
      expectGradient(
        ({ p, x }) => weighed(batchNorm.apply(p, batchNorm.initState(3, dtype), x, { training: true })[0]),
        { p: perturbed(batchNorm.init(3, dtype)), x: noise(1, [4, 3, 2]) },
      ),
    dropout: () => expectGradient((x: Tensor) => weighed(dropout(key, x, 0.4)), noise(1, [20])),
    attention: () =>
      expectGradient(({ p, x }) => weighed(attention.apply(p, x, masks)), {
        p: perturbed(attention.init(key, { width: 4, dtype })),
        x: noise(1, [2, 3, 4]),
      }),
    gru: () =>
      expectGradient(({ p, x }) => weighed(recurrent(gru, p, x).outputs), {
        p: perturbed(gru.init(key, { inputs: 2, width: 3, dtype })),
        x: noise(1, [2, 4, 2]),
      }),
    lstm: () =>
      expectGradient(({ p, x }) => weighed(recurrent(lstm, p, x, { reverse: true }).outputs), {
        p: perturbed(lstm.init(key, { inputs: 2, width: 3, dtype })),
        x: noise(1, [2, 4, 2]),
      }),
    transformer: () => expectGradient((p) => weighed(model.apply(p, tokens)), perturbed(model.init(key))),
  };
  test.each(Object.keys(cases))("%s", (name) => cases[name]!());
});

const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v));

describe("recurrent cells against plain loops", () => {
  const [inputs, width, time] = [2, 3, 4];
  const xs = noise(3, [1, time, inputs]);

  /** `x · w + b` for rows of the nested arrays. */
  const affine = (x: number[], w: number[][], b: number[]): number[] =>
    b.map((bias, j) => x.reduce((total, v, i) => total + v * w[i]![j]!, bias));

  test("gru", async () => {
    const p = perturbed(gru.init(random.key(1), { inputs, width, dtype }));
    const [wi, bi, wh, bh] = (await Promise.all(
      [p.input.weight, p.input.bias!, p.hidden.weight, p.hidden.bias!].map(toArray),
    )) as [number[][], number[], number[][], number[]];
    const [sequence] = (await toArray(xs)) as number[][][];
    let h = [0, 0, 0];
    const expected = sequence!.map((x) => {
      const a = affine(x, wi, bi);
      const c = affine(h, wh, bh);
      h = h.map((before, j) => {
        const r = sigmoid(a[j]! + c[j]!);
        const z = sigmoid(a[width + j]! + c[width + j]!);
        const n = Math.tanh(a[2 * width + j]! + r * c[2 * width + j]!);
        return (1 - z) * n + z * before;
      });
      return h;
    });
    const { outputs, state } = recurrent(gru, p, xs);
    expect(await numbers(outputs)).toEqual(close(expected.flat()));
    expect(await numbers(state)).toEqual(close(h));
    const [once] = gru.apply(p, gru.start(p, 1), reshape(slice(xs, null, 0), [1, inputs]));
    expect(await numbers(once)).toEqual(close(expected[0]!));
  });

  test.each([false, true])("lstm, reversed: %s", async (reverse) => {
    const p = perturbed(lstm.init(random.key(1), { inputs, width, dtype }));
    const [wi, bi, wh] = (await Promise.all(
      [p.input.weight, p.input.bias!, p.hidden.weight].map(toArray),
    )) as [number[][], number[], number[][]];
    const [sequence] = (await toArray(xs)) as number[][][];
    let [h, c] = [
      [0, 0, 0],
      [0, 0, 0],
    ];
    const expected = (reverse ? sequence!.toReversed() : sequence!).map((x) => {
      const gates = affine(h, wh, affine(x, wi, bi));
      c = c.map(
        (before, j) =>
          sigmoid(gates[width + j]!) * before + sigmoid(gates[j]!) * Math.tanh(gates[2 * width + j]!),
      );
      h = c.map((cell, j) => sigmoid(gates[3 * width + j]!) * Math.tanh(cell));
      return h;
    });
    const { outputs, state } = recurrent(lstm, p, xs, { reverse });
    expect(await numbers(outputs)).toEqual(close((reverse ? expected.toReversed() : expected).flat()));
    expect(await numbers(state.cell)).toEqual(close(c));
  });
});

describe("attention", () => {
  const params = perturbed(attention.init(random.key(2), { width: 4, dtype }));
  const x = noise(5, [1, 5, 4]);
  const later = add(x, mul(tensor([0, 0, 0, 1, 0], { dtype, shape: [1, 5, 1] }), noise(6, [1, 5, 4])));
  const rowsChanged = async (causal: boolean): Promise<boolean[]> => {
    const [a, b] = [x, later].map((t) => attention.apply(params, t, { heads: 2, causal }));
    const difference = (await toArray(sub(a!, b!))) as number[][][];
    return difference[0]!.map((row) => row.some((v) => Math.abs(v) > 1e-9));
  };

  test("causal: a changed position changes itself and later ones only", async () => {
    expect(await rowsChanged(true)).toEqual([false, false, false, true, true]);
  });

  test("not causal: it changes all", async () => {
    expect(await rowsChanged(false)).toEqual([true, true, true, true, true]);
  });

  test("a transformer's logits don't see the future", async () => {
    const model = transformer({ vocabulary: 6, context: 5, width: 4, heads: 2, layers: 2, dtype });
    const p = perturbed(model.init(random.key(0)));
    const [a, b] = [
      [1, 2, 3, 4],
      [1, 2, 5, 4],
    ].map((tokens) => model.apply(p, tensor([tokens], { dtype: "int32" })));
    const rows = ((await toArray(sub(a!, b!))) as number[][][])[0]!;
    expect(rows.map((row) => row.some((v) => Math.abs(v) > 1e-9))).toEqual([false, false, true, true]);
  });

  test("equal scores average the values, and a mask leaves some out", async () => {
    const zero = mul(noise(1, [2, 3]), 0);
    const values = tensor([[1], [5]], { dtype });
    expect(await numbers(attention.dotProductAttention(zero, zero, values))).toEqual(close([3, 3]));
    const mask = tensor([
      [true, true],
      [false, true],
    ]);
    expect(await numbers(attention.dotProductAttention(zero, zero, values, { mask }))).toEqual(close([3, 5]));
  });

  test("heads that don't divide the width are refused", () => {
    expect(() => attention.apply(params, x, { heads: 3 })).toThrow(/heads/);
  });
});

describe("normalization", () => {
  test("layerNorm gives each row mean 0 and variance 1", async () => {
    const y = (await toArray(
      layerNorm.apply(layerNorm.init(8, dtype), add(mul(noise(1, [3, 8]), 5), 2)),
    )) as number[][];
    for (const row of y) {
      expect(moments(row).mean).toBeCloseTo(0, 10);
      expect(moments(row).variance).toBeCloseTo(1, 4);
    }
  });

  test("rmsNorm gives each row a mean square of 1 and leaves its direction", async () => {
    const x = [3, -4];
    const rms = Math.sqrt(12.5);
    expect(await numbers(rmsNorm.apply(rmsNorm.init(2, dtype), tensor(x, { dtype })))).toEqual(
      close(
        x.map((v) => v / rms),
        6,
      ),
    );
  });

  test("batchNorm in training: channels of mean 0 and variance 1, and running statistics that move", async () => {
    const x = add(mul(noise(1, [6, 2, 3]), 3), 4);
    const start = batchNorm.initState(2, dtype);
    const [y, state] = batchNorm.apply(batchNorm.init(2, dtype), start, x, {
      training: true,
      momentum: 0.75,
    });
    const channel = async (t: Tensor, c: number) => moments(await numbers(slice(t, null, c)));
    for (const c of [0, 1]) {
      const [before, after] = [await channel(x, c), await channel(y, c)];
      expect(after.mean).toBeCloseTo(0, 10);
      expect(after.variance).toBeCloseTo(1, 4);
      expect((await numbers(state.mean))[c]).toBeCloseTo(0.25 * before.mean, 10);
      expect((await numbers(state.variance))[c]).toBeCloseTo(0.75 + (0.25 * before.variance * 18) / 17, 10);
    }
  });

  test("batchNorm in evaluation: the running statistics alone, and no new state", async () => {
    const state = { mean: tensor([1, 2], { dtype }), variance: tensor([4, 9], { dtype }) };
    const x = tensor([[3, 5]], { dtype });
    const [y, after] = batchNorm.apply(batchNorm.init(2, dtype), state, x, { training: false, epsilon: 0 });
    expect(await numbers(y)).toEqual(close([1, 1]));
    expect(after).toBe(state);
  });

  test("batchNorm refuses a batch without variance", () => {
    const one = noise(1, [1, 3]);
    expect(() =>
      batchNorm.apply(batchNorm.init(3, dtype), batchNorm.initState(3, dtype), one, { training: true }),
    ).toThrow(/single value/);
  });
});

describe("dropout", () => {
  const x = add(mul(noise(1, [20_000]), 0), 3);

  test("drops the asked share, scales the rest and keeps the mean", async () => {
    const y = await numbers(dropout(random.key(1), x, 0.3));
    const dropped = y.filter((v) => v === 0).length / y.length;
    expect(Math.abs(dropped - 0.3)).toBeLessThan(0.015);
    expect(new Set(y.filter((v) => v !== 0).map((v) => v.toFixed(9)))).toEqual(
      new Set([(3 / 0.7).toFixed(9)]),
    );
    expect(Math.abs(moments(y).mean - 3)).toBeLessThan(0.07);
  });

  test("is decided by its key", async () => {
    const [a, again, other] = await Promise.all(
      [1, 1, 2].map(async (seed) => numbers(dropout(random.key(seed), x, 0.5))),
    );
    expect(again).toEqual(a);
    expect(other).not.toEqual(a);
  });

  test("rate 0 changes nothing, rate 1 is refused", () => {
    expect(dropout(random.key(1), x, 0)).toBe(x);
    expect(() => dropout(random.key(1), x, 1)).toThrow(RangeError);
  });
});

describe("initializers", () => {
  const { fans, glorot, he, lecun, normal, orthogonal, uniform } = initializers;
  const key = random.key(11);

  test("fans of matrices and filters", () => {
    expect(fans([3, 5])).toEqual({ fanIn: 3, fanOut: 5 });
    expect(fans([8, 4, 3, 3])).toEqual({ fanIn: 36, fanOut: 72 });
    expect(() => fans([3])).toThrow(/neither/);
  });

  test.each([
    ["normal", normal(0.5), 0.25],
    ["uniform", uniform(0.6), 0.12],
    ["glorot", glorot(), 2 / 300],
    ["glorot normal", glorot("normal"), 2 / 300],
    ["he", he(), 2 / 100],
    ["he uniform", he("uniform"), 2 / 100],
    ["lecun", lecun(), 1 / 100],
  ] as const)("%s has mean 0 and its variance", async (_, initializer, variance) => {
    const drawn = moments(await numbers(initializer(key, [100, 200])));
    expect(Math.abs(drawn.mean)).toBeLessThan(4 * Math.sqrt(variance / 20_000));
    expect(drawn.variance / variance).toBeGreaterThan(0.96);
    expect(drawn.variance / variance).toBeLessThan(1.04);
  });

  test.each([[[4, 7]], [[7, 4]], [[3, 2, 2, 2]]])(
    "orthogonal %j has orthonormal rows or columns",
    async (shape) => {
      const flat = [shape[0]!, shape.slice(1).reduce((a, b) => a * b, 1)] as const;
      const m = (await toArray(reshape(orthogonal(2)(key, shape, dtype), flat))) as number[][];
      const vectors = flat[0] <= flat[1] ? m : m[0]!.map((_, j) => m.map((row) => row[j]!));
      vectors.forEach((a, i) => {
        vectors.forEach((b, j) => {
          expect(a.reduce((total, v, k) => total + v * b[k]!, 0)).toBeCloseTo(i === j ? 4 : 0, 9);
        });
      });
    },
  );

  test("a layer of stacked keys is a stack of layers", async () => {
    const keys = random.split(key, 3);
    const stacked = vmap((k: Tensor) => dense.init(k, { inputs: 2, outputs: 3 }))(keys);
    const second = dense.init(slice(keys, 1), { inputs: 2, outputs: 3 });
    expect(stacked.bias!.shape).toEqual([3, 3]);
    expect(await numbers(slice(stacked.weight, 1))).toEqual(await numbers(second.weight));
  });

  test("countParameters counts weights and biases", () => {
    expect(countParameters(dense.init(key, { inputs: 3, outputs: 4 }))).toBe(16);
    expect(countParameters(dense.init(key, { inputs: 3, outputs: 4, bias: false }))).toBe(12);
  });
});
