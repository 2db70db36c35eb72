import { mul, random, slice, treeMap } from "@prior-art/tensor";
import {
  type ArmSpec,
  type Claim,
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
import { DEPTH, type DigitTask, digitTask, META_WIDTH } from "./digitTask.ts";
import type { LearnedOptimizerParams, Parametrization, UpdateScale } from "./method.ts";
import { listScales } from "./muParametrization.ts";
import {
  learnedOptimizer,
  META_SEEDS,
  MIXED_WIDTHS,
  mixedOptimizers,
  narrowOptimizers,
} from "./shippedOptimizers.ts";
import { finalLoss, meanLoss, type Optimizer, trainingLosses } from "./training.ts";

type LearnedArm = "mulo" | "splo" | "muloMixed" | "sploMixed";
type Arm = LearnedArm | "adam" | "muAdam";

const geometric = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first * factor ** i);

/** Learning rates are tuned where the learned optimizers were trained, on the narrow network. */
const ARMS: Readonly<Record<Arm, ArmSpec>> = {
  mulo: { label: "μLO" },
  splo: { label: "LO in SP" },
  muloMixed: { label: "μLO, mixed widths" },
  sploMixed: { label: "LO in SP, mixed widths" },
  adam: { label: "Adam in SP", space: { learningRate: geometric(2e-3, 2, 6) } },
  muAdam: { label: "μAdam", space: { learningRate: geometric(8e-3, 2, 6) } },
};
const PARAMETRIZATIONS: Readonly<Record<Arm, Parametrization>> = {
  mulo: "mup",
  muloMixed: "mup",
  muAdam: "mup",
  splo: "sp",
  sploMixed: "sp",
  adam: "sp",
};

/** Steps of meta-training's trainings. */
const HORIZON = 200;
/** Losses of long trainings count as no more; those that are not finite, as this. */
const LONG_CAP = 1e6;

interface Settings {
  /** Trained for `HORIZON` steps, the meta-training's width first. */
  readonly widths: readonly number[];
  /** Trainings of the network of each width, each from its own beginning and with its own batches. */
  readonly taskSeeds: readonly number[];
  /** Of the widths, those trained five times as long by all but the optimizers of mixed meta-training. */
  readonly longWidths: readonly number[];
  /** Whether networks with twice the hidden layers are trained, for `HORIZON` steps by the same optimizers. */
  readonly deep: boolean;
}
const SETTINGS: Readonly<Record<Mode, Settings>> = {
  full: {
    widths: [16, 32, 64, 128, 256, 512],
    taskSeeds: [3, 3, 3, 3, 2, 1],
    longWidths: [16, 64],
    deep: true,
  },
  quick: { widths: [16, 128], taskSeeds: [1, 1], longWidths: [], deep: false },
};

/** At least eight times the width that meta-training saw. */
const WIDE = [128, 256, 512] as const;
/** The same for the widest network that mixed meta-training saw. */
const WIDE_FOR_MIXED = WIDE.filter((width) => width >= 8 * Math.max(...MIXED_WIDTHS));

/** Losses are of the last 20 batches, nats, geometric means over task seeds; no more than three times that of a guess. */
type Metrics = {
  /** After `HORIZON` steps at the meta-training's width; what tuning minimizes. */
  readonly score: number;
  readonly lossByWidth: readonly number[];
  /** Those of them at `WIDE` widths. */
  readonly wideLosses: readonly number[];
  /** Mean loss over all steps and task seeds, by width. */
  readonly meanLossByWidth: readonly number[];
  /** After as many steps and five times as many, with `LONG_CAP` for the cap. */
  readonly shortLosses: readonly number[];
  readonly longLosses: readonly number[];
  readonly deepLogLoss16: number;
  readonly deepLogLoss64: number;
  readonly logLoss128: number;
  readonly logLoss256: number;
  readonly logLoss512: number;
};

/** Updates multiplied by μP's scales. */
const scaledUpdates = (scaleOf: UpdateScale): GradientTransformation<MlpParams, null> =>
  stateless((updates, params) => {
    const scales = listScales(params, scaleOf);
    let at = 0;
    return treeMap((u) => mul(scales[at++]!, u), updates);
  });

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** φ of all meta-seeds. */
const shippedFor: Readonly<Record<LearnedArm, () => Promise<LearnedOptimizerParams>>> = {
  mulo: async () => (await narrowOptimizers.mup.load()).phi,
  splo: async () => (await narrowOptimizers.sp.load()).phi,
  muloMixed: () => mixedOptimizers.mup.load(),
  sploMixed: () => mixedOptimizers.sp.load(),
};

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
  const all = await shippedFor[arm]();
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
  const isTest = phase === "test";
  const goesFurther = isTest && arm !== "muloMixed" && arm !== "sploMixed";
  const widths = isTest ? settings.widths : settings.widths.slice(0, 1);
  const { taskSeeds } = settings;
  const keys = random.split(random.key(seed), Math.max(...taskSeeds));
  const train = async (width: number, depth: number, steps: number): Promise<number[][]> => {
    const task = await digitTask(PARAMETRIZATIONS[arm], { width, depth });
    const optimizer = await optimizerOf(arm, seed, task, learningRate);
    const count = taskSeeds[settings.widths.indexOf(width)]!;
    return trainingLosses(task, optimizer, steps, slice(keys, [0, count]));
  };
  const lossByWidth: number[] = [];
  const meanLossByWidth: number[] = [];
  const [shortLosses, longLosses]: [number[], number[]] = [[], []];
  for (const width of widths) {
    const isLong = goesFurther && settings.longWidths.includes(width);
    const trainings = await train(width, DEPTH, isLong ? 5 * HORIZON : HORIZON);
    const first = trainings.map((losses) => losses.slice(0, HORIZON));
    lossByWidth.push(finalLoss(first));
    meanLossByWidth.push(average(first.map((losses) => meanLoss(losses))));
    if (isLong) {
      shortLosses.push(finalLoss(first, LONG_CAP));
      longLosses.push(finalLoss(trainings, LONG_CAP));
    }
    yield { step: lossByWidth.length, of: widths.length, metrics: { loss: lossByWidth.at(-1)! } };
  }
  const deepLogLoss = async (width: number): Promise<number> =>
    goesFurther && settings.deep ? Math.log(finalLoss(await train(width, 2 * DEPTH, HORIZON))) : 0;
  const wide = widths.flatMap((width, i) => (width >= WIDE[0] ? [lossByWidth[i]!] : []));
  const logLoss = (width: number): number => Math.log(lossByWidth[widths.indexOf(width)] ?? 1);
  return {
    score: lossByWidth[0]!,
    lossByWidth,
    wideLosses: wide,
    meanLossByWidth,
    shortLosses,
    longLosses,
    deepLogLoss16: await deepLogLoss(16),
    deepLogLoss64: await deepLogLoss(64),
    logLoss128: logLoss(128),
    logLoss256: logLoss(256),
    logLoss512: logLoss(512),
  };
}

