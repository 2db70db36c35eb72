import { readdirSync, readFileSync } from "node:fs";
import { createContext, runInContext } from "node:vm";
import fc from "fast-check";
import { build } from "vite";
import { describe, expect, test } from "vitest";
import {
  batches,
  breastCancer,
  diabetes,
  digits,
  epochOrder,
  iris,
  labelNoise,
  mnist,
  selectEntries,
  selectRows,
  standardize,
  stratifiedSplit,
  trainTestSplit,
  wine,
} from "./index.ts";

const average = (values: Iterable<number>) => {
  const all = [...values];
  return all.reduce((a, b) => a + b, 0) / all.length;
};
const counts = (labels: Int32Array) => {
  const result: number[] = [];
  for (const label of labels) result[label] = (result[label] ?? 0) + 1;
  return result;
};
const sorted = (...parts: Int32Array[]) => parts.flatMap((part) => [...part]).sort((a, b) => a - b);

describe("data sets", () => {
  test.each([
    [digits, [1797, 64], 4.884164579855314, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]],
    [iris, [150, 4], 3.4645, [50, 50, 50]],
    [wine, [178, 13], 69.13366292091617, [59, 71, 48]],
    [breastCancer, [569, 30], 61.89071233951964, [212, 357]],
  ] as const)("%o has its published size, class counts and mean", async (load, shape, mean, classCounts) => {
    const data = await load();
    expect(data.shape).toEqual(shape);
    expect(data.features.length).toBe(shape[0] * shape[1]);
    expect(average(data.features)).toBeCloseTo(mean, 4);
    expect(counts(data.labels)).toEqual(classCounts);
    expect(data.classNames.length).toBe(classCounts.length);
    expect(data.featureNames.length).toBe(shape[1]);
    expect(data.license).toBe("CC BY 4.0");
  });

  test("mnist holds 200 digits of each class with grey levels up to 255, blank at the border", async () => {
    const { shape, features, labels, license } = await mnist();
    expect(shape).toEqual([2000, 784]);
    expect(counts(labels)).toEqual(Array(10).fill(200));
    expect(features.reduce((a, b) => Math.max(a, b), 0)).toBe(255);
    expect(average(features)).toBeGreaterThan(30);
    expect(average(features)).toBeLessThan(36);
    for (let i = 0; i < 2000; i++) expect(features[i * 784]).toBe(0);
    expect(license).toBe("CC BY-SA 3.0");
  });

  test("diabetes has the target's published mean and spread", async () => {
    const { shape, targets, features } = await diabetes();
    expect(shape).toEqual([442, 10]);
    expect(features.length).toBe(4420);
    expect(average(targets)).toBeCloseTo(152.13348416289594, 4);
  });

  test("the modules hold the files of the data folder", async () => {
    const folder = new URL("../../data/", import.meta.url);
    const files = readdirSync(folder).filter((name) => name.endsWith(".csv.gz"));
    expect(files).toHaveLength(6);
    for (const file of files) {
      const module = await import(`./sets/${file.slice(0, -".csv.gz".length)}.ts`);
      expect(module.default).toBe(readFileSync(new URL(file, folder)).toString("base64"));
    }
  });

  test("a browser bundle loads the same numbers with web APIs alone", async () => {
    const bundle = await build({
      configFile: false,
      logLevel: "silent",
      build: {
        write: false,
        minify: false,
        lib: {
          entry: new URL("./index.ts", import.meta.url).pathname,
          formats: ["iife"],
          name: "data",
        },
      },
    });
    const [output] = Array.isArray(bundle) ? bundle : [bundle];
    const chunk = (output as { output: readonly { type: string; code?: string }[] }).output[0]!;
    const web = createContext({ atob, Blob, Response, DecompressionStream, Uint8Array });
    runInContext(chunk.code!, web);
    const loaded = await runInContext("data.digits()", web);
    expect([...loaded.features]).toEqual([...(await digits()).features]);
  });
});

