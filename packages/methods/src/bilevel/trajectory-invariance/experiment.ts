import { add, div, maximum, minimum, mul, sqrt, sub, sum, type Tensor, treeLeaves } from "@prior-art/tensor";
import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import type { WindowModelParams } from "@prior-art/toolkit/lm";
import {
  addDecayedWeights,
  chain,
  clipByGlobalNorm,
  globalNorm,
  scaleByAdam,
  scaleByLearningRate,
} from "@prior-art/toolkit/optim";
import { mean, randomStream } from "@prior-art/toolkit/stats";
import { blockMeans, column, lossesOn, markovText, type TextStep, trainSideBySide } from "../markovText.ts";
import {
  invarianceScores,
  predictEquilibrium,
  type Run,
  trajectoryGrid,
  tuneAlongSalientDirection,
} from "./method.ts";

const BETA1 = 0.9;
const WARM_UP = 50;
const BATCH = 64;
/** Steps that a point of a curve is the mean of. */
const BLOCK = 10;
/** The window in which the rate alone should count. */
const EARLY = 150;

interface Settings {
  readonly etas: readonly number[];
  readonly gammas: readonly number[];
  readonly steps: number;
  readonly chunk: number;
}

type Metrics = {
  readonly etas: readonly number[];
  readonly gammas: readonly number[];
  /** By run and block of steps: excess over the source's entropy rate, gradient norm, gradient noise over squared norm. */
  readonly loss: readonly (readonly number[])[];
  /** S_γ of the last quarter and S_η of the first 150 steps, for the loss, the gradient's norm and its noise (both as logarithms). */
  readonly late: readonly number[];
  readonly early: readonly number[];
  /** The block after which runs of one γ are closer than runs of one η for good, by γ: see `crossovers`. */
  readonly crossover: readonly number[];
  /** Angle by which a step turns the hidden matrices, last quarter, over the law's, by run. */
  readonly angles: readonly number[];
  /** Over √(2γ), the law without momentum. */
  readonly plainAngles: readonly number[];
  /** Held-out excess loss at the end, by run. */
  readonly final: readonly number[];
  /** Mean of the final losses of the best of three runs: a sweep along γ at one η, and random search on the grid. */
  readonly sweep: number;
  /** The sweep's result at each η. */
  readonly sweeps: readonly number[];
  readonly random: number;
  readonly best: number;
};

const hidden = (params: WindowModelParams): Tensor[] =>
  params.blocks.flatMap(({ expand, contract }) => [expand, contract]);

/** Mean over the hidden matrices of the angle between them before and after the step. */
function angle({ before, after }: TextStep): Tensor {
  const pairs = hidden(before).map((w, i) => [w, hidden(after)[i]!] as const);
  const angles = pairs.map(([w, next]) => {
    const [squares, nextSquares] = [sum(mul(w, w)), sum(mul(next, next))];
    // The part of the step across w, which keeps its digits for small angles.
    const step = sub(next, w);
    const along = div(sum(mul(step, w)), squares);
    const across = maximum(sub(sum(mul(step, step)), mul(squares, mul(along, along))), 0);
    return sqrt(div(across, nextSquares));
  });
  return div(
    angles.reduce((a, b) => add(a, b)),
    angles.length,
  );
}

function measure(step: TextStep): { angle: Tensor; norm: Tensor; noise: Tensor } {
  const [g1, g2] = step.halves!;
  const others = treeLeaves(g2);
  const squares = treeLeaves(g1)
    .map((g, i) => sub(g, others[i]!))
    .map((gap) => sum(mul(gap, gap)))
    .reduce((a, b) => add(a, b));
  const norm = globalNorm(step.gradient);
  return { angle: angle(step), norm, noise: mul(0.5 * (BATCH / 2), squares) };
}

