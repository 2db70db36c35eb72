import {
  add,
  concat,
  div,
  matmul,
  mul,
  random,
  reshape,
  sqrt,
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
  type AdamState,
  adam,
  type CountState,
  type GradientTransformation,
  type Schedule,
  stateBytes,
  warmupCosine,
} from "@prior-art/toolkit/optim";
import { quantile } from "@prior-art/toolkit/stats";
import { blockMatrices, type TextModel, textModel, textSource, trainText } from "../markovText.ts";
import { loraModel } from "./lora.ts";
import {
  type FiraDirectionOptions,
  type FiraState,
  fira,
  galore,
  scalingFactors,
  scalingSimilarity,
} from "./method.ts";

interface Settings {
  readonly steps: number;
}
const settings: Record<"full" | "quick", Settings> = { full: { steps: 1000 }, quick: { steps: 200 } };

/** Steps between projections, of GaLore and Fira alike. */
const GAP = 50;
/** Steps between looks at the factors, none of which falls on a new projection, made from the gradient that is looked at. */
const LOOK = 49;
const space = { learningRate: [0.005, 0.01, 0.02, 0.04, 0.08] };

const arms = {
  adam: { label: "Adam, full rank", space },
  galore2: { label: "GaLore, r = 2", space, fixed: { rank: 2 } },
  galore4: { label: "GaLore, r = 4", space, fixed: { rank: 4 } },
  galore8: { label: "GaLore, r = 8", space, fixed: { rank: 8 } },
  lora2: { label: "LoRA, r = 2", space, fixed: { rank: 2 } },
  lora4: { label: "LoRA, r = 4", space, fixed: { rank: 4 } },
  lora8: { label: "LoRA, r = 8", space, fixed: { rank: 8 } },
  fira2: { label: "Fira, r = 2", space, fixed: { rank: 2 } },
  fira4: { label: "Fira, r = 4", space, fixed: { rank: 4 } },
  fira8: { label: "Fira, r = 8", space, fixed: { rank: 8 } },
  noScaling: { label: "Fira without scaling, r = 4", space, fixed: { rank: 4 } },
  noLimiter: { label: "Fira without limiter, r = 4", space, fixed: { rank: 4 } },
  matrix: { label: "Fira, one factor a matrix, r = 4", space, fixed: { rank: 4 } },
  factors: { label: "scaling factors and memory" },
} as const;
type Arm = keyof typeof arms;
type TextArm = Exclude<Arm, "factors">;

/** Every unit has these; what it doesn't measure is empty or 0. */
type Metrics = {
  /** Nats a token over the source's entropy after training. */
  readonly excess: number;
  /** The same along the way. */
  readonly curve: readonly number[];
  /** Steps after the warm-up at which the batches' loss rises by more than three robust deviations of its changes. */
  readonly jumps: number;
  /** The largest rise, in nats. */
  readonly largestJump: number;
  /** Means over both matrices and the training of the similarity of factors at rank 4 and at full rank. */
  readonly cosine: number;
  /** What the cosine would be with the columns in random order. */
  readonly chance: number;
  readonly spearman: number;
  /** Factors at the end, one row for each rank. */
  readonly factors: readonly (readonly number[])[];
  /** Bytes of Fira's state at ranks 2, 4 and 8 less those of the formula. */
  readonly bytesOff: readonly number[];
};

const NOTHING: Metrics = {
  excess: 0,
  curve: [],
  jumps: 0,
  largestJump: 0,
  cosine: 0,
  chance: 0,
  spearman: 0,
  factors: [],
  bytesOff: [],
};

const rateOf = (learningRate: number, steps: number): Schedule =>
  warmupCosine(learningRate, steps / 10, steps);
const firaOptions = (rank: number): FiraDirectionOptions => ({
  rank,
  scale: 1,
  updateGap: GAP,
  select: blockMatrices,
});

