import { data, linalg, mul, sub, type Tensor, transpose, zeros } from "@prior-art/tensor";
import { adamw, polarFactor, stateBytes } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { alignRms, matrixMomentum, muon, onMatrices } from "./muon.ts";
import {
  expectChangesRefused,
  expectNonFiniteSkipped,
  expectRatesRefused,
  type Layer,
} from "./testing/contract.ts";
import { gap, gaussian, rms } from "./testing/doubles.ts";

describe("Muon", () => {
  const learningRate = 0.1;
  const start = gaussian(1, [4, 6]);
  const g = gaussian(2, [4, 6]);

  test("moves a matrix by nearly the polar factor of its momentum, at Adam's root mean square", async () => {
    const o = muon<Tensor>({ learningRate, weightDecay: 0 });
    const [w, m] = [gaussian(7, [3, 24]), gaussian(8, [3, 24])];
    const [updates] = o.update(m, o.init(w), w);
    const size = learningRate * 0.2 * Math.sqrt(24);
    const values = await data(linalg.singularValues(mul(1 / size, updates)));
    expect(Math.min(...values)).toBeGreaterThan(0.65);
    expect(Math.max(...values)).toBeLessThan(1.25);
    const exact = mul(-size, polarFactor(m));
    expect(await rms(sub(updates, exact))).toBeLessThan(0.35 * (await rms(exact)));
    expect(await rms(exact)).toBeCloseTo(learningRate * 0.2, 6);
  });

  test("the momentum is an average of gradients", async () => {
    const o = matrixMomentum("test", (m) => m, { momentum: 0.8 });
    const [first, state] = o.update([g], o.init([start]), [start]);
    expect(await gap(first[0]!, mul(0.2, g))).toBeLessThan(1e-12);
    expect(await gap(o.update([g], state, [start])[1].momentum[0]!, mul(0.36, g))).toBeLessThan(1e-12);
  });

  test("momentum comes before orthogonalization, Nesterov's looks one step ahead", async () => {
    const h = gaussian(3, [4, 6]);
    const after = async (nesterov: boolean) => {
      const o = muon<Tensor>({ learningRate, weightDecay: 0, momentum: 0.5, nesterov });
      const [, state] = o.update(g, o.init(start), start);
      return o.update(h, state, start)[0];
    };
    const once = (m: Tensor) => {
      const o = muon<Tensor>({ learningRate, weightDecay: 0, momentum: 0 });
      return o.update(m, o.init(start), start)[0];
    };
    const m = sub(mul(0.25, g), mul(-0.5, h));
    expect(await gap(await after(false), once(m))).toBeLessThan(1e-9);
    expect(await gap(await after(true), once(sub(mul(0.5, m), mul(-0.5, h))))).toBeLessThan(1e-9);
  });

  test("a tall matrix is treated as its transpose; the size of the gradient does not matter", async () => {
    const once = (x: Tensor, w: Tensor) => {
      const o = muon<Tensor>({ learningRate });
      return o.update(x, o.init(w), w)[0];
    };
    expect(await gap(once(transpose(g), transpose(start)), transpose(once(g, start)))).toBeLessThan(1e-9);
    expect(await gap(once(mul(1e6, g), start), once(g, start))).toBeLessThan(1e-9);
  });

  test("other tensors get AdamW", async () => {
    type P = { w: Tensor; b: Tensor; head: Tensor };
    const params: P = { w: start, b: gaussian(4, [6]), head: gaussian(5, [6, 3]) };
    const gradients: P = { w: g, b: gaussian(6, [6]), head: gaussian(7, [6, 3]) };
    const ours = muon<P>({ learningRate, select: (t) => t.shape[1] !== 3 });
    const theirs = adamw<P>({ learningRate, weightDecay: 0.1, betas: [0.9, 0.95] });
    const a = ours.update(gradients, ours.init(params), params)[0];
    const b = theirs.update(gradients, theirs.init(params), params)[0];
    expect(await gap(a.b, b.b)).toBe(0);
    expect(await gap(a.head, b.head)).toBe(0);
    expect(await gap(a.w, b.w)).toBeGreaterThan(1e-3);
    // One moment of the matrix, two of the rest, two counters.
    expect(stateBytes(ours.init(params))).toBe(8 * (24 + 2 * (6 + 18) + 2));
  });

  test("alignRms leaves 0 at 0", async () => {
    expect(await rms(alignRms(g, 0.2))).toBeCloseTo(0.2, 12);
    expect(await gap(alignRms(zeros([2, 2]), 0.2), zeros([2, 2]))).toBe(0);
  });
});

describe("bad input", () => {
  test("rates, momenta and decays out of range", () => {
    expectRatesRefused((learningRate) => muon({ learningRate }));
    for (const momentum of [-0.1, 1, Number.NaN])
      expect(() => muon({ learningRate: 0.1, momentum })).toThrow(/muon: the momentum/);
    expect(() =>
      onMatrices(
        matrixMomentum("x", (m) => m),
        { learningRate: 0.1, weightDecay: -1 },
      ),
    ).toThrow(/weightDecay/);
  });
  test("a tree that changed since init, gradients that don't fit", () => {
    expectChangesRefused(muon<Record<string, Tensor>>({ learningRate: 0.1 }), {
      state: /muon \(state\): .* don't fit/,
      shapes: /masked: the gradients .* don't fit/,
    });
  });
  test("non-finite gradients are skipped", async () => {
    await expectNonFiniteSkipped(muon<Layer>({ learningRate: 0.1 }));
  });
});
