import {
  add,
  data,
  item,
  jit,
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
import {
  adam,
  addDecayedWeights,
  applyUpdates,
  chain,
  clipByGlobalNorm,
  cosineDecay,
  type GradientTransformation,
  masked,
  requireFinite,
  scaleByAdam,
  scaleByLearningRate,
  sgd,
  skipNonFinite,
  stateBytes,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { galore, leadingVectors, randomSubspaces, type Subspaces, singularSubspaces } from "./lowRank.ts";

const gaussian = (seed: number, shape: readonly number[]): Tensor =>
  random.normal(random.key(seed), shape, { dtype: "float64" });
const gap = async (a: Tensor, b: Tensor): Promise<number> => {
  const d = await data(sub(a, b));
  return Math.max(...[...d].map(Math.abs));
};

describe("leading vectors", () => {
  test("are the singular vectors of a known matrix, in order", async () => {
    // diag(1, 3, 2) beside zeros: e₂, then e₃.
    const m = tensor(new Float64Array([1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 2, 0]), { shape: [3, 4] });
    const p = await data(mul(leadingVectors(m, 2), leadingVectors(m, 2)));
    expect([...p]).toEqual([0, 0, 1, 0, 0, 1].map((v) => expect.closeTo(v, 9)));
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
    const other = randomSubspaces(1, 5).refresh([g], { projections: [zeros([8, 3], "float64")] }, tensor(0));
    expect(best).toBeGreaterThan(await energy(other.projections[0]!));
  });
});

/** Runs steps on fixed gradients and returns the parameters after each. */
async function path<P, S>(
  o: GradientTransformation<P, S>,
  start: P,
  gradients: readonly P[],
): Promise<{ params: P[]; state: S }> {
  const step = jit((g: P, s: S, p: P) => {
    const [updates, next] = o.update(g, s, p);
    return [applyUpdates(p, updates), next] as const;
  });
  let [params, state] = [start, o.init(start)];
  const all: P[] = [];
  for (const g of gradients) {
    [params, state] = await step(g, state, params);
    all.push(params);
  }
  return { params: all, state };
}

describe("GaLore", () => {
  const gradients = [0, 1, 2, 3, 4].map((i) => gaussian(10 + i, [4, 6]));
  const start = gaussian(9, [4, 6]);
  const rate = { learningRate: 0.1 };

  test("at full rank with plain SGD is plain SGD, at any gap", async () => {
    const ours = await path(galore(sgd<Tensor>(rate), { rank: 4, scale: 1, updateGap: 2 }), start, gradients);
    const plain = await path(sgd<Tensor>(rate), start, gradients);
    expect(await gap(ours.params[4]!, plain.params[4]!)).toBeLessThan(1e-9);
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
      const moved = sub(params[step]!, step === 0 ? start : params[step - 1]!);
      const p = leadingVectors(gradients[from]!, 2);
      expect(await gap(matmul(p, matmul(transpose(p), moved)), moved)).toBeLessThan(1e-9);
    }
  });

  test("a tall matrix is treated as its transpose", async () => {
    const options = { rank: 2, updateGap: 2 };
    const wide = await path(galore(adam<Tensor>(rate), options), start, gradients);
    const tall = await path(
      galore(adam<Tensor>(rate), options),
      transpose(start),
      gradients.map((g) => transpose(g)),
    );
    expect(await gap(transpose(wide.params[4]!), tall.params[4]!)).toBeLessThan(1e-9);
  });

  test("keeps the moments of the old subspace when the projection changes", async () => {
    const { state } = await path(
      galore(scaleByAdam<Tensor>({ betas: [0.5, 0.5] }), { rank: 2, updateGap: 1 }),
      start,
      gradients.slice(0, 2),
    );
    const [p0, p1] = [leadingVectors(gradients[0]!, 2), leadingVectors(gradients[1]!, 2)];
    const mean = add(mul(0.5, matmul(transpose(p0), gradients[0]!)), matmul(transpose(p1), gradients[1]!));
    expect(await gap(state.base.mean, mean)).toBeLessThan(1e-9);
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
    const rule = randomSubspaces(2, 3);
    const before: Subspaces = { projections: [zeros([5, 2], "float64")] };
    const at = (step: number, s = before) =>
      rule.refresh([], s, tensor(new Float64Array([step]), { shape: [] }));
    const [first, second] = [at(0), at(2)];
    const p = first.projections[0]!;
    expect(
      await gap(matmul(transpose(p), p), tensor(new Float64Array([1, 0, 0, 1]), { shape: [2, 2] })),
    ).toBeLessThan(1e-12);
    expect(await gap(at(1, first).projections[0]!, p)).toBe(0);
    expect(await gap(second.projections[0]!, p)).toBeGreaterThan(0.1);
    expect(await gap(at(0).projections[0]!, p)).toBe(0);
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
    expect(await gap(await run(start, stacked), singles.params[2]!)).toBeLessThan(1e-9);
  });

  test("chains with clipping, a schedule, a mask and decay in one line", async () => {
    type P = { w: Tensor; b: Tensor };
    const params: P = { w: start, b: gaussian(1, [6]) };
    const g: P = { w: gradients[0]!, b: gaussian(2, [6]) };
    const o = chain<
      P,
      readonly [
        GradientTransformation<P, null>,
        GradientTransformation<P, unknown>,
        GradientTransformation<P, null>,
        GradientTransformation<P, unknown>,
      ]
    >(
      clipByGlobalNorm(1),
      masked(galore(scaleByAdam<Tensor[]>(), { rank: 2 }), (t) => t.rank > 1),
      addDecayedWeights(0.1, (t) => t.rank > 1),
      scaleByLearningRate(cosineDecay(0.1, 10)),
    );
    const { params: after } = await path(o, params, [g, g, g]);
    expect(await gap(after[2]!.w, params.w)).toBeGreaterThan(0.01);
    // Biases pass the mask by: clipped gradients at the schedule's rates.
    const norm = Math.sqrt(await item(add(sum(mul(g.w, g.w)), sum(mul(g.b, g.b)))));
    const total = [0, 1, 2].reduce((s, t) => s + 0.05 * (1 + Math.cos((Math.PI * t) / 10)), 0);
    expect(await gap(sub(params.b, after[2]!.b), mul(total / norm, g.b))).toBeLessThan(1e-9);
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

  test("gaps below 1 and learning rates of 0 or less", () => {
    for (const updateGap of [0, -1, 2.5, Number.NaN])
      expect(() => galore(adam({ learningRate: 0.1 }), { rank: 1, updateGap })).toThrow(
        /updateGap must be a positive/,
      );
    for (const learningRate of [0, -1, Number.NaN])
      expect(() => galore(adam({ learningRate }), { rank: 1 })).toThrow(/learning rate must be positive/);
  });

  test("gradients that don't fit, and a tree that changed since init", () => {
    const o = galore(adam<Record<string, Tensor>>({ learningRate: 0.1 }), { rank: 2 });
    const state = o.init(params);
    expect(() => o.update({ w: zeros([6, 4]), b: zeros([6]) }, state, params)).toThrow(
      /galore: the gradients .* don't fit/,
    );
    const grown = { ...params, v: zeros([4, 6]) };
    expect(() => o.update(grown, state, grown)).toThrow(/has the tree of parameters changed since init/);
    const wider = { ...params, w: zeros([5, 6]) };
    expect(() => o.update(wider, state, wider)).toThrow(/has the tree of parameters changed since init/);
    const longer = { ...params, b: zeros([7]) };
    expect(() => o.update(longer, state, longer)).toThrow();
  });

  test("skipNonFinite keeps NaNs out of weights and subspaces; requireFinite names the tensor", async () => {
    const o = skipNonFinite(galore(adam<typeof params>({ learningRate: 0.1 }), { rank: 2, updateGap: 1 }));
    const bad = { w: mul(Number.NaN, gaussian(1, [4, 6])), b: gaussian(2, [6]) };
    const start = { w: gaussian(3, [4, 6]), b: gaussian(4, [6]) };
    const good = { w: gaussian(5, [4, 6]), b: gaussian(6, [6]) };
    const [updates, state] = o.update(bad, o.init(start), start);
    expect(await gap(updates.w, zeros([4, 6], "float64"))).toBe(0);
    const [later] = o.update(good, state, start);
    const [fresh] = o.update(good, o.init(start), start);
    expect(await gap(later.w, fresh.w)).toBe(0);
    await expect(requireFinite("step", bad)).rejects.toThrow(/step: w holds a NaN/);
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
