import { grad, item, random, type Tensor, tensor, toArray } from "@prior-art/tensor";
import { describe, expect, test } from "vitest";
import {
  accuracy,
  binaryCrossEntropy,
  crossEntropy,
  huber,
  meanSquaredError,
  negativeLogLikelihood,
} from "./losses.ts";

const wide = (values: number[] | number[][]): Tensor => tensor(values, { dtype: "float64" });
const labels = (values: number[]): Tensor => tensor(values, { dtype: "int32" });

const rows = [
  [1, 2, -1],
  [0, 0.5, 3],
];
const logSoftmax = (row: readonly number[]): number[] => {
  const total = Math.log(row.reduce((sum, v) => sum + Math.exp(v), 0));
  return row.map((v) => v - total);
};

describe("crossEntropy", () => {
  const each = [-logSoftmax(rows[0]!)[1]!, -logSoftmax(rows[1]!)[0]!];

  test("labels pick the log-probability of their class", async () => {
    const losses = crossEntropy(wide(rows), labels([1, 0]), { reduction: "none" });
    expect(await toArray(losses)).toEqual(each.map((v) => expect.closeTo(v, 12)));
    expect(await item(crossEntropy(wide(rows), labels([1, 0])))).toBeCloseTo((each[0]! + each[1]!) / 2, 12);
  });

  test("soft targets weigh classes; one-hot ones equal labels", async () => {
    const soft = wide([
      [0.2, 0.3, 0.5],
      [1, 0, 0],
    ]);
    const first = -[0.2, 0.3, 0.5].reduce((sum, w, i) => sum + w * logSoftmax(rows[0]!)[i]!, 0);
    expect(await toArray(crossEntropy(wide(rows), soft, { reduction: "none" }))).toEqual([
      expect.closeTo(first, 12),
      expect.closeTo(each[1]!, 12),
    ]);
  });

  test("smoothing mixes the target with the uniform distribution", async () => {
    const uniform = rows.map((row) => -logSoftmax(row).reduce((sum, v) => sum + v / 3, 0));
    const losses = crossEntropy(wide(rows), labels([1, 0]), { smoothing: 0.3, reduction: "none" });
    expect(await toArray(losses)).toEqual(
      each.map((v, i) => expect.closeTo(0.7 * v + 0.3 * uniform[i]!, 12)),
    );
  });

  test("its gradient is softmax minus target", async () => {
    const gradient = grad((z: Tensor) => crossEntropy(z, labels([1, 0])))(wide(rows));
    const expected = rows.map((row, r) =>
      logSoftmax(row).map((v, c) => expect.closeTo((Math.exp(v) - (c === [1, 0][r] ? 1 : 0)) / 2, 12)),
    );
    expect(await toArray(gradient)).toEqual(expected);
  });

  test("logits of a thousand neither overflow nor lose the loss", async () => {
    expect(await item(crossEntropy(wide([[1000, 0]]), labels([1])))).toBeCloseTo(1000, 9);
  });

  test.each([
    ["a label", labels([1])],
    ["a soft target", wide([[0, 1, 0]])],
  ])("a class ruled out by a logit of -∞ leaves loss and gradient of %s finite", async (_, target) => {
    const ruledOut = wide([[1, 2, Number.NEGATIVE_INFINITY]]);
    const p = 1 / (1 + Math.exp(1));
    expect(await item(crossEntropy(ruledOut, target))).toBeCloseTo(-Math.log(1 - p), 12);
    const gradient = (await toArray(grad((z: Tensor) => crossEntropy(z, target))(ruledOut))) as number[][];
    expect(gradient).toEqual([[expect.closeTo(p, 12), expect.closeTo(-p, 12), 0]]);
  });

  test("negativeLogLikelihood takes what is a log-probability already", async () => {
    const logProbabilities = wide(rows.map(logSoftmax));
    const losses = negativeLogLikelihood(logProbabilities, labels([1, 0]), { reduction: "none" });
    expect(await toArray(losses)).toEqual(each.map((v) => expect.closeTo(v, 12)));
    expect(() => negativeLogLikelihood(logProbabilities, labels([1]))).toThrow(/don't fit/);
  });

  test("targets that don't fit are refused", () => {
    expect(() => crossEntropy(wide(rows), labels([1]))).toThrow(/don't fit/);
    expect(() => crossEntropy(wide(rows), wide([[1, 0, 0]]))).toThrow(/don't fit/);
    expect(() => crossEntropy(wide(rows), labels([1, 0]), { smoothing: 1.5 })).toThrow(RangeError);
  });
});

describe("other losses", () => {
  test("binaryCrossEntropy is the definition, and stays finite at large logits", async () => {
    const z = [-3, 0, 2];
    const y = [0, 0.25, 1];
    const sigma = z.map((v) => 1 / (1 + Math.exp(-v)));
    const expected = z.map((_, i) => -y[i]! * Math.log(sigma[i]!) - (1 - y[i]!) * Math.log(1 - sigma[i]!));
    expect(await toArray(binaryCrossEntropy(wide(z), wide(y), { reduction: "none" }))).toEqual(
      expected.map((v) => expect.closeTo(v, 12)),
    );
    const extreme = binaryCrossEntropy(wide([900, -900, 900]), wide([1, 0, 0]), { reduction: "none" });
    expect(await toArray(extreme)).toEqual([0, 0, 900].map((v) => expect.closeTo(v, 9)));
  });

  test("meanSquaredError and huber agree within delta up to the factor ½", async () => {
    const [p, t] = [wide([1, 2]), wide([1.5, 1])];
    expect(await item(meanSquaredError(p, t))).toBeCloseTo((0.25 + 1) / 2, 12);
    expect(await item(huber(p, t, { delta: 2 }))).toBeCloseTo((0.25 + 1) / 4, 12);
  });

  test("huber is a line of slope delta beyond it", async () => {
    const losses = huber(wide([10, -10]), wide([0, 0]), { delta: 2, reduction: "none" });
    expect(await toArray(losses)).toEqual([18, 18]);
    const slopes = grad((p: Tensor) => huber(p, wide([0, 0]), { delta: 2 }))(wide([10, -10]));
    expect(await toArray(slopes)).toEqual([1, -1]);
  });

  test("a column against a row is refused, not broadcast", () => {
    const column = random.normal(random.key(0), [4, 1]);
    const row = random.normal(random.key(0), [4]);
    for (const loss of [meanSquaredError, huber, binaryCrossEntropy])
      expect(() => loss(column, row)).toThrow(/one shape/);
  });

  test("accuracy counts largest logits, by labels or soft targets", async () => {
    expect(await item(accuracy(wide(rows), labels([1, 0])))).toBe(0.5);
    const soft = wide([
      [0.1, 0.8, 0.1],
      [0, 0.2, 0.8],
    ]);
    expect(await item(accuracy(wide(rows), soft))).toBe(1);
  });
});
