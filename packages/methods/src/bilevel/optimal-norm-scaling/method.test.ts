import {
  data,
  grad,
  item,
  linalg,
  mul,
  random,
  scalar,
  sum,
  type Tensor,
  tensor,
  transpose,
} from "@prior-art/tensor";
import { applyUpdates } from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import { markovText } from "../markovText.ts";
import experiment from "./experiment.ts";
import {
  fitNormOptimum,
  fitScaling,
  type NormKind,
  operatorNorm,
  scion,
  steepestDirection,
} from "./method.ts";
import { bestBatches, lossAtNorm, normDrift, optimaOf, optimumAlong } from "./optima.ts";
import { normalizedInit, type SweepPoint, scionOf, sweep } from "./sweep.ts";
import { normAt, rateAt, transferErrors } from "./transfer.ts";

const KINDS = ["oneToRms", "rmsToRms", "rmsToInf"] as const;
const doubles = (values: ArrayLike<number>, ...shape: number[]): Tensor =>
  tensor(Float64Array.from(values), { shape, dtype: "float64" });
const noise = (seed: number, rows: number, columns: number): Tensor =>
  random.normal(random.key(seed), [rows, columns], { dtype: "float64" });
const numbers = async (t: Tensor): Promise<number[]> => Array.from(await data(t), Number);

describe("operator norms", () => {
  test("by hand", async () => {
    const w = doubles([3, 4, 0, 1], 2, 2);
    expect(await item(operatorNorm(w, "rmsToInf"))).toBeCloseTo(Math.SQRT2 * 5, 10);
    expect(await item(operatorNorm(w, "oneToRms"))).toBeCloseTo(Math.sqrt(17) / Math.SQRT2, 10);
    const eye = doubles([2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2], 4, 4);
    expect(await item(operatorNorm(eye, "rmsToRms"))).toBeCloseTo(2, 6);
    expect(await item(operatorNorm(doubles([3, 0, 0, 0], 1, 4), "rmsToRms"))).toBeCloseTo(6, 6);
  });

  test("bound what a layer does to inputs of root mean square 1, and reach it", async () => {
    const w = noise(1, 3, 5);
    const values = await numbers(w);
    const stream = randomStream(2, "inputs");
    const rms = (v: readonly number[]) => Math.sqrt(v.reduce((a, x) => a + x * x, 0) / v.length);
    const [hidden, output] = [
      await item(operatorNorm(w, "rmsToRms")),
      await item(operatorNorm(w, "rmsToInf")),
    ];
    let [most, mostOut] = [0, 0];
    for (let k = 0; k < 3000; k++) {
      const x = Array.from({ length: 5 }, () => stream.normal());
      const scale = rms(x);
      const y = [0, 1, 2].map((i) => x.reduce((a, value, j) => a + (values[5 * i + j]! * value) / scale, 0));
      most = Math.max(most, rms(y));
      mostOut = Math.max(mostOut, ...y.map(Math.abs));
    }
    expect(most / hidden).toBeLessThanOrEqual(1 + 1e-9);
    expect(most / hidden).toBeGreaterThan(0.9);
    expect(mostOut / output).toBeLessThanOrEqual(1 + 1e-9);
    expect(mostOut / output).toBeGreaterThan(0.9);
    expect(() => operatorNorm(scalar(1), "rmsToInf")).toThrow("takes a matrix [outputs, inputs]");
  });
});

