import {
  add,
  data,
  item,
  jit,
  linalg,
  matmul,
  mul,
  random,
  scan,
  sub,
  sum,
  type Tensor,
  tensor,
  transpose,
  zeros,
} from "@prior-art/tensor";
import { adam, requireFinite, scaleByAdam, sgd, stateBytes } from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { galore, leadingVectors, randomSubspaces, type Subspaces, singularSubspaces } from "./lowRank.ts";
import {
  expectChangesRefused,
  expectNonFiniteSkipped,
  expectRatesRefused,
  expectToChain,
  expectTransposable,
  type Layer,
} from "./testing/contract.ts";
import { close, double, gap, gaussian } from "./testing/doubles.ts";
import { path } from "./testing/paths.ts";

describe("leading vectors", () => {
  test("are the singular vectors of a known matrix, in order", async () => {
    // diag(1, 3, 2) beside zeros: e₂, then e₃.
    const m = double([1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 2, 0], [3, 4]);
    const p = await data(mul(leadingVectors(m, 2), leadingVectors(m, 2)));
    expect([...p]).toEqual(close([0, 0, 1, 0, 0, 1], 9));
  });

  test("are orthonormal for gradients tiny, huge and zero", async () => {
    for (const size of [1e-25, 1, 1e25, 0]) {
      const p = leadingVectors(mul(size, random.normal(random.key(3), [6, 9])), 4);
      const eye = tensor(
        Float32Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0)),
        { shape: [4, 4] },
      );
      expect(await gap(matmul(transpose(p), p), eye)).toBeLessThan(1e-5);
    }
  });

  test("capture the most that any subspace of that rank can", async () => {
    const g = gaussian(1, [8, 12]);
    const energy = async (p: Tensor) => {
      const c = matmul(transpose(p), g);
      return item(sum(mul(c, c)));
    };
    const best = await energy(leadingVectors(g, 3));
    const other = randomSubspaces(1, 5, 1).refresh(
      [g],
      { projections: [zeros([8, 3], "float64")] },
      tensor(0),
    );
    expect(best).toBeGreaterThan(await energy(other.projections[0]!));
  });
});

