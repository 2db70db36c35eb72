import { data, div, evaluate, grad, item, mul, sqrt, sub, sum, type Tensor, tensor } from "@prior-art/tensor";
import type { WindowModelParams } from "@prior-art/toolkit/lm";
import { adamw, applyUpdates, momentum, sgd } from "@prior-art/toolkit/optim";
import { randomStream } from "@prior-art/toolkit/stats";
import { describe, expect, test } from "vitest";
import { blockMeans, column, lossesOn, markovText, trainSideBySide } from "../markovText.ts";
import experiment from "./experiment.ts";
import {
  crossovers,
  curveDistance,
  effectiveRate,
  gradientNoise,
  invarianceScores,
  neighbourScores,
  predictEquilibrium,
  type Run,
  trajectoryGrid,
  tuneAlongSalientDirection,
} from "./method.ts";
import { expectedBest } from "./randomSearch.ts";

describe("equilibrium of the norm", () => {
  const base = { learningRate: 0.1, weightDecay: 0.1, updateRms: 1, dim: 1, initialNorm: 0 };

  test("by hand: γ = 0.01, η = 0.1, c²d = 1 give ‖w‖² = 0.502513 and an angle of √(0.02 − 0.0001)", () => {
    const { limitNorm, limitAngularStep, norm, steps } = predictEquilibrium(base);
    expect(limitNorm ** 2).toBeCloseTo(0.502513, 6);
    expect(limitAngularStep).toBeCloseTo(0.141067, 6);
    expect(limitAngularStep).toBeCloseTo(Math.sqrt(0.02 - 0.0001), 12);
    expect(norm(0)).toBe(0);
    expect(norm(1)).toBeCloseTo(0.1, 12);
    expect(steps).toBeCloseTo(1 / 0.02, -1);
  });

  test("is the recursion ‖w‖² ← (1 − γ)²‖w‖² + η²c²d, from any start", () => {
    const options = { learningRate: 0.02, weightDecay: 0.5, updateRms: 0.3, dim: 40, initialNorm: 2 };
    const { norm, angularStep } = predictEquilibrium(options);
    let square = 4;
    for (let t = 0; t < 50; t++) square = 0.99 ** 2 * square + (0.02 * 0.3) ** 2 * 40;
    expect(norm(50)).toBeCloseTo(Math.sqrt(square), 12);
    expect(angularStep(50)).toBeCloseTo((0.02 * 0.3 * Math.sqrt(40)) / Math.sqrt(square), 12);
  });

  test("the angle depends on γ alone; without decay the norm grows without end", () => {
    const { limitAngularStep } = predictEquilibrium(base);
    const other = predictEquilibrium({ ...base, learningRate: 0.001, weightDecay: 10, updateRms: 7, dim: 3 });
    expect(other.limitAngularStep).toBeCloseTo(limitAngularStep, 12);
    const free = predictEquilibrium({ ...base, weightDecay: 0, initialNorm: 3 });
    expect(free.norm(100) ** 2).toBeCloseTo(9 + 100 * 0.01, 10);
    expect(free.limitNorm).toBe(Number.POSITIVE_INFINITY);
    expect(free.limitAngularStep).toBe(0);
  });

  test("momentum: a random walk with averaged steps turns as the corrected law says", () => {
    const stream = randomStream(1, "walk");
    const [beta, eta, lambda, dim] = [0.9, 0.05, 0.2, 400];
    let [w, m] = [new Float64Array(dim).fill(0.1), new Float64Array(dim)];
    let [angle, count] = [0, 0];
    for (let t = 0; t < 1500; t++) {
      m = m.map((value) => beta * value + (1 - beta) * stream.normal());
      const step = m.map((value, i) => -eta * value - eta * lambda * w[i]!);
      const norm = Math.sqrt(w.reduce((total, value) => total + value ** 2, 0));
      const length = Math.sqrt(m.reduce((total, value) => total + (eta * value) ** 2, 0));
      if (t > 500) {
        angle += length / norm;
        count++;
      }
      w = w.map((value, i) => value + step[i]!);
    }
    // In all directions at once, the radial one included: orthogonality holds on average only.
    const law = predictEquilibrium({
      learningRate: eta,
      weightDecay: lambda,
      updateRms: Math.sqrt(0.1 / 1.9),
      dim,
      initialNorm: 2,
      momentum: beta,
    });
    expect(angle / count / law.limitAngularStep).toBeCloseTo(1, 0.7);
    expect(Math.abs(angle / count / law.limitAngularStep - 1)).toBeLessThan(0.12);
  });

  test("bad input", () => {
    expect(() => predictEquilibrium({ ...base, learningRate: 0 })).toThrow("learning rate must be positive");
    expect(() => predictEquilibrium({ ...base, weightDecay: -1 })).toThrow("weight decay");
    expect(() => predictEquilibrium({ ...base, weightDecay: 20 })).toThrow("at most 1, got 2");
    expect(() => predictEquilibrium({ ...base, momentum: 1 })).toThrow("momentum");
    expect(() => predictEquilibrium({ ...base, dim: 0 })).toThrow("dim");
  });
});

