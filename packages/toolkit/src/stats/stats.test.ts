import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  additiveFit,
  bootstrapInterval,
  linearSlope,
  logLogSlope,
  pairedInterval,
  permutationTest,
  randomStream,
  ranks,
  signFlipTest,
  summarize,
} from "./index.ts";

describe("randomStream", () => {
  test("repeats itself and differs between seeds and streams", () => {
    const draw = (seed: number, stream?: string) => {
      const random = randomStream(seed, stream);
      return Array.from({ length: 8 }, () => random.uniform());
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    expect(draw(1, "split")).not.toEqual(draw(1, "noise"));
  });

  test("neighbouring seeds give uncorrelated first draws", () => {
    const first = Array.from({ length: 2000 }, (_, seed) => randomStream(seed).uniform());
    expect(Math.abs(summarize(first).mean - 0.5)).toBeLessThan(0.02);
    const serial = linearSlope(first.slice(0, -1), first.slice(1), 0.999);
    expect(serial.interval.low).toBeLessThan(0);
    expect(serial.interval.high).toBeGreaterThan(0);
  });

  test("normal draws have the normal distribution's first four moments", () => {
    const random = randomStream(3, "normal");
    const draws = Array.from({ length: 20_000 }, () => random.normal());
    const moment = (power: number) => draws.reduce((sum, x) => sum + x ** power, 0) / draws.length;
    // Four standard errors each.
    expect(Math.abs(moment(1))).toBeLessThan(4 * Math.sqrt(1 / 20_000));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(4 * Math.sqrt(2 / 20_000));
    expect(Math.abs(moment(3))).toBeLessThan(4 * Math.sqrt(15 / 20_000));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(4 * Math.sqrt(96 / 20_000));
  });

  test("permutations hold every index once", () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(200), (seed, n) => {
        expect([...randomStream(seed).permutation(n)].sort((a, b) => a - b)).toEqual([...Array(n).keys()]);
      }),
    );
  });

  test("refuses a fractional seed", () => {
    expect(() => randomStream(0.5)).toThrow(/seed must be a whole number, got 0.5/);
  });
});

// Reference values in this file: scipy 1.x (permutation_test with all arrangements, bootstrap with 200,000
// resamples, linregress, rankdata).
describe("permutation tests", () => {
  const differences = [0.5, 1.2, -0.3, 0.8, 1.9, 0.7];

  test("the exact sign-flip p-values agree with scipy", () => {
    const p = (alternative: "greater" | "less" | "two-sided") => signFlipTest(differences, { alternative });
    expect(p("greater")).toEqual({ pValue: 0.03125, exact: true });
    expect(p("two-sided").pValue).toBe(0.0625);
    expect(p("less").pValue).toBe(0.984375);
  });

  test("the exact two-sample p-values agree with scipy", () => {
    const [first, second] = [
      [88, 92, 75, 81, 99],
      [70, 85, 64, 77],
    ];
    expect(permutationTest(first!, second!).pValue).toBeCloseTo(0.07936507936507936, 12);
    expect(permutationTest(first!, second!, { alternative: "greater" }).pValue).toBeCloseTo(
      0.0396825396825,
      12,
    );
  });

  test("Monte Carlo agrees with enumeration and never claims p = 0", () => {
    const sampled = signFlipTest(differences, { alternative: "greater", exactUpTo: 1 });
    expect(sampled.exact).toBe(false);
    expect(sampled.pValue).toBeCloseTo(0.03125, 2);
    const far = permutationTest(
      Array.from({ length: 20 }, (_, i) => 100 + i),
      Array.from({ length: 20 }, (_, i) => i),
      { exactUpTo: 1, draws: 999 },
    );
    expect(far.pValue).toBe(1 / 1000);
  });

  test("one-sided p-values of a sample and its mirror cover the whole", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 1, maxLength: 9 }), (values) => {
        const greater = signFlipTest(values, { alternative: "greater" }).pValue;
        const mirrored = signFlipTest(
          values.map((value) => -value),
          { alternative: "less" },
        ).pValue;
        expect(greater).toBeCloseTo(mirrored, 12);
        expect(greater).toBeGreaterThanOrEqual(2 ** -values.length);
      }),
    );
  });

  test("a NaN is refused, not ranked", () => {
    expect(() => signFlipTest([1, Number.NaN])).toThrow(/value 1 of 2 is NaN/);
  });
});