async function* run({
  seed,
  settings,
}: RunContext<"adamw", Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { etas, gammas, steps, chunk } = settings;
  const text = markovText({ vocabulary: 32, context: 4, width: 32 });
  const pairs = etas.flatMap((eta) => gammas.map((gamma) => [eta, gamma / eta] as const));
  const hyperparameters = {
    eta: column(pairs.map(([eta]) => eta)),
    lambda: column(pairs.map(([, lambda]) => lambda)),
  };
  const curves = {
    loss: pairs.map((): number[] => []),
    norm: pairs.map((): number[] => []),
    noise: pairs.map((): number[] => []),
    angle: pairs.map((): number[] => []),
  };
  let final: number[] = [];
  for await (const { step, params, losses, measured } of trainSideBySide({
    text,
    hyperparameters,
    optimizer: ({ eta, lambda }) =>
      chain(
        clipByGlobalNorm<WindowModelParams>(1),
        scaleByAdam<WindowModelParams>({ betas: [BETA1, 0.95] }),
        addDecayedWeights<WindowModelParams>(lambda),
        scaleByLearningRate<WindowModelParams>((t) => mul(eta, minimum(div(add(t, 1), WARM_UP), 1))),
      ),
    batch: BATCH,
    chunk,
    chunks: steps / chunk,
    seed,
    halves: true,
    measure,
  })) {
    const blocks = {
      loss: await blockMeans(losses, BLOCK),
      norm: await blockMeans(measured!.norm, BLOCK),
      noise: await blockMeans(measured!.noise, BLOCK),
      angle: await blockMeans(measured!.angle, BLOCK),
    };
    for (const name of ["loss", "norm", "noise", "angle"] as const)
      blocks[name].forEach((values, i) => {
        curves[name][i]!.push(...values);
      });
    yield {
      step,
      of: steps,
      metrics: { loss: mean(blocks.loss.map((values) => values.at(-1)!)) - text.entropyRate },
    };
    if (step === steps) {
      const held = text.sample(16_384, randomStream(seed, "held-out text"));
      final = (await lossesOn(text, params, held)).map((loss) => loss - text.entropyRate);
    }
  }
  const excess = curves.loss.map((values) => values.map((loss) => loss - text.entropyRate));
  const logs = (values: readonly (readonly number[])[]) => values.map((curve) => curve.map(Math.log));
  const grid = (curve: readonly (readonly number[])[]): Promise<Run[]> =>
    trajectoryGrid({ etas, lambdas: (eta) => gammas.map((gamma) => gamma / eta), train: () => curve });
  const three = [
    await grid(excess),
    await grid(logs(curves.norm)),
    await grid(
      logs(curves.noise.map((values, i) => values.map((noise, t) => noise / curves.norm[i]![t]! ** 2))),
    ),
  ];
  const blocks = steps / BLOCK;
  const scores = (from: number, to: number) => three.map((runs) => invarianceScores(runs, [from, to]));
  const lateMean = (values: readonly number[]): number => mean(values.slice(Math.floor(0.75 * blocks)));
  const lossOf = (pair: { readonly learningRate: number; readonly weightDecay: number }): number =>
    final[pairs.findIndex(([eta, lambda]) => eta === pair.learningRate && lambda === pair.weightDecay)]!;
  const sweeps: number[] = [];
  for (const learningRate of etas)
    sweeps.push((await tuneAlongSalientDirection({ gammas, learningRate, train: lossOf })).loss);
  return {
    etas: pairs.map(([eta]) => eta),
    gammas: pairs.map(([eta, lambda]) => eta * lambda),
    loss: excess,
    late: scores(Math.floor(0.75 * blocks), blocks).map(({ gamma }) => gamma),
    early: scores(0, EARLY / BLOCK).map(({ eta }) => eta),
    crossover: crossovers(three[0]!, gammas),
    angles: pairs.map(
      ([eta, lambda], i) =>
        lateMean(curves.angle[i]!) /
        predictEquilibrium({
          learningRate: eta,
          weightDecay: lambda,
          updateRms: 1,
          dim: 1,
          initialNorm: 1,
          momentum: BETA1,
        }).limitAngularStep,
    ),
    plainAngles: pairs.map(([eta, lambda], i) => lateMean(curves.angle[i]!) / Math.sqrt(2 * eta * lambda)),
    final,
    sweep: sweeps[Math.floor(etas.length / 2)]!,
    sweeps,
    random: bestOfThree(final),
    best: Math.min(...final),
  };
}

