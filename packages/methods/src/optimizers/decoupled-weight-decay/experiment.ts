import {
  defineExperiment,
  type Progress,
  type Region,
  type RunContext,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import {
  argmin,
  bestCells,
  type Grid,
  interactionAtOptimum,
  meanGrid,
  optimum,
  optimumSlope,
} from "./landscape.ts";
import { adamL2, adamw, normalizedWeightDecay, sgdL2, sgdw } from "./method.ts";
import { BATCH, type MakeOptimizer, noisyDigits, sgdGap, type Task, trainCells } from "./sweep.ts";

/** `count` numbers from `first`, each `factor` times the one before. */
const geometric = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

/** Grids of equal size for all four optimizers, rates by decays; the weakest decay is as good as none. */
export const GRIDS = {
  adamL2: { rates: geometric(5e-4, 2, 7), decays: geometric(4e-5, 4, 7) },
  adamw: { rates: geometric(5e-4, 2, 7), decays: geometric(1e-5, 4, 7) },
  sgdL2: { rates: geometric(6e-3, 2, 7), decays: geometric(5e-5, 4, 7) },
  sgdw: { rates: geometric(6e-3, 2, 7), decays: geometric(1e-5, 4, 7) },
} as const;
type Landscape = keyof typeof GRIDS;

const OPTIMIZERS: Record<Landscape, MakeOptimizer> = {
  adamL2: (learningRate, weightDecay, schedule) => adamL2({ learningRate, weightDecay, schedule }),
  adamw: (learningRate, weightDecay, schedule) => adamw({ learningRate, weightDecay, schedule }),
  sgdL2: (learningRate, weightDecay, schedule) => sgdL2({ learningRate, weightDecay, schedule }),
  sgdw: (learningRate, weightDecay, schedule) => sgdw({ learningRate, weightDecay, schedule }),
};

/** Budgets of the third claim, in epochs, and the grid of λ_norm. */
const NORM_EPOCHS = [15, 60, 240];
const NORMS = geometric(0.005 / 8, 2, 10);
const NORM_RATE = 2.5 ** 3 * 1e-4;

/** log₂ of the best λ_norm of the seeds' mean, by budget; NaN where it isn't determined. */
const bestNorms = (curves: readonly Grid[]): number[] => meanGrid(curves).map(optimum);

/** Factors of 2 between the largest and the smallest best λ_norm. */
export function normShift(curves: readonly Grid[]): number {
  const best = bestNorms(curves);
  return Math.max(...best) - Math.min(...best);
}

/** Factors of 2 by which the best λ itself falls from the shortest budget to the longest; below 0 where it rises. */
export function rawFall(curves: readonly Grid[]): number {
  const best = bestNorms(curves).map((at, i) => at - Math.log2(NORM_EPOCHS[i]!) / 2);
  return best[0]! - best.at(-1)!;
}

/** Settings of one mode; `stride` thins the grids to every third point. */
interface Settings {
  readonly trainSize: number;
  readonly epochs: number;
  readonly stride: number;
  readonly normEpochs: readonly number[];
}

const thin = (values: readonly number[], stride: number): number[] =>
  values.filter((_, i) => i % stride === 0);

/** Every unit has these, whether it draws a landscape or tests another claim; what a unit doesn't measure is empty. */
type Metrics = {
  /** Of the cell of the grid with the lowest NLL on validation. */
  readonly testNll: number;
  /** Of the one with the lowest error. */
  readonly testError: number;
  /** Test NLL and error by rate (rows) and decay. */
  readonly nllGrid: Grid;
  readonly errorGrid: Grid;
  /** Test NLL by budget (rows) and λ_norm. */
  readonly nllByNorm: Grid;
  readonly gap: number;
};

const NOTHING: Metrics = { testNll: 0, testError: 0, nllGrid: [], errorGrid: [], nllByNorm: [], gap: 0 };

const rowsOf = (values: readonly number[], columns: number): number[][] =>
  Array.from({ length: values.length / columns }, (_, i) => values.slice(i * columns, (i + 1) * columns));

async function* landscape(arm: Landscape | "adam", task: Task, settings: Settings, seed: number) {
  const grid = GRIDS[arm === "adam" ? "adamL2" : arm];
  const rates = thin(grid.rates, settings.stride);
  const decays = arm === "adam" ? [0] : thin(grid.decays, settings.stride);
  const cells = rates.flatMap((rate) => decays.map((decay) => ({ rate, decay })));
  const training = trainCells(OPTIMIZERS[arm === "adam" ? "adamL2" : arm], cells, task, {
    epochs: settings.epochs,
    seed,
  });
  let turn = await training.next();
  for (; !turn.done; turn = await training.next())
    yield { step: turn.value.epoch, of: settings.epochs, metrics: { loss: turn.value.loss } };
  const { validationNll, validationError, testNll, testError } = turn.value;
  const best = bestCells(validationNll, validationError);
  return {
    ...NOTHING,
    testNll: testNll[best.nll]!,
    testError: testError[best.error]!,
    nllGrid: rowsOf(testNll, decays.length),
    errorGrid: rowsOf(testError, decays.length),
  };
}

async function* budgets(task: Task, { normEpochs }: Settings, seed: number) {
  const total = normEpochs.reduce((a, b) => a + b, 0);
  const nllByNorm: number[][] = [];
  let done = 0;
  for (const epochs of normEpochs) {
    const budget = { batchSize: BATCH, trainSize: task.trainSize, epochs };
    const cells = NORMS.map((norm) => ({
      rate: NORM_RATE,
      decay: normalizedWeightDecay({ norm, ...budget }),
    }));
    const training = trainCells(OPTIMIZERS.adamw, cells, task, { epochs, seed });
    let turn = await training.next();
    for (; !turn.done; turn = await training.next())
      yield { step: done + turn.value.epoch, of: total, metrics: { loss: turn.value.loss } };
    nllByNorm.push([...turn.value.testNll]);
    done += epochs;
  }
  return { ...NOTHING, nllByNorm };
}

type Arm = Landscape | "adam" | "normalized" | "equivalence";

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const task = await noisyDigits(seed, settings.trainSize);
  if (arm === "normalized") return yield* budgets(task, settings, seed);
  if (arm === "equivalence") return { ...NOTHING, gap: await sgdGap(task, seed) };
  return yield* landscape(arm, task, settings, seed);
}