describe("bootstrap intervals", () => {
  const skewed = [1.2, 0.7, 3.5, 9.1, 2.2, 1.1, 0.4, 5.6, 2.9, 1.8];

  test("percentile and BCa intervals of a skewed sample agree with scipy", () => {
    const percentile = bootstrapInterval(skewed, { method: "percentile", resamples: 50_000 });
    expect(percentile.low).toBeCloseTo(1.47, 1);
    expect(percentile.high).toBeCloseTo(4.58, 1);
    const bca = bootstrapInterval(skewed, { resamples: 50_000 });
    expect(bca.low).toBeCloseTo(1.67, 1);
    expect(Math.abs(bca.high - 5.08)).toBeLessThan(0.1);
  });

  test("the same seed gives the same interval", () => {
    expect(bootstrapInterval(skewed, { seed: 3 })).toEqual(bootstrapInterval(skewed, { seed: 3 }));
    expect(bootstrapInterval(skewed, { seed: 3 })).not.toEqual(bootstrapInterval(skewed, { seed: 4 }));
  });

  test("the interval of a mean covers the truth about as often as it says", () => {
    let covered = 0;
    const trials = 200;
    for (let seed = 0; seed < trials; seed++) {
      const random = randomStream(seed, "coverage");
      const sample = Array.from({ length: 30 }, () => random.uniform());
      const { low, high } = bootstrapInterval(sample, { resamples: 400, seed });
      if (low <= 0.5 && 0.5 <= high) covered++;
    }
    expect(covered / trials).toBeGreaterThan(0.88);
    expect(covered / trials).toBeLessThan(0.99);
  });

  test("pairing removes what the pairs share", () => {
    const shared = [10, 200, -40, 3000, 5];
    const paired = pairedInterval(
      shared.map((value, i) => value + 1 + 0.01 * i),
      shared,
    );
    expect(paired.low).toBeGreaterThan(0.99);
    expect(paired.high).toBeLessThan(1.05);
    expect(() => pairedInterval([1, 2], [1])).toThrow(/differ in length: 2 and 1/);
  });

  test("one observation says nothing about spread", () => {
    expect(bootstrapInterval([3])).toEqual({ low: -Infinity, high: Infinity });
  });

  test("equal observations give a point", () => {
    expect(bootstrapInterval([2, 2, 2])).toEqual({ low: 2, high: 2 });
  });

  test("any statistic of any observations", () => {
    const pairs = [1, 2, 3, 4, 5, 6].map((x) => ({ x, y: 3 * x }));
    const interval = bootstrapInterval(pairs, {
      statistic: (sample) => Math.max(...sample.map(({ x, y }) => y / x)),
    });
    expect(interval).toEqual({ low: 3, high: 3 });
  });
});

describe("slopes", () => {
  test("the least-squares slope and its t interval agree with scipy", () => {
    const fit = linearSlope([1, 2, 3, 4, 5, 6], [2.1, 3.9, 6.2, 7.8, 10.1, 12.2]);
    expect(fit.slope).toBeCloseTo(2.02, 10);
    expect(fit.interval.low).toBeCloseTo(1.9012742132933, 8);
    expect(fit.interval.high).toBeCloseTo(2.138725786706699, 8);
    expect(fit.rSquared).toBeCloseTo(0.9982106661074996, 10);
  });

  test("the log–log slope recovers the exponent of a power law", () => {
    fc.assert(
      fc.property(fc.double({ min: -3, max: 3, noNaN: true }), (power) => {
        const x = [1, 10, 100, 1000];
        expect(
          logLogSlope(
            x,
            x.map((value) => 5 * value ** power),
          ).slope,
        ).toBeCloseTo(power, 9);
      }),
    );
  });

  test("values without a logarithm, a single abscissa and unequal lengths are refused", () => {
    expect(() => logLogSlope([1, 2], [1, 0])).toThrow(/value 0 at 1 has no finite logarithm/);
    expect(() => linearSlope([2, 2], [1, 3])).toThrow(/all the same/);
    expect(() => linearSlope([1, 2], [1])).toThrow(/2 abscissae, 1 ordinates/);
  });

  test("two points leave the interval unbounded", () => {
    expect(linearSlope([0, 1], [0, 1]).interval).toEqual({ low: -Infinity, high: Infinity });
  });
});

describe("ranks and summaries", () => {
  test("ties share their mean rank", () => {
    expect(ranks([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5])).toEqual([4.5, 1.5, 6, 1.5, 8, 11, 3, 10, 8, 4.5, 8]);
  });

  test("a summary has the sample's standard deviation and median", () => {
    const summary = summarize([2, 4, 4, 4, 5, 5, 7, 9]);
    expect(summary).toMatchObject({ count: 8, mean: 5, min: 2, median: 4.5, max: 9 });
    expect(summary.std).toBeCloseTo(Math.sqrt(32 / 7), 12);
    expect(summarize([1]).std).toBeNaN();
    expect(() => summarize([])).toThrow(/empty/);
  });
});

describe("two-way additive fit", () => {
  test("rows plus columns have no interaction", () => {
    const fit = additiveFit([0, 5, 7].map((row) => [1, 2, 4].map((column) => row + column)));
    expect(fit.interactionShare).toBeCloseTo(0, 12);
    expect(fit.rowEffects[0]).toBeCloseTo(-4, 12);
  });

  test("a diagonal landscape is pure interaction", () => {
    expect(additiveFit([[1, -1], [-1, 1]]).interactionShare).toBeCloseTo(1, 12); // biome-ignore format: a matrix
  });

  test("the shares of rows, columns and interaction add up", () => {
    const table = fc.array(fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 3, maxLength: 3 }), {
      minLength: 2,
    });
    fc.assert(
      fc.property(table, (cells) => {
        const fit = additiveFit(cells);
        const squares = (values: readonly number[]) => values.reduce((sum, value) => sum + value ** 2, 0);
        const total = squares(cells.flat().map((value) => value - fit.grandMean));
        const additive = squares(fit.rowEffects) * 3 + squares(fit.columnEffects) * cells.length;
        expect(additive + squares(fit.residuals.flat())).toBeCloseTo(total, 6);
      }),
    );
  });

  test("ragged tables and NaN cells are refused", () => {
    expect(() => additiveFit([[1, 2], [3]])).toThrow(/row 1 has 1 of 2 cells/);
    expect(() => additiveFit([[1, Number.NaN]])).toThrow(/NaN/);
  });
});
