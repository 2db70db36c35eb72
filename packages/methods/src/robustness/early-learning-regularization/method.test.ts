import {
  add,
  clip,
  grad,
  mean,
  mul,
  random,
  softmax,
  sub,
  type Tensor,
  take,
  tensor,
  toArray,
  zeros,
} from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { describe, expect, test } from "vitest";
import type { RobustBatch } from "../family.ts";
import { linearCourse } from "./linearModel.ts";
import { earlyLearningRegularization, ellGradient, ellRegularizer, updateTargets } from "./method.ts";

const f64 = { dtype: "float64" } as const;
const numbers = async (t: Tensor): Promise<number[]> => ((await toArray(t)) as number[][]).flat() as number[];
const close = (values: readonly number[], digits = 10) => values.map((v) => expect.closeTo(v, digits));

function batchOf(logits: Tensor, labels: readonly number[], indices: readonly number[]): RobustBatch {
  const outputs = { logits, features: logits };
  const int = (values: readonly number[]): Tensor => tensor(Int32Array.from(values));
  return {
    ...outputs,
    inputs: logits,
    labels: int(labels),
    indices: int(indices),
    groups: zeros([labels.length], "int32"),
    predict: () => outputs,
  };
}
const task = { examples: 4, classes: 3, groups: 1 };