const label = (value: number): string => value.toExponential(1);

const slopeClaim = (
  id: string,
  arm: Landscape,
  statement: string,
  pass: Region,
): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id,
  of: "separable-landscape",
  statement,
  quantity: "slope of the best log decay on the log rate (NaN: not determined)",
  modes: ["full"],
  arms: [arm],
  acrossSeeds: (seeds) =>
    optimumSlope(
      GRIDS[arm],
      seeds.map((s) => s[arm].nllGrid),
    ),
  pass,
});

export default defineExperiment({
  settings: {
    full: { trainSize: 500, epochs: 60, stride: 1, normEpochs: NORM_EPOCHS },
    quick: { trainSize: 500, epochs: 10, stride: 3, normEpochs: [5, 10, 20] },
  },
  seeds: { full: 10, quick: 3 },
  arms: {
    adamL2: { label: "Adam + L2" },
    adamw: { label: "AdamW" },
    sgdL2: { label: "SGD + L2" },
    sgdw: { label: "SGDW" },
    adam: { label: "Adam" },
    normalized: { label: "AdamW, normalized decay" },
    equivalence: { label: "SGD, both ways" },
  },
  run,
  claims: [
    slopeClaim(
      "adam-l2-diagonal",
      "adamL2",
      "Adam with L2: the best log λ' falls by at least half the rise of the log rate",
      { max: -0.5 },
    ),
    slopeClaim("adamw-axis-aligned", "adamw", "AdamW: the best log λ moves by at most 0.35 of the log rate", {
      min: -0.35,
      max: 0.35,
    }),
    slopeClaim(
      "sgd-l2-diagonal",
      "sgdL2",
      "SGD with L2: the best log λ' falls by at least half the rise of the log rate",
      { max: -0.5 },
    ),
    slopeClaim("sgdw-axis-aligned", "sgdw", "SGDW: the best log λ moves by at most 0.35 of the log rate", {
      min: -0.35,
      max: 0.35,
    }),
    {
      kind: "statistic",
      id: "adam-less-coupled",
      of: "separable-landscape",
      statement: "The optimum slides more with the rate under Adam with L2 than under AdamW",
      quantity: "difference of the slopes' sizes",
      modes: ["full"],
      arms: ["adamL2", "adamw"],
      acrossSeeds: (seeds) =>
        Math.abs(
          optimumSlope(
            GRIDS.adamL2,
            seeds.map((s) => s.adamL2.nllGrid),
          ),
        ) -
        Math.abs(
          optimumSlope(
            GRIDS.adamw,
            seeds.map((s) => s.adamw.nllGrid),
          ),
        ),
      pass: { min: 0 },
    },
    {
      kind: "statistic",
      id: "adam-interaction",
      of: "separable-landscape",
      statement:
        "Around each one's optimum, rate and decay interact less in AdamW's landscape than in that of Adam with L2",
      quantity: "difference of the interaction's shares of variance",
      modes: ["full"],
      arms: ["adamL2", "adamw"],
      acrossSeeds: (seeds) =>
        interactionAtOptimum(seeds.map((s) => s.adamL2.nllGrid)) -
        interactionAtOptimum(seeds.map((s) => s.adamw.nllGrid)),
      pass: { min: 0 },
    },
    {
      kind: "comparison",
      id: "adamw-nll",
      of: "better-generalization",
      statement: "AdamW's test NLL is below that of Adam with L2, each at its best cell",
      metric: "testNll",
      better: "adamw",
      worse: "adamL2",
      goal: "minimize",
    },
    {
      kind: "comparison",
      id: "adamw-error",
      of: "better-generalization",
      statement: "AdamW's test error is below that of Adam with L2, each at its best cell",
      metric: "testError",
      better: "adamw",
      worse: "adamL2",
      goal: "minimize",
    },
    {
      kind: "comparison",
      id: "adamw-error-below-none",
      of: "better-generalization",
      statement: "AdamW's test error is below that of Adam without decay, each at its best cell",
      metric: "testError",
      better: "adamw",
      worse: "adam",
      goal: "minimize",
    },
    {
      kind: "comparison",
      id: "adamw-nll-below-none",
      of: "better-generalization",
      statement: "AdamW's test NLL is below that of Adam without decay, each at its best cell",
      metric: "testNll",
      better: "adamw",
      worse: "adam",
      goal: "minimize",
    },
    {
      kind: "comparison",
      id: "adamw-close-to-sgdw",
      of: "better-generalization",
      statement: "AdamW's test error is within one percentage point of SGDW's, each at its best cell",
      metric: "testError",
      better: "adamw",
      worse: "sgdw",
      goal: "minimize",
      margin: -0.01,
    },
    {
      kind: "statistic",
      id: "normalized-optimum-stays",
      of: "budget-invariant-normalized-decay",
      statement: "The best λ_norm moves by at most one factor of 2 over 15, 60 and 240 epochs",
      quantity: "shift of the best λ_norm, factors of 2 (NaN: not determined)",
      modes: ["full"],
      arms: ["normalized"],
      acrossSeeds: (seeds) => normShift(seeds.map((s) => s.normalized.nllByNorm)),
      pass: { max: 1 },
    },
    {
      kind: "statistic",
      id: "raw-optimum-shifts",
      of: "budget-invariant-normalized-decay",
      statement:
        "The best raw λ falls by at least one factor of 2 from 15 epochs to 240, as the normalization says",
      quantity: "fall of the best λ, factors of 2 (NaN: not determined)",
      modes: ["full"],
      arms: ["normalized"],
      acrossSeeds: (seeds) => rawFall(seeds.map((s) => s.normalized.nllByNorm)),
      pass: { min: 1 },
    },
    {
      kind: "deterministic",
      id: "sgd-same-iterates",
      of: "sgd-equivalence",
      statement: "After 100 steps of SGD, L2 with λ/α and decoupled decay λ agree to 1e-12 in float64",
      arm: "equivalence",
      metric: "gap",
      expected: 0,
      tolerance: 1e-12,
    },
  ],
  figure: ({ Plot, units, mode, arms }) =>
    (["adamL2", "adamw"] as const).map((arm) => {
      const stride = mode === "quick" ? 3 : 1;
      const rates = thin(GRIDS[arm].rates, stride);
      const decays = thin(GRIDS[arm].decays, stride);
      const grids = units.filter((unit) => unit.arm === arm).map((unit) => unit.metrics.errorGrid);
      const surface = grids.length > 0 ? meanGrid(grids) : [];
      const cells = surface.flatMap((row, i) =>
        row.map((error, j) => ({ rate: label(rates[i]!), decay: label(decays[j]!), error })),
      );
      const minima = surface.map((row, i) => ({
        rate: label(rates[i]!),
        decay: label(decays[argmin(row)]!),
      }));
      return {
        title: `${arms.find((a) => a.name === arm)!.label}: test error`,
        options: {
          width: 560,
          height: 400,
          marginLeft: 90,
          marginBottom: 70,
          x: { label: "decay", labelOffset: 62, domain: decays.map(label), tickRotate: -35 },
          y: { label: "learning rate", labelOffset: 80, domain: rates.map(label) },
          // One scale for both, on which what is worse than 0.3 looks alike.
          color: {
            type: "linear",
            scheme: "viridis",
            legend: true,
            label: "test error",
            domain: [0.3, 0.07],
            clamp: true,
          },
          marks: [
            Plot.cell(cells, { x: "decay", y: "rate", fill: "error" }),
            Plot.line(minima, { x: "decay", y: "rate", stroke: "white", strokeWidth: 2 }),
            Plot.dot(minima, { x: "decay", y: "rate", fill: "white", r: 4 }),
          ],
        },
      };
    }),
});