const CAPPED = "counting no loss as more than 3 log 10";

const widerThanStandard = WIDE.map(
  (width): Claim<Arm, Metrics> => ({
    kind: "comparison",
    id: `wide-${width}`,
    of: "width-transfer",
    statement: `At width ${width}, ${width / META_WIDTH} times meta-training's, μLO's log loss is below that of the optimizer meta-trained in standard parametrization, ${CAPPED}`,
    ...(width > 128 && { modes: ["full"] }),
    metric: `logLoss${width}`,
    better: "mulo",
    worse: "splo",
    goal: "minimize",
  }),
);

const mixedWiderThanStandard = WIDE_FOR_MIXED.map(
  (width): Claim<Arm, Metrics> => ({
    kind: "comparison",
    id: `mixed-wide-${width}`,
    of: "width-transfer",
    statement: `Both meta-trained on widths ${MIXED_WIDTHS.join(", ")}, at width ${width} μLO's log loss is below that of the optimizer in standard parametrization, ${CAPPED}`,
    modes: ["full"],
    metric: `logLoss${width}`,
    better: "muloMixed",
    worse: "sploMixed",
    goal: "minimize",
  }),
);

const growsNot = (arm: LearnedArm, id: string, of: string): Claim<Arm, Metrics> => ({
  kind: "scaling",
  id,
  of: "width-transfer",
  statement: `${of}'s loss does not grow with the width, from ${WIDE[0]} to ${WIDE.at(-1)}`,
  modes: ["full"],
  arm,
  x: WIDE,
  y: "wideLosses",
  slope: { max: 0 },
});

export default defineExperiment({
  settings: SETTINGS,
  seeds: { full: META_SEEDS, quick: 2 },
  checkpoints: [narrowOptimizers.mup, narrowOptimizers.sp, mixedOptimizers.mup, mixedOptimizers.sp],
  arms: ARMS,
  run,
  tuning: { metric: "score", goal: "minimize", budget: { full: 6, quick: 2 }, seeds: { full: 2, quick: 1 } },
  claims: [
    ...widerThanStandard,
    growsNot("mulo", "loss-by-width", "μLO"),
    ...mixedWiderThanStandard,
    growsNot("muloMixed", "mixed-loss-by-width", `μLO meta-trained on widths ${MIXED_WIDTHS.join(", ")}`),
    {
      kind: "statistic",
      id: "longer-training",
      of: "depth-and-length-transfer",
      statement:
        "Trained five times as long as in meta-training, μLO's networks end at a loss no higher than before",
      quantity: "mean log ratio of the losses at steps 1000 and 200, none counted as more than a million",
      modes: ["full"],
      arms: ["mulo"],
      perSeed: ({ mulo }) => average(mulo.longLosses.map((loss, i) => Math.log(loss / mulo.shortLosses[i]!))),
      pass: { max: 0 },
    },
    ...([16, 64] as const).map(
      (width): Claim<Arm, Metrics> => ({
        kind: "comparison",
        id: `deeper-${width}`,
        of: "depth-and-length-transfer",
        statement: `With twice the hidden layers, at width ${width}, ${width === META_WIDTH ? "meta-training's" : `${width / META_WIDTH} times meta-training's`}, μLO's log loss is below that of the optimizer meta-trained in standard parametrization, ${CAPPED}`,
        modes: ["full"],
        metric: `deepLogLoss${width}`,
        better: "mulo",
        worse: "splo",
        goal: "minimize",
      }),
    ),
  ],
  figure: ({ Plot, units, arms, mode }) => {
    const { widths } = SETTINGS[mode];
    const points = arms.flatMap(({ name, label }) => {
      const all = units.filter(({ arm }) => arm === name).map(({ metrics }) => metrics.lossByWidth);
      return widths.flatMap((width, i) =>
        all.length === 0
          ? []
          : [
              {
                arm: label,
                width,
                loss: Math.exp(average(all.map((losses) => Math.log(losses[i]!)))),
              },
            ],
      );
    });
    return {
      title: `Training loss after ${HORIZON} steps, geometric means over seeds; rules tuned or trained at width ${META_WIDTH} (dashed)`,
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
