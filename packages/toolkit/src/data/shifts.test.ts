import { beforeAll, describe, expect, test } from "vitest";
import {
  type ClassificationDataset,
  colorize,
  digits,
  instanceNoise,
  permuteColumns,
  permutedStream,
  relabelledStream,
  rotatedStream,
  rotateImages,
  splitStream,
  spuriousAttribute,
  streamScores,
  transitionNoise,
} from "./index.ts";

const cyclic = (count: number, classes: number) => Int32Array.from({ length: count }, (_, i) => i % classes);
const share = (count: number, of: number) => count / of;

describe("label noise by class and by example", () => {
  test("transition noise follows the matrix, and says what it changed", () => {
    const labels = cyclic(30_000, 3);
    const transition = [[1, 0, 0], [0.3, 0.7, 0], [0, 0.2, 0.8]]; // biome-ignore format: a matrix
    const noisy = transitionNoise(labels, { transition, seed: 2 });
    for (const [from, to] of [
      [0, 0],
      [1, 0],
      [2, 1],
      [2, 0],
    ] as const) {
      // biome-ignore format: pairs
      const moved = noisy.labels.filter((label, i) => labels[i] === from && label === to).length;
      expect(Math.abs(share(moved, 10_000) - transition[from]![to]!)).toBeLessThan(0.02);
    }
    expect([...noisy.corrupted]).toEqual([...labels.keys()].filter((i) => labels[i] !== noisy.labels[i]));
    expect(transitionNoise(labels, { transition, seed: 2 })).toEqual(noisy);
  });

  test("rows that are no distributions, and labels without a row, are refused", () => {
    expect(() => transitionNoise(cyclic(3, 3), { transition: [[1]], seed: 0 })).toThrow(/label 1/);
    expect(() => transitionNoise(cyclic(1, 1), { transition: [[0.5]], seed: 0 })).toThrow(/row 0/);
  });

  test("instance noise has the wanted rate, and equal examples are confused alike", () => {
    const labels = cyclic(9000, 3);
    // Two kinds of examples in each class.
    const features = Float32Array.from({ length: 9000 * 4 }, (_, i) =>
      Math.floor(i / 12) % 2 === (i % 4) % 2 ? 3 : 0,
    );
    const noisy = instanceNoise(features, labels, { rate: 0.3, classes: 3, seed: 1 });
    expect(Math.abs(share(noisy.corrupted.length, 9000) - 0.3)).toBeLessThan(0.02);
    for (const i of noisy.corrupted) expect(noisy.labels[i]).not.toBe(labels[i]);
    // Given kind and class, the wrong class is far from a coin flip in at least one cell.
    const counts = new Map<string, number>();
    for (const i of noisy.corrupted) {
      const key = `${labels[i]}/${features[i * 4]}`;
      const second = noisy.labels[i] === (labels[i]! + 1) % 3 ? 1 : -1;
      counts.set(key, (counts.get(key) ?? 0) + second);
    }
    expect(Math.max(...[...counts.values()].map(Math.abs))).toBeGreaterThan(200);
    expect(
      instanceNoise(features, labels, { rate: 0, spread: 0, classes: 3, seed: 1 }).corrupted,
    ).toHaveLength(0);
    expect(() => instanceNoise(features, labels, { rate: 2, classes: 3, seed: 1 })).toThrow(/rate/);
  });
});

describe("spurious attributes", () => {
  test("agree with exactly the wanted share of labels, and make groups", () => {
    const labels = cyclic(200, 2);
    const { attributes, groups } = spuriousAttribute(labels, { agreement: 0.9, classes: 2, seed: 3 });
    expect(attributes.filter((a, i) => a === labels[i])).toHaveLength(180);
    expect([...groups]).toEqual([...attributes].map((a, i) => labels[i]! * 2 + a));
    expect(() => spuriousAttribute(labels, { agreement: 1.1, classes: 2, seed: 3 })).toThrow(/agreement/);
  });

  test("colour puts an image into its attribute's channel", () => {
    const colored = colorize(Float32Array.of(1, 2, 3, 4), Int32Array.of(1, 0), 2);
    expect([...colored]).toEqual([0, 0, 1, 2, 3, 4, 0, 0]);
    expect(() => colorize(Float32Array.of(1, 2), Int32Array.of(2), 2)).toThrow(/attribute 2/);
  });
});

