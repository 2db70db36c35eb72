import {
  add,
  data,
  item,
  linalg,
  matmul,
  mul,
  random,
  sub,
  sum,
  type Tensor,
  transpose,
  zeros,
} from "@prior-art/tensor";
import {
  addDecayedWeights,
  clipByGlobalNorm,
  cosineDecay,
  masked,
  polarFactor,
  scale,
  stateBytes,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import {
  expectChangesRefused,
  expectNonFiniteSkipped,
  expectRatesRefused,
  type Layer,
} from "../testing/contract.ts";
import { double, gap, gaussian, norm } from "../testing/doubles.ts";
import { inOrder, path } from "../testing/paths.ts";
import { iteratedSpectral } from "./geometry.ts";
import { functionGaps, regression } from "./logistic.ts";
import {
  dualNorm,
  geometry,
  iterate,
  lmo,
  muonGeometry,
  type NormName,
  orthogonalize,
  orthogonalSgdm,
  squaredNormStep,
  stationarityBound,
  trustRegionMomentum,
  tuneFromTheory,
} from "./method.ts";
import { biasFloors, measureRates } from "./problems.ts";

const NORMS: readonly NormName[] = ["l2", "linf", "l1", "spectral"];

describe("geometries", () => {
  const m = double([3, 0, 0, -4], [2, 2]);

  test("oracles and dual norms of diag(3, -4)", async () => {
    const expected: Record<NormName, [number[], number]> = {
      spectral: [[1, 0, 0, -1], 7],
      l2: [[0.6, 0, 0, -0.8], 5],
      linf: [[1, 0, 0, -1], 7],
      l1: [[0, 0, 0, -1], 4],
    };
    for (const norm of NORMS) {
      expect(await gap(lmo(norm)(m), double(expected[norm][0], [2, 2]))).toBeLessThan(1e-12);
      expect(await item(dualNorm(norm)(m))).toBeCloseTo(expected[norm][1], 12);
    }
  });

  test("an oracle has norm 1 and attains the dual norm; no other unit step does better", async () => {
    for (const norm of NORMS) {
      const g = geometry(norm);
      for (const shape of [[4, 6], [6, 4], [5, 1], [7]]) {
        const x = gaussian(shape.length + shape[0]!, shape);
        const dual = await item(g.dual(x));
        expect(await item(g.norm(g.lmo(x)))).toBeCloseTo(1, 9);
        expect(await item(sum(mul(x, g.lmo(x))))).toBeCloseTo(dual, 9);
        const other = gaussian(99, shape);
        expect(await item(sum(mul(x, other)))).toBeLessThanOrEqual(dual * (await item(g.norm(other))) + 1e-9);
      }
    }
  });

  test("0 has the step 0 in every geometry, tiny gradients don't underflow", async () => {
    for (const norm of NORMS) {
      expect(await gap(lmo(norm)(zeros([3, 4])), zeros([3, 4]))).toBe(0);
      const x = random.normal(random.key(1), [3, 4]);
      expect(await gap(lmo(norm)(mul(1e-30, x)), lmo(norm)(x))).toBeLessThan(1e-4);
    }
  });

  test("the spectral norm of a vector is the Euclidean one", async () => {
    const column = gaussian(3, [5, 1]);
    expect(await gap(lmo("spectral")(column), lmo("l2")(column))).toBeLessThan(1e-9);
    const vector = gaussian(3, [5]);
    expect(await gap(lmo("spectral")(vector), lmo("l2")(vector))).toBe(0);
  });

  test("the spectral oracle turns with its matrix, and drops singular values of 0", async () => {
    const x = gaussian(4, [4, 6]);
    const [q, p] = [linalg.qr(gaussian(5, [4, 4])).q, linalg.qr(gaussian(6, [6, 6])).q];
    const turned = lmo("spectral")(matmul(matmul(q, x), p));
    expect(await gap(turned, matmul(matmul(q, lmo("spectral")(x)), p))).toBeLessThan(1e-9);
    const [u, v] = [linalg.qr(gaussian(7, [4, 1])).q, linalg.qr(gaussian(8, [6, 1])).q];
    const one = matmul(u, transpose(v));
    expect(await gap(lmo("spectral")(mul(5, one)), one)).toBeLessThan(1e-9);
  });

  test("orthogonalization: exact, iterated to the same, and Muon's near it", async () => {
    for (const shape of [
      [4, 9],
      [9, 4],
    ]) {
      const x = gaussian(9, shape);
      const exact = orthogonalize(x);
      expect(await gap(exact, polarFactor(x))).toBeLessThan(1e-12);
      expect(await gap(orthogonalize(x, { method: "iterated" }), exact)).toBeLessThan(1e-5);
      const values = await data(linalg.singularValues(orthogonalize(x, { method: "newtonSchulz" })));
      expect(Math.min(...values)).toBeGreaterThan(0.6);
      expect(Math.max(...values)).toBeLessThan(1.25);
      expect(await gap(muonGeometry().lmo(x), orthogonalize(x, { method: "newtonSchulz", steps: 5 }))).toBe(
        0,
      );
      expect(await item(iteratedSpectral.dual(x))).toBeCloseTo(await item(dualNorm("spectral")(x)), 4);
    }
  });

  test("a geometry of one's own is taken, an unknown name refused", () => {
    const own = geometry("l2");
    expect(geometry(own)).toBe(own);
    expect(() => geometry("l7" as NormName)).toThrow(/norms are l2, linf, l1, spectral/);
  });
});

describe("the trust-region method", () => {
  const gradients = [0, 1, 2, 3].map((i) => gaussian(10 + i, [4, 6]));
  const start = gaussian(9, [4, 6]);

  test("α = 1 in the spectral norm is exact Muon without momentum", async () => {
    const { params } = await path(
      trustRegionMomentum<Tensor>({ radius: 0.1, momentum: 1 }),
      start,
      gradients,
    );
    let x = start;
    for (const g of gradients) x = sub(x, mul(0.1, polarFactor(g)));
    expect(await gap(params[4]!, x)).toBeLessThan(1e-9);
  });

  test("momentum starts at the first gradient and comes before the oracle", async () => {
    const { params } = await path(
      trustRegionMomentum<Tensor>({ norm: "l2", radius: 0.1, momentum: 0.3 }),
      start,
      gradients,
    );
    let [x, m] = [start, gradients[0]!];
    for (const [t, g] of gradients.entries()) {
      if (t > 0) m = add(mul(0.7, m), mul(0.3, g));
      x = sub(x, mul(0.1, mul(1 / (await norm(m)), m)));
    }
    expect(await gap(params[4]!, x)).toBeLessThan(1e-9);
  });

  test("every step has length η, in each norm", async () => {
    for (const norm of NORMS) {
      const { params } = await path(trustRegionMomentum<Tensor>({ norm, radius: 0.2 }), start, gradients);
      for (const t of [1, 2, 3, 4])
        expect(await item(geometry(norm).norm(sub(params[t]!, params[t - 1]!)))).toBeCloseTo(0.2, 9);
    }
  });

  test("with decay the iterates stay in the ball of the larger of ‖x₀‖ and η/β", async () => {
    const always = new Array<Tensor>(40).fill(gradients[0]!);
    const o = trustRegionMomentum<Tensor>({ norm: "linf", radius: 0.5, weightDecay: 0.1 });
    const far = await path(o, mul(20, start), always);
    const size = (x: Tensor) => item(geometry("linf").norm(x));
    const first = await size(far.params[0]!);
    for (const x of far.params) expect(await size(x)).toBeLessThanOrEqual(first + 1e-9);
    const near = await path(o, zeros([4, 6], "float64"), always);
    for (const x of near.params) expect(await size(x)).toBeLessThanOrEqual(5);
    expect(await size(near.params[40]!)).toBeGreaterThan(4.9);
    // One step by hand: (1 - β)x - η sign(m).
    const [g, x] = [gradients[1]!, gradients[2]!];
    const [updates] = o.update(g, o.init(x), x);
    expect(await gap(add(x, updates), sub(mul(0.9, x), mul(0.5, lmo("linf")(g))))).toBeLessThan(1e-12);
  });

  test("with R = λ/2‖x‖² the step is the brute-force minimizer over the ball", async () => {
    const [lambda, eta] = [0.7, 0.5];
    for (const [m, x] of [
      [
        [1, -2],
        [0.3, 0.4],
      ],
      [
        [0.05, 0.02],
        [0.1, -0.2],
      ],
      [
        [0, 0],
        [0.1, 0],
      ],
    ] as const) {
      const o = trustRegionMomentum<Tensor>({ norm: "l2", radius: eta, prox: squaredNormStep(lambda) });
      const at = double([...x]);
      const [updates] = o.update(double([...m]), o.init(at), at);
      const [a, b] = [...(await data(add(at, updates)))] as [number, number];
      const objective = (p: number, q: number): number =>
        m[0] * p + m[1] * q + (lambda / 2) * (p * p + q * q);
      let [best, where] = [Number.POSITIVE_INFINITY, [0, 0]];
      for (let i = 0; i <= 200; i++)
        for (let k = 0; k < 400; k++) {
          const [r, angle] = [(eta * i) / 200, (2 * Math.PI * k) / 400];
          const point = [x[0] + r * Math.cos(angle), x[1] + r * Math.sin(angle)] as const;
          if (objective(...point) < best) [best, where] = [objective(...point), [...point]];
        }
      expect(Math.hypot(a - where[0]!, b - where[1]!)).toBeLessThan(0.01);
      expect(objective(a, b)).toBeLessThanOrEqual(best + 1e-9);
    }
  });

  test("extrapolation puts the parameters ahead of the iterates by (1 - α)/α of the last move", async () => {
    const alpha = 0.25;
    const o = trustRegionMomentum<Tensor>({ norm: "l2", radius: 0.1, momentum: alpha, extrapolate: true });
    const { params, states } = await path(o, start, gradients);
    const points = [start, ...states.map((s, t) => iterate(params[t + 1]!, s))];
    for (const t of [1, 2, 3, 4]) {
      const move = sub(points[t]!, points[t - 1]!);
      expect(await norm(move)).toBeCloseTo(0.1, 9);
      expect(await gap(params[t]!, add(points[t]!, mul(3, move)))).toBeLessThan(1e-9);
    }
    // The iterates move like those of the plain method on the same gradients.
    const plain = await path(
      trustRegionMomentum<Tensor>({ norm: "l2", radius: 0.1, momentum: alpha }),
      start,
      gradients,
    );
    expect(await gap(points[4]!, plain.params[4]!)).toBeLessThan(1e-9);
    expect(iterate(plain.params[4]!, plain.states[3]!)).toBe(plain.params[4]!);
    // A share that is a tensor, as under vmap, is the same share.
    const traced = await path(
      trustRegionMomentum<Tensor>({
        norm: "l2",
        radius: 0.1,
        momentum: mul(alpha, double([1], [])),
        extrapolate: true,
      }),
      start,
      gradients,
    );
    expect(await gap(traced.params[4]!, params[4]!)).toBeLessThan(1e-9);
  });

  test("each tensor of a tree steps by itself", async () => {
    const params = { w: start, b: gaussian(1, [6]), filter: gaussian(2, [2, 3, 2]) };
    const g = { w: gradients[0]!, b: gaussian(3, [6]), filter: gaussian(4, [2, 3, 2]) };
    const o = trustRegionMomentum<typeof params>({ radius: 0.1 });
    const [updates] = o.update(g, o.init(params), params);
    expect(await gap(updates.w, mul(-0.1, polarFactor(g.w)))).toBeLessThan(1e-9);
    expect(await gap(updates.b, mul(-0.1, lmo("l2")(g.b)))).toBeLessThan(1e-12);
    expect(await item(geometry("l2").norm(updates.filter))).toBeCloseTo(0.1, 12);
    expect(stateBytes(o.init(params))).toBe(8 * (24 + 6 + 12 + 1));
  });

  test("chains with clipping, a schedule, a mask and decay in one line", async () => {
    const params: Layer = { w: start, b: gaussian(1, [6]) };
    const g: Layer = { w: gradients[0]!, b: gaussian(2, [6]) };
    const o = inOrder<Layer>(
      clipByGlobalNorm(1),
      masked(trustRegionMomentum<Tensor[]>({ radius: cosineDecay(1, 10) }), (t) => t.rank > 1),
      addDecayedWeights(-0.1, (t) => t.rank > 1),
      scale(0.5),
    );
    const { params: after } = await path(o, params, [g, g]);
    const second = 0.5 * (1 + Math.cos(Math.PI / 10));
    const polar = polarFactor(g.w);
    const once = sub(mul(0.95, params.w), mul(0.5, polar));
    expect(await gap(after[1]!.w, once)).toBeLessThan(1e-9);
    expect(await gap(after[2]!.w, sub(mul(0.95, once), mul(0.5 * second, polar)))).toBeLessThan(1e-9);
  });
});

describe("Orthogonal-SGDM", () => {
  test("averages oracles, and is not Muon", async () => {
    const gradients = [gaussian(1, [4, 6]), gaussian(2, [4, 6])];
    const start = zeros([4, 6], "float64");
    const { params } = await path(orthogonalSgdm<Tensor>({ radius: 0.1, momentum: 0.3 }), start, gradients);
    const [a, b] = gradients.map((g) => polarFactor(g)) as [Tensor, Tensor];
    expect(await gap(params[1]!, mul(-0.1, a))).toBeLessThan(1e-9);
    expect(await gap(params[2]!, mul(-0.1, add(mul(1.7, a), mul(0.3, b))))).toBeLessThan(1e-9);
    const muon = await path(trustRegionMomentum<Tensor>({ radius: 0.1, momentum: 0.3 }), start, gradients);
    expect(await gap(params[2]!, muon.params[2]!)).toBeGreaterThan(1e-3);
  });

  test("settles beside the minimum under lopsided noise, where Muon goes on", async () => {
    const [muon, orthogonal] = [
      await biasFloors("muon", [256, 1024], 3),
      await biasFloors("orthogonalFirst", [256, 1024], 3),
    ];
    expect(orthogonal[1]!).toBeGreaterThan(2.5);
    expect(muon[1]!).toBeLessThan(0.5 * orthogonal[1]!);
    expect(muon[1]!).toBeLessThan(muon[0]!);
  });
});

describe("theory", () => {
  const constants = { smoothness: 2, gap: 8, noise: 4, equivalence: 3, steps: 100 };

  test("tuning and bound, by hand", () => {
    // α = √16/(3·4·10) = 1/30, η = √(8/(30·2·100)).
    const tuning = tuneFromTheory(constants);
    expect(tuning.momentum).toBeCloseTo(1 / 30, 12);
    expect(tuning.radius).toBeCloseTo(Math.sqrt(8 / 6000), 12);
    expect(tuneFromTheory({ ...constants, noise: 0 })).toEqual({ momentum: 1, radius: 0.2 });
    expect(stationarityBound(constants, { momentum: 0.25, radius: 0.1 })).toBeCloseTo(
      0.8 + 0.1 + 1.6 + 24 * (0.04 + 0.5),
      12,
    );
  });

  test("the bound falls as K^(-1/4) with noise and K^(-1/2) without", () => {
    const at = (steps: number, noise: number): number => {
      const c = { ...constants, steps, noise };
      return stationarityBound(c, tuneFromTheory(c));
    };
    expect(Math.log(at(4e8, 4) / at(1e8, 4)) / Math.log(4)).toBeCloseTo(-0.25, 2);
    expect(Math.log(at(400, 0) / at(100, 0)) / Math.log(4)).toBeCloseTo(-0.5, 9);
  });

  test("holds on a small run in every norm", async () => {
    for (const norm of ["l2", "linf", "spectral"] as const)
      for (const noise of [0, 1]) {
        const { least, bounds } = await measureRates(norm, noise, [32, 64], 5);
        least.forEach((v, i) => {
          expect(v).toBeGreaterThan(0);
          expect(v).toBeLessThan(bounds[i]!);
        });
      }
  });

  test("noise leaves more", async () => {
    const [exact, noisy] = [await measureRates("l2", 0, [64], 5), await measureRates("l2", 1, [64], 5)];
    expect(noisy.least[0]!).toBeGreaterThan(3 * exact.least[0]!);
  });

  test("the regression's least loss is below that of any run, which comes near", async () => {
    const problem = await regression(4);
    const gaps = await functionGaps(problem, { steps: 400, radius: 0.02, momentum: 0.1, weightDecay: 0 });
    expect(Math.min(...gaps)).toBeGreaterThan(0);
    expect(gaps.at(-1)!).toBeLessThan(0.3 * gaps[0]!);
  });
});

describe("bad input", () => {
  test("options out of range", () => {
    expectRatesRefused(
      (radius) => trustRegionMomentum({ radius }),
      /trustRegionMomentum: the learning rate must be positive/,
    );
    expectRatesRefused(
      (radius) => orthogonalSgdm({ radius }),
      /orthogonalSgdm: the learning rate must be positive/,
    );
    for (const momentum of [0, 1.1, Number.NaN]) {
      expect(() => trustRegionMomentum({ radius: 1, momentum })).toThrow(/share of the new gradient/);
      expect(() => orthogonalSgdm({ radius: 1, momentum })).toThrow(/share of the new gradient/);
    }
    for (const weightDecay of [-0.1, 1, Number.NaN])
      expect(() => trustRegionMomentum({ radius: 1, weightDecay })).toThrow(/weightDecay must be/);
    expect(() => trustRegionMomentum({ radius: 1, weightDecay: 0.1, prox: squaredNormStep(1) })).toThrow(
      /not both/,
    );
    expect(() => squaredNormStep(0)).toThrow(/λ must be positive/);
    for (const change of [
      { smoothness: 0 },
      { gap: -1 },
      { noise: -1 },
      { steps: 0 },
      { equivalence: Number.NaN },
    ])
      expect(() =>
        tuneFromTheory({ smoothness: 1, gap: 1, noise: 1, equivalence: 1, steps: 1, ...change }),
      ).toThrow(/positive constants/);
    expect(() => orthogonalize(zeros([3]))).toThrow(/takes a matrix/);
  });

  test("a tree that changed since init, gradients that don't fit", () => {
    const refused = { state: /\(state\): .* don't fit/, shapes: /don't fit/ };
    expectChangesRefused(trustRegionMomentum<Record<string, Tensor>>({ radius: 1 }), refused);
    expectChangesRefused(orthogonalSgdm<Record<string, Tensor>>({ radius: 1 }), refused);
  });

  test("non-finite gradients are skipped; requireFinite names the tensor", async () => {
    await expectNonFiniteSkipped(trustRegionMomentum<Layer>({ radius: 0.1 }));
  });
});
