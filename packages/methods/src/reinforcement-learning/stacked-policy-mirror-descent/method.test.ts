import {
  garnet,
  type MDP,
  policyEvaluation,
  softmaxPolicy,
  softValueIteration,
} from "@prior-art/toolkit/mdp";
import { randomStream } from "@prior-art/toolkit/stats";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  largestDifference,
  type StackOptions,
  stackWeights,
  staqPlanner,
  staqPolicy,
  stepOf,
  sufficientMemory,
  tabularPMD,
  truncatedFixedPoint,
} from "./method.ts";

/** Logits of a policy without states after pushing the rows in order. */
function logitsAfter(rows: readonly (readonly number[])[], options: StackOptions): Float64Array {
  const policy = staqPolicy<null>(rows[0]!.length, options);
  for (const row of rows) policy.push(() => row);
  return policy.logits(null);
}

const expectClose = (actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void => {
  expect(largestDifference(Float64Array.from(actual), Float64Array.from(expected))).toBeLessThanOrEqual(
    tolerance,
  );
};

const tableOne: MDP = garnet({ states: 30, actions: 4, branching: 4, seed: 0 });
const rows = fc.array(fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 3, maxLength: 3 }), {
  minLength: 1,
  maxLength: 25,
});

describe("logits of a stack", () => {
  test("the recursive and the summed form agree for any sequence, corrected or not", () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 8 }), fc.boolean(), (sequence, memory, correct) => {
        const regularization = { eta: 0.9, tau: 0.1 };
        const { alpha, beta } = stepOf(regularization);
        const forgotten = beta ** memory;
        let xi = [0, 0, 0];
        sequence.forEach((q, k) => {
          const old = sequence[k - memory] ?? [0, 0, 0];
          xi = xi.map((x, a) =>
            correct
              ? beta * x + alpha * q[a]! + ((alpha * forgotten) / (1 - forgotten)) * (q[a]! - old[a]!)
              : beta * x + alpha * (q[a]! - forgotten * old[a]!),
          );
        });
        expectClose(logitsAfter(sequence, { ...regularization, memory, correct }), xi, 1e-12);
      }),
    );
  });

  test("four given rows with η = 0.9, τ = 0.1, M = 3", () => {
    const q = [
      [1, 0, 0.5],
      [0.8, 0.2, 0.1],
      [0.6, 0.6, 0],
      [0.9, 0.1, 0.3],
    ];
    const options = { eta: 0.9, tau: 0.1, memory: 3 };
    expectClose(logitsAfter(q, options), [7.704797, 2.959409, 1.405904], 1e-6);
    expectClose(logitsAfter(q, { ...options, correct: false }), [2.088, 0.802, 0.381], 1e-12);
  });

  test("a constant Q gives Q/τ after M pushes when corrected, (1 − β^M) Q/τ when not", () => {
    const q = [0.3, -1, 2];
    for (const memory of [1, 4, 9]) {
      const constant = Array.from({ length: memory }, () => q);
      expectClose(
        logitsAfter(constant, { memory }),
        q.map((x) => x / 0.1),
        1e-12,
      );
      expectClose(
        logitsAfter(constant, { memory, correct: false }),
        q.map((x) => ((1 - 0.9 ** memory) * x) / 0.1),
        1e-12,
      );
    }
  });

  test("M = 1 is soft policy iteration: π = softmax(Q/τ)", () => {
    const policy = staqPolicy<null>(3, { eta: 2, tau: 0.5, memory: 1 });
    policy.push(() => [9, 9, -9]);
    policy.push(() => [1, 0, -1]);
    expectClose(policy.probabilities(null), softmaxPolicy(Float64Array.of(1, 0, -1), 3, 0.5), 1e-14);
    expect(policy.size).toBe(1);
  });

  test("a stack that is not full yet and not corrected is exact mirror descent", () => {
    fc.assert(
      fc.property(rows, (sequence) => {
        const exact = logitsAfter(sequence, { memory: Number.POSITIVE_INFINITY });
        expectClose(logitsAfter(sequence, { memory: sequence.length, correct: false }), exact, 0);
      }),
    );
  });

  test("without the KL term both forms are Q/τ", () => {
    const q = [
      [4, 5],
      [1, 2],
    ];
    for (const correct of [true, false])
      for (const eta of [0, 1e-14])
        expectClose(logitsAfter(q, { eta, tau: 0.1, memory: 3, correct }), [10, 20], 1e-9);
  });

  test("corrected weights add up to 1/τ, vanilla ones to (1 − β^M)/τ", () => {
    const sum = (weights: Float64Array): number => weights.reduce((a, b) => a + b, 0);
    for (const memory of [1, 7, 300]) {
      expect(sum(stackWeights({ memory }, 1000))).toBeCloseTo(10, 10);
      expect(sum(stackWeights({ memory, correct: false }, 1000))).toBeCloseTo(10 * (1 - 0.9 ** memory), 10);
    }
  });
});

