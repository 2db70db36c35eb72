import {
  add,
  cast,
  div,
  equal,
  grad,
  isFinite,
  item,
  linalg,
  matmul,
  mean,
  min,
  mul,
  random,
  scalar,
  sqrt,
  stack,
  sub,
  sum,
  type Tensor,
  take,
  tensor,
  transpose,
  treeLeaves,
  treeMap,
  vmap,
} from "@prior-art/tensor";
import { crossEntropy, type MlpParams, mlp } from "@prior-art/toolkit/nn";
import {
  clipByGlobalNorm,
  cosineDecay,
  type GradientTransformation,
  momentum,
  requireFinite,
  skipNonFinite,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { close, double, gap, gaussian, numbers } from "../testing/doubles.ts";
import { descent, inOrder } from "../testing/paths.ts";
import {
  aggregateWorkers,
  aggregators,
  attacks,
  bulyan,
  flagAggregate,
  geometricMedian,
  krum,
  median,
  multiKrum,
  trimmedMean,
} from "./method.ts";

const rows = (values: readonly (readonly number[])[]): Tensor =>
  double(values.flat(), [values.length, values[0]!.length]);
/** Gradients around a common direction, as those of batches of one data set. */
const alike = (seed: number, p: number, n: number, spread = 1): Tensor =>
  add(gaussian(seed, [n]), mul(spread, gaussian(seed + 100, [p, n])));

describe("the flag aggregator", () => {
  test("with m = p and independent gradients is the mean", async () => {
    const g = alike(1, 5, 12);
    const { aggregate, reconstruction } = flagAggregate(g, { subspaceDim: 5, normalizeInputs: false });
    expect(await gap(aggregate, mean(g, 0))).toBeLessThan(1e-10);
    expect(await numbers(reconstruction)).toEqual(close([1, 1, 1, 1, 1]));
  });

  test("of equal gradients is that gradient, for any m", async () => {
    const one = gaussian(3, [7]);
    const g = add(one, tensor(new Float64Array(6).fill(0), { shape: [6, 1] }));
    for (const subspaceDim of [1, 3, 6])
      for (const normalizeInputs of [true, false]) {
        const { aggregate, reconstruction } = flagAggregate(g, { subspaceDim, normalizeInputs });
        expect(await gap(aggregate, one)).toBeLessThan(1e-10);
        expect(await numbers(reconstruction)).toEqual(close([1, 1, 1, 1, 1, 1]));
      }
  });

  test("settles on the direction of the majority", async () => {
    const g = rows([
      [1, 0],
      [1, 0],
      [0, 1],
    ]);
    const { aggregate, basis, reconstruction } = flagAggregate(g, { subspaceDim: 1 });
    expect(await numbers(reconstruction)).toEqual(close([1, 1, 0]));
    expect((await numbers(basis)).map(Math.abs)).toEqual(close([1, 0]));
    expect(await numbers(aggregate)).toEqual(close([2 / 3, 0]));
  });

  test("turns with the gradients, and doesn't see the workers' order", async () => {
    const g = alike(4, 7, 9);
    const { q } = linalg.qr(gaussian(5, [9, 9]));
    for (const lambda of [0, 7]) {
      const options = { subspaceDim: 3, lambda };
      const plain = flagAggregate(g, options).aggregate;
      const turned = flagAggregate(matmul(g, transpose(q)), options).aggregate;
      expect(await gap(turned, matmul(q, plain))).toBeLessThan(1e-8);
      const mixed = take(g, tensor(new Int32Array([3, 0, 6, 2, 5, 1, 4])));
      expect(await gap(flagAggregate(mixed, options).aggregate, plain)).toBeLessThan(1e-8);
    }
  });

  test("without pairs the objective never rises, from any start, and ends below that of equal weights", async () => {
    for (let seed = 0; seed < 4; seed++) {
      const g = alike(seed, 9, 20, 2);
      for (const key of [undefined, random.key(seed)]) {
        const { objective } = flagAggregate(g, { subspaceDim: 3, iterations: 8, ...(key && { key }) });
        const values = await numbers(objective);
        for (let i = 1; i < values.length; i++) expect(values[i]).toBeLessThanOrEqual(values[i - 1]! + 1e-12);
        expect(values[8]).toBeLessThan(values[1]!);
      }
    }
  });

  /** Five gradients in a plane and two outside it, which one decomposition with equal weights doesn't find. */
  const planeAndTwo = (): Tensor => {
    const near = matmul(gaussian(1, [5, 2]), gaussian(2, [2, 8]));
    return stack([
      ...Array.from({ length: 5 }, (_, i) => take(near, scalar(i, "int32"))),
      gaussian(3, [8]),
      gaussian(4, [8]),
    ]);
  };

  test("reweighting finds the plane of the many among a few others", async () => {
    const v = await numbers(flagAggregate(planeAndTwo(), { subspaceDim: 2, iterations: 60 }).reconstruction);
    for (let i = 0; i < 5; i++) expect(v[i]).toBeGreaterThan(0.999);
    expect(Math.max(v[5]!, v[6]!)).toBeLessThan(0.9);
  });

  test("the weights are the flag median's: steps of IRLS lower its objective with no safeguard to discard them", async () => {
    const { objectives } = await direct(planeAndTwo(), 2, 0, 8);
    for (let i = 1; i < 8; i++) expect(objectives[i]).toBeLessThanOrEqual(objectives[i - 1]! + 1e-12);
    expect(objectives[7]).toBeLessThan(0.9 * objectives[0]!);
    // So none is discarded, and the method's objectives are those of the raw steps.
    const { objective } = flagAggregate(planeAndTwo(), { subspaceDim: 2, iterations: 8 });
    expect((await numbers(objective)).slice(1)).toEqual(close(objectives, 8));
  });

  test("by default reconstructs in ⌈(p + 1)/2⌉ dimensions, or as many as there are parameters", async () => {
    for (const [p, n, m] of [
      [7, 20, 4],
      [8, 20, 5],
      [15, 40, 8],
      [9, 3, 3],
    ] as const) {
      const { basis, reconstruction } = flagAggregate(alike(6, p, n));
      expect(basis.shape).toEqual([n, m]);
      // Orthonormal columns: the basis has that many dimensions, not fewer.
      expect(await item(sum(mul(basis, basis)))).toBeCloseTo(m, 6);
      const stated = flagAggregate(alike(6, p, n), { subspaceDim: m }).reconstruction;
      expect(await gap(reconstruction, stated)).toBe(0);
    }
  });

  /**
   * The same algorithm on the parameters' side: stacked weighted columns and a full decomposition. The objectives are those of
   * each iteration's own basis, whether or not it is kept.
   */
  async function direct(
    g: Tensor,
    m: number,
    lambda: number,
    iterations: number,
  ): Promise<{ aggregate: number[]; v: number[]; objectives: number[] }> {
    const [p, n] = g.shape as readonly [number, number];
    const values = await numbers(g);
    const raw = Array.from({ length: p }, (_, i) => values.slice(i * n, (i + 1) * n));
    const unit = raw.map((r) => r.map((x) => x / Math.hypot(...r)));
    const dot = (a: readonly number[], b: readonly number[]) => a.reduce((t, x, i) => t + x * b[i]!, 0);
    const shareIn = (basis: readonly (readonly number[])[], x: readonly number[]) =>
      basis.reduce((t, y) => t + dot(y, x) ** 2, 0);
    const difference = (i: number, j: number) => unit[i]!.map((x, k) => x - unit[j]![k]!);
    const pairs = unit.flatMap((_, i) => unit.flatMap((__, j) => (i === j ? [] : [[i, j] as const])));
    const objectiveOf = (basis: readonly (readonly number[])[]) =>
      unit.reduce((t, u) => t + Math.sqrt(Math.max(0, 1 - shareIn(basis, u))), 0) +
      (lambda / (p * (p - 1))) *
        pairs.reduce((t, [i, j]) => {
          const d = difference(i, j);
          return t + Math.sqrt(Math.max(0, 1 - shareIn(basis, d) / dot(d, d)));
        }, 0);
    let basis: number[][] = [];
    let best = Number.POSITIVE_INFINITY;
    const objectives: number[] = [];
    for (let it = 0; it < iterations; it++) {
      const weight = (share: number) => (Math.abs(1 - share) + 1e-7) ** -0.25;
      const columns = [
        ...unit.map((u) => u.map((x) => weight(shareIn(basis, u)) * x)),
        ...(lambda > 0
          ? pairs.map(([i, j]) => {
              const d = difference(i, j);
              return d.map((x) => (lambda / (p * (p - 1))) * weight(shareIn(basis, d)) * x);
            })
          : []),
      ];
      const { u } = linalg.svd(transpose(rows(columns)));
      const all = await numbers(transpose(u));
      const next = Array.from({ length: m }, (_, k) => all.slice(k * n, (k + 1) * n));
      const reached = objectiveOf(next);
      objectives.push(reached);
      if (it > 0 && reached >= best) continue;
      [basis, best] = [next, reached];
    }
    const average = raw[0]!.map((_, k) => raw.reduce((t, r) => t + r[k]!, 0) / p);
    const aggregate = average.map((_, k) => basis.reduce((t, y) => t + y[k]! * dot(y, average), 0));
    return { aggregate, v: unit.map((u) => shareIn(basis, u)), objectives };
  }

  test("through inner products equals the decomposition of the stacked gradients, with and without pairs", async () => {
    const g = alike(8, 6, 10);
    for (const lambda of [0, 1, 6]) {
      const ours = flagAggregate(g, { subspaceDim: 2, lambda, iterations: 4, normalizeInputs: false });
      const theirs = await direct(g, 2, lambda, 4);
      expect(await numbers(ours.aggregate)).toEqual(close(theirs.aggregate, 8));
      expect(await numbers(ours.reconstruction)).toEqual(close(theirs.v, 8));
    }
  });

  test("one iteration is the plain principal subspace", async () => {
    const { objective, basis } = flagAggregate(alike(8, 6, 10), { subspaceDim: 2, iterations: 1 });
    expect(objective.shape).toEqual([2]);
    expect(await numbers(matmul(transpose(basis), basis))).toEqual(close([1, 0, 0, 1]));
  });

  test("pairs change the subspace", async () => {
    const g = alike(8, 6, 10);
    const at = (lambda: number) => flagAggregate(g, { subspaceDim: 2, lambda }).aggregate;
    expect(await gap(at(0), at(6))).toBeGreaterThan(1e-5);
  });

  test("normalized inputs make the length of one worker's gradient irrelevant", async () => {
    const g = alike(2, 7, 9);
    const loud = mul(g, tensor(new Float64Array([1, 1, 1e6, 1, 1, 1, 1]), { shape: [7, 1] }));
    const norms = await numbers(sqrt(sum(mul(g, g), 1)));
    const [a, b] = [flagAggregate(g).aggregate, flagAggregate(loud).aggregate];
    const scaleOf = async (x: Tensor) => Math.sqrt(await item(sum(mul(x, x))));
    // Only the median of the lengths may change.
    expect(await gap(div(a, await scaleOf(a)), div(b, await scaleOf(b)))).toBeLessThan(1e-9);
    expect((await scaleOf(b)) / (await scaleOf(a))).toBeLessThan(Math.max(...norms) / Math.min(...norms));
    expect(await scaleOf(flagAggregate(loud, { normalizeInputs: false }).aggregate)).toBeGreaterThan(1e4);
  });

  test("leaves out workers with zero or non-finite gradients, and is zero when none is left", async () => {
    const g = alike(6, 4, 8);
    const nothing = mul(g, 0);
    const broken = stack([
      ...Array.from({ length: 4 }, (_, i) => take(g, scalar(i, "int32"))),
      take(nothing, scalar(0, "int32")),
      mul(take(g, scalar(0, "int32")), Number.NaN),
      add(take(g, scalar(1, "int32")), Number.POSITIVE_INFINITY),
    ]);
    for (const lambda of [0, 3])
      for (const normalizeInputs of [true, false]) {
        const whole = flagAggregate(g, { subspaceDim: 2, normalizeInputs });
        const found = flagAggregate(broken, { subspaceDim: 2, normalizeInputs, lambda });
        expect(await numbers(found.used)).toEqual([1, 1, 1, 1, 0, 0, 0]);
        expect((await numbers(found.aggregate)).every(Number.isFinite)).toBe(true);
        if (lambda === 0) expect(await gap(found.aggregate, whole.aggregate)).toBeLessThan(1e-9);
        expect((await numbers(found.reconstruction)).slice(4)).toEqual([0, 0, 0]);
      }
    expect(await numbers(flagAggregate(nothing).aggregate)).toEqual(new Array(8).fill(0));
  });

  test("with small m isolated random vectors are reconstructed worse than honest ones; with large m they aren't", async () => {
    const honest = alike(1, 15, 400, 0.7);
    const attacked = attacks.uniformNoise()(honest, 3, random.key(9));
    const separation = async (subspaceDim: number) => {
      const v = await numbers(flagAggregate(attacked, { subspaceDim }).reconstruction);
      const average = (part: number[]) => part.reduce((a, b) => a + b, 0) / part.length;
      return average(v.slice(3)) - average(v.slice(0, 3));
    };
    expect(await separation(1)).toBeGreaterThan(0.2);
    expect(await separation(8)).toBeLessThan(0.2);
  });
});

describe("the other rules", () => {
  const g = rows([
    [1, 10],
    [2, -3],
    [4, 5],
    [100, 4],
    [3, 6],
  ]);

  test("median and trimmed mean work coordinate by coordinate", async () => {
    expect(await numbers(median(g))).toEqual(close([3, 5]));
    expect(
      await numbers(
        median(
          rows([
            [1, 4],
            [3, 8],
            [2, 6],
            [9, 0],
          ]),
        ),
      ),
    ).toEqual(close([2.5, 5]));
    expect(await numbers(trimmedMean(g, 1))).toEqual(close([3, 5]));
    expect(await numbers(trimmedMean(g, 0))).toEqual(close([22, 4.4]));
  });

  test("Krum takes the gradient whose nearest neighbours are nearest, Multi-Krum averages all but the worst", async () => {
    const line = rows([[0], [1], [2.2], [3.5], [50]]);
    // With f = 1 each counts its 2 nearest: 1 + 4.84, 1 + 1.44, 1.44 + 1.69, 1.69 + 6.25, …
    expect(await numbers(krum(line, 1))).toEqual(close([1]));
    expect(await numbers(multiKrum(line, 1))).toEqual(close([(0 + 1 + 2.2 + 3.5) / 4]));
  });

  test("Bulyan averages the values nearest to the median of the selected ones", async () => {
    // f = 1 of 7: the 5 with the best scores, then the 3 nearest to their median.
    const line = rows([[0], [1], [2.1], [3.3], [4.6], [60], [-70]]);
    expect(await numbers(bulyan(line, 1))).toEqual(close([(1 + 2.1 + 3.3) / 3]));
  });

  test("the geometric median resists one far point and is the median on a line", async () => {
    const near = rows([
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
      [1e6, 1e6],
    ]);
    expect(Math.max(...(await numbers(geometricMedian(near, 100))))).toBeLessThan(2);
    expect(await item(geometricMedian(rows([[0], [1], [5]]), 200))).toBeCloseTo(1, 3);
  });

  test("a number of Byzantine workers from the graph gives the numbers of a plain one", async () => {
    const h = alike(3, 15, 6);
    for (const rule of [trimmedMean, krum, multiKrum, bulyan])
      for (const f of [0, 1, 3])
        expect(await gap(rule(h, scalar(f, "float64")), rule(h, f)), `${rule.name} ${f}`).toBeLessThan(1e-12);
  });
});

describe("attacks", () => {
  const g = alike(2, 6, 5);

  test("touch the first f workers only, and none for f = 0", async () => {
    for (const make of Object.values(attacks)) {
      const changed = make()(g, 2, random.key(1));
      const same = await numbers(equal(changed, g));
      expect(
        same.slice(10).every((v) => v === 1),
        make.name,
      ).toBe(true);
      expect(
        same.slice(0, 10).some((v) => v === 0),
        make.name,
      ).toBe(true);
      expect(await gap(make()(g, 0, random.key(1)), g), make.name).toBe(0);
    }
  });

  test("have the values of their definitions", async () => {
    const first = async (t: Tensor) => (await numbers(t)).slice(0, 5);
    const honest = take(g, tensor(new Int32Array([2, 3, 4, 5])));
    const average = mean(honest, 0);
    const deviation = sqrt(mean(mul(sub(honest, average), sub(honest, average)), 0));
    const expected = async (t: Tensor) => close(await numbers(t));
    expect(await first(attacks.signFlip(10)(g, 2, random.key(0)))).toEqual(
      (await first(mul(-10, g))).map((v) => expect.closeTo(v, 9)),
    );
    expect(await first(attacks.fallOfEmpires(0.5)(g, 2, random.key(0)))).toEqual(
      await expected(mul(-0.5, average)),
    );
    expect(await first(attacks.littleIsEnough(1.5)(g, 2, random.key(0)))).toEqual(
      await expected(sub(average, mul(1.5, deviation))),
    );
  });
});

describe("distributed training", () => {
  const model = mlp({ sizes: [5, 8, 3] });
  const x = random.normal(random.key(5), [9, 16, 5]);
  const labels = tensor(
    Int32Array.from({ length: 9 * 16 }, (_, i) => i % 3),
    { shape: [9, 16] },
  );
  const loss = (p: MlpParams, inputs: Tensor, classes: Tensor) =>
    crossEntropy(model.apply(p, inputs), classes);
  const gradients = (p: MlpParams): MlpParams =>
    vmap((inputs: Tensor, classes: Tensor) => grad((q: MlpParams) => loss(q, inputs, classes))(p))(x, labels);
  const start = model.init(random.key(1));

  test("every rule trains on real workers' gradients of any tree, in chains with clipping, schedules and guards", async () => {
    const whole = (p: MlpParams) => mean(vmap((a: Tensor, b: Tensor) => loss(p, a, b))(x, labels));
    const before = await item(whole(start));
    for (const [name, make] of Object.entries(aggregators)) {
      const rule =
        name === "flag"
          ? aggregators.flag({ subspaceDim: 2 })
          : (make as (f: number) => (g: Tensor) => Tensor)(1);
      const optimizer: GradientTransformation<MlpParams, unknown> = skipNonFinite(
        inOrder(
          aggregateWorkers(rule),
          clipByGlobalNorm(5),
          momentum({ learningRate: cosineDecay(0.2, 40) }),
        ),
      );
      const trained = (await descent(optimizer, start, 25, gradients))[25]!;
      expect(await item(whole(trained)), name).toBeLessThan(before - 0.02);
    }
  });

  test("a worker's NaN stops the mean but not the flag aggregator, and requireFinite names it", async () => {
    const poison = tensor(Float32Array.from({ length: 9 }, (_, i) => (i === 4 ? Number.NaN : 1)));
    const bad = treeMap(
      (g: Tensor) => mul(g, poison.size === 9 ? tensorLike(poison, g) : g),
      gradients(start),
    );
    const update = (rule: (g: Tensor) => Tensor) =>
      aggregateWorkers<MlpParams>(rule).update(bad, null, start)[0];
    const finite = (tree: MlpParams) =>
      item(min(stack(treeLeaves(tree).map((t) => min(cast(isFinite(t), "int32"))))));
    expect(await finite(update(aggregators.flag()))).toBe(1);
    expect(await finite(update(aggregators.mean()))).toBe(0);
    await expect(requireFinite("server", bad)).rejects.toThrow(/server: layers\[0\]/);
  });
});

/** A weight for each worker, shaped to broadcast over its gradients. */
function tensorLike(weights: Tensor, g: Tensor): Tensor {
  let shaped = weights;
  for (let i = 1; i < g.rank; i++) shaped = stack([shaped], shaped.rank);
  return shaped;
}

describe("bad input", () => {
  const g = alike(1, 5, 4);

  test("a subspace dimension out of range and other numbers that make no sense are refused", () => {
    for (const subspaceDim of [0, 5, 1.5, -1])
      expect(() => flagAggregate(g, { subspaceDim })).toThrow(/rank from 1 to 4/);
    expect(() => flagAggregate(g, { lambda: -1 })).toThrow(RangeError);
    expect(() => flagAggregate(g, { iterations: 0 })).toThrow(RangeError);
    expect(() => flagAggregate(gaussian(1, [5]))).toThrow(/takes gradients \[workers ≥ 2, parameters\]/);
    expect(() => flagAggregate(gaussian(1, [1, 5]))).toThrow(/workers ≥ 2/);
    expect(() => krum(g, 2)).toThrow(/of 5 workers, from 0 to 1 may be Byzantine, not 2/);
    expect(() => multiKrum(g, 1.5)).toThrow(RangeError);
    expect(() => bulyan(g, 1)).toThrow(RangeError);
    expect(() => trimmedMean(g, 3)).toThrow(RangeError);
    expect(() => geometricMedian(g, 0)).toThrow(RangeError);
    expect(() => attacks.signFlip()(g, 6, random.key(0))).toThrow(/of 5 workers, 6 can't attack/);
  });

  test("gradients that don't fit the parameters, as after a change of their structure, are refused", () => {
    const optimizer = aggregateWorkers<Tensor[]>(aggregators.mean());
    expect(() => optimizer.update([gaussian(1, [5, 2])], null, [gaussian(1, [3])])).toThrow(
      /workers as their first axis/,
    );
    expect(() => optimizer.update([gaussian(1, [5, 2])], null, [gaussian(1, [2]), gaussian(1, [2])])).toThrow(
      /aggregateWorkers/,
    );
    expect(() =>
      optimizer.update([gaussian(1, [5, 2]), gaussian(1, [4, 2])], null, [
        gaussian(1, [2]),
        gaussian(1, [2]),
      ]),
    ).toThrow(/aggregateWorkers/);
  });
});
