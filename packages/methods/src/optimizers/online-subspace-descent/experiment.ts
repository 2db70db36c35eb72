import {
  data,
  div,
  evaluate,
  jit,
  matmul,
  mul,
  random,
  slice,
  stack,
  sum,
  type Tensor,
  transpose,
} from "@prior-art/tensor";
import {
  type ComparisonClaim,
  defineExperiment,
  type Progress,
  type RunContext,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import type { WindowModelParams } from "@prior-art/toolkit/lm";
import {
  adam,
  type GradientTransformation,
  scale,
  scaleByAdam,
  stateBytes,
  warmupCosine,
} from "@prior-art/toolkit/optim";
import { quantile } from "@prior-art/toolkit/stats";
import { type LowRankState, leadingVectors, type Subspaces } from "../lowRank.ts";
import { blockMatrices, textModel, textSource, trainText } from "../markovText.ts";
import { flow, type PathRule } from "./flow.ts";
import { galore, onlinePcaGradient, onlineSubspaceDescent } from "./method.ts";

interface Settings {
  readonly steps: number;
  /** Lengths of the flow's steps, and its duration. */
  readonly lengths: readonly number[];
  readonly duration: number;
  /** Side of the matrix that decompositions are timed on. */
  readonly side: number;
}

const settings: Record<"full" | "quick", Settings> = {
  full: { steps: 1200, lengths: [0.08, 0.04, 0.02, 0.01], duration: 200, side: 256 },
  quick: { steps: 200, lengths: [0.08, 0.04], duration: 20, side: 64 },
};

const RATES = [0.01, 0.02, 0.04, 0.08];
/** Steps between GaLore's projections. */
const GAPS = [30, 75, 200, 600];
const adamPca = { learningRate: RATES, pcaRate: [0.0025, 0.01, 0.04, 0.16] };
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
  osd16: { label: "online subspace descent, k = 16", space: adamPca, fixed: { rank: 16 } },
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
type Metrics = {
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
  /** Milliseconds of the leading vectors of a gradient, and of a step of online PCA. */
  readonly svdTime: number;
  readonly pcaTime: number;
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
  { rank, learningRate, gap, pcaRate = 0 }: Chosen,
  steps: number,
): Optimizer {
  const base = adam<WindowModelParams>({ learningRate: warmupCosine(learningRate, steps / 10, steps) });
  if (arm === "adam") return base;
  const shared = { rank, scale: 1, select: blockMatrices };
  if (gap !== undefined)
    return galore(base, { ...shared, updateGap: gap, projection: arm === "random" ? "random" : "svd" });
  if (arm === "frozen") return galore(base, { ...shared, updateGap: Number.POSITIVE_INFINITY });
  return onlineSubspaceDescent(base, {
    ...shared,
    pca: {
      optimizer: arm === "osdSgd" ? scale<readonly Tensor[]>(1) : scaleByAdam<readonly Tensor[]>(),
      learningRate: warmupCosine(pcaRate, steps / 10, steps),
    },
  });
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
    optimizer: optimizerOf(arm, chosen, steps),
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

/** Median milliseconds of three runs after a first one. */
async function milliseconds(run: () => Promise<Tensor>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 4; i++) {
    const start = performance.now();
    await data(slice(await run(), [0, 1]));
    times.push(performance.now() - start);
  }
  return quantile(times.slice(1), 0.5);
}

async function* cost(seed: number, side: number): AsyncGenerator<Progress, Metrics, void> {
  const rank = 32;
  const gradient = random.normal(random.key(seed), [side, side]);
  const projection = random.normal(random.fold(random.key(seed), 1), [side, rank]);
  await evaluate({ gradient, projection });
  const [svd, pca] = [
    jit((g: Tensor) => leadingVectors(g, rank)),
    jit((p: Tensor, g: Tensor) => onlinePcaGradient(p, g)),
  ];
  const svdTime = await milliseconds(() => svd(gradient));
  yield { step: 1, of: 2 };
  const pcaTime = await milliseconds(() => pca(projection, gradient));
  await svd.release();
  await pca.release();

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
    return stateBytes(optimizerOf(arm, chosen, 1000).init(params)) - 4 * formulas[arm];
  });
  return { ...NOTHING, svdTime, pcaTime, bytesOff };
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
    {
      kind: "statistic",
      id: "pca-faster-than-svd",
      of: "no-svd-overhead",
      statement:
        "A step of online PCA takes at most a tenth of the time of a decomposition, each the median of three",
      quantity: "time of a PCA step over that of a decomposition",
      modes: ["full"],
      arms: ["cost"],
      perSeed: ({ cost: { svdTime, pcaTime } }) => pcaTime / svdTime,
      pass: { max: 0.1 },
    },
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
