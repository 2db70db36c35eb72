import {
  add,
  data,
  item,
  linalg,
  matmul,
  mul,
  sign,
  sqrt,
  sub,
  sum,
  type Tensor,
  transpose,
  zeros,
} from "@prior-art/tensor";
import { adamw, type GradientTransformation, polarFactor, stateBytes } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import {
  expectChangesRefused,
  expectNonFiniteSkipped,
  expectRatesRefused,
  expectToChain,
  type Layer,
} from "../testing/contract.ts";
import { close, double, gap, gaussian, rms } from "../testing/doubles.ts";
import { path } from "../testing/paths.ts";
import { normalizedGradient, racs, reg, scaleByReg, signMomentum, spectrumStats } from "./method.ts";

describe("row-and-column scaling", () => {
  const m = double([3, 4, 0, 2], [2, 2]);

  test("[[3, 4], [0, 2]] by hand", async () => {
    expect(await gap(racs(m), double([1, 0.624695, 0, 0.780869], [2, 2]))).toBeLessThan(1e-6);
    expect(
      await gap(
        racs(m, { order: "col-row" }),
        double(
          [1 / Math.hypot(1, 2 / Math.sqrt(5)), 2 / Math.sqrt(5) / Math.hypot(1, 2 / Math.sqrt(5)), 0, 1],
          [2, 2],
        ),
      ),
    ).toBeLessThan(1e-6);
    const [r, c] = [
      [5, 2],
      [3, Math.sqrt(20)],
    ];
    const symmetric = [3, 4, 0, 2].map((v, i) => v / Math.sqrt(r[Math.floor(i / 2)]! * c[i % 2]!));
    expect(await gap(racs(m, { order: "symmetric" }), double(symmetric, [2, 2]))).toBeLessThan(1e-6);
  });

  test("other norms: sums and largest entries", async () => {
    // Rows by sums: [3/7, 4/7], [0, 1]; then columns by 3/7 and 11/7.
    expect(await gap(racs(m, { norm: 1 }), double([1, 4 / 11, 0, 7 / 11], [2, 2]))).toBeLessThan(1e-6);
    // Rows by the largest: [.75, 1], [0, 1]; then columns by .75 and 1.
    expect(await gap(racs(m, { norm: Number.POSITIVE_INFINITY }), double([1, 1, 0, 1], [2, 2]))).toBeLessThan(
      1e-6,
    );
  });

  test("columns end with norm 1, signs and zeros stay", async () => {
    const x = mul(gaussian(1, [5, 7]), double([1, 0, 1, 1, 1, 0, 1], [7]));
    const y = racs(add(x, 0));
    const norms = await data(sqrt(sum(mul(y, y), 0)));
    expect([...norms]).toEqual(close([1, 0, 1, 1, 1, 0, 1], 6));
    expect(await gap(sign(y), sign(x))).toBe(0);
  });

  test("rows scaled by positive numbers make no difference in row-col order; columns do", async () => {
    const x = gaussian(2, [4, 6]);
    expect(await gap(racs(mul(double([1, 20, 0.3, 5], [4, 1]), x)), racs(x))).toBeLessThan(1e-6);
    expect(await gap(racs(mul(double([1, 20, 0.3, 5, 2, 7], [6]), x)), racs(x))).toBeGreaterThan(0.1);
  });

  test("many sweeps make all rows alike and all columns alike", async () => {
    const y = racs(gaussian(3, [4, 6]), { sweeps: 200 });
    const squares = mul(y, y);
    expect([...(await data(sum(squares, 0)))]).toEqual(new Array(6).fill(expect.closeTo(1, 5)));
    expect([...(await data(sum(squares, 1)))]).toEqual(new Array(4).fill(expect.closeTo(1.5, 5)));
  });

  test("a single row becomes its signs", async () => {
    expect(await gap(racs(double([3, -0.2, 0, 9], [1, 4])), double([1, -1, 0, 1], [1, 4]))).toBeLessThan(
      1e-6,
    );
  });

  test("orthogonal rows of any norm become orthonormal by one scaling of rows, as Muon's", async () => {
    const q = linalg.qr(gaussian(4, [4, 4])).q;
    const m = mul(double([1, 30, 0.2, 7], [4, 1]), q);
    const { conditionNumber } = spectrumStats(racs(racs(m), { order: "col-row" }));
    // Columns of an orthogonal matrix have norm 1 already, so scaling them changes nothing.
    expect(await item(conditionNumber)).toBeCloseTo(1, 6);
    expect(await gap(racs(m), q)).toBeLessThan(1e-6);
    expect(await gap(racs(m), polarFactor(m))).toBeLessThan(1e-6);
  });
});

