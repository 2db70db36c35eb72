import {
  broadcastTo,
  concat,
  expandDims,
  grad,
  item,
  jit,
  mean,
  mul,
  random,
  reshape,
  scan,
  sqrt,
  square,
  stack,
  sub,
  type Tensor,
  tensor,
  toArray,
  treeMap,
  vmap,
  zeros,
  zerosLike,
} from "@prior-art/tensor";
import { crossEntropy, type MlpParams } from "@prior-art/toolkit/nn";
import {
  applyUpdates,
  chain,
  clipByGlobalNorm,
  globalNorm,
  masked,
  ravel,
  scale,
  skipNonFinite,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { gaussian, numbers } from "../testing/doubles.ts";
import { accumulate, featureScales, startAccumulators, tensorFeatures, timeFeatures } from "./features.ts";
import {
  type LearnedOptimizerParams,
  type LearnedOptimizerState,
  muParametrize,
  type Parametrization,
  smallFcLopt,
} from "./method.ts";
import { listScales } from "./muParametrization.ts";

const close = (values: readonly number[], digits = 4) => values.map((v) => expect.closeTo(v, digits));
const draw = (seed: number, ...shape: number[]): Tensor => random.normal(random.key(seed), shape);

const lopt = smallFcLopt({ hidden: 8 });
const phi = lopt.init(random.key(1));
/** φ whose output is always d and a. */
const constant = (d: number, a = 0): LearnedOptimizerParams => ({
  weights: phi.weights.map(zerosLike),
  biases: [zeros([8]), zeros([8]), tensor([d, a])],
  decays: zeros([7]),
});

const decays = {
  momenta: tensor([0.9, 0.99, 0.999]),
  square: tensor([0.999]),
  factored: tensor([0.9, 0.99, 0.999]),
};

/** Each feature of each entry, `[28][entries]`: 16 of the entries, then 6 of rows and 6 of columns. */
async function normalizedFeatures(...given: Parameters<typeof tensorFeatures>): Promise<number[][]> {
  const { entries, rows, columns } = tensorFeatures(...given);
  const view = given[1].shape;
  const shaped = (t: Tensor, shape: readonly number[]): Tensor =>
    reshape(broadcastTo(reshape(mul(t, expandDims(featureScales(t, 1e-5), -1)), shape), [6, ...view]), [
      6,
      given[1].size,
    ]);
  const isMatrix = view.length === 2;
  const flat = reshape(entries, [16, given[1].size]);
  const all = concat([
    mul(flat, expandDims(featureScales(entries, 1e-5), -1)),
    shaped(rows, isMatrix ? [6, view[0]!, 1] : [6, view[0]!]),
    shaped(columns, isMatrix ? [6, 1, view[1]!] : [6, view[0]!]),
  ]);
  return (await toArray(all)) as number[][];
}

describe("features", () => {
  test("of a matrix after one gradient, by hand", async () => {
    const g = [
      [1, -2],
      [3, 0.5],
      [0.25, 1],
    ];
    const w = draw(2, 3, 2);
    const now = accumulate(startAccumulators([3, 2]), decays, tensor(g));
    const features = await normalizedFeatures(now, tensor(g), w);
    expect(features).toHaveLength(28);
    const flat = g.flat();
    const normalized = (values: readonly number[]): number[] => {
      const power = values.reduce((total, v) => total + v * v, 0) / values.length;
      return values.map((v) => v / Math.sqrt(power + 1e-5));
    };
    expect(features[0]).toEqual(close(normalized(flat)));
    expect(features[1]).toEqual(close(normalized(await numbers(w))));
    // Momenta at three decays, alike but for their size, which normalization takes off.
    expect(features[2]).toEqual(close(normalized(flat.map((v) => 0.1 * v))));
    expect(features[4]).toEqual(close(normalized(flat.map((v) => 1e-3 * v)), 4));
    const v = flat.map((x) => 1e-3 * x * x);
    expect(features[5]).toEqual(close(normalized(v)));
    expect(features[6]).toEqual(close(normalized(flat.map((x, i) => (0.1 * x) / Math.sqrt(v[i]!)))));
    expect(features[9]).toEqual(close(normalized(v.map((x) => 1 / Math.sqrt(x)))));
    const rows = g.map((row) => (0.1 * (row[0]! ** 2 + row[1]! ** 2)) / 2);
    const columns = [0, 1].map((j) => (0.1 * g.reduce((total, row) => total + row[j]! ** 2, 0)) / 3);
    const spread = (byEntry: (i: number, j: number) => number): number[] =>
      normalized(g.flatMap((row, i) => row.map((_, j) => byEntry(i, j))));
    const meanRow = rows.reduce((a, b) => a + b) / 3;
    const root = (i: number, j: number): number => Math.sqrt((rows[i]! / meanRow) * columns[j]!);
    expect(features[16]).toEqual(close(spread((i) => rows[i]!)));
    expect(features[22]).toEqual(close(spread((_, j) => columns[j]!)));
    expect(features[19]).toEqual(close(spread((i) => 1 / Math.sqrt(rows[i]!))));
    expect(features[25]).toEqual(close(spread((_, j) => 1 / Math.sqrt(columns[j]!))));
    expect(features[10]).toEqual(close(spread((i, j) => g[i]![j]! / root(i, j))));
    expect(features[13]).toEqual(close(spread((i, j) => (0.1 * g[i]![j]!) / root(i, j))));
  });

  test("of a vector have its second moment in the place of row and column", async () => {
    const g = tensor([1, -2, 0.5]);
    const now = accumulate(startAccumulators([3]), decays, g);
    const features = await normalizedFeatures(now, g, draw(2, 3));
    expect(features[16]).toEqual(close(features[22]!));
    expect(features[10]).toEqual(close([1, -1, 1], 3));
  });

  test("accumulators decay as they should over steps", async () => {
    let now = accumulate(startAccumulators([2]), decays, tensor([1, 2]));
    now = accumulate(now, decays, tensor([3, 0]));
    expect(await toArray(now.momenta)).toEqual([
      close([0.9 * 0.1 + 0.1 * 3, 0.9 * 0.1 * 2]),
      close([0.99 * 0.01 + 0.01 * 3, 0.99 * 0.01 * 2]),
      close([0.999e-3 + 3e-3, 0.999 * 2e-3]),
    ]);
    expect(await numbers(now.square)).toEqual(close([0.999e-3 + 9e-3, 0.999 * 4e-3]));
  });

  test("of time compare the step with eleven scales", async () => {
    const time = await numbers(timeFeatures(tensor(30)));
    expect(time).toHaveLength(11);
    expect(time[3]).toBeCloseTo(0, 6);
    expect(time[0]).toBeCloseTo(1, 6);
    expect(time[10]).toBeCloseTo(Math.tanh(30 / 1e5 - 1), 6);
  });
});

describe("the optimizer", () => {
  type Params = { readonly w: Tensor; readonly b: Tensor };
  const params: Params = { w: draw(3, 4, 3), b: draw(4, 3) };
  const gradients: Params = { w: draw(5, 4, 3), b: draw(6, 3) };

  test("is the perceptron of each entry's 39 features", async () => {
    const optimizer = lopt.toOptimizer<Params>(phi);
    const [updates] = optimizer.update(gradients, optimizer.init(params), params);
    const weights = (await Promise.all(phi.weights.map((w) => toArray(w)))) as number[][][];
    const time = await numbers(timeFeatures(tensor(0)));
    for (const name of ["w", "b"] as const) {
      const now = accumulate(startAccumulators(params[name].shape), decays, gradients[name]);
      const features = await normalizedFeatures(now, gradients[name], params[name]);
      const expected = features[0]!.map((_, entry) => {
        let layer = [...features.map((row) => row[entry]!), ...time];
        weights.forEach((matrix, i) => {
          const sums = matrix[0]!.map((_, j) => layer.reduce((total, v, k) => total + v * matrix[k]![j]!, 0));
          layer = i < 2 ? sums.map((v) => Math.max(0, v)) : sums;
        });
        return -layer[0]! * Math.exp(1e-3 * layer[1]!);
      });
      expect(await numbers(mul(1e3, updates[name]))).toEqual(close(expected, 3));
    }
  });

  test("with d = 1 and a = 0 takes constant steps of 1e-3 times the scale", async () => {
    const optimizer = lopt.toOptimizer<Params>(constant(1), { scale: (path) => (path === "w" ? 0.25 : 1) });
    const [updates] = optimizer.update(gradients, optimizer.init(params), params);
    expect(await numbers(updates.w)).toEqual(close(new Array(12).fill(-0.25e-3), 8));
    expect(await numbers(updates.b)).toEqual(close([-1e-3, -1e-3, -1e-3], 8));
  });

  test("a enlarges steps exponentially", async () => {
    const optimizer = lopt.toOptimizer<Params>(constant(2, 500));
    const [updates] = optimizer.update(gradients, optimizer.init(params), params);
    expect((await numbers(updates.b))[0]).toBeCloseTo(-2e-3 * Math.exp(0.5), 6);
  });

  test("does not see the scale of the gradients", async () => {
    const optimizer = smallFcLopt({ hidden: 8, epsilon: 1e-30 }).toOptimizer<Params>(phi);
    const walk = async (factor: number): Promise<number[]> => {
      let state = optimizer.init(params);
      let updates = params;
      for (let i = 0; i < 3; i++) {
        const g = treeMap((t) => mul(factor * (i + 1), t), gradients);
        [updates, state] = optimizer.update(g, state, params);
      }
      return numbers(mul(1e3, ravel(updates)));
    };
    const [plain, scaled] = [await walk(1), await walk(100)];
    expect(plain).toEqual(close(scaled, 2));
    expect(Math.max(...plain.map(Math.abs))).toBeGreaterThan(0.1);
  });

  test("gives a tensor the same update whatever others it comes with", async () => {
    const optimizer = lopt.toOptimizer<Record<string, Tensor>>(phi);
    const more = { ...params, again: params.w, filters: draw(7, 2, 3, 2, 2), one: draw(8) };
    const moreGradients = {
      ...gradients,
      again: draw(9, 4, 3),
      filters: draw(10, 2, 3, 2, 2),
      one: draw(11),
    };
    const [alone] = optimizer.update({ ...gradients }, optimizer.init({ ...params }), { ...params });
    const [together] = optimizer.update(moreGradients, optimizer.init(more), more);
    expect(await numbers(together.w!)).toEqual(close(await numbers(alone.w!), 8));
    expect(together.filters!.shape).toEqual([2, 3, 2, 2]);
    expect(together.one!.shape).toEqual([]);
    expect(await numbers(together.again!)).not.toEqual(await numbers(together.w!));
  });

  test("decays are meta-learned: θ moves 1 - β by e^(10θ)", async () => {
    const faster = { ...constant(1), decays: tensor([0.1, 0, 0, 0, 0, 0, 5]) };
    const optimizer = lopt.toOptimizer<Params>(faster);
    const [, state] = optimizer.update(gradients, optimizer.init(params), params);
    const momenta = (await toArray(
      state.accumulators.find((a) => a.square.rank === 2)!.momenta,
    )) as number[][][];
    const b = await numbers(gradients.b);
    expect(momenta[0]![0]).toEqual(close(b.map((v) => 0.1 * Math.E * v)));
    expect(momenta[0]![1]).toEqual(close(b.map((v) => 0.01 * v)));
    const rows = (await toArray(state.accumulators.find((a) => a.square.rank === 2)!.rows)) as number[][][];
    // 1 - β can't exceed 1.
    expect(rows[0]![2]).toEqual(close(b.map((v) => v * v)));
  });

  test("chains with clipping, scales and masks", async () => {
    const optimizer = chain(
      clipByGlobalNorm<Params>(1),
      lopt.toOptimizer<Params>(constant(1)),
      scale<Params>(3),
    );
    const [updates] = optimizer.update(gradients, optimizer.init(params), params);
    expect((await numbers(ravel(updates)))[0]).toBeCloseTo(-3e-3, 8);
    const matrices = masked<Params, LearnedOptimizerState>(lopt.toOptimizer(constant(1)), (p) => p.rank > 1);
    const [part] = matrices.update(gradients, matrices.init(params), params);
    expect(await numbers(part.b)).toEqual(await numbers(gradients.b));
    expect((await numbers(part.w))[0]).toBeCloseTo(-1e-3, 8);
  });

  test("around it, skipNonFinite leaves out steps whose gradients are not finite", async () => {
    const optimizer = skipNonFinite(lopt.toOptimizer<Params>(phi));
    const broken = { ...gradients, b: mul(gradients.b, Number.POSITIVE_INFINITY) };
    const [updates, state] = optimizer.update(broken, optimizer.init(params), params);
    expect(await item(globalNorm(updates))).toBe(0);
    expect(await item(state.inner.step)).toBe(0);
  });

  test("works in float64 and in compiled loops, under vmap over φ", async () => {
    const run = (p: LearnedOptimizerParams): Tensor => {
      const optimizer = lopt.toOptimizer<Params>(p);
      const [[last]] = scan(
        ([now, state]: readonly [Params, ReturnType<typeof optimizer.init>], g: Params) => {
          const [updates, next] = optimizer.update(g, state, now);
          return [[applyUpdates(now, updates), next] as const, null];
        },
        [params, optimizer.init(params)] as const,
        { w: draw(12, 5, 4, 3), b: draw(13, 5, 3) } as never,
      );
      return ravel(last);
    };
    const phis = [phi, lopt.init(random.key(2))];
    const both = treeMap((a, b) => stack([a, b]), phis[0]!, phis[1]!);
    const together = (await toArray(await jit(vmap(run))(both))) as number[][];
    for (const [i, p] of phis.entries()) expect(together[i]).toEqual(close(await numbers(run(p))));
    const wide = { w: gaussian(0, [2, 2]) };
    const optimizer = lopt.toOptimizer<typeof wide>(phi);
    expect(optimizer.update(wide, optimizer.init(wide), wide)[0].w.dtype).toBe("float64");
  });

  test("says so when gradients, state or φ don't fit", () => {
    const optimizer = lopt.toOptimizer<Params>(phi);
    const state = optimizer.init(params);
    const wider = { w: draw(1, 4, 5), b: draw(2, 5) };
    expect(() => optimizer.update(wider, state, params)).toThrow(/don't fit the parameters/);
    expect(() => optimizer.update(wider, state, wider)).toThrow(/other parameters/);
    expect(() => smallFcLopt({ hidden: 4 }).toOptimizer(phi)).toThrow(/hidden width 4/);
    expect(() => smallFcLopt({ hidden: 0 })).toThrow(RangeError);
    expect(() => smallFcLopt({ epsilon: 0 })).toThrow(RangeError);
  });
});

describe("μP", () => {
  const mlp = (width: number, parametrization: Parametrization) =>
    muParametrize({ inputs: 16, width, depth: 3, outputs: 10 }, parametrization);
  const x = draw(20, 32, 16);
  const labels = tensor(Int32Array.from({ length: 32 }, (_, i) => i % 10));

  test("scales hidden updates only, by their fan-in", () => {
    const { init, updateScale } = mlp(64, "mup");
    const params = init(random.key(0));
    // Leaves are in the order bias, weight of each layer.
    expect(listScales(params, updateScale)).toEqual([1, 1, 1, 1 / 64, 1, 1 / 64, 1, 1]);
    expect(listScales(params, mlp(64, "sp").updateScale)).toEqual(new Array(8).fill(1));
    expect(listScales(mlp(1, "mup").init(random.key(0)), mlp(1, "mup").updateScale)).toEqual(
      new Array(8).fill(1),
    );
  });

  test("starts with logits 0 and a loss of log 10", async () => {
    const { init, apply } = mlp(32, "mup");
    const logits = apply(init(random.key(1)), x);
    expect(Math.max(...(await numbers(logits)).map(Math.abs))).toBe(0);
    expect(await item(crossEntropy(logits, labels))).toBeCloseTo(Math.log(10), 6);
  });

  test("divides the logits by the width", async () => {
    const params = mlp(32, "sp").init(random.key(3));
    const [sp, mup] = [mlp(32, "sp").apply(params, x), mlp(32, "mup").apply(params, x)];
    expect(await numbers(mup)).toEqual(close((await numbers(sp)).map((v) => v / 32)));
  });

  /** Root mean square change of each layer's preactivations in five steps with a fixed φ. */
  async function changes(width: number, parametrization: Parametrization): Promise<number[]> {
    const model = mlp(width, parametrization);
    const optimizer = lopt.toOptimizer<MlpParams>(phi, { scale: model.updateScale });
    const before = model.init(random.key(5));
    const slope = grad((p: MlpParams) => crossEntropy(model.apply(p, x), labels));
    const walk = jit((start: MlpParams) => {
      const [[after]] = scan(
        ([now, state]: readonly [MlpParams, LearnedOptimizerState], _: Tensor) => {
          const [updates, next] = optimizer.update(slope(now), state, now);
          return [[applyUpdates(now, updates), next] as const, null];
        },
        [start, optimizer.init(start)] as const,
        zeros([5]),
      );
      const ends = model.preactivations(after, x);
      return model.preactivations(start, x).map((z, i) => sqrt(mean(square(sub(ends[i]!, z)))));
    });
    const moved = await walk(before);
    const values = await Promise.all(moved.map((z) => item(z)));
    await walk.release();
    return values;
  }

  test("keeps the change of every layer alike from width 64 to 1024, where standard parametrization lets it grow", async () => {
    const [narrow, wide] = [await changes(64, "mup"), await changes(1024, "mup")];
    narrow.forEach((v, i) => {
      expect(wide[i]! / v, `layer ${i}`).toBeGreaterThan(0.5);
      expect(wide[i]! / v, `layer ${i}`).toBeLessThan(2);
    });
    const [small, large] = [await changes(64, "sp"), await changes(1024, "sp")];
    for (const layer of [1, 2])
      expect(Math.log(large[layer]! / small[layer]!) / Math.log(16), `layer ${layer}`).toBeGreaterThan(0.5);
  });

  test("refuses sizes that make no sense", () => {
    expect(() => mlp(0, "mup")).toThrow(RangeError);
    expect(() => muParametrize({ inputs: 2, width: 2.5, depth: 1, outputs: 2 }, "sp")).toThrow(RangeError);
  });
});
