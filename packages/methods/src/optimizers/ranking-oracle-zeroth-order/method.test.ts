import {
  add,
  grad,
  item,
  jit,
  matmul,
  mul,
  random,
  scalar,
  sub,
  sum,
  type Tensor,
  tensor,
  toArray,
  vmap,
} from "@prior-art/tensor";
import {
  applyUpdates,
  chainClosure,
  clipByGlobalNorm,
  globalNorm,
  trainSteps,
} from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { close, double, gaussian, numbers } from "../testing/doubles.ts";
import {
  dagStats,
  type RankingOracle,
  rankedDescent,
  rankGradient,
  rankingOracle,
  rankWeights,
  zoRankSgd,
  zoRankSgdSteps,
} from "./method.ts";
import { lossWeights } from "./rankedDescent.ts";

const sphere = (x: Float64Array): number => x.reduce((total, v) => total + v * v, 0);

/** Three directions around (1, 0), at which ‖x‖² is 1.21, 0.81 and 1.04 for μ = 0.1. */
const directions = double([1, 0, -1, 0, 0, 2], [3, 2]);

describe("the estimate", () => {
  test("from a full ranking, by hand", async () => {
    const points = [
      [1.1, 0],
      [0.9, 0],
      [1, 0.2],
    ].map((p) => Float64Array.from(p));
    const ranking = await rankingOracle(sphere)(points, 3);
    expect(ranking).toEqual([1, 2, 0]);
    expect([...rankWeights(ranking, 3)]).toEqual(close([2 / 3, -2 / 3, 0]));
    expect(await numbers(rankGradient(directions, ranking))).toEqual(close([4 / 3, 0]));
  });

  test("from the best one only, by hand", async () => {
    expect(await numbers(rankGradient(directions, [1]))).toEqual(close([1.5, 1]));
  });

  test("is the mean of differences over the comparisons that the ranking implies", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 2, max: 7 }), fc.nat(), fc.nat(), async (m, seed, cut) => {
        const k = 1 + (cut % m);
        const stream = randomStream(seed, "test");
        const order = stream.permutation(m);
        const xi = gaussian(seed, [m, 3]);
        const rows = (await toArray(xi)) as number[][];
        const total = [0, 0, 0];
        let edges = 0;
        for (let better = 0; better < k; better++)
          for (let worse = better + 1; worse < m; worse++) {
            edges += 1;
            for (let d = 0; d < 3; d++) total[d]! += rows[order[worse]!]![d]! - rows[order[better]!]![d]!;
          }
        expect(dagStats(m, k).edges).toBe(edges);
        const ours = await numbers(rankGradient(xi, order.slice(0, k)));
        expect(ours).toEqual(close(total.map((v) => v / edges)));
      }),
      { numRuns: 30 },
    );
  });

  test("does not change when all directions are shifted alike: weights sum to 0", async () => {
    const ranking = [2, 0];
    expect(rankWeights(ranking, 5).reduce((a, b) => a + b)).toBeCloseTo(0, 12);
    const xi = gaussian(3, [5, 4]);
    const shifted = add(xi, double([1, -2, 3, 10]));
    expect(await numbers(rankGradient(shifted, ranking))).toEqual(
      close(await numbers(rankGradient(xi, ranking))),
    );
  });

  test("does not see monotone transformations of the function", async () => {
    const points = Array.from({ length: 6 }, (_, i) => Float64Array.of(Math.sin(i), Math.cos(3 * i)));
    const steep = rankingOracle((x) => Math.exp(7 * sphere(x)) - 3);
    expect(await steep(points, 4)).toEqual(await rankingOracle(sphere)(points, 4));
  });

  test.each([2, 5, 12])("of a linear function has the mean 2/√π along its gradient: m = %i", async (m) => {
    const trials = 6000;
    const stream = randomStream(m, "mean");
    let total = 0;
    let size = 0;
    for (let trial = 0; trial < trials; trial++) {
      const xi = Array.from({ length: m }, () => [stream.normal(), stream.normal(), stream.normal()]);
      // ⟨a, x⟩ with a = (0.6, 0.8, 0).
      const along = xi.map(([x, y]) => 0.6 * x! + 0.8 * y!);
      const order = along.map((_, i) => i).sort((i, j) => along[i]! - along[j]!);
      const weights = rankWeights(order, m);
      const estimate = [0, 1, 2].map((d) => xi.reduce((sum, x, i) => sum + weights[i]! * x[d]!, 0));
      total += 0.6 * estimate[0]! + 0.8 * estimate[1]!;
      size += estimate.reduce((sum, v) => sum + v * v, 0);
    }
    // Two standard errors are at most 0.025.
    expect(Math.abs(total / trials - 2 / Math.sqrt(Math.PI))).toBeLessThan(0.03);
    if (m === 2) expect(Math.abs(size / trials / (2 * 3) - 1)).toBeLessThan(0.05);
  });

  test("pairs of comparisons that share a point are counted", () => {
    // m = 3, k = 1: two comparisons out of one point. k = 3: a triangle, each two of whose sides share a point.
    expect(dagStats(3, 1)).toEqual({ edges: 2, edgePairs: 1 });
    expect(dagStats(3, 3)).toEqual({ edges: 3, edgePairs: 3 });
    expect(dagStats(4, 2)).toEqual({ edges: 5, edgePairs: 8 });
    expect(dagStats(2, 1)).toEqual(dagStats(2, 2));
  });
});

