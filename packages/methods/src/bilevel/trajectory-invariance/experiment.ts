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
  crossovers,
  neighbourScores,
  predictEquilibrium,
  type Run,
  trajectoryGrid,
  tuneAlongSalientDirection,
} from "./method.ts";
import { expectedBest } from "./randomSearch.ts";

const BETA1 = 0.9;
const WARM_UP = 50;
const BATCH = 64;
/** Steps that a point of a curve is the mean of. */
const BLOCK = 10;
/** Points that are taken together for crossovers and plots. */
const WIDE = 10;
/** The window in which the rate alone should count. */
const EARLY = 150;
/** The smallest γ that is trained sufficiently: the late window starts after three of its time scales 1/(2γ), 2,000 steps. */
const SUFFICIENT = 2.5e-4;
/** The rate of the sweep: the third. */
const SWEEP = 2;

interface Settings {
  readonly etas: readonly number[];
  readonly gammas: readonly number[];
  readonly steps: number;
  readonly chunk: number;
}

type Metrics = {
  /** By run. */
  readonly etas: readonly number[];
  readonly gammas: readonly number[];
  /** Excess over the source's entropy rate, by run: blocks of ten steps of the first 300, and means of 100 steps of all. */
  readonly start: readonly (readonly number[])[];
  readonly loss: readonly (readonly number[])[];
  /** Neighbouring γ, smaller and larger, in the order of `late` and `crossover`. */
  readonly pairs: readonly (readonly number[])[];
  /** S_γ of the last quarter by pair of γ, and S_η of the first 150 steps by pair of η, for the loss, the gradient's norm and its noise. */
  readonly late: readonly (readonly number[])[];
  readonly early: readonly (readonly number[])[];
  /** The loss's two mean distances in the last quarter, at one γ and at one η, by pair. */
  readonly lateDistances: readonly (readonly number[])[];
  /** The step after which runs of one γ are closer than runs of one η for good, by pair. */
  readonly crossover: readonly number[];
  /** Angle by which a step turns the hidden matrices, last quarter, by run, and the law's, 0 without decay. */
  readonly angles: readonly number[];
  readonly lawAngles: readonly number[];
  /** Held-out excess loss at the end, by run. */
  readonly final: readonly number[];
  /** The best of a sweep along γ at each η, and what as many runs of random search on the grid are expected to reach. */
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
  const lateFrom = Math.floor(0.75 * blocks);
  const late = three.map((runs) => neighbourScores(runs, "gamma", [lateFrom, blocks]));
  const early = three.map((runs) => neighbourScores(runs, "eta", [0, EARLY / BLOCK]));
  const lossOf = (pair: { readonly learningRate: number; readonly weightDecay: number }): number =>
    final[pairs.findIndex(([eta, lambda]) => eta === pair.learningRate && lambda === pair.weightDecay)]!;
  const sweeps: number[] = [];
  for (const learningRate of etas)
    sweeps.push((await tuneAlongSalientDirection({ gammas, learningRate, train: lossOf })).loss);
  return {
    etas: pairs.map(([eta]) => eta),
    gammas: pairs.map(([eta, lambda]) => eta * lambda),
    start: excess.map((values) => values.slice(0, (2 * EARLY) / BLOCK)),
    loss: excess.map((values) => meansOf(values, WIDE)),
    pairs: gammas.slice(1).map((gamma, k) => [gammas[k]!, gamma]),
    late: late.map((scores) => scores.map(({ gamma }) => gamma)),
    early: early.map((scores) => scores.map(({ eta }) => eta)),
    lateDistances: late[0]!.map(({ sameGamma, sameEta }) => [sameGamma, sameEta]),
    crossover: crossovers(three[0]!, WIDE).map((block) => block * BLOCK),
    angles: curves.angle.map((values) => mean(values.slice(lateFrom))),
    lawAngles: pairs.map(
      ([eta, lambda]) =>
        predictEquilibrium({
          learningRate: eta,
          weightDecay: lambda,
          updateRms: 1,
          dim: 1,
          initialNorm: 1,
          momentum: BETA1,
        }).limitAngularStep,
    ),
    final,
    sweeps,
    random: expectedBest(final, gammas.length),
    best: Math.min(...final),
  };
}

const meansOf = (values: readonly number[], size: number): number[] =>
  Array.from({ length: Math.floor(values.length / size) }, (_, k) =>
    mean(values.slice(k * size, (k + 1) * size)),
  );

const spread = (values: readonly number[]): number => {
  const center = mean(values);
  return Math.sqrt(values.reduce((total, value) => total + (value - center) ** 2, 0) / (values.length - 1));
};

/** Mean loss of the sweep above the grid's best at each η, in standard deviations of the best over seeds. */
const aboveBest = (seeds: readonly Metrics[]): number[] => {
  const best = seeds.map((metrics) => metrics.best);
  return seeds[0]!.sweeps.map(
    (_, eta) => (mean(seeds.map(({ sweeps }) => sweeps[eta]!)) - mean(best)) / spread(best),
  );
};

const NAMES = ["loss", "gradient norm", "gradient noise"] as const;
const PAPER = ["same-product-curves-overlap", "gradient-statistics-too", "gradient-statistics-too"] as const;

