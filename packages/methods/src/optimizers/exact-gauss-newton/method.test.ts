import {
  add,
  div,
  eye,
  grad,
  hessian,
  item,
  jacobian,
  jit,
  linalg,
  matmul,
  matrixTranspose,
  mul,
  random,
  reshape,
  sub,
  sum,
  type Tensor,
  tanh,
  tensor,
  toArray,
  treeLeaves,
  treeMap,
  vmap,
} from "@prior-art/tensor";
import {
  applyUpdates,
  chainClosure,
  clipByGlobalNorm,
  globalNorm,
  type Objective,
  ravel,
  trainSteps,
} from "@prior-art/toolkit/optim";
import { describe, expect, test } from "vitest";
import { close, double, gaussian, numbers } from "../testing/doubles.ts";
import {
  type ExactGaussNewtonOptions,
  exactGaussNewton,
  gaussNewtonDirection,
  outputHessian,
  truncatedGaussNewton,
} from "./method.ts";
import { outputLoss } from "./outputLoss.ts";
import { spdSolve } from "./spdSolve.ts";
import {
  classes,
  type Kind,
  kinds,
  type Net,
  net,
  objectiveOf,
  predict,
  regression,
  x,
} from "./testing/net.ts";

const column = (v: Tensor): Tensor => reshape(v, [v.size, 1]);
const relativeGap = async (a: Tensor, b: Tensor): Promise<number> =>
  item(div(globalNorm(sub(a, b)), globalNorm(b)));

/** `J` and `r` of the whole batch, and the direction by a solve of the parameters' size. */
function bySize(kind: Kind, damping: number) {
  const outputs = predict(net);
  const jacobians = treeLeaves(jacobian(predict)(net)).map((t) => reshape(t, [18, t.size / 18]));
  const j = concatColumns(jacobians);
  const residual = reshape(
    grad((f: Tensor) => mul(6, outputLoss(kind, f, kind === "crossEntropy" ? classes : regression)))(outputs),
    [18],
  );
  const q = outputHessian(kind, outputs);
  const weighted = reshape(matmul(q, reshape(j, [6, 3, j.shape[1]!])), j.shape);
  const d = j.shape[1]!;
  const curvature = add(div(matmul(matrixTranspose(j), weighted), 6), mul(damping, eye(d, d, "float64")));
  const gradient = div(matmul(matrixTranspose(j), column(residual)), 6);
  return { j, residual, q, direction: mul(-1, reshape(linalg.solve(curvature, gradient), [d])) };
}
const concatColumns = (parts: readonly Tensor[]): Tensor =>
  matrixTranspose(
    reshape(ravel(parts.map(matrixTranspose)), [parts.reduce((n, t) => n + t.shape[1]!, 0), 18]),
  );

const stepOnce = (kind: Kind, options: ExactGaussNewtonOptions) => {
  const optimizer = exactGaussNewton<Net>(options);
  return optimizer.step(objectiveOf(kind), optimizer.init(net), net);
};