const ABLATIONS: Readonly<Record<string, Partial<FiraDirectionOptions>>> = {
  noScaling: { granularity: "none" },
  noLimiter: { limiter: Number.POSITIVE_INFINITY },
  matrix: { granularity: "matrix" },
};

type Training = AsyncGenerator<
  Progress,
  { readonly excess: readonly number[]; readonly losses: readonly number[] },
  void
>;

async function trainingOf(
  arm: TextArm,
  seed: number,
  steps: number,
  rate: number,
  rank: number,
): Promise<Training> {
  const learningRate = rateOf(rate, steps);
  const start = <P, S>(model: TextModel<P>, optimizer: GradientTransformation<P, S>): Training =>
    trainText({ model, optimizer, source: textSource(seed), seed, steps, every: 100 });
  if (arm.startsWith("lora")) return start(await loraModel(seed, rank), adam({ learningRate }));
  if (arm === "adam") return start(textModel, adam({ learningRate }));
  if (arm.startsWith("galore")) {
    const { updateGap, ...options } = firaOptions(rank);
    return start(
      textModel,
      galore(adam<WindowModelParams>({ learningRate }), { ...options, updateGap: GAP }),
    );
  }
  return start(textModel, fira({ ...firaOptions(rank), ...ABLATIONS[arm], learningRate }));
}

/** Rises of the batches' loss after the warm-up. */
function jumpsOf(losses: readonly number[]): Pick<Metrics, "jumps" | "largestJump"> {
  const changes = losses.slice(losses.length / 10).flatMap((l, i, all) => (i === 0 ? [] : [l - all[i - 1]!]));
  const centre = quantile(changes, 0.5);
  const deviation =
    1.4826 *
    quantile(
      changes.map((c) => Math.abs(c - centre)),
      0.5,
    );
  return { jumps: changes.filter((c) => c > 3 * deviation).length, largestJump: Math.max(...changes) };
}

async function* trained(arm: TextArm, seed: number, steps: number, rate: number, rank: number) {
  const { excess, losses } = yield* await trainingOf(arm, seed, steps, rate, rank);
  return { ...NOTHING, excess: excess.at(-1)!, curve: excess, ...jumpsOf(losses) };
}

type Block = WindowModelParams["blocks"][number];

/** The block's gradients or moments of full rank, the shorter side first, in the order of the tree. */
const sides = ({ blocks }: { readonly blocks: readonly Block[] }): readonly Tensor[] => [
  transpose(blocks[0]!.contract),
  blocks[0]!.expand,
];

const columns = (compact: readonly Tensor[], mean: readonly Tensor[], square: readonly Tensor[]): Tensor =>
  concat(
    compact.map((r, i) =>
      reshape(scalingFactors(r, div(mean[i]!, add(sqrt(square[i]!), 1e-6))), [r.shape[1]!]),
    ),
  );