test("with a scale-invariant loss, (sη, λ/s) from s·w₀ goes through s times the same weights", async () => {
  const target = tensor(Float64Array.of(0.6, 0.8, 0), { dtype: "float64" });
  const loss = (w: Tensor): Tensor => {
    const gap = sub(div(w, sqrt(sum(mul(w, w)))), target);
    return sum(mul(gap, mul(gap, gap)));
  };
  const trace = async (scale: number): Promise<{ losses: number[]; weights: number[] }> => {
    const optimizer = adamw<Tensor>({
      learningRate: 0.01 * scale,
      weightDecay: 2 / scale,
      betas: [0.9, 0.95],
      eps: 0,
    });
    let w = mul(scale, tensor(Float64Array.of(1, -0.5, 0.3), { dtype: "float64" }));
    let state = optimizer.init(w);
    const losses: number[] = [];
    for (let t = 0; t < 25; t++) {
      losses.push(await item(loss(w)));
      const [updates, next] = optimizer.update(grad(loss)(w), state, w);
      [w, state] = await evaluate([applyUpdates(w, updates), next] as const);
    }
    return { losses, weights: Array.from(await data(w), Number) };
  };
  const [one, eight] = [await trace(1), await trace(8)];
  expect(Math.max(...one.losses.map((value, t) => Math.abs(value - eight.losses[t]!)))).toBeLessThan(1e-10);
  expect(Math.max(...one.weights.map((value, i) => Math.abs(8 * value - eight.weights[i]!)))).toBeLessThan(
    1e-10,
  );
  expect(Math.abs(one.losses[0]! - one.losses[24]!)).toBeGreaterThan(1e-3);
});