describe("the direction", () => {
  test.each(kinds)("from the batch's system equals that of a d × d solve: %s", async (kind) => {
    const { j, residual, q, direction } = bySize(kind, 0.3);
    const ours = gaussNewtonDirection(j, residual, kind === "squaredError" ? null : q, 0.3, 6);
    expect(await relativeGap(ours, direction)).toBeLessThan(1e-10);
  });

  test.each(kinds)("that the optimizer takes is the same, without a stored Hessian: %s", async (kind) => {
    const { direction } = bySize(kind, 0.3);
    const [updates] = stepOnce(kind, { damping: 0.3, learningRate: 0.5 });
    expect(await relativeGap(ravel(updates), mul(0.5, direction))).toBeLessThan(1e-10);
  });

  test("by hand", async () => {
    const j = double([1, 2, 0, 1], [2, 2]);
    expect(await numbers(gaussNewtonDirection(j, double([1, -1]), null, 0.5, 2))).toEqual([
      expect.closeTo(-0.5, 12),
      expect.closeTo(0, 12),
    ]);
  });

  test("with much damping is the negative gradient over λ", async () => {
    const { j, residual, q } = bySize("crossEntropy", 1);
    const ours = mul(1e8, gaussNewtonDirection(j, residual, q, 1e8, 6));
    const gradient = div(matmul(matrixTranspose(j), column(residual)), 6);
    expect(await relativeGap(ours, mul(-1, reshape(gradient, [j.shape[1]!])))).toBeLessThan(1e-6);
  });

  test("does not see a constant that is added to the Jacobian rows of all logits of an example", async () => {
    const { j, residual, q } = bySize("crossEntropy", 1);
    const shifts = gaussian(9, [6, 1, j.shape[1]!]);
    const shifted = reshape(add(reshape(j, [6, 3, j.shape[1]!]), shifts), j.shape);
    const [plain, moved] = [j, shifted].map((rows) => gaussNewtonDirection(rows, residual, q, 0.2, 6));
    expect(await relativeGap(moved!, plain!)).toBeLessThan(1e-10);
  });

  test("refuses shapes that don't fit", () => {
    const j = gaussian(5, [4, 3]);
    expect(() => gaussNewtonDirection(j, gaussian(6, [3]), null, 1, 2)).toThrow(/doesn't fit residuals/);
    expect(() => gaussNewtonDirection(j, gaussian(6, [4]), gaussian(7, [3, 2, 2]), 1, 2)).toThrow(/blocks/);
  });
});

describe("output Hessians", () => {
  test("of the cross-entropy are the loss's, and have the constants in their kernel", async () => {
    const logits = double([0.5, -1, 2]);
    const block = outputHessian("crossEntropy", reshape(logits, [1, 3]));
    const loss = (f: Tensor): Tensor =>
      outputLoss("crossEntropy", reshape(f, [1, 3]), tensor(Int32Array.of(1)));
    expect(await relativeGap(reshape(block, [3, 3]), hessian(loss)(logits))).toBeLessThan(1e-12);
    expect(await numbers(sum(block, -1))).toEqual(close([0, 0, 0], 12));
  });

  test("of squared errors are identities", async () => {
    expect(await toArray(outputHessian("squaredError", gaussian(1, [2, 2])))).toEqual([
      [
        [1, 0],
        [0, 1],
      ],
      [
        [1, 0],
        [0, 1],
      ],
    ]);
  });

  test("a hopeless label, of a probability that underflows, gives a finite step", async () => {
    const single = { first: net.first, second: mul(300, net.second) };
    const optimizer = exactGaussNewton<Net>({ damping: 0.1 });
    const [updates, state, loss] = optimizer.step(
      objectiveOf("crossEntropy"),
      optimizer.init(single),
      single,
    );
    expect(await item(loss)).toBeGreaterThan(100);
    expect(await item(state.skipped)).toBe(0);
    expect(await item(globalNorm(updates))).toBeGreaterThan(0);
  });
});

test("one full step solves linear least squares, from anywhere", async () => {
  const a = gaussian(11, [20, 4]);
  const target = gaussian(12, [20, 1]);
  const optimizer = exactGaussNewton<Tensor>({ damping: 1e-7 });
  const outputs = { predict: (w: Tensor) => matmul(a, w), targets: target, kind: "squaredError" as const };
  const start = gaussian(13, [4, 1]);
  const [update] = optimizer.step(
    { outputs, loss: (w) => outputLoss("squaredError", matmul(a, w), target) },
    optimizer.init(start),
    start,
  );
  expect(await relativeGap(add(start, update), linalg.lstsq(a, target))).toBeLessThan(1e-6);
});

test("with more parameters than equations, the step is the shortest that interpolates", async () => {
  const a = gaussian(14, [3, 8]);
  const target = gaussian(15, [3, 1]);
  const start = gaussian(16, [8, 1]);
  const optimizer = exactGaussNewton<Tensor>({ damping: 1e-10 });
  const outputs = { predict: (w: Tensor) => matmul(a, w), targets: target, kind: "squaredError" as const };
  const [update] = optimizer.step(
    { outputs, loss: (w) => outputLoss("squaredError", matmul(a, w), target) },
    optimizer.init(start),
    start,
  );
  expect(await relativeGap(matmul(a, add(start, update)), target)).toBeLessThan(1e-7);
  expect(await relativeGap(update, matmul(linalg.pinv(a), sub(target, matmul(a, start))))).toBeLessThan(1e-7);
});

test("momentum averages the directions, without bias towards 0", async () => {
  const optimizer = exactGaussNewton<Net>({ damping: 0.3, learningRate: 1, momentum: 0.9 });
  const plain = exactGaussNewton<Net>({ damping: 0.3, learningRate: 1 });
  const objective = objectiveOf("squaredError");
  const [first, state] = optimizer.step(objective, optimizer.init(net), net);
  const [alone] = plain.step(objective, plain.init(net), net);
  expect(await relativeGap(ravel(first), ravel(alone))).toBeLessThan(1e-12);
  const moved = applyUpdates(net, first);
  const [second] = optimizer.step(objective, state, moved);
  const [fresh] = plain.step(objective, plain.init(moved), moved);
  const expected = treeMap((d1, d2) => div(add(mul(0.09, d1), mul(0.1, d2)), 1 - 0.81), alone, fresh);
  expect(await relativeGap(ravel(second), ravel(expected))).toBeLessThan(1e-12);
});

describe("truncated Gauss–Newton", () => {
  test.each(kinds)("with as many iterations as parameters is exact, with few is not: %s", async (kind) => {
    const { direction } = bySize(kind, 1e-2);
    const gapAfter = async (iterations: number): Promise<number> => {
      const optimizer = truncatedGaussNewton<Net>({ damping: 1e-2, iterations });
      return relativeGap(ravel(optimizer.step(objectiveOf(kind), optimizer.init(net), net)[0]), direction);
    };
    expect(await gapAfter(60)).toBeLessThan(1e-6);
    expect(await gapAfter(3)).toBeGreaterThan(1e-2);
  });

  test("solves a system of one direction without dividing by what is left of it", async () => {
    const predictOne = (w: Tensor): Tensor => reshape(w, [1, 1]);
    const targets = double([3], [1, 1]);
    const optimizer = truncatedGaussNewton<Tensor>({ damping: 1e-9, iterations: 5 });
    const w = double([0]);
    const objective: Objective<Tensor> = {
      loss: (v) => outputLoss("squaredError", predictOne(v), targets),
      outputs: { predict: predictOne, targets, kind: "squaredError" },
    };
    expect(await item(optimizer.step(objective, optimizer.init(w), w)[0])).toBeCloseTo(3, 6);
  });

  test("refuses what makes no sense", () => {
    expect(() => truncatedGaussNewton({ iterations: 0 })).toThrow(RangeError);
    expect(() => truncatedGaussNewton({ damping: 0 })).toThrow(RangeError);
    expect(() => truncatedGaussNewton({ learningRate: -1 })).toThrow(RangeError);
  });
});

test("the block solver agrees with elimination, over several levels of blocks", async () => {
  const a = gaussian(20, [130, 130]);
  const spd = add(matmul(a, matrixTranspose(a)), eye(130, 130, "float64"));
  const b = gaussian(21, [130, 3]);
  expect(await relativeGap(spdSolve(spd, b), linalg.solve(spd, b))).toBeLessThan(1e-9);
});

describe("as an optimizer", () => {
  test("chains with clipping", async () => {
    const optimizer = chainClosure(exactGaussNewton<Net>({ damping: 0.01 }), clipByGlobalNorm(0.05));
    const [updates] = optimizer.step(objectiveOf("crossEntropy"), optimizer.init(net), net);
    expect(await item(globalNorm(updates))).toBeCloseTo(0.05, 6);
  });

  test("trains in a compiled loop, and a sweep of dampings under vmap gives the numbers of single runs", async () => {
    type Batch = { readonly x: Tensor; readonly y: Tensor };
    const batches = { x, y: classes };
    const apply = (p: Net, inputs: Tensor): Tensor => matmul(tanh(matmul(inputs, p.first)), p.second);
    const run = (damping: Tensor): Tensor => {
      const optimizer = exactGaussNewton<Net>({
        damping,
        learningRate: 1,
        lineSearch: true,
        adaptiveDamping: true,
      });
      const train = trainSteps({
        loss: (p: Net, b: Batch) => outputLoss("crossEntropy", apply(p, b.x), b.y),
        outputs: (b: Batch) => ({
          predict: (p: Net) => apply(p, b.x),
          targets: b.y,
          kind: "crossEntropy" as const,
        }),
        optimizer,
      });
      const indices = tensor(Int32Array.of(0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0), { shape: [3, 4] });
      return train(net, optimizer.init(net), batches, indices, random.split(random.key(0), 3))[2];
    };
    const together = (await toArray(await jit(vmap(run))(double([0.1, 1])))) as number[][];
    for (const [i, damping] of [0.1, 1].entries())
      expect(together[i]).toEqual(
        (await numbers(run(tensor(damping, { dtype: "float64" })))).map((v) => expect.closeTo(v, 9)),
      );
  });

  test("asks for outputs, and for targets that fit them", () => {
    const optimizer = exactGaussNewton<Net>();
    const state = optimizer.init(net);
    expect(() => optimizer.step({ loss: objectiveOf("squaredError").loss }, state, net)).toThrow(/outputs/);
    const withTargets = (targets: Tensor, kind: Kind) => () =>
      optimizer.step({ loss: sum as never, outputs: { predict, targets, kind } }, state, net);
    expect(withTargets(gaussian(1, [6]), "squaredError")).toThrow(/targets/);
    expect(withTargets(gaussian(1, [6]), "crossEntropy")).toThrow(/targets/);
    expect(withTargets(tensor(Int32Array.of(0, 1)), "crossEntropy")).toThrow(/targets/);
    const flat = {
      predict: (p: Net) => reshape(predict(p), [18]),
      targets: gaussian(1, [18]),
      kind: "squaredError" as const,
    };
    expect(() => optimizer.step({ loss: sum as never, outputs: flat }, state, net)).toThrow(
      /\[examples, outputs\]/,
    );
  });

  test("says so when the parameters changed between steps", () => {
    const optimizer = exactGaussNewton<Net>({ momentum: 0.9 });
    const other = { ...net, first: gaussian(1, [7, 5]) };
    expect(() => optimizer.step(objectiveOf("squaredError"), optimizer.init(other), net)).toThrow(
      /don't fit/,
    );
  });

  test("leaves out a step whose numbers are not finite, and its state as it was", async () => {
    const optimizer = exactGaussNewton<Net>({ momentum: 0.9, adaptiveDamping: true, lineSearch: true });
    const broken: Objective<Net> = {
      loss: (p) => sum(predict(p)),
      outputs: {
        predict: (p) => mul(predict(p), Number.POSITIVE_INFINITY),
        targets: regression,
        kind: "squaredError",
      },
    };
    const [, warm] = optimizer.step(objectiveOf("squaredError"), optimizer.init(net), net);
    const [updates, state] = optimizer.step(broken, warm, net);
    expect(await item(globalNorm(updates))).toBe(0);
    expect(await item(state.skipped)).toBe(1);
    expect(await numbers(ravel(state.momentum))).toEqual(await numbers(ravel(warm.momentum)));
    expect(await item(state.damping)).toBe(await item(warm.damping));
  });

  test("refuses rates, dampings and constants that make no sense", () => {
    for (const options of [
      { learningRate: 0 },
      { learningRate: -1 },
      { damping: 0 },
      { damping: Number.NaN },
      { momentum: 1 },
      { lineSearch: { shrink: 1 } },
      { lineSearch: { tries: 0 } },
      { adaptiveDamping: { increase: 0.5 } },
    ])
      expect(() => exactGaussNewton(options)).toThrow(RangeError);
  });
});
