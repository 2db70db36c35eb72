import {
  add,
  data,
  jit,
  mul,
  random,
  scan,
  slice,
  type Tensor,
  treeMap,
  valueAndGrad,
} from "@prior-art/tensor";
import {
  type ArmSpec,
  DivergedError,
  defineExperiment,
  type Mode,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import type { MlpParams } from "@prior-art/toolkit/nn";
import {
  chain,
  type GradientTransformation,
  scaleByAdam,
  scaleByLearningRate,
  stateless,
} from "@prior-art/toolkit/optim";
import type { Parametrization, UpdateScale } from "./method.ts";
import { listScales } from "./muParametrization.ts";
import {
  BATCH,
  DEPTH,
  type DigitTask,
  digitTask,
  learnedOptimizer,
  META_SEEDS,
  META_WIDTH,
  shippedOptimizers,
} from "./shippedOptimizers.ts";

type Arm = "mulo" | "splo" | "adam" | "muAdam";

const geometric = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

/** Learning rates are tuned where the learned optimizers were trained, on the narrow network. */
const ARMS: Readonly<Record<Arm, ArmSpec>> = {
  mulo: { label: "μLO" },
  splo: { label: "LO in SP" },
  adam: { label: "Adam in SP", space: { learningRate: geometric(1e-3, 2, 6) } },
  muAdam: { label: "μAdam", space: { learningRate: geometric(4e-3, 2, 6) } },
};
const PARAMETRIZATIONS: Readonly<Record<Arm, Parametrization>> = {
  mulo: "mup",
  muAdam: "mup",
  splo: "sp",
  adam: "sp",
};

/** Steps of meta-training's trainings. */
const HORIZON = 200;

interface Settings {
  /** Trained for `HORIZON` steps, the meta-training's width first. */
  readonly widths: readonly number[];
  /** Of these, those trained five times as long. */
  readonly longWidths: readonly number[];
  /** Trained with twice the hidden layers for `HORIZON` steps; 0 for none. */
  readonly deepWidth: number;
}
const SETTINGS: Readonly<Record<Mode, Settings>> = {
  full: { widths: [8, 16, 32, 64, 128, 256], longWidths: [8, 32], deepWidth: 32 },
  quick: { widths: [8, 64], longWidths: [], deepWidth: 0 },
};

/** Wide enough to be eight times what meta-training saw. */
const isWide = (width: number): boolean => width >= 8 * META_WIDTH;

/** Losses are of the last 20 batches, nats. */
type Metrics = {
  /** After `HORIZON` steps at the meta-training's width; what tuning minimizes. */
  readonly score: number;
  /** Mean of the log losses at widths of at least eight times that of meta-training. */
  readonly wideLogLoss: number;
  readonly lossByWidth: readonly number[];
  /** Mean loss over all steps, by width. */
  readonly meanLossByWidth: readonly number[];
  /** After five times as many steps. */
  readonly longLosses: readonly number[];
  readonly deepLoss: number;
};

/** Updates multiplied by μP's scales. */
const scaledUpdates = (scaleOf: UpdateScale): GradientTransformation<MlpParams, null> =>
  stateless((updates, params) => {
    const scales = listScales(params, scaleOf);
    let at = 0;
    return treeMap((u) => mul(scales[at++]!, u), updates);
  });

// biome-ignore lint/suspicious/noExplicitAny: each optimizer keeps a state of its own type
type Optimizer = GradientTransformation<MlpParams, any>;

/** Losses of each batch, `[steps]`, of a training from scratch. */
async function trainingLosses(
  task: DigitTask,
  optimizer: Optimizer,
  steps: number,
  seed: number,
): Promise<number[]> {
  const lossAndGradient = valueAndGrad((params: MlpParams, rows: Tensor) => task.loss(params, rows));
  const run = jit((rows: Tensor) => {
    const params = task.init(random.fold(random.key(seed), 1));
    const [, losses] = scan(
      ({ now, state }: { now: MlpParams; state: unknown }, batch: Tensor) => {
        const [loss, gradient] = lossAndGradient(now, batch);
        const [updates, next] = optimizer.update(gradient, state, now);
        return [{ now: treeMap(add, now, updates), state: next }, loss] as const;
      },
      { now: params, state: optimizer.init(params) },
      rows,
    );
    return losses;
  });
  const rows = random.randint(random.key(seed), [steps, BATCH], 0, task.examples);
  const losses = [...(await data(await run(rows)))];
  await run.release();
  return losses;
}

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

async function optimizerOf(
  arm: Arm,
  seed: number,
  task: DigitTask,
  learningRate: number,
): Promise<Optimizer> {
  if (arm === "adam" || arm === "muAdam")
    return chain(
      scaleByAdam<MlpParams>(),
      scaledUpdates(task.model.updateScale),
      scaleByLearningRate<MlpParams>(learningRate),
    );
  const all = await shippedOptimizers[PARAMETRIZATIONS[arm]].load();
  const phi = treeMap((t) => slice(t, seed % META_SEEDS), all);
  return learnedOptimizer.toOptimizer<MlpParams>(phi, { scale: task.model.updateScale });
}

async function* run({
  arm,
  seed,
  phase,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { learningRate = 0 } = hyperparameters as { readonly learningRate?: number };
  const widths = phase === "tune" ? settings.widths.slice(0, 1) : settings.widths;
  const last = (losses: readonly number[]): number => average(losses.slice(-20));
  const train = async (width: number, depth: number, steps: number): Promise<number[]> => {
    const task = await digitTask(PARAMETRIZATIONS[arm], { width, depth });
    const losses = await trainingLosses(task, await optimizerOf(arm, seed, task, learningRate), steps, seed);
    if (losses.some((v) => !Number.isFinite(v)))
      throw new DivergedError(`the loss of the network of width ${width} is not finite`);
    return losses;
  };
  const lossByWidth: number[] = [];
  const meanLossByWidth: number[] = [];
  const longLosses: number[] = [];
  for (const width of widths) {
    const isLong = phase === "test" && settings.longWidths.includes(width);
    const losses = await train(width, DEPTH, isLong ? 5 * HORIZON : HORIZON);
    lossByWidth.push(last(losses.slice(0, HORIZON)));
    meanLossByWidth.push(average(losses.slice(0, HORIZON)));
    if (isLong) longLosses.push(last(losses));
    yield { step: lossByWidth.length, of: widths.length, metrics: { loss: lossByWidth.at(-1)! } };
  }
  const isDeep = phase === "test" && settings.deepWidth > 0;
  const wide = lossByWidth.filter((_, i) => isWide(widths[i]!));
  return {
    score: lossByWidth[0]!,
    wideLogLoss: wide.length > 0 ? average(wide.map(Math.log)) : 0,
    lossByWidth,
    meanLossByWidth,
    longLosses,
    deepLoss: isDeep ? last(await train(settings.deepWidth, 2 * DEPTH, HORIZON)) : 0,
  };
}

export default defineExperiment({
  settings: SETTINGS,
  seeds: { full: META_SEEDS, quick: 2 },
  checkpoints: [shippedOptimizers.mup, shippedOptimizers.sp],
  arms: ARMS,
  run,
  tuning: { metric: "score", goal: "minimize", budget: { full: 6, quick: 2 }, seeds: { full: 2, quick: 1 } },
  claims: [
    {
      kind: "comparison",
      id: "wide-networks",
      of: "width-transfer",
      statement:
        "On networks 8 times as wide as meta-training's and more, μLO's log loss is below that of the optimizer meta-trained in standard parametrization",
      metric: "wideLogLoss",
      better: "mulo",
      worse: "splo",
      goal: "minimize",
    },
    {
      kind: "scaling",
      id: "loss-by-width",
      of: "width-transfer",
      statement: "μLO's loss does not grow with the width, from 8 to 256",
      modes: ["full"],
      arm: "mulo",
      x: SETTINGS.full.widths,
      y: "lossByWidth",
      slope: { max: 0 },
    },
    {
      kind: "statistic",
      id: "longer-training",
      of: "depth-and-length-transfer",
      statement:
        "Trained five times as long as in meta-training, μLO's networks end at a loss no higher than before",
      quantity: "mean log ratio of the losses at steps 1000 and 200",
      modes: ["full"],
      arms: ["mulo"],
      perSeed: ({ mulo }) =>
        average(
          SETTINGS.full.longWidths.map((width, i) =>
            Math.log(mulo.longLosses[i]! / mulo.lossByWidth[SETTINGS.full.widths.indexOf(width)]!),
          ),
        ),
      pass: { max: 0 },
    },
    {
      kind: "comparison",
      id: "deeper-networks",
      of: "depth-and-length-transfer",
      statement:
        "With twice the hidden layers, μLO's loss is below that of the optimizer meta-trained in standard parametrization",
      modes: ["full"],
      metric: "deepLoss",
      better: "mulo",
      worse: "splo",
      goal: "minimize",
    },
  ],
  figure: ({ Plot, units, arms, mode }) => {
    const { widths } = SETTINGS[mode];
    const points = arms.flatMap(({ name, label }) => {
      const all = units.filter(({ arm }) => arm === name).map(({ metrics }) => metrics.lossByWidth);
      return widths.flatMap((width, i) =>
        all.length === 0 ? [] : [{ arm: label, width, loss: average(all.map((losses) => losses[i]!)) }],
      );
    });
    return {
      title: `Training loss after ${HORIZON} steps; rules tuned or trained at width ${META_WIDTH} (dashed)`,
      options: {
        width: 560,
        height: 340,
        x: { label: "width", type: "log" as const, base: 2, grid: true },
        y: { label: "log loss", type: "log" as const, grid: true },
        color: { legend: true, domain: arms.map(({ label }) => label) },
        marks: [
          Plot.ruleX([META_WIDTH], { strokeDasharray: "4,3", stroke: "gray" }),
          Plot.line(points, { x: "width", y: "loss", stroke: "arm" }),
          Plot.dot(points, { x: "width", y: "loss", stroke: "arm" }),
        ],
      },
    };
  },
});