/** Trains at full rank and at rank 4 on the same text, and compares the columns' factors along the way. */
async function* factorsOf(seed: number, steps: number): AsyncGenerator<Progress, Metrics, void> {
  const learningRate = rateOf(0.02, steps);
  const shared = { model: textModel, source: textSource(seed), seed, steps, every: LOOK };
  type Full = readonly [AdamState<WindowModelParams>, CountState];
  const full = adam<WindowModelParams>({ learningRate });
  const fullRank = yield* trainText<WindowModelParams, Full>({
    ...shared,
    optimizer: full,
    observe: (params, state, gradients) => {
      const [{ mean, square }] = full.update(gradients, state, params)[1];
      // The toolkit's moments lack the factors 1 - β.
      const [means, squares] = [sides(mean).map((m) => mul(0.1, m)), sides(square).map((v) => mul(0.001, v))];
      return columns(sides(gradients), means, squares);
    },
  });
  type Low = readonly [FiraState<WindowModelParams>, null, CountState];
  const low = fira<WindowModelParams>({ ...firaOptions(4), learningRate });
  const lowRank = yield* trainText<WindowModelParams, Low>({
    ...shared,
    optimizer: low,
    observe: (params, state, gradients) => {
      const [{ base, subspaces }] = low.update(gradients, state, params)[1];
      const compact = sides(gradients).map((g, i) => matmul(transpose(subspaces.projections[i]!), g));
      return columns(compact, sides(base.mean), sides(base.square));
    },
  });
  const similar = lowRank.observed.flatMap((factors, t) => {
    const half = factors.length / 2;
    return [0, half].map((from) =>
      scalingSimilarity(factors.slice(from, from + half), fullRank.observed[t]!.slice(from, from + half)),
    );
  });
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b) / values.length;

  const params = textModel.init(random.key(seed));
  const others = params.embedding.size + params.output.size;
  const bytesOff = [2, 4, 8].map((r) => {
    const state = fira<WindowModelParams>({ ...firaOptions(r), learningRate }).init(params);
    // Two matrices, two moments of everything else, and two counters, in float32.
    return stateBytes(state) - 4 * (2 * (64 * r + 2 * r * 128 + 1) + 2 * others + 2);
  });
  return {
    ...NOTHING,
    cosine: mean(similar.map((s) => s.cosine)),
    chance: mean(similar.map((s) => s.chance)),
    spearman: mean(similar.map((s) => s.spearman)),
    factors: [lowRank.observed.at(-1)!, fullRank.observed.at(-1)!],
    bytesOff,
  };
}

async function* run({
  arm,
  seed,
  settings: { steps },
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  if (arm === "factors") return yield* factorsOf(seed, steps);
  const { learningRate, rank = 0 } = hyperparameters as unknown as { learningRate: number; rank?: number };
  return yield* trained(arm, seed, steps, learningRate, rank);
}

const below = (
  id: string,
  of: string,
  better: TextArm,
  worse: TextArm,
  statement: string,
  metric: "excess" | "jumps" = "excess",
): ComparisonClaim<Arm, "excess" | "jumps"> => ({
  kind: "comparison",
  id,
  of,
  statement,
  metric,
  better,
  worse,
  goal: "minimize",
});

const closed = (rank: 2 | 4 | 8): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id: `half-the-gap-rank-${rank}`,
  of: "beats-low-rank-baselines",
  statement: `Rank ${rank}: at least half of the gap between GaLore and full-rank Adam is closed`,
  quantity: "share of the gap that is closed",
  arms: ["adam", `galore${rank}`, `fira${rank}`],
  perSeed: (by) => {
    const low = by[`galore${rank}`].excess;
    return (low - by[`fira${rank}`].excess) / (low - by.adam.excess);
  },
  pass: { min: 0.5 },
});

const BEATS = "beats-low-rank-baselines";
const LIMITER = "limiter-removes-spikes";
const SIMILAR = "similar-scaling-factors";

