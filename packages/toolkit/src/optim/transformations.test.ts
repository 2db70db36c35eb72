import {
  add,
  cast,
  data,
  item,
  jit,
  mul,
  random,
  scan,
  sub,
  sum,
  type Tensor,
  tensor,
  toArray,
  treeLeaves,
  valueAndGrad,
  vmap,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { flat, masked, ravel, unravel } from "./combinators.ts";
import { adam, sgd } from "./optimizers.ts";
import {
  centralize,
  clipByGlobalNorm,
  clipByValue,
  globalNorm,
  scale,
  scaleByAdam,
  scaleByLearningRate,
} from "./scaling.ts";
import { cosineDecay, linearSchedule } from "./schedules.ts";
import { applyUpdates, chain, type GradientTransformation } from "./transformation.ts";

type Params = { readonly w: Tensor; readonly b: Tensor };

const wide = (values: number[] | number[][]): Tensor => tensor(values, { dtype: "float64" });

const values = async (tree: unknown): Promise<number[]> =>
  (await Promise.all(treeLeaves(tree).map(data))).flatMap((leaf) => [...leaf]);

/** The updates of one step from the start, in order of keys. */
const oneStep = <P, S>(
  t: GradientTransformation<P, S>,
  gradients: P,
  params: P = gradients,
): Promise<number[]> => values(t.update(gradients, t.init(params), params)[0]);

const closeTo = (expected: readonly number[], digits = 12) =>
  expected.map((v) => expect.closeTo(v, digits) as number);

describe("transformations of gradients", () => {
  const gradients: Params = { b: wide([6]), w: wide([[2, 3]]) };

  test("the global norm is over all tensors together", async () => {
    expect(await item(globalNorm(gradients))).toBeCloseTo(7, 12);
    expect(() => globalNorm({})).toThrow(/no tensor/);
  });

  test("clipByGlobalNorm scales down to the limit, and leaves what is shorter", async () => {
    expect(await oneStep(clipByGlobalNorm(3.5), gradients)).toEqual(closeTo([3, 1, 1.5]));
    expect(await oneStep(clipByGlobalNorm(7.5), gradients)).toEqual(closeTo([6, 2, 3]));
  });

  test("clipByGlobalNorm leaves gradients of zero at zero", async () => {
    expect(await oneStep(clipByGlobalNorm(1), wide([0, 0]))).toEqual([0, 0]);
  });

  test("clipByValue limits each element", async () => {
    expect(await oneStep(clipByValue(1), wide([-5, 0.5, 2]))).toEqual([-1, 0.5, 1]);
  });

  test("scale multiplies", async () => {
    expect(await oneStep(scale(-2), gradients)).toEqual([-12, -4, -6]);
  });

  test("centralize takes the mean over a matrix's inputs off, and leaves biases", async () => {
    const centred = await oneStep(centralize<Params>(), {
      b: wide([5]),
      w: wide([
        [1, 2],
        [3, 8],
      ]),
    });
    expect(centred).toEqual(closeTo([5, -1, -3, 1, 3]));
  });

  test("centralize takes the mean of each filter off", async () => {
    const filters = tensor(Float64Array.of(1, 2, 3, 6, 10, 20, 30, 60), { shape: [2, 2, 1, 2] });
    expect(await oneStep(centralize(), filters)).toEqual(closeTo([-2, -1, 0, 3, -20, -10, 0, 30]));
  });

  test("masked transforms what the mask chooses, and keeps state for that alone", async () => {
    const optimizer = masked<Params, unknown>(scaleByAdam<Tensor[]>({ eps: 0 }), (t) => t.rank > 1);
    const state = optimizer.init(gradients);
    expect(await oneStep(optimizer, gradients)).toEqual(closeTo([6, 1, 1]));
    expect((state as { mean: Tensor[] }).mean.map((t) => t.shape)).toEqual([[1, 2]]);
  });

  test("chain hands each part's updates to the next", async () => {
    const clippedThenScaled = chain<
      Params,
      [GradientTransformation<Params, null>, GradientTransformation<Params, null>]
    >(clipByGlobalNorm(3.5), scale(10));
    expect(await oneStep(clippedThenScaled, gradients)).toEqual(closeTo([30, 10, 15]));
  });

  test("a schedule is asked for step 0 first", async () => {
    const rate = scaleByLearningRate<Tensor>(linearSchedule(1, 0, 4));
    const g = wide([1]);
    let state = rate.init(g);
    const seen: number[] = [];
    for (let i = 0; i < 5; i++) {
      const [updates, next] = rate.update(g, state, g);
      seen.push(...(await values(updates)));
      state = next;
    }
    expect(seen.map(Math.abs)).toEqual(closeTo([1, 0.75, 0.5, 0.25, 0]));
    expect(seen[0]).toBe(-1);
  });
});

describe("vectors of trees", () => {
  const tree: Params = {
    b: wide([1, 2]),
    w: wide([
      [3, 4],
      [5, 6],
    ]),
  };

  test("unravel undoes ravel", async () => {
    const vector = ravel(tree);
    expect(await toArray(vector)).toEqual([1, 2, 3, 4, 5, 6]);
    const back = unravel(vector, tree);
    expect(await toArray(back.w)).toEqual([
      [3, 4],
      [5, 6],
    ]);
    expect(await toArray(back.b)).toEqual([1, 2]);
  });

  test("flat(adam) takes the steps of adam", async () => {
    const optimizers = [
      adam<Params>({ learningRate: 0.1 }),
      flat<Params, unknown>(adam({ learningRate: 0.1 })),
    ];
    const [plain, together] = await Promise.all(
      optimizers.map(async (optimizer) => {
        const o = optimizer as GradientTransformation<Params, unknown>;
        let params = tree;
        let state = o.init(params);
        for (let i = 0; i < 5; i++) {
          const [updates, next] = o.update({ b: mul(params.b, 2), w: mul(params.w, -0.3) }, state, params);
          params = applyUpdates(params, updates);
          state = next;
        }
        return values(params);
      }),
    );
    expect(together).toEqual(closeTo(plain!));
    expect(plain).not.toEqual(closeTo([1, 2, 3, 4, 5, 6], 2));
  });

  test("an empty tree and mixed dtypes are refused", () => {
    expect(() => ravel({})).toThrow(/no tensor/);
    expect(() => ravel([wide([1]), cast(wide([1]), "float32")])).toThrow(/dtype/i);
  });
});

describe("inside jit, scan and vmap", () => {
  const STEPS = 20;
  const loss = ({ w, b }: Params): Tensor => {
    const away = sub(w, 3);
    return add(sum(mul(away, away)), sum(mul(b, b)));
  };
  const optimizerAt = (rate: Tensor | number) =>
    chain<
      Params,
      [
        GradientTransformation<Params, null>,
        GradientTransformation<Params, unknown>,
        GradientTransformation<Params, unknown>,
      ]
    >(
      clipByGlobalNorm(1),
      scaleByAdam() as GradientTransformation<Params, unknown>,
      scaleByLearningRate((step) => mul(rate, cosineDecay(1, STEPS)(step))) as GradientTransformation<
        Params,
        unknown
      >,
    );
  const start = (): Params => ({ b: wide([1, -1]), w: wide([[0.5]]) });

  const train = (rate: Tensor): Params => {
    const optimizer = optimizerAt(rate);
    const params = start();
    const [[trained]] = scan(
      ([p, state]: readonly [Params, ReturnType<typeof optimizer.init>]) => {
        const [, gradients] = valueAndGrad(loss)(p);
        const [updates, next] = optimizer.update(gradients, state, p);
        return [[applyUpdates(p, updates), next] as const, null] as const;
      },
      [params, optimizer.init(params)] as const,
      null,
      { length: STEPS },
    );
    return trained;
  };

  test("members of a vmapped sweep take the steps of runs of their own", async () => {
    const rates = [0.003, 0.1, 0.5];
    const together = await jit((r: Tensor) => vmap(train)(r))(wide(rates));
    const apart: number[][] = [];
    for (const rate of rates) {
      const optimizer = optimizerAt(rate);
      let params = start();
      let state = optimizer.init(params);
      for (let i = 0; i < STEPS; i++) {
        const [, gradients] = valueAndGrad(loss)(params);
        const [updates, next] = optimizer.update(gradients, state, params);
        params = applyUpdates(params, updates);
        state = next;
      }
      apart.push(await values(params));
    }
    expect(await toArray(together.w)).toEqual(apart.map((p) => [[expect.closeTo(p[2]!, 10)]]));
    expect(await toArray(together.b)).toEqual(apart.map((p) => closeTo(p.slice(0, 2), 10)));
    expect(apart[2]![2]).toBeGreaterThan(apart[0]![2]! + 0.5);
  });

  test("updates keep the dtype of the parameters", () => {
    const single: Tensor = tensor([1, 2]);
    const optimizer = adam<Tensor>({ learningRate: cosineDecay(0.1, 10) });
    const [updates, [moments]] = optimizer.update(single, optimizer.init(single), single);
    expect([updates.dtype, moments.mean.dtype, moments.step.dtype]).toEqual([
      "float32",
      "float32",
      "float32",
    ]);
  });

  test("descent on random quadratics lowers the loss at any small rate", async () => {
    const optimizer = sgd<Tensor>({ learningRate: 0.1 });
    for (const seed of [1, 2, 3]) {
      const params = random.normal(random.key(seed), [5], { dtype: "float64" });
      const square = (p: Tensor): Tensor => sum(mul(p, p));
      const [before, g] = valueAndGrad(square)(params);
      const [updates] = optimizer.update(g, optimizer.init(params), params);
      const after = square(applyUpdates(params, updates));
      // θ ← 0.8 θ exactly.
      expect(await item(after)).toBeCloseTo(0.64 * (await item(before)), 12);
    }
  });
});
