import type { AnyExperiment, Claim, Metrics } from "@prior-art/toolkit/experiment";
import { describe, expect, test } from "vitest";
import type { UnitResult } from "../units.ts";
import { evaluateClaims } from "./evaluate.ts";
import { overallVerdict } from "./verdict.ts";

type Arms = Readonly<Record<string, readonly (number | Metrics | "diverged")[]>>;

function unitsOf(arms: Arms): UnitResult[] {
  return Object.entries(arms).flatMap(([arm, values]) =>
    values.map((value, seed): UnitResult => {
      const unit = { mode: "full", phase: "test", arm, seed, hyperparameters: {}, seconds: 0 } as const;
      if (value === "diverged") return { ...unit, status: "diverged", metrics: {} };
      return { ...unit, status: "finished", metrics: typeof value === "number" ? { loss: value } : value };
    }),
  );
}

function judge(claim: Record<string, unknown>, arms: Arms, mode: "full" | "quick" = "full") {
  const claims = [{ id: "it", statement: "it holds", ...claim } as unknown as Claim<string, Metrics>];
  const specs = Object.fromEntries(Object.keys(arms).map((arm) => [arm, { label: arm }]));
  return evaluateClaims({ arms: specs, claims } as unknown as AnyExperiment, mode, unitsOf(arms))[0]!;
}

const lower = { kind: "comparison", metric: "loss", better: "ours", worse: "base", goal: "minimize" };