describe("on a known MDP", () => {
  test("one exact step maximizes ⟨p, Q⟩ + τH(p) − η KL(p‖π)", () => {
    const { alpha, beta } = stepOf({ eta: 0.4, tau: 0.2 });
    const [q, xi] = [Float64Array.of(1, -0.5, 0.3), Float64Array.of(0.1, 2, -1)];
    const old = softmaxPolicy(xi, 3);
    const objective = (p: Float64Array): number =>
      p.reduce((sum, x, a) => sum + x * (q[a]! - 0.2 * Math.log(x) - 0.4 * Math.log(x / old[a]!)), 0);
    const next = softmaxPolicy(
      xi.map((x, a) => beta * x + alpha * q[a]!),
      3,
    );
    const random = randomStream(0);
    for (let i = 0; i < 200; i++) {
      const other = softmaxPolicy(
        next.map((p) => Math.log(p) + random.normal()),
        3,
      );
      expect(objective(other)).toBeLessThanOrEqual(objective(next) + 1e-12);
    }
  });

  test.each([1, 5, 30])("corrected memory of %i reaches the regularized optimum", (memory) => {
    const { gap, policy } = tabularPMD(tableOne, { memory, iterations: 400 });
    expect(gap.at(-1)).toBeLessThan(1e-10);
    const optimum = softValueIteration(tableOne, { temperature: 0.1, tolerance: 1e-12 });
    expect(largestDifference(policy, optimum.policy)).toBeLessThan(1e-8);
  });

  test.each([1, 5, 30])(
    "vanilla memory of %i ends at its own fixed point, away from the optimum",
    (memory) => {
      const vanilla = tabularPMD(tableOne, { memory, correct: false, iterations: 400 });
      const predicted = truncatedFixedPoint(tableOne, { memory });
      expect(largestDifference(vanilla.q, predicted.q)).toBeLessThan(1e-9);
      expect(
        largestDifference(policyEvaluation(tableOne, predicted.policy, { temperature: 0.1 }).q, predicted.q),
      ).toBeLessThan(1e-9);
      expect(vanilla.gap.at(-1)).toBeGreaterThan(1e-4);
    },
  );

  test("exact mirror descent improves in every step and shrinks at least like d^k", () => {
    const { gap, returns } = tabularPMD(tableOne, { memory: Number.POSITIVE_INFINITY, iterations: 200 });
    for (let k = 1; k < returns.length; k++)
      expect(returns[k]!).toBeGreaterThanOrEqual(returns[k - 1]! - 1e-12);
    // d = β + γ(1 − β)
    expect(gap[200]!).toBeLessThan(gap[0]! * 0.99 ** 200);
  });

  test("noise only disturbs what is pushed, and one stream of it gives one run", () => {
    const noisy = () => {
      const random = randomStream(4);
      return tabularPMD(tableOne, { memory: 5, iterations: 20, noise: () => 0.5 * random.normal() });
    };
    expect(noisy()).toEqual(noisy());
    expect(noisy().gap[20]).toBeGreaterThan(tabularPMD(tableOne, { memory: 5, iterations: 20 }).gap[20]!);
    expect(noisy().gap[0]).toBe(tabularPMD(tableOne, { memory: 5, iterations: 0 }).gap[0]);
  });

  test("as a planner it returns the exact values of its policy", () => {
    const plan = staqPlanner({ memory: 10, iterations: 50 })(tableOne);
    expect(plan.values).toEqual(policyEvaluation(tableOne, plan.policy, { temperature: 0.1 }).values);
  });
});

test("the sufficient memory is about 91 for γ = 0.95, η = 0.9, τ = 0.1", () => {
  expect(Math.ceil(sufficientMemory(0.95, {}))).toBe(91);
  expect(sufficientMemory(0, {})).toBe(0);
});

test.each([
  ["a memory of zero", { memory: 0 }],
  ["a fractional memory", { memory: 2.5 }],
  ["no entropy", { memory: 3, tau: 0 }],
  ["a negative KL weight", { memory: 3, eta: -1 }],
])("refuses %s", (_, options) => {
  expect(() => staqPolicy(2, options)).toThrow(RangeError);
});
