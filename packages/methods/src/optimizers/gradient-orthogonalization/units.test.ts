import {
  add,
  evaluate,
  grad,
  item,
  matmul,
  mul,
  random,
  slice,
  sub,
  type Tensor,
  take,
  zeros,
} from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { describe, expect, test } from "vitest";
import { close } from "../testing/doubles.ts";
import { curvedNetwork, curvedRegression, gradientsLeft } from "./extrapolation.ts";
import { functionGaps, regression } from "./logistic.ts";
import { lmo } from "./method.ts";
import { type Arm, arms, type Metrics, run, settings } from "./units.ts";

const small = { ...settings.quick, logisticCounts: [40], curvedCounts: [4, 8], steps: 40, epochs: 1 };

async function unit(
  arm: Arm,
  hyperparameters: unknown = {},
  phase: "tune" | "test" = "test",
): Promise<Metrics> {
  const steps = run({
    arm,
    seed: 4,
    phase,
    settings: small,
    hyperparameters,
    signal: new AbortController().signal,
  });
  let turn = await steps.next();
  while (!turn.done) turn = await steps.next();
  return turn.value;
}

describe("decay on logistic regression", () => {
  test("losses are those of (1 - β)x - η lmo(m), with m of the batches' gradients", async () => {
    const problem = await regression(4);
    const [steps, radius, momentum, weightDecay] = [20, 0.05, 0.3, 0.1];
    const gaps = await functionGaps(problem, { steps, radius, momentum, weightDecay });
    const { inputs, labels } = problem;
    const order = random.randint(random.fold(random.key(4), 3), [steps, 20], 0, 500);
    let [x, m] = [zeros([20, 5], "float64"), null as Tensor | null];
    for (let t = 0; t < 8; t++) {
      const rows = slice(order, t);
      const g = grad((w: Tensor) => crossEntropy(matmul(take(inputs, rows), w), take(labels, rows)))(x);
      m = m === null ? g : add(mul(0.7, m), mul(0.3, g));
      x = sub(mul(0.9, x), mul(radius, lmo("spectral")(m)));
      await evaluate({ x, m });
      const now = await item(crossEntropy(matmul(inputs, x), labels));
      expect(gaps[t]!).toBeCloseTo(now - problem.least, 4);
    }
  });

  test("the theory's arm and its control differ in the decay alone", async () => {
    const problem = await regression(4);
    const share = Math.log(40) / 40;
    const options = { steps: 40, radius: 1.5 * share * problem.radius, momentum: 40 ** (-2 / 3) };
    for (const [arm, weightDecay] of [
      ["decayTheory", share],
      ["noDecayTheory", 0],
    ] as const) {
      const expected = (await functionGaps(problem, { ...options, weightDecay })).at(-1)!;
      const { gaps, score } = await unit(arm);
      expect(gaps).toEqual(close([expected]));
      expect(score).toBe(gaps[0]);
    }
  });

  test("tuned arms decay to balls of 1.5 and 6 times the minimizer's size, or not at all", async () => {
    const problem = await regression(4);
    for (const [arm, share] of [
      ["noDecay", 0],
      ["decay", 1 / 1.5],
      ["decayWide", 1 / 6],
    ] as const) {
      const options = { steps: 40, radius: 0.03, momentum: 0.2 };
      const weightDecay = (share * 0.03) / problem.radius;
      const expected = await functionGaps(problem, { ...options, weightDecay });
      const { curve, score } = await unit(arm, { radius: 0.03, momentum: 0.2 });
      expect(curve).toEqual(close(expected));
      expect(score).toBe(curve.at(-1));
    }
  });
});

test("where the Hessian varies, arms differ in powers or extrapolation, and the score is the mean logarithm", async () => {
  const scales = { radiusScale: 1, momentumScale: 1 };
  const options = { ...scales, seed: 4, counts: small.curvedCounts };
  const [convex, network] = [await curvedRegression(4), await curvedNetwork(4)];
  for (const [kind, powers, extrapolate] of [
    ["Plain", "slow", false],
    ["PlainFast", "fast", false],
    ["Extrapolated", "fast", true],
  ] as const) {
    const { left, score } = await unit(`logistic${kind}`, scales);
    expect(score).toBeCloseTo(left.reduce((total, v) => total + Math.log(v), 0) / left.length, 12);
    expect(left).toEqual(close(await gradientsLeft(convex, { ...options, powers, extrapolate })));
    const other = await unit(`network${kind}`, scales);
    expect(other.left).toEqual(close(await gradientsLeft(network, { ...options, powers, extrapolate })));
  }
});

test("digits are scored on validation digits while tuning; the three methods differ", async () => {
  const scores = new Set<number>();
  for (const arm of ["digitsMuon", "digitsOrthogonal", "digitsAdam"] as const)
    for (const phase of ["tune", "test"] as const)
      scores.add((await unit(arm, { radius: 0.01 }, phase)).score);
  expect(scores.size).toBe(6);
});

test("arms that are compared have as many candidates", () => {
  const candidates = (arm: Arm): number => {
    const { space } = arms[arm] as { space?: Record<string, readonly number[]> };
    return Object.values(space!).reduce((size, { length }) => size * length, 1);
  };
  for (const group of [
    ["plain", "extrapolated"],
    ["logisticPlain", "logisticPlainFast", "logisticExtrapolated"],
    ["networkPlain", "networkPlainFast", "networkExtrapolated"],
    ["noDecay", "decay", "decayWide"],
    ["digitsMuon", "digitsOrthogonal", "digitsAdam"],
  ] as const)
    expect(new Set(group.map(candidates)).size).toBe(1);
});
