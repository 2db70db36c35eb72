import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { type Matrix, matrix, maxAbs } from "@prior-art/toolkit/linalg";
import { randomStream } from "@prior-art/toolkit/stats";
import {
  barycentricMap,
  countNonzeros,
  exactTransport,
  type Gaussian,
  gaussianMap,
  gaussianPair,
  pointProblem,
  quadraticTransport,
  roundToMarginals,
  sampleGaussian,
  sinkhorn,
} from "@prior-art/toolkit/transport";
import { contenders } from "./contenders.generated.ts";
import type { Contender, Hyperparameters } from "./family.ts";

const DIMENSIONS = 4;

type Metrics = {
  /** Mean squared distance of the mapped sources from where the true optimal map sends them, over that map's own mean squared displacement. */
  readonly mapError: number;
  readonly seconds: number;
  /** Plans only: cost over the least, once the marginals are made exact; 0 for maps. */
  readonly excessCost: number;
  /** Plans only: share of entries that are not zero; 0 for maps. */
  readonly density: number;
};

const baselines = {
  exact: { label: "exact transport", solve: (problem) => exactTransport(problem) },
  entropic: {
    label: "Sinkhorn",
    space: { epsilon: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2] },
    solve: (problem, { epsilon }) =>
      sinkhorn(problem, { epsilon: epsilon!, tolerance: 1e-4, maxIterations: 2000 }),
  },
  quadratic: {
    label: "quadratic regularization",
    space: { gamma: [0.5, 1, 2, 5, 10, 20, 50, 100] },
    solve: (problem, { gamma }) =>
      quadraticTransport(problem, { gamma: gamma!, tolerance: 1e-5, maxIterations: 300 }),
  },
} satisfies Readonly<Record<string, Contender>>;

const solvers: Readonly<Record<string, Contender>> = { ...baselines, ...contenders };

/** Where the contender sends the source's points, and what is known of its plan. */
async function transport(
  contender: Contender,
  x: Matrix,
  y: Matrix,
  hyperparameters: Hyperparameters,
  seed: number,
): Promise<{ image: Matrix; seconds: number; excessCost: number; density: number }> {
  const begin = performance.now();
  const elapsed = (): number => (performance.now() - begin) / 1000;
  if ("learnMap" in contender) {
    const image = (await contender.learnMap(x, y, hyperparameters, seed))(x);
    return { image, seconds: elapsed(), excessCost: 0, density: 0 };
  }
  const raw = pointProblem(x, y);
  const largest = maxAbs(raw.cost.values);
  const problem = {
    ...raw,
    cost: matrix(
      x.rows,
      y.rows,
      raw.cost.values.map((value) => value / largest),
    ),
  };
  const { plan } = contender.solve(problem, hyperparameters);
  const seconds = elapsed();
  const rounded = roundToMarginals(problem, plan);
  const cost = rounded.values.reduce((sum, mass, at) => sum + mass * problem.cost.values[at]!, 0);
  return {
    image: barycentricMap(rounded, y),
    seconds,
    excessCost: cost / exactTransport(problem).cost - 1,
    density: countNonzeros(plan, 1e-12) / plan.values.length,
  };
}

function relativeError(x: Matrix, image: Matrix, [p, q]: readonly [Gaussian, Gaussian]): number {
  const map = gaussianMap(p, q);
  const d = x.columns;
  let [error, displacement] = [0, 0];
  for (let i = 0; i < x.rows; i++) {
    const point = x.values.subarray(i * d, (i + 1) * d);
    map(point).forEach((value, k) => {
      error += (image.values[i * d + k]! - value) ** 2;
      displacement += (point[k]! - value) ** 2;
    });
  }
  return error / displacement;
}

async function* run({
  arm,
  seed,
  settings: { points },
  hyperparameters,
}: {
  readonly arm: string;
  readonly seed: number;
  readonly settings: { readonly points: number };
  readonly hyperparameters: unknown;
}): AsyncGenerator<Progress, Metrics, void> {
  const pair = gaussianPair(DIMENSIONS, seed);
  const stream = randomStream(seed, "samples");
  const x = sampleGaussian(pair[0], points, stream);
  const y = sampleGaussian(pair[1], points, stream);
  yield { step: 0, of: 1 };
  const { image, ...rest } = await transport(solvers[arm]!, x, y, hyperparameters as Hyperparameters, seed);
  return { mapError: relativeError(x, image, pair), ...rest };
}

/** Transport between two Gaussians known by samples: how far the mapped points are from the true optimal map's. */
export default defineExperiment({
  settings: { full: { points: 200 }, quick: { points: 60 } },
  seeds: { full: 10, quick: 2 },
  arms: solvers,
  run,
  tuning: {
    metric: "mapError",
    goal: "minimize",
    budget: { full: 8, quick: 4 },
    seeds: { full: 3, quick: 1 },
  },
  claims: [],
  leaderboard: { metric: "mapError", goal: "minimize" },
});