describe("an oracle's bad answer", () => {
  const run = (oracle: RankingOracle) =>
    zoRankSgd({ oracle, start: [1, 2], m: 4, k: 3, mu: 0.1, stepSize: 0.1, seed: 0, budget: 10 });

  test.each([
    ["too short", [0, 1], /ranked 2 points where 3/],
    ["too long", [0, 1, 2, 3], /ranked 4 points where 3/],
    ["a point twice", [0, 1, 1], /point 1 twice/],
    ["out of range", [0, 1, 4], /named point 4/],
    ["negative", [0, -1, 2], /named point -1/],
    ["no whole number", [0, 0.5, 2], /named point 0.5/],
    ["NaN", [0, Number.NaN, 2], /named point NaN/],
  ])("%s", async (_, answer, message) => {
    await expect(run(() => answer)).rejects.toThrow(message);
    await expect(run(async () => answer)).rejects.toThrow(RangeError);
  });

  test("of a line search", async () => {
    let questions = 0;
    const oracle: RankingOracle = (_, k) => (questions++ === 0 ? [0, 1, 2].slice(0, k) : [7]);
    const options = { oracle, start: [1], m: 3, mu: 0.1, stepSize: 0.1, seed: 0, budget: 10 };
    await expect(zoRankSgd({ ...options, lineSearch: { steps: 2 } })).rejects.toThrow(/named point 7/);
  });

  test("NaN values come last", async () => {
    const points = [2, 1, 3].map((v) => Float64Array.of(v));
    const broken = rankingOracle(([v]) => (v === 1 ? Number.NaN : v!));
    expect(await broken(points, 3)).toEqual([0, 2, 1]);
  });
});