describe("invariance scores", () => {
  const grid = (curve: (eta: number, gamma: number, t: number) => number): Promise<Run[]> =>
    trajectoryGrid({
      etas: [0.1, 0.2, 0.4],
      lambdas: (eta) => [0.01, 0.02].map((gamma) => gamma / eta),
      train: (pairs) =>
        pairs.map((pair) =>
          Array.from({ length: 10 }, (_, t) => curve(pair.learningRate, effectiveRate(pair), t)),
        ),
    });

  test("curves of γ alone have S_γ = 0, curves of η alone S_η = 0", async () => {
    expect(invarianceScores(await grid((_, gamma, t) => gamma * t)).gamma).toBeCloseTo(0, 12);
    expect(invarianceScores(await grid((eta, _, t) => eta + t)).eta).toBe(0);
  });

  test("by hand: distances of all pairs, within the window", async () => {
    const runs = await grid((eta, gamma, t) => (t < 5 ? 10 * eta : 0) + 100 * gamma);
    // Same η: |Δγ| = 0.01, so 1; same γ: 10·(0.1, 0.2, 0.3), mean 2 in the first half and 0 in the second.
    const early = invarianceScores(runs, [0, 5]);
    expect(early.sameEta).toBeCloseTo(1, 10);
    expect(early.sameGamma).toBeCloseTo(2, 10);
    expect(early.eta).toBeCloseTo(0.5, 10);
    expect(early.gamma).toBeCloseTo(2, 10);
    expect(invarianceScores(runs, [5, 10]).gamma).toBeCloseTo(0, 10);
    expect(invarianceScores(runs).sameGamma).toBeCloseTo(1, 10);
  });

  const wideGrid = (curve: (eta: number, gamma: number, t: number) => number): Promise<Run[]> =>
    trajectoryGrid({
      etas: [0.4, 0.1, 0.2],
      lambdas: (eta) => [0.04, 0, 0.01].map((gamma) => gamma / eta),
      train: (pairs) =>
        pairs.map((pair) =>
          Array.from({ length: 6 }, (_, t) => curve(pair.learningRate, effectiveRate(pair), t)),
        ),
    });

  test("neighbours by hand: a failure between two γ is not averaged away by γ further apart", async () => {
    // Runs of γ = 0 are 1, 2 and 3 apart, those of 0.01 and 0.04 not at all.
    const runs = await wideGrid((eta, gamma) => (gamma === 0 ? 10 * eta : 1000 * gamma));
    const [low, high] = neighbourScores(runs, "gamma");
    expect(low!.sameGamma).toBeCloseTo(1, 10);
    expect(low!.sameEta).toBeCloseTo((9 + 8 + 6) / 3, 10);
    expect(high!.sameGamma).toBeCloseTo(0, 10);
    expect(high!.sameEta).toBeCloseTo(30, 10);
    const byRate = neighbourScores(await wideGrid((eta, gamma) => 10 * eta + 100 * gamma), "eta");
    // All pairs of γ, (1 + 3 + 4)/3, over the one step of η, 1 and 2.
    expect(byRate.map(({ eta }) => eta)).toEqual([
      expect.closeTo(8 / 3, 10) as number,
      expect.closeTo(4 / 3, 10) as number,
    ]);
  });

  test("crossovers: the entry from which γ decides for good, or the length where it never does", async () => {
    // In the middle γ is without effect; elsewhere 0 and 0.01 are 1 apart at one η, and runs of either 2 on average.
    const runs = await wideGrid(
      (eta, gamma, t) => (t < 2 || t >= 4 ? 100 * gamma : 0) + (gamma < 0.02 || t === 2 ? 10 * eta : 0),
    );
    expect(crossovers(runs, 2)).toEqual([6, 4]);
    expect(crossovers(await wideGrid((_, gamma) => gamma), 2)).toEqual([0, 0]);
  });

  test("bad input", async () => {
    const runs = await grid((eta) => eta);
    expect(() => invarianceScores(runs.slice(0, 1))).toThrow("runs that share a learning rate");
    expect(() => invarianceScores(runs, [0, 11])).toThrow("no window from 0 to 11");
    expect(() => curveDistance([1], [1, 2])).toThrow("curves of 1 and 2");
    const build = (etas: number[], curves: number[][]) =>
      trajectoryGrid({ etas, lambdas: [1], train: () => curves });
    await expect(build([0], [[1]])).rejects.toThrow("learning rate must be positive and finite, got 0");
    await expect(build([], [])).rejects.toThrow("empty");
    await expect(build([1, 2], [[1], [1, 2]])).rejects.toThrow(
      "2 runs need as many curves of one length, got 1, 2",
    );
  });
});

test("random search: the expected least of three of five is the mean over all ten choices", () => {
  const values = [7, 1, 4, 9, 2];
  let total = 0;
  for (let i = 0; i < 5; i++)
    for (let j = i + 1; j < 5; j++)
      for (let k = j + 1; k < 5; k++) total += Math.min(values[i]!, values[j]!, values[k]!) / 10;
  expect(expectedBest(values, 3)).toBeCloseTo(total, 12);
  expect(expectedBest(values, 1)).toBeCloseTo(4.6, 12);
  expect(expectedBest(values, 5)).toBe(1);
  expect(expectedBest([3, 2], 3)).toBe(2);
});