describe("the steepest direction", () => {
  test.each(KINDS)("%s: has unit norm, and its inner product with m is the dual norm", async (kind) => {
    const m = noise(3, 4, 6);
    const direction = steepestDirection(m, kind, "svd");
    expect(await item(operatorNorm(direction, kind))).toBeCloseTo(1, 5);
    const values = await numbers(m);
    const length = (entries: readonly number[]) => Math.sqrt(entries.reduce((a, x) => a + x * x, 0));
    const columns = [0, 1, 2, 3, 4, 5].map((j) => length(values.filter((_, at) => at % 6 === j)));
    const rows = [0, 1, 2, 3].map((i) => length(values.slice(6 * i, 6 * i + 6)));
    const total = (entries: readonly number[]) => entries.reduce((a, b) => a + b, 0);
    const dual: Record<NormKind, number> = {
      oneToRms: 2 * total(columns),
      rmsToRms: Math.sqrt(4 / 6) * total(await numbers(linalg.singularValues(m))),
      rmsToInf: total(rows) / Math.sqrt(6),
    };
    expect((await item(sum(mul(m, direction)))) / dual[kind]).toBeCloseTo(1, 5);
  });

  test("columns and rows of zeros stay zero", async () => {
    const m = doubles([0, 3, 0, 4], 2, 2);
    expect(await numbers(steepestDirection(m, "oneToRms"))).toEqual([
      0,
      0.6 * Math.SQRT2,
      0,
      0.8 * Math.SQRT2,
    ]);
    expect(await numbers(steepestDirection(doubles([0, 0, 3, 4], 2, 2), "rmsToInf"))).toEqual([
      0,
      0,
      0.6 / Math.SQRT2,
      0.8 / Math.SQRT2,
    ]);
  });

  test("five Newton–Schulz steps bring singular values of at least 0.02‖m‖ into [0.65, 1.25]", async () => {
    for (const [rows, columns] of [
      [8, 8],
      [12, 5],
      [5, 12],
    ] as const) {
      const m = noise(rows, rows, columns);
      const shares = (await numbers(linalg.singularValues(m))).map((s, _, all) => s / Math.hypot(...all));
      expect(Math.min(...shares)).toBeGreaterThan(0.02);
      const found = await numbers(linalg.singularValues(steepestDirection(m, "rmsToRms")));
      const scale = Math.sqrt(rows / columns);
      for (const value of found) {
        expect(value / scale).toBeGreaterThan(0.65);
        expect(value / scale).toBeLessThan(1.25);
      }
    }
  });
});

