import { describe, expect, expectTypeOf, test } from "vitest";
import { defineExperiment } from "./index.ts";

function comparison(overrides: { worse?: string; id?: string } = {}) {
  return {
    kind: "comparison",
    id: overrides.id ?? "loss",
    statement: "a beats b",
    metric: "loss",
    better: "a",
    worse: (overrides.worse ?? "b") as "b",
    goal: "minimize",
  } as const;
}

const base = {
  settings: { full: { epochs: 4 }, quick: { epochs: 1 } } as Record<"full" | "quick", { epochs: number }>,
  seeds: { full: 3, quick: 2 },
  // biome-ignore lint/correctness/useYield: the shortest possible run
  async *run() {
    return { loss: 1 };
  },
};

describe("defineExperiment", () => {
  test("infers hyperparameters per arm and metric names in claims", () => {
    const experiment = defineExperiment({
      settings: base.settings,
      seeds: base.seeds,
      arms: {
        adam: { label: "Adam", space: { learningRate: [0.1, 0.01] } },
        adamw: {
          label: "AdamW",
          space: { learningRate: { min: 1e-4, max: 1e-2 }, weightDecay: [0, 0.1] },
          fixed: { decayMode: "paper" },
        },
      },
      async *run({ arm, settings, hyperparameters, seed }) {
        expectTypeOf(settings.epochs).toEqualTypeOf<number>();
        expectTypeOf(hyperparameters.learningRate).toEqualTypeOf<number>();
        if (arm === "adamw") expectTypeOf(hyperparameters.decayMode).toEqualTypeOf<string>();
        yield { step: 1, of: settings.epochs };
        return { loss: seed, grid: [[1, 2]] };
      },
      tuning: { metric: "loss", goal: "minimize", budget: { full: 4, quick: 2 } },
      claims: [
        {
          kind: "statistic",
          id: "grid",
          statement: "the grid's corner is positive",
          perSeed: ({ adamw }) => adamw.grid[0]![0]!,
          pass: { min: 0 },
        },
      ],
    });
    expect(Object.keys(experiment.arms)).toEqual(["adam", "adamw"]);
  });

  test.each([
    ["an unknown arm", { claims: [comparison({ worse: "c" })] }, /names the arm "c"; arms are a, b/],
    ["two claims with one id", { claims: [comparison(), comparison()] }, /two claims have the id "loss"/],
    ["no seeds", { seeds: { full: 0, quick: 1 } }, /seeds.full must be a whole number of at least 1, got 0/],
  ])("refuses %s", (_, change, message) => {
    const arms = { a: { label: "A" }, b: { label: "B" } };
    expect(() => defineExperiment({ ...base, arms, claims: [comparison()], ...change })).toThrow(message);
  });

  test("refuses a search space without tuning, an empty list and a log range from zero", () => {
    const withSpace = (learningRate: number[] | { min: number; max: number }) => ({
      ...base,
      arms: { a: { label: "A", space: { learningRate } } },
      claims: [],
    });
    const tuning = { metric: "loss", goal: "minimize", budget: { full: 1, quick: 1 } } as const;
    expect(() => defineExperiment(withSpace([1]))).toThrow(/search space but there is no tuning/);
    expect(() => defineExperiment({ ...withSpace([]), tuning })).toThrow(/no candidates/);
    expect(() => defineExperiment({ ...withSpace({ min: 0, max: 1 }), tuning })).toThrow(/min > 0/);
  });
});