describe("claims of the experiment", () => {
  const metrics = {
    pairs: [
      [0, 6.25e-5],
      [6.25e-5, 2.5e-4],
      [2.5e-4, 1e-3],
      [1e-3, 4e-3],
    ],
    late: [[9, 9, 0.6, 0.1]],
    early: [[0.1, 0.7, 0.2]],
    crossover: [50, 8000, 3000, 900],
    gammas: [0, 2.5e-4, 1e-3],
    angles: [1, 9, 1.2],
    lawAngles: [0, 1, 1],
    sweeps: [1.5, 1.2, 1, 1.1],
    random: 1.1,
  };
  const seeds = [1, 2, 3].map((best) => ({ ...metrics, best: best / 10 }));
  const value = (id: string): number => {
    const claim = experiment.claims.find((each) => each.id === id)!;
    if (claim.kind !== "statistic") throw new Error(`${id} is no statistic`);
    const given = seeds.map((adamw) => ({ adamw })) as never[];
    return "acrossSeeds" in claim ? claim.acrossSeeds(given) : claim.perSeed(given[0]!);
  };

  test("windows: the worst pair counts, and pairs of too little training do not", () => {
    expect(value("late-loss")).toBe(0.6);
    expect(value("early-loss")).toBe(0.7);
    expect(value("crossover-later")).toBe(-2100);
    expect(value("angular-step")).toBeCloseTo(0.2, 12);
  });

  test("sweeps: at one rate, and at the worst or a random one", () => {
    expect(value("sweep-near-grid")).toBeCloseTo(8, 10);
    expect(value("sweep-near-grid-any-rate")).toBeCloseTo(13, 10);
    expect(value("sweep-below-random")).toBeCloseTo(-0.1, 12);
    expect(value("sweep-below-random-any-rate")).toBeCloseTo(0.1, 12);
  });
});

describe("gradient noise", () => {
  test("is unbiased: two examples, batches of one, by hand", () => {
    // Gradients (1, 0) and (−1, 2): covariance trace 1 + 1 = 2. Pairs of batches differ half of the time, by 2² + 2² = 8.
    const examples = [
      [1, 0],
      [-1, 2],
    ];
    let total = 0;
    for (const a of examples) for (const b of examples) total += gradientNoise(a, b, 1) / 4;
    expect(total).toBeCloseTo(2, 12);
  });

  test("does not depend on the batch on average", () => {
    const stream = randomStream(2, "noise");
    const batchMean = (size: number) => {
      let sumOf = 0;
      for (let i = 0; i < size; i++) sumOf += 3 * stream.normal();
      return [sumOf / size];
    };
    for (const size of [1, 8]) {
      let total = 0;
      for (let k = 0; k < 4000; k++) total += gradientNoise(batchMean(size), batchMean(size), size) / 4000;
      expect(Math.abs(total / 9 - 1)).toBeLessThan(0.1);
    }
    expect(() => gradientNoise([1], [1, 2], 1)).toThrow("two gradients of one size");
  });
});

describe("the sweep along γ", () => {
  test("finds a valley that depends on γ, at a fixed decay or a fixed rate", async () => {
    const seen: number[] = [];
    const train = (pair: { learningRate: number; weightDecay: number }) => {
      seen.push(pair.learningRate);
      return (Math.log(effectiveRate(pair)) - Math.log(1e-3)) ** 2;
    };
    const gammas = [1e-4, 1e-3, 1e-2];
    const found = await tuneAlongSalientDirection({ gammas, weightDecay: 0.1, train });
    expect(found).toMatchObject({ gamma: 1e-3, weightDecay: 0.1 });
    expect(found.learningRate).toBeCloseTo(0.01, 12);
    expect(found.evaluations).toHaveLength(3);
    const other = await tuneAlongSalientDirection({ gammas, learningRate: 0.5, train });
    expect(other.weightDecay).toBeCloseTo(2e-3, 12);
    expect(new Set(seen.slice(3))).toEqual(new Set([0.5]));
  });

  test("leaves out runs that diverged, and says so when all did", async () => {
    const options = { gammas: [1, 2], weightDecay: 1 };
    const found = await tuneAlongSalientDirection({
      ...options,
      train: ({ learningRate }) => (learningRate === 1 ? Number.NaN : 5),
    });
    expect(found.gamma).toBe(2);
    await expect(tuneAlongSalientDirection({ ...options, train: () => Number.NaN })).rejects.toThrow(
      "not finite at any γ (1, 2)",
    );
    await expect(tuneAlongSalientDirection({ gammas: [], weightDecay: 1, train: () => 1 })).rejects.toThrow(
      "at least one",
    );
    await expect(tuneAlongSalientDirection({ gammas: [1], train: () => 1 })).rejects.toThrow("fix either");
    await expect(tuneAlongSalientDirection({ gammas: [-1], weightDecay: 1, train: () => 1 })).rejects.toThrow(
      "learning rate must be positive",
    );
  });
});