describe("images", () => {
  const image = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9);
  test("a quarter turn counter-clockwise is exact, and four of them are none", () => {
    expect([...rotateImages(image, 9, 90)]).toEqual([3, 6, 9, 2, 5, 8, 1, 4, 7]);
    expect([...rotateImages(image, 9, 360)]).toEqual([...image]);
    expect([...rotateImages(rotateImages(image, 9, 90), 9, -90)]).toEqual([...image]);
    expect(() => rotateImages(image, 8, 90)).toThrow(/no square/);
  });

  test("columns follow the order, and anything else than a permutation is refused", () => {
    expect([...permuteColumns(Float32Array.of(1, 2, 3, 4, 5, 6), Int32Array.of(2, 0, 1))]).toEqual([
      3, 1, 2, 6, 4, 5,
    ]);
    expect(() => permuteColumns(image, Int32Array.of(0, 0, 1))).toThrow(/no permutation/);
  });
});

describe("streams of tasks", () => {
  let data: ClassificationDataset;
  beforeAll(async () => {
    data = await digits();
  });
  const options = { seed: 5, train: 500, test: 300, scale: 16 };

  test("split tasks share no class and cover all; relabelled ones count from 0", () => {
    const tasks = splitStream(data, { ...options, classesPerTask: 2 });
    expect(tasks.flatMap((task) => task.classes).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(tasks.reduce((n, { train }) => n + train.labels.length, 0)).toBe(500);
    for (const { train, test: held, classes } of tasks) {
      expect([...new Set(train.labels)].sort()).toEqual([...classes].sort());
      expect([...new Set(held.labels)].sort()).toEqual([...classes].sort());
      expect(train.features.length).toBe(train.labels.length * 64);
      expect(Math.max(...train.features)).toBe(1);
    }
    for (const { train } of splitStream(data, { ...options, classesPerTask: 5, relabel: true }))
      expect([...new Set(train.labels)].sort()).toEqual([0, 1, 2, 3, 4]);
    expect(() => splitStream(data, { ...options, classesPerTask: 3 })).toThrow(/divide 10/);
  });

  test("permuted tasks have the same pixels in other places; the first is the original", () => {
    const tasks = permutedStream(data, { ...options, tasks: 3 });
    const row = (t: number) => [...tasks[t]!.train.features.subarray(0, 64)];
    expect(row(1)).not.toEqual(row(0));
    expect(row(1).sort()).toEqual(row(0).sort());
    expect(row(2)).not.toEqual(row(1));
    expect(tasks[1]!.train.labels).toEqual(tasks[0]!.train.labels);
  });

  test("rotated tasks turn, relabelled tasks keep features and change labels", () => {
    const [upright, turned] = rotatedStream(data, { ...options, degrees: [0, 90] });
    expect([...turned!.train.features]).toEqual([...rotateImages(upright!.train.features, 64, 90)]);
    const [first, second] = relabelledStream(data, { ...options, tasks: 2, kind: "renamed" });
    expect(second!.train.features).toEqual(first!.train.features);
    const pairs = new Set([...first!.train.labels].map((label, i) => `${label}-${second!.train.labels[i]}`));
    expect(pairs.size).toBe(10);
    const [random] = relabelledStream(data, { ...options, tasks: 1, kind: "random" });
    expect(new Set([...random!.train.labels].map((label, i) => `${label}-${first!.train.labels[i]}`)).size).toBeGreaterThan(60); // biome-ignore format: one claim
  });

  test("accuracy, backward transfer and forgetting, by hand", () => {
    const scores = streamScores([[0.9, 0.1, 0.1], [0.95, 0.8, 0.1], [0.6, 0.7, 1]]); // biome-ignore format: a matrix
    expect(scores.averageAccuracy).toBeCloseTo(2.3 / 3, 12);
    expect(scores.backwardTransfer).toBeCloseTo((-0.3 - 0.1) / 2, 12);
    expect(scores.forgetting).toBeCloseTo((0.35 + 0.1) / 2, 12);
    expect(scores.learningAccuracy).toBeCloseTo(0.9, 12);
    expect(streamScores([[0.5]])).toMatchObject({ backwardTransfer: 0, forgetting: 0 });
    expect(() => streamScores([[1, 2]])).toThrow(/square/);
  });
});
