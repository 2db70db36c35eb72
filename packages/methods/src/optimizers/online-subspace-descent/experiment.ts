import { div, matmul, mul, random, stack, sum, type Tensor, transpose } from "@prior-art/tensor";
import {
  type ComparisonClaim,
  defineExperiment,
  type Progress,
  type RunContext,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import type { WindowModelParams } from "@prior-art/toolkit/lm";
import { adam, type GradientTransformation, sgd, stateBytes, warmupCosine } from "@prior-art/toolkit/optim";
import type { LowRankState, Subspaces } from "../lowRank.ts";
import { blockMatrices, textModel, textSource, trainText } from "../markovText.ts";
import { type UpdateTimes, updateTimes } from "./cost.ts";
import { flow, type PathRule } from "./flow.ts";
import { galore, onlineSubspaceDescent } from "./method.ts";

interface Settings {
  readonly steps: number;
  /** Lengths of the flow's steps, and its duration. */
  readonly lengths: readonly number[];
  readonly duration: number;
  /** Side of the matrix that decompositions are timed on. */
  readonly side: number;
}

const settings: Record<"full" | "quick", Settings> = {
  full: { steps: 1200, lengths: [0.08, 0.04, 0.02, 0.01], duration: 200, side: 512 },
  quick: { steps: 200, lengths: [0.08, 0.04], duration: 20, side: 64 },
};

const RATES = [0.01, 0.02, 0.04, 0.08];
/** Steps between GaLore's projections. */
const GAPS = [30, 75, 200, 600];
const adamPca = { learningRate: RATES, pcaRate: [0.0025, 0.01, 0.04, 0.16] };
/** At rank 16 slower rates for P are the better ones. */
const slowPca = { learningRate: RATES, pcaRate: [0.0006, 0.0025, 0.01, 0.04] };
const jumps = { learningRate: RATES, gap: GAPS };
/** Random subspaces are best changed more often. */
const quickJumps = { learningRate: RATES, gap: [10, 30, 100, 300] };
/** One candidate more, for the arms with one hyperparameter: full rank wants smaller rates. */
const plain = { learningRate: [0.005, ...RATES] };

const arms = {
  adam: { label: "Adam, full rank", space: plain, fixed: { rank: 0 } },
  frozen: { label: "fixed subspace, k = 8", space: plain, fixed: { rank: 8 } },
  random: { label: "random subspaces, k = 8", space: quickJumps, fixed: { rank: 8 } },
  galore: { label: "GaLore, k = 8", space: jumps, fixed: { rank: 8 } },
  galore4: { label: "GaLore, k = 4", space: jumps, fixed: { rank: 4 } },
  galore16: { label: "GaLore, k = 16", space: jumps, fixed: { rank: 16 } },
  osd: { label: "online subspace descent, k = 8", space: adamPca, fixed: { rank: 8 } },
  osd4: { label: "online subspace descent, k = 4", space: adamPca, fixed: { rank: 4 } },
  osd16: { label: "online subspace descent, k = 16", space: slowPca, fixed: { rank: 16 } },
  osdSgd: {
    label: "online subspace descent, SGD for P, k = 8",
    space: { learningRate: RATES, pcaRate: [0.2, 0.4, 0.9, 1.4] },
    fixed: { rank: 8 },
  },
  flow: { label: "Hamiltonian flow" },
  cost: { label: "time and memory" },
} as const;
type Arm = keyof typeof arms;
type TextArm = Exclude<Arm, "flow" | "cost">;

/** Every unit has these; what it doesn't measure is empty or 0. */
type Metrics = UpdateTimes & {
  /** Nats a token over the source's entropy after training. */
  readonly excess: number;
  /** The same along the way. */
  readonly curve: readonly number[];
  /** `‖PᵀḠ‖²`, mean of the two matrices, along the way. */
  readonly captured: readonly number[];
  /** Largest departure of a step's change of energy from the flow's, by length of step. */
  readonly errors: readonly number[];
  readonly errorsPca: readonly number[];
  /** Loss at the end of the flow over that at its start: fixed, random, jumping, PCA. */
  readonly flowLoss: readonly number[];
  /** Bytes of the optimizer's state less those of the formula: online subspace descent, GaLore, Adam. */
  readonly bytesOff: readonly number[];
};

const NOTHING: Metrics = {
  excess: 0,
  curve: [],
  captured: [],
  errors: [],
  errorsPca: [],
  flowLoss: [],
  svdTime: 0,
  iterationTime: 0,
  pcaTime: 0,
  bytesOff: [],
};

interface Chosen {
  readonly rank: number;
  readonly learningRate: number;
  readonly gap?: number;
  readonly pcaRate?: number;
}

type Optimizer = GradientTransformation<WindowModelParams, unknown>;

function optimizerOf(
  arm: TextArm,
  { rank, learningRate, gap = 200, pcaRate = 0 }: Chosen,
  steps: number,
  seed: number,
): Optimizer {
  const base = adam<WindowModelParams>({ learningRate: warmupCosine(learningRate, steps / 10, steps) });
  if (arm === "adam") return base;
  const shared = { rank, scale: 1, select: blockMatrices };
  if (arm === "random")
    return galore(base, {
      ...shared,
      updateGap: gap,
      projection: "random",
      seed,
      draws: Math.ceil(steps / gap),
    });
  if (arm.startsWith("galore")) return galore(base, { ...shared, updateGap: gap });
  if (arm === "frozen") return galore(base, { ...shared, updateGap: Number.POSITIVE_INFINITY });
  const rate = { learningRate: warmupCosine(pcaRate, steps / 10, steps) };
  const optimizer: GradientTransformation<readonly Tensor[], unknown> =
    arm === "osdSgd" ? sgd(rate) : adam(rate);
  return onlineSubspaceDescent(base, { ...shared, pca: { optimizer } });
}

function capturedShare(state: unknown, { blocks }: WindowModelParams): Tensor {
  const { projections } = (state as LowRankState<unknown, Subspaces>).subspaces;
  // In the order of the tree: contract before expand.
  const gradients = [transpose(blocks[0]!.contract), blocks[0]!.expand];
  const shares = projections.map((p, i) => {
    const [all, kept] = [gradients[i]!, matmul(transpose(p), gradients[i]!)];
    return div(sum(mul(kept, kept)), sum(mul(all, all)));
  });
  return stack(shares);
}

async function* trained(arm: TextArm, seed: number, steps: number, chosen: Chosen) {
  const training = trainText({
    model: textModel,
    optimizer: optimizerOf(arm, chosen, steps, seed),
    source: textSource(seed),
    seed,
    steps,
    every: 100,
    ...(arm !== "adam" && {
      observe: (_: WindowModelParams, state: unknown, gradients: WindowModelParams) =>
        capturedShare(state, gradients),
    }),
  });
  const { excess, observed } = yield* training;
  const captured = observed.map((shares) => shares.reduce((a, b) => a + b) / shares.length);
  return { ...NOTHING, excess: excess.at(-1)!, curve: excess, captured };
}

async function* flows(
  seed: number,
  { lengths, duration }: Settings,
): AsyncGenerator<Progress, Metrics, void> {
  const errorsOf = async (rule: PathRule): Promise<number[]> => {
    const errors: number[] = [];
    for (const h of lengths)
      errors.push((await flow({ rule, seed, h, steps: Math.round(4 / h), rank: 8 })).error);
    return errors;
  };
  const errors = await errorsOf("jumping");
  yield { step: 1, of: 6 };
  const errorsPca = await errorsOf("pca");
  const flowLoss: number[] = [];
  for (const rule of ["frozen", "random", "jumping", "pca"] as const) {
    yield { step: 2 + flowLoss.length, of: 6 };
    const { loss } = await flow({ rule, seed, h: 0.1, steps: Math.round(duration / 0.1), rank: 8 });
    flowLoss.push(loss.at(-1)!);
  }
  return { ...NOTHING, errors, errorsPca, flowLoss };
}

async function* cost(seed: number, side: number): AsyncGenerator<Progress, Metrics, void> {
  yield { step: 0, of: 1 };
  const times = await updateTimes(seed, side, 32);

  const params = textModel.init(random.key(seed));
  const others = params.embedding.size + params.output.size;
  const [n, m, k] = [64, 128, 8];
  // Numbers of float32, with the counters: Adam has two, GaLore one more, the optimizer of P two more.
  const formulas = {
    osd: 2 * (2 * k * m + 3 * k * n) + 2 * others + 5,
    galore: 2 * (2 * k * m + k * n) + 2 * others + 3,
    adam: 2 * 2 * n * m + 2 * others + 2,
  };
  const bytesOff = (["osd", "galore", "adam"] as const).map((arm) => {
    const chosen = { rank: k, learningRate: 0.01, ...(arm === "galore" && { gap: 200 }), pcaRate: 0.01 };
    return stateBytes(optimizerOf(arm, chosen, 1000, seed).init(params)) - 4 * formulas[arm];
  });
  return { ...NOTHING, ...times, bytesOff };
}

async function* run({
  arm,
  seed,
  settings: s,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  if (arm === "flow") return yield* flows(seed, s);
  if (arm === "cost") return yield* cost(seed, s.side);
  return yield* trained(arm, seed, s.steps, hyperparameters as unknown as Chosen);
}

const below = (
  id: string,
  of: string,
  better: TextArm,
  worse: TextArm,
  statement: string,
): ComparisonClaim<Arm, "excess"> => ({
  kind: "comparison",
  id,
  of,
  statement,
  metric: "excess",
  better,
  worse,
  goal: "minimize",
});

const atEnd = (
  id: string,
  of: string,
  at: number,
  statement: string,
  pass: { min?: number; max?: number },
): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id,
  of,
  statement,
  quantity: "loss at the end over that at the start",
  arms: ["flow"],
  perSeed: ({ flow: { flowLoss } }) => flowLoss[at]!,
  pass,
});