export default defineExperiment({
  settings: {
    full: {
      etas: [2 ** -10, 2 ** -9, 2 ** -8, 2 ** -7],
      gammas: [0, 6.25e-5, 2.5e-4, 1e-3, 4e-3],
      steps: 8000,
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
      statement: `Last quarter, every two neighbouring γ of at least 2.5e-4: curves of the ${name} that share γ are less than half as far apart as those of the two γ at one η`,
      quantity: "S_γ of the worst pair: distance at one γ over distance at one η",
      perSeed: ({ adamw: { pairs, late } }: { readonly adamw: Metrics }) =>
        Math.max(...late[k]!.filter((_, pair) => pairs[pair]![0]! >= SUFFICIENT)),
      pass: { max: 0.5 },
      modes: ["full" as const],
    })),
    ...NAMES.map((name, k) => ({
      kind: "statistic" as const,
      id: `early-${name.replace(" ", "-")}`,
      of: k === 0 ? "early-rate-only" : "gradient-statistics-too",
      statement: `First 150 steps, every two neighbouring η: curves of the ${name} that share η are closer than those of the two η at one γ`,
      quantity: "S_η of the worst pair: distance at one η over distance at one γ",
      perSeed: ({ adamw: { early } }: { readonly adamw: Metrics }) => Math.max(...early[k]!),
      pass: { max: 1 },
      modes: ["full" as const],
    })),
    {
      kind: "statistic",
      id: "crossover-later",
      of: "early-rate-only",
      statement:
        "The change from one regime to the other comes later for each next smaller pair of neighbouring γ above 0",
      quantity: "step of the crossover minus that of the next smaller pair, the largest",
      perSeed: ({ adamw: { pairs, crossover } }) => {
        const decaying = crossover.filter((_, pair) => pairs[pair]![0]! > 0);
        return Math.max(...decaying.slice(1).map((step, k) => step - decaying[k]!));
      },
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
      perSeed: ({ adamw: { gammas, angles, lawAngles } }) =>
        Math.max(
          ...angles
            .map((angle, i) => Math.abs(angle / lawAngles[i]! - 1))
            .filter((_, i) => gammas[i]! > 0.9e-3),
        ),
      pass: { max: 0.25 },
    },
    {
      kind: "statistic",
      id: "sweep-near-grid",
      of: "one-dimensional-sweep",
      statement:
        "At η = 2⁻⁸, the best of a sweep of five γ is within one standard deviation over seeds of the best of all twenty runs",
      quantity: "loss above the grid's best, in standard deviations",
      acrossSeeds: (seeds) => aboveBest(seeds.map(({ adamw }) => adamw))[SWEEP]!,
      pass: { max: 1 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "sweep-near-grid-any-rate",
      of: "one-dimensional-sweep",
      statement: "and so it is at whichever of the four η the sweep is made",
      quantity: "loss above the grid's best at the worst η, in standard deviations",
      acrossSeeds: (seeds) => Math.max(...aboveBest(seeds.map(({ adamw }) => adamw))),
      pass: { max: 1 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "sweep-below-random",
      of: "one-dimensional-sweep",
      statement: "The sweep at η = 2⁻⁸ ends below what five random runs of the grid are expected to reach",
      quantity: "loss of the sweep minus that of random search",
      perSeed: ({ adamw: { sweeps, random } }) => sweeps[SWEEP]! - random,
      pass: { max: 0 },
      modes: ["full"],
    },
    {
      kind: "statistic",
      id: "sweep-below-random-any-rate",
      of: "one-dimensional-sweep",
      statement: "and so does the sweep at an η drawn at random, on average",
      quantity: "mean loss of the four sweeps minus that of random search",
      perSeed: ({ adamw: { sweeps, random } }) => mean(sweeps) - random,
      pass: { max: 0 },
      modes: ["full"],
    },
  ],
  figure: ({ Plot, units }) => {
    const { metrics } = units.find((unit) => unit.seed === 0)!;
    const etaLabel = (eta: number): string => `2^${Math.round(Math.log2(eta))}`;
    const gammaLabel = (gamma: number): string => String(Number(gamma.toPrecision(2)));
    const inOrder = (values: readonly number[], label: (value: number) => string): string[] => [
      ...new Set([...values].sort((a, b) => a - b).map(label)),
    ];
    const curvesOf = (curves: Metrics["loss"], steps: number) =>
      curves.flatMap((curve, i) =>
        curve.map((loss, t) => ({
          run: i,
          step: (t + 0.5) * steps,
          loss,
          eta: etaLabel(metrics.etas[i]!),
          gamma: gammaLabel(metrics.gammas[i]!),
        })),
      );
    const last = (metrics.loss[0]?.length ?? 0) * WIDE * BLOCK;
    const angles = units.flatMap(({ metrics: { gammas, angles: measured, lawAngles } }) =>
      measured
        .map((angle, i) => ({ gamma: gammas[i]!, angle, predicted: lawAngles[i]! }))
        .filter(({ gamma }) => gamma > 0),
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
          color: { legend: true, type: "ordinal" as const, domain: inOrder(metrics.etas, etaLabel) },
          marks: [
            Plot.line(curvesOf(metrics.start, BLOCK), { x: "step", y: "loss", z: "run", stroke: "eta" }),
          ],
        },
      },
      {
        title: "Late: coloured by γ = ηλ",
        options: {
          ...panel,
          x: { label: "step →" },
          color: { legend: true, type: "ordinal" as const, domain: inOrder(metrics.gammas, gammaLabel) },
          marks: [
            Plot.line(
              curvesOf(metrics.loss, WIDE * BLOCK).filter(({ step }) => step >= last / 4),
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