describe("Scion", () => {
  type Params = { readonly table: Tensor; readonly body: Tensor; readonly head: Tensor };
  const params: Params = { table: noise(4, 5, 3), body: noise(5, 3, 6), head: noise(6, 6, 4) };
  const gradients: Params = { table: noise(7, 5, 3), body: noise(8, 3, 6), head: noise(9, 6, 4) };
  const options = {
    groups: [
      { norm: "oneToRms" as const, radius: 2, of: (p: Params) => p.table },
      { norm: "rmsToRms" as const, of: (p: Params) => p.body },
      { norm: "rmsToInf" as const, radius: 3, of: (p: Params) => p.head },
    ],
    learningRate: 0.25,
    orthogonalize: "svd" as const,
  };
  const sizesOf = async (updates: Params) =>
    Promise.all([
      item(operatorNorm(transpose(updates.table), "oneToRms")),
      item(operatorNorm(transpose(updates.body), "rmsToRms")),
      item(operatorNorm(transpose(updates.head), "rmsToInf")),
    ]);

  test("a step changes each layer by exactly ηρ in its own norm, downhill", async () => {
    const optimizer = scion<Params>(options);
    const [updates] = optimizer.update(gradients, optimizer.init(params), params);
    const [table, body, head] = await sizesOf(updates);
    expect(table).toBeCloseTo(0.5, 5);
    expect(body).toBeCloseTo(0.25, 5);
    expect(head).toBeCloseTo(0.75, 5);
    for (const name of ["table", "body", "head"] as const)
      expect(await item(sum(mul(updates[name], gradients[name])))).toBeLessThan(0);
  });

  test("scaling the loss changes no update, now or later", async () => {
    const trace = async (scale: number) => {
      const optimizer = scion<Params>(options);
      const scaled = (g: Params): Params => ({
        table: mul(scale, g.table),
        body: mul(scale, g.body),
        head: mul(scale, g.head),
      });
      const [, state] = optimizer.update(scaled(gradients), optimizer.init(params), params);
      const [updates] = optimizer.update(scaled(params), state, params);
      return numbers(updates.body);
    };
    const [one, thousand] = [await trace(1), await trace(1000)];
    one.forEach((value, i) => {
      expect(value).toBeCloseTo(thousand[i]!, 6);
    });
  });

  test("the buffer is (1 − α)m + αg: after gradients g and h it points along 0.9·0.1 g + 0.1 h", async () => {
    const optimizer = scion<Params>(options);
    const [, state] = optimizer.update(gradients, optimizer.init(params), params);
    const [, next] = optimizer.update(params, state, params);
    const [found, g, h] = await Promise.all([next.momentum.head, gradients.head, params.head].map(numbers));
    found!.forEach((value, i) => {
      expect(value).toBeCloseTo(0.09 * g![i]! + 0.1 * h![i]!, 12);
    });
    const memoryless = scion<Params>({ ...options, momentum: 1 });
    const [, plain] = memoryless.update(gradients, memoryless.init(params), params);
    expect(await numbers(plain.momentum.head)).toEqual(g);
  });

  test("the constrained variant keeps layers within their radii, whatever the gradients", async () => {
    for (const learningRate of [0.1, 0.5, 1]) {
      const optimizer = scion<Params>({ ...options, learningRate, constrained: true });
      let weights: Params = {
        table: mul(0.1, params.table),
        body: mul(0.1, params.body),
        head: mul(0.1, params.head),
      };
      let state = optimizer.init(weights);
      for (let t = 0; t < 4; t++) {
        const drawn = { table: noise(10 + t, 5, 3), body: noise(20 + t, 3, 6), head: noise(30 + t, 6, 4) };
        const [updates, next] = optimizer.update(drawn, state, weights);
        [weights, state] = [applyUpdates(weights, updates), next];
      }
      const [table, body, head] = await sizesOf(weights);
      expect(table).toBeLessThanOrEqual(2 * (1 + 1e-5));
      expect(body).toBeLessThanOrEqual(1 + 1e-5);
      expect(head).toBeLessThanOrEqual(3 * (1 + 1e-5));
    }
  });

  test("layouts: a matrix and its transpose get updates that are transposes", async () => {
    const group = { norm: "rmsToInf" as const, of: (p: { readonly w: Tensor }) => p.w };
    const updateOf = async (w: Tensor, layout: "inputsFirst" | "outputsFirst") => {
      const optimizer = scion({ groups: [{ ...group, layout }], learningRate: 1 });
      return optimizer.update({ w }, optimizer.init({ w }), { w })[0].w;
    };
    const one = await numbers(await updateOf(gradients.head, "inputsFirst"));
    const two = await numbers(transpose(await updateOf(transpose(gradients.head), "outputsFirst")));
    one.forEach((value, i) => {
      expect(value).toBeCloseTo(two[i]!, 12);
    });
  });

  test("bad input", () => {
    expect(() => scion({ ...options, learningRate: 0 })).toThrow(
      "learning rate must be positive and finite, got 0",
    );
    expect(() => scion({ ...options, learningRate: 2, constrained: true })).toThrow("at most 1, got 2");
    expect(() => scion({ ...options, momentum: 0 })).toThrow("momentum must be above 0");
    expect(() => scion({ ...options, groups: [{ ...options.groups[0]!, radius: 0 }] })).toThrow(
      "the radius of oneToRms must be positive, got 0",
    );
    expect(() => scion<Params>({ ...options, groups: options.groups.slice(1) }).init(params)).toThrow(
      "belongs to 0 groups",
    );
    expect(() =>
      scion<Params>({ ...options, groups: [...options.groups, options.groups[0]!] }).init(params),
    ).toThrow("belongs to 2 groups");
    const vectors = scion({ groups: [{ norm: "rmsToInf", of: (p: Tensor) => p }], learningRate: 1 });
    expect(() => vectors.init(doubles([1, 2], 2))).toThrow("takes matrices only");
    const optimizer = scion<Params>(options);
    const wrong = { ...gradients, head: gradients.body };
    expect(() => optimizer.update(wrong, optimizer.init(params), params)).toThrow("don't fit the parameters");
  });
});