export default defineExperiment({
  settings,
  seeds: { full: 8, quick: 2 },
  arms,
  run,
  tuning: { metric: "excess", goal: "minimize", budget: { full: 5, quick: 1 }, seeds: { full: 2, quick: 1 } },
  claims: [
    ...([2, 4, 8] as const).map((r) =>
      below(
        `below-galore-rank-${r}`,
        BEATS,
        `fira${r}`,
        `galore${r}`,
        `Rank ${r}: the excess loss is below GaLore's (paired, p ≤ .05)`,
      ),
    ),
    ...([2, 4, 8] as const).map((r) =>
      below(
        `below-lora-rank-${r}`,
        BEATS,
        `fira${r}`,
        `lora${r}`,
        `Rank ${r}: the excess loss is below LoRA's (paired, p ≤ .05)`,
      ),
    ),
    ...([2, 4, 8] as const).map(closed),
    below(
      "below-adam",
      BEATS,
      "fira8",
      "adam",
      "Rank 8: the excess loss is below full-rank Adam's (paired, p ≤ .05)",
    ),
    below(
      "rank-2-below-galore-rank-8",
      "small-rank-suffices",
      "fira2",
      "galore8",
      "The excess loss at rank 2 is below GaLore's at rank 8 (paired, p ≤ .05)",
    ),
    below(
      "scaling-helps",
      LIMITER,
      "fira4",
      "noScaling",
      "The excess loss is below that without scaling (paired, p ≤ .05)",
    ),
    below(
      "limiter-helps",
      LIMITER,
      "fira4",
      "noLimiter",
      "The excess loss is below that without the limiter (paired, p ≤ .05)",
    ),
    below(
      "fewer-jumps",
      LIMITER,
      "fira4",
      "noLimiter",
      "The batches' loss jumps by more than three robust deviations less often than without the limiter (paired, p ≤ .05)",
      "jumps",
    ),
    below(
      "columns-beat-matrix",
      LIMITER,
      "fira4",
      "matrix",
      "A factor for each column beats one for the matrix (paired, p ≤ .05)",
    ),
    {
      kind: "statistic",
      id: "cosine",
      of: SIMILAR,
      statement: "The mean cosine between the columns' factors at rank 4 and at full rank is above 0.8",
      quantity: "cosine of factors",
      arms: ["factors"],
      perSeed: ({ factors }) => factors.cosine,
      pass: { min: 0.8 },
    },
    {
      kind: "statistic",
      id: "closer-than-chance",
      of: SIMILAR,
      statement:
        "That cosine is at least half of the way from what columns in random order would have to 1 (positive lists have high cosines anyway)",
      quantity: "share of the way from chance to 1",
      arms: ["factors"],
      perSeed: ({ factors: { cosine, chance } }) => (cosine - chance) / (1 - chance),
      pass: { min: 0.5 },
    },
    {
      kind: "statistic",
      id: "order",
      of: SIMILAR,
      statement:
        "The mean rank correlation between the columns' factors at rank 4 and at full rank is above 0.8",
      quantity: "Spearman's correlation of factors",
      arms: ["factors"],
      perSeed: ({ factors }) => factors.spearman,
      pass: { min: 0.8 },
    },
    {
      kind: "deterministic",
      id: "memory",
      of: "memory",
      statement: "At ranks 2, 4 and 8 a matrix with sides n ≤ m takes rn + 2rm + 1 numbers of state",
      arm: "factors",
      metric: "bytesOff",
      expected: 0,
      tolerance: 0,
    },
  ],
  figure: ({ Plot, units, mode, arms: named }) => {
    const shown = ["adam", "galore4", "lora4", "fira4", "noScaling", "noLimiter"];
    const labelOf = (arm: string): string => named.find(({ name }) => name === arm)!.label;
    const curves = shown.flatMap((arm) => {
      const runs = units.filter((unit) => unit.arm === arm).map(({ metrics }) => metrics.curve);
      return (runs[0] ?? []).map((_, i) => ({
        arm: labelOf(arm),
        step: (i + 1) * 100,
        excess: runs.reduce((total, curve) => total + curve[i]!, 0) / runs.length,
      }));
    });
    const [low, full] = units.find(({ arm }) => arm === "factors")?.metrics.factors ?? [[], []];
    const points = (low ?? []).map((factor, j) => ({
      low: factor,
      full: full![j]!,
      matrix: j < 128 ? "contract" : "expand",
    }));
    return [
      {
        title: "Excess loss at rank 4",
        options: {
          width: 640,
          height: 340,
          marginLeft: 60,
          color: { legend: true, domain: shown.map(labelOf) },
          x: { label: "step", domain: [0, settings[mode].steps] },
          y: { label: "nats a token over the entropy", type: "log", grid: true },
          marks: [Plot.line(curves, { x: "step", y: "excess", stroke: "arm" })],
        },
      },
      {
        title: "Scaling factors of the columns at the end of training",
        options: {
          width: 460,
          height: 400,
          marginLeft: 60,
          color: { legend: true },
          x: { label: "at full rank", type: "log" },
          y: { label: "at rank 4", type: "log" },
          marks: [Plot.dot(points, { x: "full", y: "low", stroke: "matrix", r: 2 })],
        },
      },
    ];
  },
});
