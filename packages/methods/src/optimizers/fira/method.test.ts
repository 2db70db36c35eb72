import {
  data,
  item,
  matmul,
  mul,
  scalar,
  sqrt,
  sub,
  sum,
  type Tensor,
  transpose,
  zeros,
} from "@prior-art/tensor";
import {
  adam,
  type GradientTransformation,
  scaleByLearningRate,
  sgd,
  stateBytes,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { leadingVectors, lowRank, singularSubspaces } from "../lowRank.ts";
import {
  expectChangesRefused,
  expectNonFiniteSkipped,
  expectRatesRefused,
  expectToChain,
  expectTransposable,
  type Layer,
} from "../testing/contract.ts";
import { close, double, gap, gaussian, norm } from "../testing/doubles.ts";
import { inOrder, path } from "../testing/paths.ts";
import {
  fira,
  galore,
  normBasedScaling,
  normGrowthLimiter,
  scaleByFira,
  scalingFactors,
  scalingSimilarity,
} from "./method.ts";

const project = (p: Tensor, g: Tensor): Tensor => matmul(transpose(p), g);

const gradients = [0, 1, 2, 3, 4].map((i) => gaussian(10 + i, [4, 6]));
const start = gaussian(9, [4, 6]);
const learningRate = 0.1;

describe("norm-based scaling", () => {
  test("multiplies each column by the norms' quotient", async () => {
    const [r, psi, s] = [
      double([3, 0, 4, 2], [2, 2]),
      double([1, 3, 0, 4], [2, 2]),
      double([10, 1, 20, 2, 30, 3], [3, 2]),
    ];
    // Columns of R: norms 5 and 2; of ψ: 1 and 5.
    expect(await gap(normBasedScaling(r, psi, s), double([2, 2.5, 4, 5, 6, 7.5], [3, 2]))).toBeLessThan(1e-6);
    const whole = Math.sqrt(26 / 29);
    expect(await gap(normBasedScaling(r, psi, s, "matrix"), mul(whole, s))).toBeLessThan(1e-6);
  });

  test("is not NaN for a gradient of zero", async () => {
    expect(await gap(normBasedScaling(zeros([2, 3]), zeros([2, 3]), zeros([4, 3])), zeros([4, 3]))).toBe(0);
  });

  test("similarity: the same up to a factor is 1, reversed order -1 by rank", () => {
    expect(scalingSimilarity([1, 2, 3], [2, 4, 6])).toEqual({
      cosine: expect.closeTo(1, 12),
      // Over the six orders of 1, 2, 3: the mean of 14, 13, 13, 11, 11 and 10 over 14.
      chance: expect.closeTo(12 / 14, 12),
      spearman: expect.closeTo(1, 12),
    });
    expect(scalingSimilarity([1, 2, 3], [3, 2, 1]).spearman).toBeCloseTo(-1, 12);
    expect(scalingSimilarity([1, 0], [1, 1]).cosine).toBeCloseTo(Math.SQRT1_2, 12);
    expect(() => scalingSimilarity([1, 2], [1, 2, 3])).toThrow(/same length/);
  });
});

describe("the limiter", () => {
  const long = (length: number): Tensor => mul(length / Math.sqrt(6), double([1, 1, 1, 1, 1, 1], [2, 3]));
  const limited = async (previous: number, length: number): Promise<[number, number]> => {
    const [s, next] = normGrowthLimiter(long(length), scalar(previous, "float64"), 1.01);
    return [await norm(s), await item(next)];
  };
  test("2 then 5 comes out at 2.02; 2 then 1.9 is unchanged", async () => {
    expect(await limited(2, 5)).toEqual(close([2.02, 2.02], 6));
    expect(await limited(2, 1.9)).toEqual(close([1.9, 1.9], 9));
  });
  test("sets no limit before the first residual, and none is forgotten at a residual of zero", async () => {
    expect(await limited(0, 5)).toEqual(close([5, 5], 9));
    expect(await limited(2, 0)).toEqual([0, 2]);
    expect(await limited(0, 0)).toEqual([0, 0]);
  });
});

describe("Fira", () => {
  test("at full rank is GaLore at full rank", async () => {
    const options = { rank: 4, updateGap: 2, scale: 1 };
    const ours = await path(fira<Tensor>({ learningRate, eps: 0, ...options }), start, gradients);
    const theirs = await path(galore(adam<Tensor>({ learningRate, eps: 0 }), options), start, gradients);
    expect(await gap(ours.params[5]!, theirs.params[5]!)).toBeLessThan(1e-7);
  });

  test("at full rank with P = I is Adam", async () => {
    // Leading vectors of a diagonal matrix are the axes, so the only subspace is that of P = I.
    const all = [double([4, 0, 0, 0, 3, 0, 0, 0, 2], [3, 3]), gaussian(1, [3, 3]), gaussian(2, [3, 3])];
    const w = gaussian(3, [3, 3]);
    const options = { learningRate, eps: 1e-12 };
    const ours = await path(fira<Tensor>({ ...options, rank: 3, scale: 1 }), w, all);
    expect(await gap(ours.params[3]!, (await path(adam<Tensor>(options), w, all)).params[3]!)).toBeLessThan(
      1e-7,
    );
  });

  test("with SGD as base it would be full-rank SGD for any subspace", async () => {
    const residual = {
      init: () => null,
      update: (
        parts: readonly { gradient: Tensor; projection: Tensor; compact: Tensor; direction: Tensor }[],
      ) =>
        [
          parts.map(({ gradient, projection, compact, direction }) =>
            normBasedScaling(compact, direction, sub(gradient, matmul(projection, compact))),
          ),
          null,
        ] as const,
    };
    const identity: GradientTransformation<Tensor, null> = { init: () => null, update: (g) => [g, null] };
    const o = inOrder<Tensor>(
      lowRank("test", identity, { rank: 2 }, singularSubspaces(2), residual),
      scaleByLearningRate(learningRate),
    );
    const ours = await path(o, start, gradients);
    expect(
      await gap(ours.params[5]!, (await path(sgd<Tensor>({ learningRate }), start, gradients)).params[5]!),
    ).toBeLessThan(1e-6);
  });

  test("the first step: Adam of the projection plus the residual by the columns' factors", async () => {
    const [alpha, g] = [0.5, gradients[0]!];
    const o = fira<Tensor>({ learningRate, rank: 2, scale: alpha, eps: 0 });
    const moved = sub(start, (await path(o, start, [g])).params[1]!);
    const p = leadingVectors(g, 2);
    const r = await data(project(p, g));
    // η√.001/.1 · ψ(R) = η sign(R); each column of ψ has the norm (.1/√.001)√r, and so has the factor times ‖R_j‖.
    const inside = await data(project(p, moved));
    expect([...inside]).toEqual([...r].map((v) => expect.closeTo(learningRate * alpha * Math.sign(v), 7)));
    const factors = Array.from({ length: 6 }, (_, j) => Math.SQRT2 / Math.hypot(r[j]!, r[6 + j]!));
    const residual = sub(g, matmul(p, project(p, g)));
    const outside = sub(moved, matmul(p, project(p, moved)));
    expect(await gap(outside, mul(learningRate * alpha, mul(residual, double(factors, [6]))))).toBeLessThan(
      1e-7,
    );
  });

  test("factors of the first step are (.1/√.001)√r/‖R_j‖", async () => {
    const r = gaussian(3, [3, 5]);
    const psi = mul(0.1 / Math.sqrt(0.001), double([...(await data(r))].map(Math.sign), [3, 5]));
    const factors = await data(scalingFactors(r, psi));
    const norms = await data(sqrt(sum(mul(r, r), 0)));
    expect([...factors]).toEqual(
      [...norms].map((n) => expect.closeTo(((0.1 / Math.sqrt(0.001)) * Math.sqrt(3)) / n, 5)),
    );
  });

  test("five steps follow the algorithm written out for one matrix", async () => {
    const [b1, b2, eps, gamma, rank, gapSteps, alpha, decay] = [0.8, 0.95, 1e-6, 1.01, 2, 2, 0.25, 0.03];
    const o = fira<Tensor>({
      learningRate,
      rank,
      updateGap: gapSteps,
      scale: alpha,
      betas: [b1, b2],
      eps,
      weightDecay: decay,
    });
    const ours = await path(o, start, gradients);
    const w = [...(await data(start))];
    const [m, v] = [new Array<number>(12).fill(0), new Array<number>(12).fill(0)];
    let p: number[] = [];
    let last = 0;
    for (let t = 0; t < 5; t++) {
      const g = [...(await data(gradients[t]!))];
      if (t % gapSteps === 0) p = [...(await data(leadingVectors(gradients[t]!, rank)))];
      const at = (k: number, j: number) =>
        [0, 1, 2, 3].reduce((s, i) => s + p[i * rank + k]! * g[i * 6 + j]!, 0);
      const r = Array.from({ length: 12 }, (_, i) => at(Math.floor(i / 6), i % 6));
      r.forEach((x, i) => {
        m[i] = b1 * m[i]! + (1 - b1) * x;
        v[i] = b2 * v[i]! + (1 - b2) * x * x;
      });
      const psi = m.map((x, i) => x / (Math.sqrt(v[i]!) + eps));
      const back = (c: number[], i: number, j: number) =>
        [0, 1].reduce((s, k) => s + p[i * rank + k]! * c[k * 6 + j]!, 0);
      let s = g.map((x, at) => {
        const j = at % 6;
        const factor = Math.hypot(psi[j]!, psi[6 + j]!) / (Math.hypot(r[j]!, r[6 + j]!) + 1e-8);
        return factor * (x - back(r, Math.floor(at / 6), j));
      });
      const size = Math.hypot(...s);
      const c = t === 0 ? 1 : Math.max(size / (last + 1e-8), gamma) / gamma;
      s = s.map((x) => x / c);
      last = size / c;
      const eta = (learningRate * Math.sqrt(1 - b2 ** (t + 1))) / (1 - b1 ** (t + 1));
      w.forEach((x, at) => {
        w[at] = x - eta * alpha * (back(psi, Math.floor(at / 6), at % 6) + s[at]!) - learningRate * decay * x;
      });
    }
    expect(await gap(ours.params[5]!, double(w, [4, 6]))).toBeLessThan(1e-9);
  });

  test("left out, options have the paper's values", async () => {
    const many = Array.from({ length: 22 }, (_, i) => mul(1e-5, gaussian(40 + i, [4, 6])));
    const after = async (options: Partial<Parameters<typeof fira>[0]>): Promise<Tensor> =>
      (await path(fira<Tensor>({ learningRate, rank: 2, ...options }), start, many)).params[22]!;
    const [defaults, paper] = [
      await after({}),
      await after({
        updateGap: 200,
        scale: 0.25,
        scaleResidual: true,
        limiter: 1.01,
        granularity: "column",
        betas: [0.9, 0.999],
        eps: 1e-6,
        weightDecay: 0,
      }),
    ];
    expect(await gap(defaults, paper)).toBe(0);
    for (const other of [{ updateGap: 20 }, { eps: 1e-8 }, { betas: [0.9, 0.99] as const }, { limiter: 1.1 }])
      expect(await gap(defaults, await after(other))).toBeGreaterThan(1e-6);
  });

  test("a tensor that the mask leaves out doesn't decay", async () => {
    const params = { w: start, b: gaussian(1, [6]) };
    const still = gradients.map((g) => ({ w: mul(0, g), b: zeros([6], "float64") }));
    const optimizer = fira<typeof params>({
      learningRate,
      rank: 2,
      weightDecay: 0.5,
      decayMask: (t) => t.rank > 1,
    });
    const { w, b } = (await path(optimizer, params, still)).params[5]!;
    expect(await gap(w, mul(0.95 ** 5, start))).toBeLessThan(1e-12);
    expect(await gap(b, params.b)).toBe(0);
  });

  test("what it adds to GaLore lies outside the subspace", async () => {
    const options = { rank: 2, updateGap: 5, scale: 1 };
    const ours = await path(fira<Tensor>({ learningRate, eps: 0, ...options }), start, gradients);
    const theirs = await path(galore(adam<Tensor>({ learningRate, eps: 0 }), options), start, gradients);
    const p = leadingVectors(gradients[0]!, 2);
    for (const t of [1, 2, 3, 4, 5]) {
      const extra = sub(ours.params[t]!, theirs.params[t]!);
      expect(await gap(project(p, extra), zeros([2, 6], "float64"))).toBeLessThan(1e-9);
      expect(await norm(extra)).toBeGreaterThan(1e-3);
    }
  });

  test("the residual's norm grows by γ a step at most, from the first that is not zero", async () => {
    const growing = gradients.map((g, i) => mul(i === 0 ? 0 : 3 ** i, g));
    const { states } = await path(
      scaleByFira<Tensor>({ rank: 2, updateGap: 1, betas: [0, 0], eps: 1, limiter: 1.1 }),
      start,
      growing,
    );
    const norms = await Promise.all(states.map(({ residual }) => item(residual.norms[0]!)));
    expect(norms[0]).toBe(0);
    expect(norms[1]).toBeGreaterThan(0.1);
    for (const t of [2, 3, 4]) expect(norms[t]!).toBeLessThanOrEqual(1.1 ** (t - 1) * norms[1]! * (1 + 1e-6));
  });

  test("a tall matrix is treated as its transpose", async () => {
    await expectTransposable(fira<Tensor>({ learningRate, rank: 2, updateGap: 2 }));
  });

  test("scaleResidual false leaves α off the residual, as the authors' code does", async () => {
    const at = async (scaleResidual: boolean): Promise<Tensor> =>
      sub(
        (await path(fira<Tensor>({ learningRate, rank: 2, scaleResidual }), start, gradients.slice(0, 1)))
          .params[1]!,
        start,
      );
    const p = leadingVectors(gradients[0]!, 2);
    const [paper, code] = [await at(true), await at(false)];
    const outside = (t: Tensor): Tensor => sub(t, matmul(p, project(p, t)));
    expect(await gap(mul(4, outside(paper)), outside(code))).toBeLessThan(1e-9);
    expect(await gap(project(p, paper), project(p, code))).toBeLessThan(1e-9);
  });

  test("what is not chosen gets Adam", async () => {
    type P = { w: Tensor; b: Tensor };
    const params: P = { w: start, b: gaussian(1, [6]) };
    const all = gradients.map((w, i): P => ({ w, b: gaussian(20 + i, [6]) }));
    const options = { learningRate, eps: 1e-12 };
    const ours = await path(fira<P>({ ...options, rank: 2 }), params, all);
    const theirs = await path(adam<P>(options), params, all);
    expect(await gap(ours.params[5]!.b, theirs.params[5]!.b)).toBeLessThan(1e-7);
    const none = await path(fira<P>({ ...options, rank: 9, select: () => false }), params, all);
    expect(await gap(none.params[5]!.w, theirs.params[5]!.w)).toBeLessThan(1e-7);
  });

  test("a matrix keeps rn + 2rm + 1 numbers", () => {
    const params = { w: zeros([64, 128]), tall: zeros([96, 32]), b: zeros([7]) };
    const numbers = 4 * 64 + 2 * 4 * 128 + 1 + (4 * 32 + 2 * 4 * 96 + 1) + 2 * 7;
    expect(stateBytes(scaleByFira<typeof params>({ rank: 4 }).init(params))).toBe(4 * (numbers + 1));
  });

  test("chains with clipping, a schedule, a mask and decay in one line", async () => {
    await expectToChain(scaleByFira<Tensor[]>({ rank: 2 }));
  });
});

describe("bad input", () => {
  const params = { w: zeros([4, 6]), b: zeros([6]) };

  test("ranks, rates, gaps and limits out of range", () => {
    expect(() => fira<typeof params>({ learningRate, rank: 5 }).init(params)).toThrow(
      /fira: a matrix of shape \[4, 6\] takes a rank from 1 to 4/,
    );
    expectRatesRefused((rate) => fira({ learningRate: rate, rank: 1 }));
    for (const updateGap of [0, 1.5])
      expect(() => fira({ learningRate, rank: 1, updateGap })).toThrow(/fira: updateGap/);
    for (const limiter of [0.99, Number.NaN])
      expect(() => fira({ learningRate, rank: 1, limiter })).toThrow(/limiter must be at least 1/);
  });

  test("a tree that changed since init, gradients that don't fit", () => {
    expectChangesRefused(scaleByFira<Record<string, Tensor>>({ rank: 2 }), {
      state: /fira: the state .* changed since init/,
      shapes: /fira: the gradients .* don't fit/,
    });
  });

  test("non-finite gradients are skipped, weights and state alike; requireFinite names the tensor", async () => {
    await expectNonFiniteSkipped(fira<Layer>({ learningRate, rank: 2, updateGap: 1 }));
  });
});