describe("GaLore", () => {
  const gradients = [0, 1, 2, 3, 4].map((i) => gaussian(10 + i, [4, 6]));
  const start = gaussian(9, [4, 6]);
  const rate = { learningRate: 0.1 };

  test("at full rank with plain SGD is plain SGD, at any gap", async () => {
    const ours = await path(galore(sgd<Tensor>(rate), { rank: 4, scale: 1, updateGap: 2 }), start, gradients);
    const plain = await path(sgd<Tensor>(rate), start, gradients);
    expect(await gap(ours.params[5]!, plain.params[5]!)).toBeLessThan(1e-9);
  });

  test("moves weights only within the span of the current gradient's leading vectors", async () => {
    const { params } = await path(
      galore(adam<Tensor>(rate), { rank: 2, scale: 1, updateGap: 3 }),
      start,
      gradients,
    );
    for (const [step, from] of [
      [0, 0],
      [2, 0],
      [3, 3],
      [4, 3],
    ] as const) {
      const moved = sub(params[step + 1]!, params[step]!);
      const p = leadingVectors(gradients[from]!, 2);
      expect(await gap(matmul(p, matmul(transpose(p), moved)), moved)).toBeLessThan(1e-9);
    }
  });

  test("a tall matrix is treated as its transpose", async () => {
    await expectTransposable(galore(adam<Tensor>(rate), { rank: 2, updateGap: 2 }));
  });

  test("keeps the moments of the old subspace when the projection changes", async () => {
    const { states } = await path(
      galore(scaleByAdam<Tensor>({ betas: [0.5, 0.5] }), { rank: 2, updateGap: 1 }),
      start,
      gradients.slice(0, 2),
    );
    const [p0, p1] = [leadingVectors(gradients[0]!, 2), leadingVectors(gradients[1]!, 2)];
    const mean = add(mul(0.5, matmul(transpose(p0), gradients[0]!)), matmul(transpose(p1), gradients[1]!));
    expect(await gap(states[1]!.base.mean, mean)).toBeLessThan(1e-9);
  });

  test("scale multiplies what is projected, and only that", async () => {
    type P = { w: Tensor; b: Tensor };
    const params: P = { w: start, b: gaussian(1, [6]) };
    const g: P = { w: gradients[0]!, b: gaussian(2, [6]) };
    const once = (scale: number) => {
      const o = galore(sgd<P>(rate), { rank: 2, scale });
      return o.update(g, o.init(params), params)[0];
    };
    expect(await gap(mul(4, once(0.25).w), once(1).w)).toBeLessThan(1e-12);
    expect(await gap(once(0.25).b, mul(-0.1, g.b))).toBe(0);
  });

  test("random projections are orthonormal, change at the gap and only there", async () => {
    const rule = randomSubspaces(2, 3, 64);
    const before: Subspaces = { projections: [zeros([5, 2], "float64")] };
    const at = (step: number, s = before) => rule.refresh([], s, double([step], []));
    const [first, second] = [at(0), at(2)];
    const p = first.projections[0]!;
    expect(await gap(matmul(transpose(p), p), double([1, 0, 0, 1], [2, 2]))).toBeLessThan(1e-12);
    expect(await gap(at(1, first).projections[0]!, p)).toBe(0);
    expect(await gap(second.projections[0]!, p)).toBeGreaterThan(0.1);
    expect(await gap(at(0).projections[0]!, p)).toBe(0);
    // Whoever draws with the same seed gets other numbers.
    const own = random.normal(random.fold(random.key(3), 0), [5, 2], { dtype: "float64" });
    expect(await gap(p, linalg.qr(own).q)).toBeGreaterThan(0.1);
  });

  test("as many random projections as asked for are drawn, the seed's own, before the first comes again", async () => {
    const options = { rank: 2, scale: 1, updateGap: 3, projection: "random" } as const;
    const ones = add(zeros([4, 6], "float64"), 1);
    const at = async (step: number, more: { readonly draws?: number; readonly seed?: number }) => {
      const o = galore(sgd<Tensor>(rate), { ...options, ...more });
      return o.update(ones, { ...o.init(start), step: double([step], []) }, start)[0];
    };
    const first = await at(0, { draws: 5 });
    for (const turn of [1, 2, 3, 4])
      expect(await gap(await at(3 * turn, { draws: 5 }), first)).toBeGreaterThan(1e-3);
    expect(await gap(await at(15, { draws: 5 }), first)).toBe(0);
    expect(await gap(await at(3 * 63, {}), await at(0, {}))).toBeGreaterThan(1e-3);
    expect(await gap(await at(3 * 64, {}), await at(0, {}))).toBe(0);
    expect(await gap(await at(0, { seed: 1 }), await at(0, {}))).toBeGreaterThan(1e-3);
    expect(await gap(await at(0, { seed: 0 }), await at(0, {}))).toBe(0);
  });

  test("the state holds r·m moments twice and n·r numbers of the projection", () => {
    const params = { w: zeros([64, 128]), tall: zeros([96, 32]), b: zeros([7]), filter: zeros([3, 3, 2, 2]) };
    const o = galore(scaleByAdam<typeof params>(), { rank: 4 });
    const numbers = 2 * 4 * 128 + 64 * 4 + (2 * 4 * 96 + 32 * 4) + 2 * (7 + 36);
    expect(stateBytes(o.init(params))).toBe(4 * (numbers + 2));
  });

  test("gives in a compiled scan what single steps give", async () => {
    const o = galore(adam<Tensor>(rate), { rank: 2, updateGap: 2 });
    const singles = await path(o, start, gradients.slice(0, 3));
    const [stacked] = [
      tensor(new Float64Array((await Promise.all(gradients.slice(0, 3).map(data))).flatMap((d) => [...d])), {
        shape: [3, 4, 6],
      }),
    ];
    const run = jit(
      (from: Tensor, gs: Tensor) =>
        scan(
          ([w, s]: readonly [Tensor, ReturnType<typeof o.init>], g: Tensor) => {
            const [updates, next] = o.update(g, s, w);
            return [[add(w, updates), next] as const, null];
          },
          [from, o.init(from)] as const,
          gs,
        )[0][0],
    );
    expect(await gap(await run(start, stacked), singles.params[3]!)).toBeLessThan(1e-9);
  });

  test("chains with clipping, a schedule, a mask and decay in one line", async () => {
    await expectToChain(galore(scaleByAdam<Tensor[]>(), { rank: 2 }));
  });
});