describe("REG", () => {
  const learningRate = 0.1;
  const start = gaussian(5, [4, 6]);
  const gradients = [0, 1, 2, 3].map((i) => gaussian(10 + i, [4, 6]));

  test("[[3, 4], [0, 2]] at κ = 1", async () => {
    const o = scaleByReg({ rms: 1 });
    const m = double([3, 4, 0, 2], [2, 2]);
    expect(
      await gap(o.update([m], o.init([m]), [m])[0][0]!, double([Math.SQRT2, 0.883452, 0, 1.104315], [2, 2])),
    ).toBeLessThan(1e-5);
  });

  test("four steps follow the algorithm written out", async () => {
    const o = reg<Tensor>({ learningRate, momentum: 0.8, rms: 0.3, weightDecay: 0.05, nesterov: true });
    const { params } = await path(o, start, gradients);
    let [w, m] = [start, zeros([4, 6], "float64")];
    for (const g of gradients) {
      m = add(mul(0.8, m), mul(0.2, g));
      const r = racs(add(mul(0.8, m), mul(0.2, g)));
      w = sub(w, mul(learningRate, add(mul(0.3 / (await rms(r)), r), mul(0.05, w))));
    }
    expect(await gap(params[4]!, w)).toBeLessThan(1e-6);
  });

  test("every update has root mean square κ, and gradients of 0 give none", async () => {
    const o = scaleByReg();
    let state = o.init([start]);
    for (const g of gradients) {
      const [updates, next] = o.update([mul(1e-12, g)], state, [start]);
      expect(await rms(updates[0]!)).toBeCloseTo(0.2, 9);
      state = next;
    }
    const none = zeros([4, 6], "float64");
    expect(await gap(o.update([none], o.init([start]), [start])[0][0]!, none)).toBe(0);
  });

  test("the size of the loss does not matter", async () => {
    const { params } = await path(reg<Tensor>({ learningRate }), start, gradients);
    for (const size of [1e-9, 1e9]) {
      const scaled = await path(
        reg<Tensor>({ learningRate }),
        start,
        gradients.map((g) => mul(size, g)),
      );
      expect(await gap(scaled.params[4]!, params[4]!)).toBeLessThan(1e-9);
    }
  });

  test("what is not a chosen matrix gets AdamW, and one moment is kept of what is", async () => {
    type P = { w: Tensor; b: Tensor; head: Tensor };
    const params: P = { w: start, b: gaussian(1, [6]), head: gaussian(2, [6, 3]) };
    const all = gradients.map((w, i): P => ({ w, b: gaussian(20 + i, [6]), head: gaussian(30 + i, [6, 3]) }));
    const o = reg<P>({ learningRate, select: (t) => t.shape[1] !== 3 });
    const [ours, theirs] = [
      await path(o, params, all),
      await path(adamw<P>({ learningRate, weightDecay: 0.1, betas: [0.9, 0.95] }), params, all),
    ];
    expect(await gap(ours.params[4]!.b, theirs.params[4]!.b)).toBeLessThan(1e-12);
    expect(await gap(ours.params[4]!.head, theirs.params[4]!.head)).toBeLessThan(1e-12);
    expect(stateBytes(o.init(params))).toBe(8 * (24 + 2 * (6 + 18) + 2));
  });

  test("its relatives: the momentum itself, and its signs", async () => {
    const one = async (o: GradientTransformation<Tensor, unknown>) =>
      sub((await path(o, start, gradients.slice(0, 1))).params[1]!, start);
    const moved = await one(normalizedGradient<Tensor>({ learningRate, weightDecay: 0 }));
    expect(
      await gap(moved, mul((-learningRate * 0.2) / (await rms(gradients[0]!)), gradients[0]!)),
    ).toBeLessThan(1e-9);
    expect(
      await gap(
        await one(signMomentum<Tensor>({ learningRate, weightDecay: 0, rms: 0.5 })),
        mul(-0.05, sign(gradients[0]!)),
      ),
    ).toBeLessThan(1e-12);
  });

  test("chains with clipping, a schedule, a mask and decay in one line", async () => {
    const { params } = await expectToChain(scaleByReg());
    const [before, after] = params.map(({ w }) => w) as [Tensor, Tensor];
    const direction = mul(-1, sub(sub(after, before), mul(-0.01, before)));
    expect(await rms(direction)).toBeCloseTo(0.1 * 0.2, 6);
  });
});