describe("the regularizer", () => {
  const logits = tensor([[0.3, -1.2, 2], [1, 0, -1]], f64); // biome-ignore format: a matrix
  const targets = tensor([[0.1, 0.2, 0.6], [0.05, 0.9, 0.05]], f64); // biome-ignore format: a matrix

  test("is log(1 - ⟨p, t⟩), by hand", async () => {
    const p = tensor([[0.5, 0.5, 0]], f64);
    const t = tensor([[0.2, 0.6, 0.2]], f64);
    expect(await numbers(ellRegularizer(p, t))).toEqual(close([Math.log(0.6)]));
  });

  test("has the gradient of Lemma 2", async () => {
    const byLogits = grad((z: Tensor) => mean(ellRegularizer(softmax(z), targets)))(logits);
    expect(await numbers(mul(byLogits, 2))).toEqual(
      close(await numbers(ellGradient(softmax(logits), targets))),
    );
  });

  test("pulls towards the class that the target favours, whatever the label", async () => {
    const [first, second] = (await toArray(ellGradient(softmax(logits), targets))) as number[][];
    expect(first![2]).toBeLessThan(0);
    expect(second![1]).toBeLessThan(0);
    expect(first!.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 12);
  });

  test("nothing is differentiated through the targets", async () => {
    const gradient = grad((t: Tensor) => mean(ellRegularizer(softmax(logits), t)))(targets);
    expect(await numbers(gradient)).toEqual(new Array(6).fill(0));
  });

  test("shapes that differ are refused", () => {
    expect(() => ellRegularizer(logits, tensor([[1, 0]], f64))).toThrow(/don't fit/);
  });
});

describe("the targets", () => {
  test("are a running average for the examples in the batch, and others stay", async () => {
    const before = tensor([[0.2, 0.8], [0.5, 0.5], [1, 0]]); // biome-ignore format: a matrix
    const after = updateTargets(before, tensor(Int32Array.of(2, 0)), tensor([[0, 1], [1, 0]]), 0.75); // biome-ignore format: a matrix
    expect(await numbers(after)).toEqual(close([0.4, 0.6, 0.5, 0.5, 0.75, 0.25], 6));
  });

  test("start at 0 and reach 1 - βᵏ of a prediction that was seen k times", async () => {
    const objective = earlyLearningRegularization({ momentum: 0.7, margin: 0 });
    let state = objective.init(task);
    const batch = batchOf(tensor([[1, 2, 3]]), [0], [1]);
    for (let k = 0; k < 5; k++) state = objective.loss(batch, state)[1];
    const p = await numbers(softmax(tensor([[1, 2, 3]])));
    const rows = (await toArray(state.targets)) as number[][];
    expect(rows[1]).toEqual(close(p.map((v) => v * (1 - 0.7 ** 5)), 6)); // biome-ignore format: one claim
    expect(rows[0]).toEqual([0, 0, 0]);
  });
});

describe("the objective", () => {
  const logits = random.normal(random.key(3), [2, 3]);
  const batch = batchOf(logits, [2, 0], [3, 1]);

  test("is cross-entropy when the strength is 0", async () => {
    const objective = earlyLearningRegularization({ strength: 0 });
    const [loss] = objective.loss(batch, objective.init(task));
    expect(await loss.item()).toBeCloseTo(await crossEntropy(logits, batch.labels).item(), 6);
  });

  test("measures a batch against targets that it has updated already", async () => {
    const objective = earlyLearningRegularization({ strength: 2, momentum: 0.6, margin: 0 });
    const [loss, { targets }] = objective.loss(batch, objective.init(task));
    const p = softmax(logits);
    const expected = add(
      crossEntropy(logits, batch.labels),
      mul(2, mean(ellRegularizer(p, take(targets, batch.indices)))),
    );
    expect(await loss.item()).toBeCloseTo(await expected.item(), 6);
    expect(await numbers(take(targets, batch.indices))).toEqual(close((await numbers(p)).map((v) => 0.4 * v), 6)); // biome-ignore format: one claim
  });

  test("its gradient is p - y + λ g", async () => {
    const objective = earlyLearningRegularization({ strength: 3, margin: 0 });
    const start = { targets: tensor(Array.from({ length: 4 }, () => [0.1, 0.2, 0.6])) };
    const gradient = grad((z: Tensor) => objective.loss(batchOf(z, [2, 0], [3, 1]), start)[0])(logits);
    const { targets } = objective.loss(batch, start)[1];
    const p = softmax(logits);
    const y = tensor([[0, 0, 1], [1, 0, 0]]); // biome-ignore format: a matrix
    const expected = mul(0.5, add(sub(p, y), mul(3, ellGradient(p, take(targets, batch.indices)))));
    expect(await numbers(gradient)).toEqual(close(await numbers(expected), 5));
  });

  test("stays finite for certain predictions, by the margin", async () => {
    const objective = earlyLearningRegularization({ momentum: 0 });
    const [loss] = objective.loss(batchOf(tensor([[200, 0, 0]]), [0], [0]), objective.init(task));
    expect(await loss.item()).toBeGreaterThan(3 * Math.log(2e-4));
    expect(await numbers(clip(softmax(tensor([[200, 0, 0]])), 1e-4, 1 - 1e-4))).toEqual(close([0.9999, 1e-4, 1e-4], 6)); // biome-ignore format: one claim
  });

  test.each([{ strength: -1 }, { momentum: 1 }, { margin: 0.5 }])("%o is refused", (options) => {
    expect(() => earlyLearningRegularization(options)).toThrow(RangeError);
  });
});

describe("the linear model", () => {
  const problem = { examples: 150, dimension: 135, corruption: 0.4, spread: 0.2, stepSize: 0.5, steps: 600 };

  test("learns wrongly labelled examples' true classes before it memorizes the wrong ones", () => {
    const course = linearCourse({ ...problem, seed: 1_000_000 });
    const peak = course.wrongTrue.indexOf(Math.max(...course.wrongTrue));
    expect(course.wrongTrue[peak]).toBeGreaterThan(0.8);
    expect(peak).toBeGreaterThan(0);
    expect(course.wrongTrue[600]).toBeLessThan(0.2);
    expect(course.wrongCoefficients[peak]).toBeGreaterThan(course.wrongCoefficients[0]!);
    expect(course.rightCoefficients[peak]).toBeLessThan(course.rightCoefficients[0]!);
  });

  test("the seed decides, and impossible problems are refused", () => {
    const short = { ...problem, steps: 3 };
    expect(linearCourse({ ...short, seed: 4 })).toEqual(linearCourse({ ...short, seed: 4 }));
    expect(linearCourse({ ...short, seed: 4 })).not.toEqual(linearCourse({ ...short, seed: 5 }));
    expect(() => linearCourse({ ...short, corruption: 0, seed: 4 })).toThrow(RangeError);
  });
});
