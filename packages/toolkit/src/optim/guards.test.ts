import {
  data,
  item,
  jit,
  linalg,
  matmul,
  random,
  scan,
  tensor,
  toArray,
  transpose,
  zeros,
} from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import { asClosure, chainClosure, requireOutputs } from "./closure.ts";
import { requireFinite, requireLearningRate, requireRank, skipNonFinite } from "./guards.ts";
import { adam, clipByGlobalNorm, masked, sgd, trainSteps } from "./index.ts";
import { newtonSchulz, polarFactor } from "./orthogonalize.ts";
import { stateBytes } from "./stateBytes.ts";

describe("guards", () => {
  test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])("a learning rate of %s is refused", (rate) => {
    expect(() => requireLearningRate("sgd", rate)).toThrow(/sgd: the learning rate must be positive/);
    expect(() => sgd({ learningRate: rate })).toThrow(RangeError);
  });

  test.each([0, 3, 1.5])("a rank of %s is refused for a matrix of 2 by 4", (rank) => {
    expect(() => requireRank("fira", rank, [2, 4])).toThrow(/takes a rank from 1 to 2/);
  });

  test("a NaN among gradients is reported with its place", async () => {
    const gradients = { layers: [{ weight: tensor([1, Number.NaN]) }, { weight: tensor([1]) }] };
    await expect(requireFinite("step", gradients)).rejects.toThrow(/step.*layers\[0\]\.weight/);
    await requireFinite("step", { layers: [tensor([1]), tensor(Int32Array.of(1))] });
  });

  test("skipNonFinite leaves parameters and state alone at a bad step, and counts it", async () => {
    const optimizer = skipNonFinite(adam<{ w: ReturnType<typeof tensor> }>({ learningRate: 0.1 }));
    const params = { w: tensor([1, 2]) };
    const start = optimizer.init(params);
    const [, good] = optimizer.update({ w: tensor([1, -1]) }, start, params);
    const [updates, bad] = optimizer.update({ w: tensor([Number.POSITIVE_INFINITY, 0]) }, good, params);
    expect(await toArray(updates.w)).toEqual([0, 0]);
    expect(await item(bad.skipped)).toBe(1);
    const [after] = optimizer.update({ w: tensor([1, -1]) }, bad, params);
    const [wanted] = optimizer.update({ w: tensor([1, -1]) }, good, params);
    expect(await toArray(after.w)).toEqual(await toArray(wanted.w));
  });
});

describe("orthogonalization", () => {
  const m = random.normal(random.key(1), [5, 3], { dtype: "float64" });

  test("the polar factor has orthonormal columns and a symmetric positive complement", async () => {
    const q = polarFactor(m);
    const identity = (await toArray(matmul(transpose(q), q))) as number[][];
    identity.forEach((row, i) => {
      row.forEach((v, j) => {
        expect(v).toBeCloseTo(i === j ? 1 : 0, 8);
      });
    });
    const complement = (await toArray(matmul(transpose(q), m))) as number[][];
    expect(complement[0]![1]).toBeCloseTo(complement[1]![0]!, 8);
    const { s } = linalg.svd(m);
    const trace = complement.reduce((sum, row, i) => sum + row[i]!, 0);
    expect(trace).toBeCloseTo(
      [...(await data(s))].reduce((a, b) => a + b, 0),
      8,
    );
  });

  test("directions without any weight stay out of the polar factor", async () => {
    const rankOne = tensor([
      [2, 0],
      [0, 0],
    ]);
    expect(await toArray(polarFactor(rankOne))).toEqual([
      [1, 0],
      [0, 0],
    ]);
  });

  test.each([[m], [transpose(m)]])(
    "Newton–Schulz brings singular values near 1 along the same directions",
    async (x) => {
      const values = [...(await data(linalg.svd(newtonSchulz(x)).s))];
      for (const v of values) {
        expect(v).toBeGreaterThan(0.6);
        expect(v).toBeLessThan(1.3);
      }
      const aligned = await item(linalg.trace(matmul(transpose(polarFactor(x)), newtonSchulz(x))));
      expect(aligned).toBeCloseTo(
        values.reduce((a, b) => a + b, 0),
        4,
      );
    },
  );

  test("a zero matrix stays zero, and a vector is refused", async () => {
    expect(await toArray(newtonSchulz(zeros([2, 2])))).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(() => newtonSchulz(zeros([2]))).toThrow(/takes a matrix/);
    expect(() => polarFactor(zeros([2, 2, 2]))).toThrow(/takes a matrix/);
  });
});

describe("closure optimizers", () => {
  const loss = (w: ReturnType<typeof tensor>) => matmul(w, w);

  test("a gradient transformation as closure takes the same steps", async () => {
    const plain = sgd<ReturnType<typeof tensor>>({ learningRate: 0.1 });
    const closure = asClosure(plain);
    const w = tensor([3, 4]);
    const [updates, , value] = closure.step({ loss }, closure.init(w), w);
    expect(await item(value)).toBe(25);
    for (const v of (await toArray(updates)) as number[]) expect(v).toBeLessThan(-0.59);
    expect(asClosure(closure)).toBe(closure);
  });

  test("chains with clipping and a mask, inside a compiled loop", async () => {
    const optimizer = chainClosure(
      asClosure(sgd<ReturnType<typeof tensor>>({ learningRate: 0.1 })),
      masked(clipByGlobalNorm(0.5), () => true),
    );
    const w = tensor([3, 4]);
    const run = jit((start: typeof w) =>
      scan(
        ([p, s]: readonly [typeof w, ReturnType<typeof optimizer.init>], _: typeof w) => {
          const [u, next] = optimizer.step({ loss }, s, p);
          return [[p, next] as const, u] as const;
        },
        [start, optimizer.init(start)] as const,
        zeros([1]),
      ),
    );
    const [, updates] = await run(w);
    const [first] = (await toArray(updates)) as number[][];
    expect(Math.hypot(...first!)).toBeCloseTo(0.5, 5);
  });

  test("outputs that are missing are asked for by name", () => {
    expect(() => requireOutputs("exactGaussNewton", { loss })).toThrow(/exactGaussNewton.*outputs/);
  });

  test("training hands the batch's outputs to the optimizer", async () => {
    const x = tensor([[1], [2]]);
    let seen: readonly number[] | undefined;
    const probe = {
      init: () => null,
      step: (
        objective: Parameters<ReturnType<typeof asClosure<typeof x, null>>["step"]>[0],
        state: null,
        w: typeof x,
      ) => {
        seen = requireOutputs("probe", objective).predict(w).shape;
        return [w, state, objective.loss(w)] as const;
      },
    };
    const train = trainSteps({
      optimizer: probe,
      loss: (w: typeof x, batch: typeof x) => matmul(transpose(matmul(batch, w)), matmul(batch, w)),
      outputs: (batch) => ({ predict: (w) => matmul(batch, w), targets: batch, kind: "squaredError" }),
    });
    train(
      tensor([[1]]),
      null,
      x,
      tensor(Int32Array.of(0, 1), { shape: [1, 2] }),
      random.split(random.key(0), 1),
    );
    expect(seen).toEqual([2, 1]);
  });
});

test("a state's bytes are those of its tensors: two moments and the step for Adam", () => {
  const params = { w: zeros([10, 3]), b: zeros([3]) };
  expect(stateBytes(adam({ learningRate: 1e-3 }).init(params))).toBe(4 * (2 * 33 + 2));
  expect(stateBytes([zeros([2], "float64"), tensor(Int32Array.of(1)), null])).toBe(20);
});