describe("fits", () => {
  test("a parabola gives back its vertex", () => {
    const points = [-1, 0, 1.5, 2, 4].map((x) => ({ logNorm: x, loss: 0.7 + 0.3 * (x - 1.234) ** 2 }));
    const { logNormStar, lossStar, curvature, inside, ci } = fitNormOptimum(points);
    expect(logNormStar).toBeCloseTo(1.234, 9);
    expect(lossStar).toBeCloseTo(0.7, 9);
    expect(curvature).toBeCloseTo(0.6, 9);
    expect(inside).toBe(true);
    expect(ci[0]).toBeCloseTo(1.234, 6);
    expect(fitNormOptimum(points.slice(0, 3)).inside).toBe(true);
    expect(
      fitNormOptimum(points.map(({ logNorm, loss }) => ({ logNorm: logNorm - 9, loss }))).logNormStar,
    ).toBeCloseTo(1.234 - 9, 9);
  });

  test("the nearest points leave the far ones out, and an interval covers a noisy vertex", () => {
    const stream = randomStream(0, "parabola noise");
    const x = Array.from({ length: 21 }, (_, i) => -1 + i / 5);
    const points = x.map((at) => ({
      logNorm: at,
      loss: 0.5 * (at - 1) ** 2 + 0.01 * stream.normal() + (at > 2.5 || at < -0.1 ? 9 : 0),
    }));
    const { logNormStar, ci } = fitNormOptimum(points, { nearest: 11 });
    expect(Math.abs(logNormStar - 1)).toBeLessThan(0.1);
    expect(ci[0]).toBeLessThan(logNormStar);
    expect(ci[1]).toBeGreaterThan(logNormStar);
    expect(ci[1] - ci[0]).toBeLessThan(0.3);
  });

  test("a vertex beyond the points is told, and no minimum is an error", () => {
    expect(fitNormOptimum([0, 1, 2].map((x) => ({ logNorm: x, loss: (x - 5) ** 2 }))).inside).toBe(false);
    expect(() => fitNormOptimum([0, 1, 2].map((x) => ({ logNorm: x, loss: -(x ** 2) })))).toThrow(
      "no minimum",
    );
    expect(() => fitNormOptimum([0, 1].map((x) => ({ logNorm: x, loss: x })))).toThrow(
      "three different norms",
    );
    expect(() => fitNormOptimum([{ logNorm: 0, loss: Number.NaN }])).toThrow("a loss of NaN");
  });

  test("power laws come back, with intervals", () => {
    const points = [1, 2, 4, 8].flatMap((batch) =>
      [10, 20, 40].map((tokens) => ({ at: { batch, tokens }, value: 3 * batch ** 0.6 * tokens ** -0.55 })),
    );
    const { exponents, scale, ci } = fitScaling(points);
    expect(exponents.batch).toBeCloseTo(0.6, 9);
    expect(exponents.tokens).toBeCloseTo(-0.55, 9);
    expect(scale).toBeCloseTo(3, 8);
    expect(ci.batch![0]).toBeCloseTo(0.6, 6);
    expect(() => fitScaling([])).toThrow("no points");
    expect(() => fitScaling([{ at: { d: 1 }, value: 0 }])).toThrow("takes positive numbers of d, got 0");
    expect(() => fitScaling([{ at: { d: 1 }, value: 2 }])).toThrow("do not determine");
  });
});

describe("the sweep", () => {
  test("starts at norms of 1, and a norm grows at most by ηρ a step", async () => {
    const text = markovText({ vocabulary: 8, context: 3, width: 16 });
    const start = await normalizedInit(text, 1_000_000);
    for (const [w, kind] of [
      [start.embedding, "oneToRms"],
      [start.blocks[1]!.contract, "rmsToRms"],
      [start.output, "rmsToInf"],
    ] as const)
      expect(await item(operatorNorm(transpose(w), kind))).toBeCloseTo(1, 4);
    const points = await sweep({
      text,
      optimizer: scionOf,
      batch: 32,
      logRates: [-8, -4],
      horizons: [1024, 4096],
      heldOut: 512,
      seed: 1_000_000,
    });
    expect(points.map(({ tokens, logRate }) => [tokens, logRate])).toEqual([
      [1024, -8],
      [1024, -4],
      [4096, -8],
      [4096, -4],
    ]);
    for (const { tokens, batch, logRate, logNorm, loss } of points) {
      expect(2 ** logNorm).toBeLessThanOrEqual(1 + (2 ** logRate * tokens) / batch + 1e-4);
      expect(loss).toBeGreaterThan(0);
    }
    expect(points[2]!.logNorm).toBeGreaterThan(points[0]!.logNorm);
  });

  test("a gradient through the norm of the output exists", async () => {
    const slope = grad((w: Tensor) => operatorNorm(w, "rmsToInf"))(doubles([3, 4, 0, 1], 2, 2));
    expect((await numbers(slope))[0]).toBeCloseTo(Math.SQRT2 * 0.6, 10);
  });
});