describe("splits", () => {
  const sizes = fc.record({
    count: fc.integer({ min: 10, max: 300 }),
    test: fc.double({ min: 0.05, max: 0.4, noNaN: true }),
    validation: fc.double({ min: 0, max: 0.4, noNaN: true }),
    seed: fc.integer(),
  });

  test("parts cover everything once, and the seed decides", () => {
    fc.assert(
      fc.property(sizes, ({ count, ...options }) => {
        const split = trainTestSplit(count, options);
        expect(sorted(split.train, split.validation, split.test)).toEqual([...Array(count).keys()]);
        expect(trainTestSplit(count, options)).toEqual(split);
      }),
    );
  });

  test("stratified parts have the whole's class proportions up to rounding", () => {
    fc.assert(
      fc.property(sizes, ({ count, ...options }) => {
        const labels = Int32Array.from({ length: count }, (_, i) => (i % 7 === 0 ? 1 : i % 3 === 0 ? 2 : 0));
        const split = stratifiedSplit(labels, options);
        expect(sorted(split.train, split.validation, split.test)).toEqual([...Array(count).keys()]);
        const whole = counts(labels);
        counts(selectEntries(labels, split.test)).forEach((inPart, label) => {
          expect(Math.abs(inPart - (whole[label]! * split.test.length) / count)).toBeLessThan(1);
        });
      }),
    );
  });

  test("sizes can be counts, and the train part can be smaller than the rest", () => {
    const split = stratifiedSplit(new Int32Array(100), { train: 20, validation: 10, test: 0.5, seed: 1 });
    expect([split.train.length, split.validation.length, split.test.length]).toEqual([20, 10, 50]);
  });

  test("impossible sizes are refused", () => {
    expect(() => trainTestSplit(10, { test: 12, seed: 0 })).toThrow(/12 examples wanted, there are 10/);
    expect(() => trainTestSplit(10, { test: -1, seed: 0 })).toThrow(/test must be a share/);
    expect(() => trainTestSplit(10, { test: 2.5, seed: 0 })).toThrow(/got 2.5/);
  });
});

describe("batches", () => {
  test("an epoch visits every example once, in a new order each epoch", () => {
    const first = [...batches(10, { batchSize: 4, seed: 3, epoch: 0 })];
    expect(first.map((batch) => batch.length)).toEqual([4, 4, 2]);
    expect(sorted(...first)).toEqual([...Array(10).keys()]);
    expect(epochOrder(10, { seed: 3, epoch: 0 })).toEqual(epochOrder(10, { seed: 3, epoch: 0 }));
    expect(epochOrder(10, { seed: 3, epoch: 0 })).not.toEqual(epochOrder(10, { seed: 3, epoch: 1 }));
  });

  test("dropLast keeps one shape", () => {
    const kept = [...batches(10, { batchSize: 4, seed: 0, epoch: 0, dropLast: true })];
    expect(kept.map((batch) => batch.length)).toEqual([4, 4]);
    expect(() => [...batches(10, { batchSize: 0, seed: 0, epoch: 0 })]).toThrow(/at least 1, got 0/);
  });
});

describe("label noise", () => {
  test("changes exactly the wanted share, each to another class, and leaves the input alone", () => {
    const labels = Int32Array.from({ length: 200 }, (_, i) => i % 10);
    const before = labels.slice();
    const noisy = labelNoise(labels, { rate: 0.25, classes: 10, seed: 5 });
    const changed = [...labels.keys()].filter((i) => labels[i] !== noisy.labels[i]);
    expect(changed).toHaveLength(50);
    expect([...noisy.corrupted]).toEqual(changed);
    expect(labels).toEqual(before);
    expect(Math.max(...noisy.labels)).toBeLessThan(10);
  });

  test("pair noise moves to the next class", () => {
    const noisy = labelNoise(Int32Array.of(0, 1, 2), { rate: 1, classes: 3, seed: 0, kind: "pair" });
    expect([...noisy.labels]).toEqual([1, 2, 0]);
    expect(() => labelNoise(new Int32Array(1), { rate: 2, classes: 3, seed: 0 })).toThrow(/rate 2/);
  });
});

describe("standardize and select", () => {
  test("training features get mean 0 and spread 1, and constant features stay finite", () => {
    const features = Float32Array.of(1, 7, 3, 7, 5, 7);
    const scaled = standardize(features, [3, 2]).apply(features);
    expect(average([scaled[0]!, scaled[2]!, scaled[4]!])).toBeCloseTo(0, 6);
    expect(scaled[4]).toBeCloseTo(Math.sqrt(1.5), 6);
    expect([scaled[1], scaled[3], scaled[5]]).toEqual([0, 0, 0]);
    expect(() => standardize(features, [2, 2])).toThrow(/6 values are not \[2, 2\]/);
  });

  test("selecting rows keeps their order and refuses rows that are not there", () => {
    const features = Float32Array.of(0, 1, 10, 11, 20, 21);
    expect([...selectRows(features, [3, 2], Int32Array.of(2, 0))]).toEqual([20, 21, 0, 1]);
    expect(() => selectRows(features, [3, 2], Int32Array.of(3))).toThrow(/row 3 of 3/);
    expect(() => selectEntries(Int32Array.of(1), Int32Array.of(-1))).toThrow(/entry -1 of 1/);
  });
});