/**
 * For each pair of neighbouring γ, the step from which runs of one γ (either) are closer than runs of one η between the two, in
 * means over 100 steps; the length of the runs where that never happens.
 */
function crossovers(runs: readonly Run[], gammas: readonly number[]): number[] {
  const wide = 100 / BLOCK;
  return gammas.slice(1).map((_, k) => {
    const both = runs.filter(({ learningRate, weightDecay }) =>
      [gammas[k]!, gammas[k + 1]!].some((gamma) => Math.abs((learningRate * weightDecay) / gamma - 1) < 1e-6),
    );
    const length = both[0]!.curve.length;
    let from = length;
    while (from >= wide && invarianceScores(both, [from - wide, from]).gamma < 1) from -= wide;
    return from * BLOCK;
  });
}

/** Expected least of three different values drawn at random. */
function bestOfThree(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  if (n < 3) return sorted[0]!;
  const triples = (n * (n - 1) * (n - 2)) / 6;
  return sorted.reduce((total, value, i) => total + (value * ((n - 1 - i) * (n - 2 - i))) / 2 / triples, 0);
}

const spread = (values: readonly number[]): number => {
  const center = mean(values);
  return Math.sqrt(values.reduce((total, value) => total + (value - center) ** 2, 0) / (values.length - 1));
};

const NAMES = ["loss", "gradient norm", "gradient noise"] as const;
const PAPER = ["same-product-curves-overlap", "gradient-statistics-too", "gradient-statistics-too"] as const;