describe("the spectrum", () => {
  test("of a known matrix", async () => {
    const m = matmul(
      mul(linalg.qr(gaussian(6, [3, 3])).q, double([4, 2, 1], [3])),
      transpose(linalg.qr(gaussian(7, [5, 3])).q),
    );
    const { stableRank, conditionNumber } = spectrumStats(m);
    expect(await item(stableRank)).toBeCloseTo(21 / 16, 9);
    expect(await item(conditionNumber)).toBeCloseTo(4, 9);
  });

  test("is evened out by row-and-column scaling where rows differ in size, and wholly by the polar factor", async () => {
    const m = mul(double([1, 10, 0.1, 3, 30, 0.5], [6, 1]), gaussian(8, [6, 12]));
    const [raw, scaled, polar] = await Promise.all(
      [m, racs(m), polarFactor(m)].map((x) => item(spectrumStats(x).stableRank)),
    );
    expect(scaled).toBeGreaterThan(raw!);
    expect(polar).toBeGreaterThan(scaled!);
    expect(polar).toBeCloseTo(6, 9);
  });
});

describe("bad input", () => {
  test("options out of range", () => {
    expect(() => racs(zeros([3]))).toThrow(/racs: takes a matrix/);
    for (const sweeps of [0, 1.5, Number.NaN])
      expect(() => racs(zeros([2, 2]), { sweeps })).toThrow(/sweeps must be/);
    expect(() => racs(zeros([2, 2]), { norm: 3 as 2 })).toThrow(/norm is 1, 2 or Infinity/);
    expect(() => spectrumStats(zeros([3]))).toThrow(/spectrumStats: takes a matrix/);
    expectRatesRefused((learningRate) => reg({ learningRate }));
    for (const momentum of [-0.1, 1])
      expect(() => reg({ learningRate: 0.1, momentum })).toThrow(/reg: the momentum/);
    for (const rms of [0, -1, Number.NaN])
      expect(() => reg({ learningRate: 0.1, rms })).toThrow(/rms must be positive/);
    expect(() => reg({ learningRate: 0.1, weightDecay: -1 })).toThrow(/weightDecay must not be negative/);
  });

  test("a tree that changed since init, gradients that don't fit", () => {
    expectChangesRefused(reg<Record<string, Tensor>>({ learningRate: 0.1 }), {
      state: /reg \(state\): .* don't fit/,
      shapes: /masked: the gradients .* don't fit/,
    });
  });

  test("non-finite gradients are skipped, weights and momentum alike; requireFinite names the tensor", async () => {
    await expectNonFiniteSkipped(reg<Layer>({ learningRate: 0.1 }));
  });
});