describe("ZO-RankSGD", () => {
  const options = {
    oracle: rankingOracle(sphere),
    start: new Float64Array(10).fill(1),
    m: 8,
    mu: 0.01,
    seed: 4,
  };

  test("walks down a bowl, counting the points it asks about", async () => {
    const { x, queries, history } = await zoRankSgd({ ...options, stepSize: 0.05, budget: 801 });
    expect(sphere(x)).toBeLessThan(0.3);
    expect(queries).toBe(808);
    expect(history).toHaveLength(101);
    expect(history[0]!.queries).toBe(8);
  });

  test("moves against the estimate by the step size", async () => {
    const seen: Float64Array[] = [];
    const oracle: RankingOracle = (points, k) => {
      seen.push(...points);
      return rankingOracle(sphere)(points, k);
    };
    const steps = zoRankSgdSteps({ ...options, oracle, stepSize: (step) => 0.1 / (step + 1) });
    let before: Float64Array = options.start;
    for (const length of [0.1, 0.05]) {
      seen.length = 0;
      const { x } = (await steps.next()).value;
      const xi = seen.map((p) => [...p].map((v, i) => (v - before[i]!) / 0.01));
      const estimate = await numbers(
        rankGradient(
          tensor(Float64Array.from(xi.flat()), { shape: [8, 10] }),
          await rankingOracle(sphere)(seen, 8),
        ),
      );
      expect([...x]).toEqual(
        close(
          [...before].map((v, i) => v - length * estimate[i]!),
          8,
        ),
      );
      before = x;
    }
  });

  test("with the oracle's line search never goes up, and stays only where no step helps", async () => {
    const { history } = await zoRankSgd({
      ...options,
      stepSize: 2,
      lineSearch: { steps: 4, gamma: 0.3 },
      budget: 3000,
    });
    const values = history.map(({ x }) => sphere(x));
    values.slice(1).forEach((v, i) => {
      expect(v).toBeLessThanOrEqual(values[i]!);
    });
    expect(values.at(-1)).toBeLessThan(1e-2);
    expect(history[0]!.queries).toBe(8 + 4 + 1);
    expect(new Set(values).size).toBeLessThan(values.length);
  });

  test("averages estimates until one moves", async () => {
    let asked = 0;
    const tried: Float64Array[][] = [];
    const around: Float64Array[][] = [];
    // Ranks in the order given; staying wins twice, then the first length.
    const oracle: RankingOracle = (points, k) => {
      if (points.length === 8) {
        around.push([...points]);
        return [0, 1, 2, 3, 4, 5, 6, 7].slice(0, k);
      }
      tried.push([...points]);
      return [asked++ < 2 ? points.length - 1 : 0];
    };
    const steps = zoRankSgdSteps({ ...options, oracle, stepSize: 1, lineSearch: { steps: 2 } });
    for (let i = 0; i < 3; i++) await steps.next();
    const estimates = around.map((points) => {
      const weights = rankWeights([0, 1, 2, 3, 4, 5, 6, 7], 8);
      return points.reduce((total, p, i) => total + (weights[i]! * (p[0]! - 1)) / 0.01, 0);
    });
    expect(tried[2]![0]![0]).toBeCloseTo(1 - estimates.reduce((a, b) => a + b) / 3, 8);
    expect(tried[2]![1]![0]).toBeCloseTo(1 - estimates.reduce((a, b) => a + b) / 6, 8);
  });

  test("the same seed walks the same way, another one another", async () => {
    const walk = async (seed: number) => [
      ...(await zoRankSgd({ ...options, seed, stepSize: 0.1, budget: 50 })).x,
    ];
    expect(await walk(1)).toEqual(await walk(1));
    expect(await walk(1)).not.toEqual(await walk(2));
  });

  test("refuses what makes no sense", async () => {
    const good = { ...options, stepSize: 0.1, budget: 10 };
    for (const bad of [
      { m: 1 },
      { k: 0 },
      { k: 9 },
      { mu: 0 },
      { stepSize: 0 },
      { stepSize: Number.NaN },
      { budget: 0 },
      { lineSearch: { steps: 0 } },
      { lineSearch: { steps: 3, gamma: 1 } },
    ])
      await expect(zoRankSgd({ ...good, ...bad })).rejects.toThrow(RangeError);
    expect(() => rankGradient(double([1, 2]), [0])).toThrow(/points, dimensions/);
  });
});