export default defineExperiment({
  settings: {
    full: {
      etas: [2 ** -10, 2 ** -9, 2 ** -8, 2 ** -7],
      gammas: [2.5e-4, 1e-3, 4e-3],
      steps: 4000,
      chunk: 500,
    },
    quick: { etas: [2 ** -9, 2 ** -8], gammas: [1e-3, 4e-3], steps: 1000, chunk: 500 },
  },
  seeds: { full: 5, quick: 1 },
  arms: { adamw: { label: "AdamW" } },
  run,
  claims: [
    ...NAMES.map((name, k) => ({
      kind: "statistic" as const,
      id: `late-${name.replace(" ", "-")}`,
      of: PAPER[k]!,
      statement: `Last quarter: curves of the ${name} that share γ are less than half as far apart as those that share η`,
      quantity: "S_γ: distance at one γ over distance at one η",
      perSeed: ({ adamw: { late } }: { readonly adamw: Metrics }) => late[k]!,
      pass: { max: 0.5 },
      modes: ["full" as const],
    })),
    ...NAMES.map((name, k) => ({
      kind: "statistic" as const,
      id: `early-${name.replace(" ", "-")}`,
      of: k === 0 ? "early-rate-only" : "gradient-statistics-too",
      statement: `First 150 steps: curves of the ${name} that share η are closer than those that share γ`,
      quantity: "S_η: distance at one η over distance at one γ",
      perSeed: ({ adamw: { early } }: { readonly adamw: Metrics }) => early[k]!,
      pass: { max: 1 },
      modes: ["full" as const],
    })),
    {
      kind: "statistic",
      id: "crossover-later",
      of: "early-rate-only",
      statement: "The change from one regime to the other comes later for smaller γ",
      quantity: "step of the crossover between the two larger γ minus that between the two smaller",
      perSeed: ({ adamw: { crossover } }) => crossover[1]! - crossover[0]!,
      pass: { max: -1 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "angular-step",
      of: "same-product-curves-overlap",
      statement:
        "In equilibrium a step turns the hidden matrices by √(2γ(1 − β₁)/(1 + β₁)), a function of γ alone, within 25% for γ ≥ 1e-3",
      quantity: "largest |measured/predicted − 1|",
      perSeed: ({ adamw: { gammas, angles } }) =>
        Math.max(...angles.filter((_, i) => gammas[i]! > 0.9e-3).map((ratio) => Math.abs(ratio - 1))),
      pass: { max: 0.25 },
    },
    {
      kind: "statistic",
      id: "sweep-near-grid",
      of: "one-dimensional-sweep",
      statement:
        "The best of a sweep of three γ at one η is within one standard deviation over seeds of the best of all twelve runs",
      quantity: "loss above the grid's best, in standard deviations",
      acrossSeeds: (seeds) =>
        (mean(seeds.map(({ adamw }) => adamw.sweep)) - mean(seeds.map(({ adamw }) => adamw.best))) /
        spread(seeds.map(({ adamw }) => adamw.best)),
      pass: { max: 1 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "sweep-below-random",
      of: "one-dimensional-sweep",
      statement: "and below what three random runs of the grid are expected to reach",
      quantity: "loss of the sweep minus that of random search",
      perSeed: ({ adamw: { sweep, random } }) => sweep - random,
      pass: { max: 0 },
      modes: ["full"],
    },
  ],
  figure: ({ Plot, units }) => {
    const { metrics } = units.find((unit) => unit.seed === 0)!;
    const label = (value: number): string => `2^${Math.round(Math.log2(value))}`;
    const points = metrics.loss.flatMap((curve, i) =>
      curve.map((loss, t) => ({
        run: i,
        step: (t + 0.5) * BLOCK,
        loss,
        eta: label(metrics.etas[i]!),
        gamma: metrics.gammas[i]!.toExponential(1),
      })),
    );
    const last = (metrics.loss[0]?.length ?? 0) * BLOCK;
    const smooth = metrics.loss.flatMap((curve, i) =>
      Array.from({ length: Math.floor(curve.length / 10) }, (_, k) => ({
        run: i,
        step: (k + 0.5) * 10 * BLOCK,
        loss: mean(curve.slice(10 * k, 10 * k + 10)),
        gamma: metrics.gammas[i]!.toExponential(1),
      })),
    );
    const angles = units.flatMap((unit) =>
      unit.metrics.angles.map((ratio, i) => ({
        gamma: unit.metrics.gammas[i]!,
        angle: unit.metrics.plainAngles[i]! * Math.sqrt(2 * unit.metrics.gammas[i]!),
        predicted: (unit.metrics.plainAngles[i]! * Math.sqrt(2 * unit.metrics.gammas[i]!)) / ratio,
      })),
    );
    const panel = {
      width: 420,
      height: 320,
      y: { label: "excess loss, nats", type: "log" as const, grid: true },
    };
    return [
      {
        title: "Early: coloured by the learning rate",
        options: {
          ...panel,
          x: { label: "step →" },
          color: { legend: true },
          marks: [
            Plot.line(
              points.filter(({ step }) => step <= 2 * EARLY),
              { x: "step", y: "loss", z: "run", stroke: "eta" },
            ),
          ],
        },
      },
      {
        title: "Late: coloured by γ = ηλ",
        options: {
          ...panel,
          x: { label: "step →" },
          color: { legend: true },
          marks: [
            Plot.line(
              smooth.filter(({ step }) => step >= last / 4),
              { x: "step", y: "loss", z: "run", stroke: "gamma" },
            ),
          ],
        },
      },
      {
        title: "Turn of the hidden matrices in a step",
        options: {
          width: 360,
          height: 320,
          x: { label: "γ →", type: "log" as const, grid: true },
          y: { label: "angle", type: "log" as const, grid: true },
          marks: [
            Plot.line(angles, { x: "gamma", y: "predicted", sort: "gamma" }),
            Plot.dot(angles, { x: "gamma", y: "angle" }),
          ],
        },
      },
    ];
  },
});
