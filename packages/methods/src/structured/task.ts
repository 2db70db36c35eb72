import { defineExperiment, type Progress } from "@prior-art/toolkit/experiment";
import { contenders } from "./contenders.generated.ts";
import type { Contender, Hyperparameters } from "./family.ts";
import { l2lq } from "./l2lq.ts";
import { bilateralFilter } from "./reconstructors.ts";
import { differenceOperator } from "./sparseOperator.ts";
import {
  filteredBackProjection,
  measure,
  phantom,
  radonTransform,
  relativeError,
  structuralSimilarity,
} from "./tomography.ts";

const ANGLES = 40;

type Metrics = {
  /** ‖x − x*‖/‖x*‖, of the reconstruction. */
  readonly error: number;
  readonly similarity: number;
  readonly seconds: number;
};

/** The safety factors τ of the discrepancy principle `‖K x − y‖ = τ δ`. */
const FACTORS = [1.001, 1.01, 1.05, 1.1];

const penalized =
  (q: number): Contender["reconstruct"] =>
  ({ forward, data, noiseNorm, size }, { tau }) => ({
    size,
    values: l2lq({ forward, data, noiseNorm, penalty: differenceOperator(size), q, tau: tau! }).x,
  });

const backProject: Contender["reconstruct"] = (problem) =>
  filteredBackProjection(problem, problem.data.length / ANGLES);

const baselines = {
  backProjection: { label: "filtered back-projection", reconstruct: backProject },
  filtered: {
    label: "filtered back-projection, bilateral filter",
    space: { range: [0.05, 0.1, 0.2, 0.4] },
    reconstruct: async (problem, hyperparameters) =>
      bilateralFilter(await backProject(problem, hyperparameters), { range: hyperparameters.range! }),
  },
  tikhonov: { label: "Tikhonov", space: { tau: FACTORS }, reconstruct: penalized(2) },
  totalVariation: { label: "total variation", space: { tau: FACTORS }, reconstruct: penalized(1) },
} satisfies Readonly<Record<string, Contender>>;

const solvers: Readonly<Record<string, Contender>> = { ...baselines, ...contenders };

async function* run({
  arm,
  seed,
  settings: { size },
  hyperparameters,
}: {
  readonly arm: string;
  readonly seed: number;
  readonly settings: { readonly size: number };
  readonly hyperparameters: unknown;
}): AsyncGenerator<Progress, Metrics, void> {
  const truth = phantom(size, seed);
  const forward = radonTransform({ size, angles: ANGLES, rays: Math.ceil(size * Math.SQRT2) });
  const problem = measure(truth, forward, 0.03, seed);
  yield { step: 0, of: 1 };
  const begin = performance.now();
  const image = await solvers[arm]!.reconstruct(problem, hyperparameters as Hyperparameters);
  const seconds = (performance.now() - begin) / 1000;
  return { error: relativeError(image, truth), similarity: structuralSimilarity(image, truth), seconds };
}

/** Tomography of simple phantoms from 40 directions with 3% noise: the relative error of the reconstruction. */
export default defineExperiment({
  settings: { full: { size: 32 }, quick: { size: 16 } },
  seeds: { full: 10, quick: 2 },
  arms: solvers,
  run,
  tuning: { metric: "error", goal: "minimize", budget: { full: 4, quick: 2 }, seeds: { full: 3, quick: 1 } },
  claims: [],
  leaderboard: { metric: "error", goal: "minimize" },
});
