import { pointMass } from "@prior-art/toolkit/rl";
import { type RandomStream, randomStream } from "@prior-art/toolkit/stats";
import type { Problem } from "./baselines.ts";

/** `½ Σ λᵢxᵢ²` with curvatures from 1 to `condition`, evenly spaced in logarithm. */
export const quadratic = (condition: number) => (x: Float64Array) =>
  x.reduce((total, v, i) => total + 0.5 * condition ** (i / (x.length - 1)) * v * v, 0);

/** `Σ 100(xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)²`. */
export const rosenbrock = (x: Float64Array): number => {
  let total = 0;
  for (let i = 0; i + 1 < x.length; i++) total += 100 * (x[i + 1]! - x[i]! ** 2) ** 2 + (1 - x[i]!) ** 2;
  return total;
};

const functions = {
  sphere: { f: quadratic(1), deviation: 1 },
  ill: { f: quadratic(10), deviation: 1 },
  rosenbrock: { f: rosenbrock, deviation: 0.5 },
} as const;
export type FunctionName = keyof typeof functions;

/** A test function, started at normal numbers. */
export function testFunction(name: FunctionName, dimensions: number, seed: number): Problem {
  const random = randomStream(seed, `start of ${name}`);
  const { f, deviation } = functions[name];
  return { f, seed, start: Float64Array.from({ length: dimensions }, () => deviation * random.normal()) };
}

const world = pointMass();

/** The return of a linear policy (2 × 4 gains) over some episodes of the point mass. */
function policyReturn(gains: Float64Array, episodes: number, random: RandomStream): number {
  let total = 0;
  for (let episode = 0; episode < episodes; episode++) {
    let state = world.start(random);
    for (let t = 0; t < world.horizon; t++) {
      const push = [0, 1].map((row) => state.reduce((sum, v, i) => sum + gains[4 * row + i]! * v, 0));
      const next = world.step(state, push, random);
      total += next.reward;
      state = next.state;
    }
  }
  return total / episodes;
}

/** Minus the return over two episodes from random starts: another number each time. */
export function noisyPolicyProblem(seed: number): Problem {
  const random = randomStream(seed, "episodes");
  return { f: (gains) => -policyReturn(gains, 2, random), seed, start: new Float64Array(8) };
}

/** The return over 200 episodes, always the same. */
export const trueReturn = (gains: Float64Array): number => policyReturn(gains, 200, randomStream(0, "judge"));