describe("text side by side", () => {
  const text = markovText({ vocabulary: 8, context: 3, width: 8 });
  const options = {
    text,
    hyperparameters: { rate: column([0.5, 0.1]) },
    optimizer: ({ rate }: { rate: Tensor }) => sgd<WindowModelParams>({ learningRate: rate }),
    batch: 16,
    chunk: 10,
    chunks: 3,
    seed: 4,
  };
  const drain = async (changes: Partial<typeof options> & { halves?: boolean } = {}) => {
    const losses: number[] = [];
    let params: WindowModelParams | undefined;
    for await (const progress of trainSideBySide({ ...options, ...changes })) {
      losses.push(...(await data(progress.losses)));
      params = progress.params;
    }
    return { losses, params: params! };
  };

  test("each run is what it would be alone, by halves or whole", async () => {
    const both = await drain();
    const alone = await drain({ hyperparameters: { rate: column([0.1]) } });
    const halves = await drain({ halves: true });
    expect(Math.abs(both.losses.at(-1)! - alone.losses.at(-1)!)).toBeLessThan(1e-5);
    expect(Math.abs(both.losses.at(-1)! - halves.losses.at(-1)!)).toBeLessThan(1e-5);
    expect(both.losses[9]).not.toBeCloseTo(both.losses[19]!, 4);
  });

  test("how steps are cut into chunks does not matter, for optimizers with a memory either", async () => {
    const optimizer = ({ rate }: { rate: Tensor }) => momentum<WindowModelParams>({ learningRate: rate });
    const drainWith = async (chunk: number) => {
      const last: number[] = [];
      const schedule = { ...options, optimizer, chunk, chunks: 30 / chunk };
      for await (const { losses } of trainSideBySide(schedule))
        last.splice(0, 2, ...lastOf(await data(losses)));
      return last;
    };
    const lastOf = (values: ArrayLike<number>) => [
      values[values.length / 2 - 1]!,
      values[values.length - 1]!,
    ];
    const [many, one] = [await drainWith(10), await drainWith(30)];
    many.forEach((loss, run) => {
      expect(Math.abs(loss - one[run]!)).toBeLessThan(1e-5);
    });
  });

  test("text is fresh in every step, the same for a seed, and bounded below by the entropy rate", async () => {
    const one = await drain();
    expect(await drain()).toMatchObject({ losses: one.losses });
    expect((await drain({ seed: 5 })).losses).not.toEqual(one.losses);
    const held = text.sample(4000, randomStream(9, "held"));
    for (const loss of await lossesOn(text, one.params, held))
      expect(loss).toBeGreaterThan(text.entropyRate - 0.05);
  });

  test("block means leave out a rest", async () => {
    const values = tensor(Float32Array.of(1, 3, 5, 7, 9, 2, 4, 6, 8, 10), { shape: [2, 5] });
    expect(await blockMeans(values, 2)).toEqual([
      [2, 6],
      [3, 7],
    ]);
  });

  test("bad input", async () => {
    await expect(drain({ batch: 0 })).rejects.toThrow("batch must be a whole number from 1, got 0");
    await expect(drain({ batch: 15, halves: true })).rejects.toThrow("a batch of 15 has no halves");
    await expect(drain({ hyperparameters: { rate: column([]) } })).rejects.toThrow(
      "hyperparameters of 0 runs",
    );
  });
});