describe("bad input", () => {
  const params = { w: zeros([4, 6]), b: zeros([6]) };

  test("a rank larger than the matrix, zero or broken names the matrix and the limit", () => {
    for (const rank of [5, 0, 1.5, Number.NaN])
      expect(() => galore(adam<typeof params>({ learningRate: 0.1 }), { rank }).init(params)).toThrow(
        /galore: a matrix of shape \[4, 6\] takes a rank from 1 to 4/,
      );
    expect(() =>
      galore(adam<typeof params>({ learningRate: 0.1 }), { rank: 5, select: () => false }).init(params),
    ).not.toThrow();
  });

  test("gaps and draws below 1 and learning rates of 0 or less", () => {
    for (const updateGap of [0, -1, 2.5, Number.NaN])
      expect(() => galore(adam({ learningRate: 0.1 }), { rank: 1, updateGap })).toThrow(
        /updateGap must be a positive/,
      );
    for (const draws of [0, 1.5, Number.NaN])
      expect(() => galore(adam({ learningRate: 0.1 }), { rank: 1, draws })).toThrow(
        /draws must be a positive/,
      );
    expectRatesRefused((learningRate) => galore(adam({ learningRate }), { rank: 1 }));
  });

  test("gradients that don't fit, and a tree that changed since init", () => {
    const o = galore(adam<Record<string, Tensor>>({ learningRate: 0.1 }), { rank: 2 });
    expectChangesRefused(o, {
      state: /has the tree of parameters changed since init/,
      shapes: /galore: the gradients .* don't fit/,
    });
    const longer = { ...params, b: zeros([7]) };
    expect(() => o.update(longer, o.init(params), longer)).toThrow();
  });

  test("skipNonFinite keeps NaNs out of weights and subspaces; requireFinite names the tensor", async () => {
    await expectNonFiniteSkipped(galore(adam<Layer>({ learningRate: 0.1 }), { rank: 2, updateGap: 1 }));
  });

  test("a first gradient of zero makes no NaN", async () => {
    const o = galore(adam<Tensor>({ learningRate: 0.1 }), { rank: 2, updateGap: 5 });
    const none = zeros([4, 6]);
    const [updates, state] = o.update(none, o.init(none), none);
    expect(await gap(updates, none)).toBe(0);
    const [next] = o.update(random.normal(random.key(1), [4, 6]), state, none);
    await expect(requireFinite("second step", next)).resolves.toBeUndefined();
  });

  test("a tree without matrices is the base optimizer's alone", async () => {
    const bias = { b: gaussian(4, [6]) };
    const g = { b: gaussian(5, [6]) };
    for (const rule of ["svd", "random"] as const) {
      const o = galore(sgd<typeof bias>({ learningRate: 0.1 }), { rank: 2, projection: rule });
      expect(await gap(o.update(g, o.init(bias), bias)[0].b, mul(-0.1, g.b))).toBe(0);
    }
    expect(singularSubspaces(1).init([], 3).projections).toEqual([]);
  });
});