const faster = (
  id: string,
  statement: string,
  quantity: string,
  ratio: (times: UpdateTimes) => number,
  max: number,
): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id,
  of: "no-svd-overhead",
  statement,
  quantity,
  modes: ["full"],
  arms: ["cost"],
  perSeed: ({ cost }) => ratio(cost),
  pass: { max },
});

const RULE = "any-projection-rule-converges";
const GALORE = "lower-perplexity-than-galore";

export default defineExperiment({
  settings,
  seeds: { full: 8, quick: 2 },
  arms,
  run,
  tuning: {
    metric: "excess",
    goal: "minimize",
    budget: { full: 16, quick: 1 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    below(
      "below-galore",
      GALORE,
      "osd",
      "galore",
      "Rank 8: the excess loss is below GaLore's (paired, p ≤ .05)",
    ),
    below(
      "below-galore-rank-4",
      GALORE,
      "osd4",
      "galore4",
      "Rank 4: the excess loss is below GaLore's (paired, p ≤ .05)",
    ),
    below(
      "below-galore-rank-16",
      GALORE,
      "osd16",
      "galore16",
      "Rank 16: the excess loss is below GaLore's (paired, p ≤ .05)",
    ),
    below(
      "below-random",
      GALORE,
      "osd",
      "random",
      "Rank 8: the excess loss is below that of random subspaces (paired, p ≤ .05)",
    ),
    below(
      "below-frozen",
      GALORE,
      "osd",
      "frozen",
      "Rank 8: the excess loss is below that of a fixed subspace (paired, p ≤ .05)",
    ),
    below(
      "sgd-below-frozen",
      GALORE,
      "osdSgd",
      "frozen",
      "Rank 8, P moved by SGD: the excess loss is below that of a fixed subspace (paired, p ≤ .05)",
    ),
    below(
      "rank-8-below-4",
      RULE,
      "osd",
      "osd4",
      "The gap to full rank shrinks from rank 4 to 8 (paired, p ≤ .05)",
    ),
    below(
      "rank-16-below-8",
      RULE,
      "osd16",
      "osd",
      "The gap to full rank shrinks from rank 8 to 16 (paired, p ≤ .05)",
    ),
    faster(
      "pca-faster-than-svd",
      "A projection's whole step of online PCA (gradient, Adam and update; n = m = 512, k = 32) takes at most a tenth of the time of all eigenvectors of GGᵀ by Jacobi rotations inside the graph, each the median of three",
      "time of a PCA step over that of a decomposition",
      ({ pcaTime, svdTime }) => pcaTime / svdTime,
      0.1,
    ),
    faster(
      "pca-faster-than-iteration",
      "It takes less time than nearly the same leading vectors by two rounds of subspace iteration",
      "time of a PCA step over that of a subspace iteration",
      ({ pcaTime, iterationTime }) => pcaTime / iterationTime,
      1,
    ),
    faster(
      "pca-faster-than-shared-svd",
      "200 steps of online PCA take less time than the one decomposition by Jacobi rotations that GaLore makes in that time",
      "time of 200 PCA steps over that of a decomposition",
      ({ pcaTime, svdTime }) => (200 * pcaTime) / svdTime,
      1,
    ),
    faster(
      "pca-faster-than-shared-iteration",
      "200 steps of online PCA take less time than one subspace iteration",
      "time of 200 PCA steps over that of a subspace iteration",
      ({ pcaTime, iterationTime }) => (200 * pcaTime) / iterationTime,
      1,
    ),
    {
      kind: "deterministic",
      id: "memory",
      of: "memory",
      statement:
        "For n×m matrices the state has 2km + 3kn numbers (2km of moments, kn of P, 2kn of its Adam), GaLore's 2km + kn, Adam's 2nm",
      arm: "cost",
      metric: "bytesOff",
      expected: 0,
      tolerance: 0,
    },
    {
      kind: "scaling",
      id: "energy-law-random",
      of: RULE,
      statement:
        "Random subspaces anew at every step: a step's change of energy departs from -a‖M‖² by the order of the step squared",
      arm: "flow",
      x: settings.full.lengths,
      y: "errors",
      slope: { min: 1.7, max: 2.3 },
      modes: ["full"],
    },
    {
      kind: "scaling",
      id: "energy-law-pca",
      of: RULE,
      statement: "Online PCA: a step's change of energy departs from -a‖M‖² by the order of the step squared",
      arm: "flow",
      x: settings.full.lengths,
      y: "errorsPca",
      slope: { min: 1.7, max: 2.3 },
      modes: ["full"],
    },
    atEnd("pca-converges", RULE, 3, "Least squares under online PCA: the loss falls below 5% of its start", {
      max: 0.05,
    }),
    atEnd(
      "random-converges",
      RULE,
      1,
      "Least squares under random subspaces, each kept for five units of time: the loss falls below 5% of its start",
      { max: 0.05 },
    ),
    atEnd(
      "jumping-converges",
      RULE,
      2,
      "Least squares under random subspaces anew at every step: the loss falls below 5% of its start",
      { max: 0.05 },
    ),
    atEnd(
      "frozen-stalls",
      RULE,
      0,
      "Least squares in one fixed subspace: the loss stays above 20% of its start, as the range condition has it",
      { min: 0.2 },
    ),
  ],
  figure: ({ Plot, units, mode, arms: named }) => {
    const shown = ["adam", "frozen", "random", "galore", "osd", "osdSgd"];
    const labelOf = (arm: string): string => named.find(({ name }) => name === arm)!.label;
    const curves = (metric: "curve" | "captured") =>
      shown.flatMap((arm) => {
        const runs = units.filter((unit) => unit.arm === arm).map(({ metrics }) => metrics[metric]);
        return (runs[0] ?? []).map((_, i) => ({
          arm: labelOf(arm),
          step: (i + 1) * 100,
          value: runs.reduce((total, curve) => total + curve[i]!, 0) / runs.length,
        }));
      });
    const figureOf = (
      metric: "curve" | "captured",
      title: string,
      label: string,
      type: "log" | "linear",
    ) => ({
      title,
      options: {
        width: 640,
        height: 340,
        marginLeft: 60,
        color: { legend: true, domain: shown.map(labelOf) },
        x: { label: "step", domain: [0, settings[mode].steps] },
        y: { label, type, grid: true },
        marks: [Plot.line(curves(metric), { x: "step", y: "value", stroke: "arm" })],
      },
    });
    return [
      figureOf("curve", "Excess loss at rank 8", "nats a token over the entropy", "log"),
      figureOf("captured", "Share of the gradient's squared norm in the subspace", "‖PᵀḠ‖²", "linear"),
    ];
  },
});