describe("optima of a sweep", () => {
  const parabola = (tokens: number, batch: number, at: number, floor: number): SweepPoint[] =>
    [-6, -5, -4, -3, -2].map((logRate) => ({
      tokens,
      batch,
      logRate,
      logNorm: logRate + 7,
      loss: floor + (logRate - at) ** 2,
    }));
  const points = [...parabola(8, 1, -4.2, 0.3), ...parabola(8, 2, -3.7, 0.2), ...parabola(16, 1, -4.5, 0.1)];

  test("are vertices, and the best batch of each D is kept", () => {
    const best = bestBatches(optimaOf(32, points));
    expect(best.map(({ tokens, batch }) => [tokens, batch])).toEqual([
      [8, 2],
      [16, 1],
    ]);
    expect(best[0]!.logRate).toBeCloseTo(-3.7, 9);
    expect(best[0]!.logNorm).toBeCloseTo(3.3, 9);
    expect(best[1]).toMatchObject({ insideNorm: 1, insideRate: 1 });
  });

  test("at an edge the lowest point stands in and is told apart; diverged models are left out", () => {
    const falling = parabola(8, 1, 4, 0);
    const diverged = [...falling, { ...falling[0]!, logRate: -1, loss: Number.NaN }];
    expect(optimumAlong(diverged, ({ logRate }) => logRate)).toMatchObject({ at: -2, inside: 0 });
  });

  test("the drift of the norm is its change over the range of D", () => {
    const optima = [4, 2, 16].map((tokens) => ({ tokens, logNorm: 3 - 0.1 * Math.log2(tokens) }));
    expect(normDrift(optima)).toBeCloseTo(-0.3, 9);
  });

  test("the loss at a norm lies between its neighbours, and there is none beyond all", () => {
    expect(lossAtNorm(parabola(8, 1, -4, 0), 3.5)).toBeCloseTo(0.5, 12);
    expect(lossAtNorm(parabola(8, 1, -4, 0), 9)).toBeNaN();
    expect(lossAtNorm(parabola(8, 1, -4, 0), 0)).toBeNaN();
  });
});

describe("transfer of the optimum", () => {
  /** Norms by a function of log₂ η; the best rate is given, losses do not matter. */
  const tuned = (logRate: number, norm: (logRate: number) => number) => ({
    optimum: { logRate },
    points: [-2, -4, -6, -8, -10].map(
      (rate): SweepPoint => ({ tokens: 1, batch: 1, logRate: rate, loss: 0, logNorm: norm(rate) }),
    ),
  });
  const best = [-4.5, -5, -6.5, -7];

  test("norms that follow the rate alone, however flat, transfer no better than rates", () => {
    const { byNorm, byRate } = transferErrors(best.map((rate) => tuned(rate, (at) => 3 + 0.05 * at)));
    expect(byRate[0]).toBeCloseTo(-5 / 3, 9);
    byNorm.forEach((error, i) => {
      expect(error).toBeCloseTo(byRate[i]!, 9);
    });
  });

  test("norms that are the same at every optimum transfer without error, rates do not", () => {
    const { byNorm, byRate } = transferErrors(
      best.map((rate) => tuned(rate, (at) => 3 + 0.05 * (at - rate))),
    );
    for (const error of byNorm) expect(error).toBeCloseTo(0, 9);
    expect(Math.max(...byRate.map(Math.abs))).toBeGreaterThan(1);
  });

  test("norms and rates by lines between models; beyond all the nearest model stands in", () => {
    const { points } = tuned(-5, (at) => at ** 2 / 4);
    expect(normAt(points, -5)).toMatchObject({ logNorm: 6.5, slope: -2.5 });
    expect(normAt(points, -10)).toMatchObject({ logNorm: 25 });
    expect(rateAt(points, 6.5)).toBe(-5);
    expect(rateAt(points, 99)).toBe(-10);
    expect(rateAt(points, 0)).toBe(-2);
  });

  test("claims: the norm has half of the rate's error, and a drift of either sign counts", () => {
    const holds = (id: string, scion: object): boolean => {
      const claim = experiment.claims.find((each) => each.id === id)!;
      if (claim.kind !== "statistic" || !("perSeed" in claim)) throw new Error(`${id} is not by seed`);
      const value = claim.perSeed({ scion, adam: {} } as never);
      return value >= (claim.pass.min ?? value) && value <= (claim.pass.max ?? value);
    };
    expect(holds("norm-transfers", { errorsByNorm: [0.1, -0.7], errorsByRate: [1, -1] })).toBe(true);
    expect(holds("norm-transfers", { errorsByNorm: [0.1, -0.8], errorsByRate: [1, -1] })).toBe(false);
    const drifts = [-0.21, -0.19, 0.19, 0.21].map((drift) =>
      holds("norm-without-drift", { normDrift: drift }),
    );
    expect(drifts).toEqual([false, true, true, false]);
  });
});
