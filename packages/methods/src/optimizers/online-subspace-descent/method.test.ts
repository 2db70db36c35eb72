import {
  add,
  data,
  evaluate,
  grad,
  item,
  jit,
  linalg,
  matmul,
  mul,
  scan,
  sub,
  type Tensor,
  transpose,
  zeros,
} from "@prior-art/tensor";
import {
  adam,
  type GradientTransformation,
  lion,
  momentum,
  requireFinite,
  scaleByAdam,
  sgd,
  stateBytes,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { leadingVectors } from "../lowRank.ts";
import {
  expectChangesRefused,
  expectNonFiniteSkipped,
  expectRatesRefused,
  expectToChain,
  expectTransposable,
  type Layer,
} from "../testing/contract.ts";
import { double, gap, gaussian } from "../testing/doubles.ts";
import { path } from "../testing/paths.ts";
import { approximateVectors } from "./cost.ts";
import { flow, rulesOf } from "./flow.ts";
import { onlinePcaGradient, onlinePcaLoss, onlineSubspaceDescent, type PcaOptions } from "./method.ts";

const eye = (n: number): Tensor =>
  double(
    Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
    [n, n],
  );

describe("online PCA", () => {
  const g = double([2, 0, 0, 1], [2, 2]);
  const p = double([1, 0], [2, 1]);

  test("G = diag(2, 1) and P = e₁ lose 1/5", async () => {
    expect(await item(onlinePcaLoss(p, g, 0))).toBeCloseTo(0.2, 12);
    expect(await item(onlinePcaLoss(mul(2, p), g, 0.1))).toBeCloseTo(
      (4 * (1 - 4) ** 2 + 1) / 5 + 0.1 * 9,
      12,
    );
  });

  test("the closed gradient is the derivative of the loss, by differentiation and by finite differences", async () => {
    const [P, G] = [gaussian(1, [5, 3]), gaussian(2, [5, 7])];
    for (const mu of [0, 0.1, 2]) {
      const closed = onlinePcaGradient(P, G, mu);
      expect(await gap(closed, grad((x: Tensor) => onlinePcaLoss(x, G, mu))(P))).toBeLessThan(1e-12);
      const direction = gaussian(3, [5, 3]);
      const at = (h: number) => item(onlinePcaLoss(add(P, mul(h, direction)), G, mu));
      const slope = ((await at(1e-5)) - (await at(-1e-5))) / 2e-5;
      expect([...(await data(mul(closed, direction)))].reduce((a, b) => a + b)).toBeCloseTo(slope, 6);
    }
  });

  test("does not depend on the size of the gradient, and a gradient of zero gives no NaN", async () => {
    const [P, G] = [gaussian(1, [5, 3]), gaussian(2, [5, 7])];
    expect(await gap(onlinePcaGradient(P, mul(1e-3, G)), onlinePcaGradient(P, G))).toBeLessThan(1e-12);
    const orthonormal = linalg.qr(P).q;
    expect(
      await gap(onlinePcaGradient(orthonormal, zeros([5, 7], "float64")), zeros([5, 3], "float64")),
    ).toBeLessThan(1e-12);
  });

  test("descent from a random P on one gradient ends at the leading subspace, orthonormal", async () => {
    const g0 = matmul(
      mul(linalg.qr(gaussian(4, [8, 8])).q, double([5, 4, 3, 1, 0.8, 0.6, 0.3, 0.1], [8])),
      linalg.qr(gaussian(5, [8, 8])).q,
    );
    const start = mul(0.3, gaussian(6, [8, 3]));
    await evaluate({ g0, start });
    const [p] = await jit((s: Tensor) =>
      scan((x: Tensor) => [sub(x, mul(0.1, onlinePcaGradient(x, g0, 0.1))), null] as const, s, null, {
        length: 4000,
      }),
    )(start);
    expect(await gap(matmul(transpose(p), p), eye(3))).toBeLessThan(1e-6);
    // Cosines of the principal angles are the singular values of P*ᵀP; angles below 1e-3 have cosines above 1 - 5e-7.
    const cosines = await data(
      linalg.singularValues(matmul(transpose(leadingVectors(g0, 3)), linalg.qr(p).q)),
    );
    expect(Math.min(...cosines)).toBeGreaterThan(1 - 5e-7);
  });
});

describe("online subspace descent", () => {
  const gradients = [0, 1, 2, 3].map((i) => gaussian(10 + i, [4, 6]));
  const start = gaussian(9, [4, 6]);
  const rate = { learningRate: 0.1 };
  /** So slow that P stays where it starts. */
  const still = { learningRate: 1e-300 };

  test("at full rank with P at rest and SGD is SGD; with Adam it is not", async () => {
    const ours = async <S>(base: GradientTransformation<Tensor, S>) =>
      (await path(onlineSubspaceDescent(base, { rank: 4, pca: still }), start, gradients)).params[4]!;
    expect(
      await gap(await ours(sgd<Tensor>(rate)), (await path(sgd<Tensor>(rate), start, gradients)).params[4]!),
    ).toBeLessThan(1e-9);
    expect(
      await gap(
        await ours(adam<Tensor>(rate)),
        (await path(adam<Tensor>(rate), start, gradients)).params[4]!,
      ),
    ).toBeGreaterThan(1e-2);
  });

  test("with P = I it is Adam", async () => {
    // Leading vectors of a diagonal matrix are the axes.
    const first = double([4, 0, 0, 0, 3, 0, 0, 0, 2], [3, 3]);
    const all = [first, gaussian(1, [3, 3]), gaussian(2, [3, 3])];
    const w = gaussian(3, [3, 3]);
    const ours = await path(onlineSubspaceDescent(adam<Tensor>(rate), { rank: 3, pca: still }), w, all);
    expect(await gap(ours.params[3]!, (await path(adam<Tensor>(rate), w, all)).params[3]!)).toBeLessThan(
      1e-9,
    );
  });

  test("weights move within the span of the P before its own step, by the base's answer to PᵀG", async () => {
    const o = onlineSubspaceDescent(sgd<Tensor>(rate), { rank: 2, scale: 0.5, pca: { learningRate: 0.1 } });
    const { params, states } = await path(o, start, gradients);
    const p0 = leadingVectors(gradients[0]!, 2);
    expect(
      await gap(sub(params[1]!, start), mul(-0.05, matmul(p0, matmul(transpose(p0), gradients[0]!)))),
    ).toBeLessThan(1e-9);
    for (const step of [1, 2, 3]) {
      const p = states[step - 1]!.subspaces.projections[0]!;
      expect(
        await gap(
          sub(params[step + 1]!, params[step]!),
          mul(-0.05, matmul(p, matmul(transpose(p), gradients[step]!))),
        ),
      ).toBeLessThan(1e-9);
    }
  });

  test("P takes a step of its own optimizer down the PCA loss of the same gradient", async () => {
    const o = onlineSubspaceDescent(adam<Tensor>(rate), {
      rank: 2,
      pca: { optimizer: sgd<readonly Tensor[]>({ learningRate: 0.01 }), mu: 0.3 },
    });
    const { states } = await path(o, start, gradients);
    const [before, after] = [states[1]!.subspaces.projections[0]!, states[2]!.subspaces.projections[0]!];
    expect(
      await gap(after, sub(before, mul(0.01, onlinePcaGradient(before, gradients[2]!, 0.3)))),
    ).toBeLessThan(1e-9);
  });

  test("every ordinary optimizer of P goes down the PCA loss", async () => {
    const learningRate = 5e-3;
    const none = {};
    const optimizers = [sgd<readonly Tensor[]>({ learningRate }), adam<readonly Tensor[]>({ learningRate })];
    const choices = [
      none,
      ...optimizers.map((optimizer) => ({ optimizer })),
      { optimizer: lion<readonly Tensor[]>({ learningRate: 1e-3 }) },
    ];
    for (const pca of choices as readonly PcaOptions<unknown>[]) {
      const o = onlineSubspaceDescent(adam<Tensor>(rate), { rank: 2, pca });
      const step = jit((g: Tensor, s: ReturnType<typeof o.init>) => o.update(g, s, start)[1]);
      let state = o.init(start);
      let last = Number.POSITIVE_INFINITY;
      for (let i = 0; i < 40; i++) {
        const g = i < 2 ? gradients[0]! : gradients[1]!;
        state = await step(g, state);
        if (i >= 2 && i % 10 === 0) {
          const loss = await item(onlinePcaLoss(state.subspaces.projections[0]!, g));
          expect(loss).toBeLessThan(last);
          last = loss;
        }
      }
    }
  });

  test("by default P moves by Adam at 5e-3 with μ = 0.1", async () => {
    const pOf = async (pca: PcaOptions<unknown>) =>
      (await path(onlineSubspaceDescent(sgd<Tensor>(rate), { rank: 2, pca }), start, gradients)).states[3]!
        .subspaces.projections[0]!;
    const usual = await pOf({});
    const optimizer = adam<readonly Tensor[]>({ learningRate: 5e-3 });
    expect(await gap(usual, await pOf({ optimizer, mu: 0.1 } as PcaOptions<unknown>))).toBe(0);
    expect(await gap(usual, await pOf({ mu: 0 }))).toBeGreaterThan(1e-6);
    const [P, G] = [gaussian(1, [5, 3]), gaussian(2, [5, 7])];
    expect(await gap(onlinePcaGradient(P, G), onlinePcaGradient(P, G, 0.1))).toBe(0);
    expect(await item(sub(onlinePcaLoss(P, G), onlinePcaLoss(P, G, 0.1)))).toBe(0);
  });

  test("a tall matrix is treated as its transpose", async () => {
    await expectTransposable(onlineSubspaceDescent(adam<Tensor>(rate), { rank: 2 }));
  });

  test("takes Lion and momentum as base, and steps with Lion are P times signs", async () => {
    const o = onlineSubspaceDescent(lion<Tensor>(rate), { rank: 2, pca: still });
    const { params } = await path(o, start, gradients.slice(0, 1));
    const inside = await data(matmul(transpose(leadingVectors(gradients[0]!, 2)), sub(params[1]!, start)));
    expect([...inside].map(Math.abs)).toEqual([...inside].map(() => expect.closeTo(0.1, 9)));
    await expect(
      requireFinite(
        "momentum",
        (await path(onlineSubspaceDescent(momentum<Tensor>(rate), { rank: 1 }), start, gradients)).params,
      ),
    ).resolves.toBeUndefined();
  });

  test("the state holds 2·r·m moments, n·r of P and 2·n·r of its Adam", () => {
    const params = { w: zeros([64, 128]), tall: zeros([96, 32]), b: zeros([7]) };
    const o = onlineSubspaceDescent(scaleByAdam<typeof params>(), { rank: 4 });
    const numbers = 2 * 4 * (128 + 96) + 3 * 4 * (64 + 32) + 2 * 7;
    // Counters: the whole's, the base's, and two of the optimizer of P.
    expect(stateBytes(o.init(params))).toBe(4 * (numbers + 4));
  });

  test("chains with clipping, a schedule, a mask and decay in one line", async () => {
    const { gradient, params } = await expectToChain(
      onlineSubspaceDescent(scaleByAdam<Tensor[]>(), { rank: 2 }),
    );
    // The first step's part outside the subspace is decay alone.
    const p = leadingVectors(gradient.w, 2);
    const outside = (t: Tensor): Tensor => sub(t, matmul(p, matmul(transpose(p), t)));
    const [before, after] = params.map(({ w }) => w) as [Tensor, Tensor];
    expect(await gap(outside(sub(after, before)), outside(mul(-0.01, before)))).toBeLessThan(1e-9);
  });
});

describe("subspace iteration", () => {
  test("finds the leading subspace where singular values fall fast, orthonormal", async () => {
    const q = (seed: number) => linalg.qr(gaussian(seed, [8, 8])).q;
    const g = matmul(mul(q(4), double([5, 4, 3, 0.1, 0.08, 0.06, 0.03, 0.01], [8])), q(5));
    const found = approximateVectors(g, gaussian(6, [8, 3]));
    expect(await gap(matmul(transpose(found), found), eye(3))).toBeLessThan(1e-12);
    const cosines = await data(linalg.singularValues(matmul(transpose(leadingVectors(g, 3)), found)));
    expect(Math.min(...cosines)).toBeGreaterThan(1 - 1e-6);
  });
});

describe("the energy", () => {
  test("random paths are the seed's own, and no subspace comes twice", async () => {
    const at = async (seed: number, step: number) => {
      const { jumping } = rulesOf({ rule: "jumping", h: 0.1, steps: 100, rank: 2, seed }, 1);
      const w = gaussian(1, [4, 6]);
      const state = { ...jumping.init(w), step: double([step], []) };
      return jumping.update(w, state, w)[1].subspaces.projections[0]!;
    };
    const first = await at(3, 0);
    for (const step of [1, 63, 64, 99]) expect(await gap(await at(3, step), first)).toBeGreaterThan(1e-3);
    expect(await gap(await at(4, 0), first)).toBeGreaterThan(1e-3);
  });

  test("falls as the flow says up to the square of the step, on every path of projections", async () => {
    for (const rule of ["frozen", "jumping", "random", "pca"] as const) {
      const at = (h: number) => flow({ rule, seed: 1, h, steps: Math.round(1 / h), rank: 3, size: 12 });
      const [coarse, fine] = [await at(0.04), await at(0.02)];
      // Other draws at another step leave some noise in the worst one.
      expect(Math.log2(coarse.error / fine.error)).toBeGreaterThan(rule === "jumping" ? 1.5 : 1.8);
      // A walk through random subspaces loses too little to outweigh the Euler steps' own gain.
      if (rule !== "jumping") expect(fine.energy.at(-1)!).toBeLessThan(1);
    }
  });

  test("its parts are the loss and half the squared momentum", async () => {
    const { loss, energy } = await flow({ rule: "pca", seed: 1, h: 0.1, steps: 3, rank: 3, size: 6 });
    expect([loss.length, energy.length, loss[0], energy[0]]).toEqual([4, 4, 1, 1]);
    // The first step moves the momentum, not the weights.
    expect(loss[1]).toBe(1);
    expect(energy[1]).toBeGreaterThan(1);
  });
});

describe("bad input", () => {
  const params = { w: zeros([4, 6]), b: zeros([6]) };
  const base = adam<typeof params>({ learningRate: 0.1 });

  test("ranks, rates and μ out of range", () => {
    expect(() => onlineSubspaceDescent(base, { rank: 5 }).init(params)).toThrow(
      /onlineSubspaceDescent: a matrix of shape \[4, 6\] takes a rank from 1 to 4/,
    );
    expectRatesRefused((learningRate) => onlineSubspaceDescent(base, { rank: 1, pca: { learningRate } }));
    for (const mu of [-1, Number.NaN])
      expect(() => onlineSubspaceDescent(base, { rank: 1, pca: { mu } })).toThrow(/mu must not be negative/);
    const optimizer = sgd<readonly Tensor[]>({ learningRate: 0.1 });
    expect(() => onlineSubspaceDescent(base, { rank: 1, pca: { optimizer, learningRate: 0.1 } })).toThrow(
      /an optimizer of P has its own/,
    );
  });

  test("a tree that changed since init", () => {
    const o = onlineSubspaceDescent(adam<Record<string, Tensor>>({ learningRate: 0.1 }), { rank: 2 });
    expectChangesRefused(o, { state: /changed since init/, shapes: /don't fit/ });
  });

  test("non-finite gradients are skipped, weights, moments and P alike", async () => {
    await expectNonFiniteSkipped(onlineSubspaceDescent(adam<Layer>({ learningRate: 0.1 }), { rank: 2 }));
  });

  test("a first gradient of zero makes no NaN, and a tree without matrices is the base's alone", async () => {
    const o = onlineSubspaceDescent(base, { rank: 2 });
    const [updates, state] = o.update(params, o.init(params), params);
    await expect(requireFinite("zero gradient", [updates, state.subspaces])).resolves.toBeUndefined();
    const bias = { b: gaussian(1, [3]) };
    const alone = onlineSubspaceDescent(sgd<typeof bias>({ learningRate: 0.1 }), { rank: 2 });
    expect(await gap(alone.update(bias, alone.init(bias), bias)[0].b, mul(-0.1, bias.b))).toBe(0);
  });
});