describe("comparison claims", () => {
  const base = [5, 6, 7, 5.5, 6.5, 7.5];

  test("a clear win on six seeds is reproduced, with the paired difference as its effect", () => {
    const result = judge(lower, { ours: base.map((value, i) => value - 1 - 0.01 * i), base });
    expect(result.verdict).toBe("reproduced");
    expect(result.effect).toBeCloseTo(1.025, 10);
    expect(result.interval.low).toBeGreaterThan(1);
    expect(result.pValue).toBe(1 / 64);
    expect(result.perSeed.map(({ seed }) => seed)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("a loss is not reproduced", () => {
    const result = judge(lower, { ours: base.map((value) => value + 1), base });
    expect(result.verdict).toBe("not reproduced");
    expect(result.effect).toBeCloseTo(-1, 10);
  });

  test("noise in the claimed direction is only partly", () => {
    const result = judge(lower, { ours: base.map((value, i) => value - (i % 2 ? 2 : -1.9)), base });
    expect(result.verdict).toBe("partly");
    expect(result.reason).toMatch(/not significant/);
  });

  test("too few seeds for significance say so", () => {
    const result = judge(lower, { ours: [1, 2, 3], base: [2, 3, 4.1] });
    expect(result.verdict).toBe("partly");
    expect(result.reason).toMatch(/3 seeds cannot reach p ≤ 0.05 \(smallest possible 0.125\)/);
  });

  test("a win smaller than the margin is none, and a margin below zero allows a small loss", () => {
    const slightly = { ours: base.map((value, i) => value - 0.1 - 0.001 * i), base };
    const result = judge({ ...lower, margin: 0.5 }, slightly);
    expect(result.verdict).toBe("not reproduced");
    expect(result.reason).toBe("in the claimed direction, but not by the margin 0.5");
    const worse = { ours: base.map((value, i) => value + 0.1 + 0.001 * i), base };
    expect(judge({ ...lower, margin: -0.5 }, worse).verdict).toBe("reproduced");
    expect(judge(lower, worse).verdict).toBe("not reproduced");
  });

  test("maximize turns the direction, relative divides by the baseline", () => {
    const arms = { ours: base.map((value) => value * 1.2), base };
    const result = judge({ ...lower, goal: "maximize", relative: true }, arms);
    expect(result.effect).toBeCloseTo(0.2, 10);
    expect(result.verdict).toBe("reproduced");
  });

  test("a diverged seed is left out by name and the claim is no longer fully reproduced", () => {
    const result = judge(lower, { ours: base.map((v) => v - 1), base: [...base.slice(0, 5), "diverged"] });
    expect(result.diverged).toEqual([{ arm: "base", seed: 5 }]);
    expect(result.perSeed).toHaveLength(5);
    expect(result.effect).toBeCloseTo(1, 10);
    expect(result.verdict).toBe("partly");
    expect(result.reason).toMatch(/1 diverged and left out/);
  });

  test("when every seed diverged nothing is reproduced", () => {
    const result = judge(lower, { ours: ["diverged"], base: [1] });
    expect(result.verdict).toBe("not reproduced");
    expect(result.effect).toBeNaN();
  });

  test("an array or missing metric is named", () => {
    expect(() => judge({ ...lower, metric: "accuracy" }, { ours: [1], base: [1] })).toThrow(
      /claim "it": metric "accuracy" is not a number/,
    );
  });
});

describe("scaling claims", () => {
  const curve = (power: number, wobble = 0) => {
    const x = [1, 2, 4, 8, 16];
    return { x, y: x.map((value, i) => value ** power * (1 + wobble * (i % 2))) };
  };
  const claim = { kind: "scaling", arm: "a", x: "x", y: "y", slope: { max: -0.4 } };

  test("slopes inside the region are reproduced, outside not", () => {
    expect(judge(claim, { a: [curve(-0.5), curve(-0.52), curve(-0.48)] }).verdict).toBe("reproduced");
    const shallow = judge(claim, { a: [curve(-0.2), curve(-0.22)] });
    expect(shallow.verdict).toBe("not reproduced");
    expect(shallow.effect).toBeCloseTo(-0.21, 10);
  });

  test("an interval that reaches out of the region is partly", () => {
    expect(judge(claim, { a: [curve(-0.3), curve(-0.6), curve(-0.5)] }).verdict).toBe("partly");
  });

  test("the slope of the mean curve, and abscissae given in the claim", () => {
    const result = judge(
      { ...claim, x: [1, 2, 4, 8, 16], pool: "mean" },
      { a: [curve(-0.5), curve(-0.5, 0.1)].map(({ y }) => ({ y })) },
    );
    expect(result.effect).toBeCloseTo(-0.5, 1);
    expect(result.verdict).toBe("reproduced");
  });
});

describe("deterministic claims", () => {
  const claim = { kind: "deterministic", arm: "a", metric: "value", expected: [1, 2], tolerance: 1e-6 };

  test("hold when every entry of every seed is within the tolerance", () => {
    expect(judge(claim, { a: [{ value: [1, 2 + 1e-7] }, { value: [1, 2] }] }).verdict).toBe("reproduced");
    const off = judge(claim, { a: [{ value: [1, 2] }, { value: [1, 2.1] }] });
    expect(off.verdict).toBe("not reproduced");
    expect(off.effect).toBeCloseTo(0.1, 10);
  });

  test("a NaN entry does not pass", () => {
    expect(judge(claim, { a: [{ value: [1, Number.NaN] }] }).verdict).toBe("not reproduced");
  });

  test("another length is an error", () => {
    expect(() => judge(claim, { a: [{ value: [1] }] })).toThrow(/1 values, 2 expected/);
  });
});

describe("statistic claims", () => {
  const perSeed = (arms: Record<string, Metrics>) => arms.a!.loss as number;

  test("the interval of the per-seed mean must lie in the region", () => {
    const verdict = (values: number[]) =>
      judge({ kind: "statistic", perSeed, pass: { min: 0, max: 1 } }, { a: values }).verdict;
    expect(verdict([0.4, 0.5, 0.6])).toBe("reproduced");
    expect(verdict([0.2, 0.9, 1.4])).toBe("partly");
    expect(verdict([2, 3, 4])).toBe("not reproduced");
  });

  test("seedsHolding counts seeds, and a diverged seed does not hold", () => {
    const claim = { kind: "statistic", perSeed, pass: { min: 0.95 }, seedsHolding: 0.8 };
    expect(judge(claim, { a: [1, 1, 1, 1, 0] }).verdict).toBe("reproduced");
    const diverged = judge(claim, { a: [1, 1, 1, "diverged", 0] });
    expect(diverged.reason).toMatch(/3 of 5 seeds are ≥ 0.95, 80% wanted/);
    expect(diverged.verdict).toBe("not reproduced");
  });

  test("acrossSeeds resamples whole seeds", () => {
    const acrossSeeds = (seeds: readonly Record<string, Metrics>[]) => Math.max(...seeds.map(perSeed));
    const result = judge({ kind: "statistic", acrossSeeds, pass: { max: 10 } }, { a: [1, 5, 9] });
    expect(result.effect).toBe(9);
    expect(result.interval.low).toBeGreaterThanOrEqual(1);
    expect(result.verdict).toBe("reproduced");
  });

  test("a NaN statistic is an error that names the claim and the seed", () => {
    expect(() => judge({ kind: "statistic", perSeed: () => Number.NaN, pass: {} }, { a: [1] })).toThrow(
      /claim "it": perSeed gave NaN on seed 0/,
    );
  });

  test("a claim for full settings is not judged on quick ones", () => {
    const claim = { kind: "statistic", perSeed, pass: {}, modes: ["full"] };
    expect(judge(claim, { a: [1] }, "full")).toBeDefined();
    expect(judge(claim, { a: [1] }, "quick")).toBeUndefined();
  });
});

test("the overall verdict is the common one, else partly", () => {
  const of = (...verdicts: ("reproduced" | "partly" | "not reproduced")[]) =>
    overallVerdict(verdicts.map((verdict) => ({ verdict })));
  expect(of("reproduced", "reproduced")).toBe("reproduced");
  expect(of("not reproduced", "not reproduced")).toBe("not reproduced");
  expect(of("reproduced", "not reproduced")).toBe("partly");
  expect(of("partly")).toBe("partly");
  expect(of()).toBeNull();
});