describe("as an optimizer of a model", () => {
  type Params = { readonly w: Tensor; readonly b: Tensor };
  const start: Params = { w: tensor([3, -2]), b: tensor([1]) };
  const loss = ({ w, b }: Params): Tensor => add(sum(mul(w, w)), sum(mul(b, b)));

  test("weights in the graph are those of the ranking", async () => {
    const values = [3, 1, 2, 9, 0.5];
    const ranking = [4, 1, 2, 0, 3];
    for (const k of [1, 3, 5])
      expect(await numbers(lossWeights(double(values), k))).toEqual(
        close([...rankWeights(ranking.slice(0, k), 5)]),
      );
  });

  test("losses that are not finite count as worst, and nothing happens when all are", async () => {
    const weights = await numbers(lossWeights(double([1, Number.NaN, 0]), 3));
    expect(weights).toEqual(close([0, 2 / 3, -2 / 3]));
    const optimizer = rankedDescent<Params>({ learningRate: 0.1 });
    const [updates] = optimizer.step({ loss: (p) => mul(loss(p), Number.NaN) }, optimizer.init(start), start);
    expect(await item(globalNorm(updates))).toBe(0);
  });

  test("each step goes down on average, and a state goes on with fresh directions", async () => {
    const optimizer = rankedDescent<Params>({ learningRate: 0.02, m: 10 });
    let [params, state] = [start, optimizer.init(start)];
    const step = jit((p: Params, s: typeof state) => optimizer.step({ loss }, s, p));
    const seen: number[] = [];
    for (let i = 0; i < 220; i++) {
      const [updates, next] = await step(params, state);
      if (i < 2) seen.push(await item(globalNorm(updates)));
      [params, state] = [applyUpdates(params, updates), next];
    }
    expect(await item(loss(params))).toBeLessThan(0.1);
    expect(seen[0]).not.toBe(seen[1]);
    expect(await item(state.step)).toBe(220);
    await step.release();
  });

  test("points to the gradient, whatever its size", async () => {
    const many = rankedDescent<Params>({ learningRate: 1, m: 400, mu: 1e-3, seed: 1 });
    const scaled = (factor: number) =>
      many.step({ loss: (p) => mul(factor, loss(p)) }, many.init(start), start)[0];
    const [update, louder] = [scaled(1), scaled(1000)];
    const gradient = grad(loss)(start);
    const cosine = mul(-1, add(sum(mul(update.w, gradient.w)), sum(mul(update.b, gradient.b))));
    const lengths = (await item(globalNorm(update))) * (await item(globalNorm(gradient)));
    expect((await item(cosine)) / lengths).toBeGreaterThan(0.95);
    expect(await numbers(update.w)).toEqual(close(await numbers(louder.w), 2));
  });

  test("chains with clipping", async () => {
    const optimizer = chainClosure(rankedDescent<Params>({ learningRate: 5 }), clipByGlobalNorm(0.3));
    const [updates] = optimizer.step({ loss }, optimizer.init(start), start);
    expect(await item(globalNorm(updates))).toBeCloseTo(0.3, 5);
  });

  test("runs in a compiled loop and under vmap, with the numbers of single runs", async () => {
    const x = random.normal(random.key(8), [20, 2]);
    const y = matmul(x, tensor([[1], [2]]));
    type Batch = { readonly x: Tensor; readonly y: Tensor };
    const run = (learningRate: Tensor): Tensor => {
      const optimizer = rankedDescent<Tensor>({ learningRate, m: 6 });
      const train = trainSteps({
        loss: (w: Tensor, b: Batch) => {
          const error = sub(matmul(b.x, w), b.y);
          return sum(mul(error, error));
        },
        optimizer,
      });
      const w = tensor([[0], [0.5]]);
      const rows = tensor(
        Int32Array.from({ length: 40 }, (_, i) => i % 20),
        { shape: [10, 4] },
      );
      return train(w, optimizer.init(w), { x, y }, rows, random.split(random.key(0), 10))[2];
    };
    const together = (await toArray(await jit(vmap(run))(tensor([0.05, 0.1])))) as number[][];
    for (const [i, rate] of [0.05, 0.1].entries())
      expect(together[i]).toEqual(close(await numbers(run(scalar(rate))), 4));
  });

  test("directions are standard normal and differ from point to point and from step to step", async () => {
    const seen: number[][] = [];
    const wide = tensor(new Float32Array(4000));
    const optimizer = rankedDescent<Tensor>({ learningRate: 1, m: 2, mu: 1 });
    let state = optimizer.init(wide);
    for (let i = 0; i < 3; i++) {
      const [updates, next] = optimizer.step({ loss: (w) => sum(w) }, state, wide);
      seen.push(await numbers(updates));
      state = next;
    }
    for (const update of seen) {
      const mean = update.reduce((a, b) => a + b) / update.length;
      const variance = update.reduce((a, b) => a + b * b, 0) / update.length;
      // ξ₂ - ξ₁ has variance 2.
      expect(Math.abs(mean)).toBeLessThan(0.12);
      expect(Math.abs(variance - 2)).toBeLessThan(0.25);
    }
    const correlation = seen[0]!.reduce((total, v, i) => total + v * seen[1]![i]!, 0) / 8000;
    expect(Math.abs(correlation)).toBeLessThan(0.08);
  });

  test("takes parameters of any number", async () => {
    const optimizer = rankedDescent<Tensor>({ learningRate: 1, m: 2 });
    const huge = tensor(new Float32Array(300_000));
    const [updates] = optimizer.step({ loss: (w) => sum(w) }, optimizer.init(huge), huge);
    expect(updates.shape).toEqual([300_000]);
  });

  test("parameters may change between steps: nothing is remembered of them", async () => {
    const optimizer = rankedDescent<{ w: Tensor }>({ learningRate: 0.1 });
    const state = optimizer.init({ w: tensor([1, 2]) });
    const wider = { w: tensor([1, 2, 3]) };
    const [updates] = optimizer.step({ loss: ({ w }) => sum(mul(w, w)) }, state, wider);
    expect(updates.w.shape).toEqual([3]);
  });

  test("refuses what makes no sense", () => {
    for (const bad of [{ learningRate: 0 }, { mu: 0 }, { m: 1 }, { k: 16 }])
      expect(() => rankedDescent({ learningRate: 0.1, ...bad })).toThrow(RangeError);
  });
});
