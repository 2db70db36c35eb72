import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { type CellCurve, PARTS, type Plan, type Rule, ratesOf, trainRates } from "./sweep.ts";

type Arm = "ranger" | "adamw" | "adamwCosine" | "leaveOneOut";

interface Settings extends Plan {
  readonly deepEpochs: number;
  /** 0 for no ablation. */
  readonly ablationEpochs: number;
}

/** What an arm doesn't measure is 0 or empty. */
type Metrics = {
  /** At the rate that is best in validation accuracy. */
  readonly mlpAccuracy: number;
  readonly cnnAccuracy: number;
  /** Validation log loss after half of the epochs, and the deviation of its differences from epoch to epoch. */
  readonly mlpHalfLoss: number;
  readonly cnnHalfLoss: number;
  readonly mlpRoughness: number;
  readonly cnnRoughness: number;
  /** Share of the rates at which the deep net gets more than 90% of the test digits right. */
  readonly deepShare: number;
  readonly deepAccuracies: readonly number[];
  /** Test log loss of the perceptron at the rate best in validation loss: all parts, then without each. */
  readonly ablation: readonly number[];
  readonly chosen: readonly number[];
  readonly trainCurve: readonly number[];
  readonly validationCurve: readonly number[];
};

const NOTHING: Metrics = {
  mlpAccuracy: 0,
  cnnAccuracy: 0,
  mlpHalfLoss: 0,
  cnnHalfLoss: 0,
  mlpRoughness: 0,
  cnnRoughness: 0,
  deepShare: 0,
  deepAccuracies: [],
  ablation: [],
  chosen: [],
  trainCurve: [],
  validationCurve: [],
};

/** The cell with the largest score; NaN never wins. */
const best = (curves: readonly CellCurve[], score: (curve: CellCurve) => number): number =>
  curves.reduce((at, curve, i) => {
    const [now, top] = [score(curve), score(curves[at]!)];
    return now > top || Number.isNaN(top) ? i : at;
  }, 0);

/** Ties, of which 300 validation digits leave many, go to the lower validation loss. */
const byAccuracy = ({ validationAccuracy, validationLoss }: CellCurve): number =>
  validationAccuracy - 1e-6 * validationLoss.at(-1)!;

/** Standard deviation of the differences from one epoch to the next. */
function roughness(curve: readonly number[]): number {
  const steps = curve.slice(1).map((value, i) => value - curve[i]!);
  const mean = steps.reduce((a, b) => a + b, 0) / steps.length;
  return Math.sqrt(steps.reduce((total, step) => total + (step - mean) ** 2, 0) / (steps.length - 1));
}

async function* curvesOf(
  rule: Rule,
  net: "mlp" | "cnn" | "deep",
  plan: Plan,
  seed: number,
  progress: (epoch: number) => { step: number; of: number },
  rates?: readonly number[],
): AsyncGenerator<Progress, CellCurve[]> {
  const training = trainRates(rule, net, plan, seed, rates);
  let turn = await training.next();
  for (; !turn.done; turn = await training.next())
    yield { ...progress(turn.value.epoch), metrics: { loss: turn.value.loss } };
  return turn.value;
}

async function* leaveOneOut(settings: Settings, seed: number): AsyncGenerator<Progress, Metrics> {
  const rules: readonly Rule[] = ["ranger", ...PARTS.map((without) => ({ without }))];
  const ablation: number[] = [];
  const chosen: number[] = [];
  const plan = { ...settings, epochs: settings.ablationEpochs };
  for (const [i, rule] of rules.entries()) {
    const rates = ratesOf("ranger").slice(1, -1);
    const curves = yield* curvesOf(
      rule,
      "mlp",
      plan,
      seed,
      (epoch) => ({ step: i * plan.epochs + epoch, of: rules.length * plan.epochs }),
      rates,
    );
    const at = best(curves, ({ validationLoss }) => -validationLoss.at(-1)!);
    ablation.push(curves[at]!.testLoss);
    chosen.push(rates[at]!);
  }
  return { ...NOTHING, ablation, chosen };
}

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  if (arm === "leaveOneOut")
    return settings.ablationEpochs > 0 ? yield* leaveOneOut(settings, seed) : NOTHING;
  const { epochs, deepEpochs } = settings;
  const of = 2 * epochs + (arm === "adamwCosine" ? 0 : deepEpochs);
  const mlp = yield* curvesOf(arm, "mlp", settings, seed, (epoch) => ({ step: epoch, of }));
  const cnn = yield* curvesOf(arm, "cnn", settings, seed, (epoch) => ({ step: epochs + epoch, of }));
  const [atMlp, atCnn] = [best(mlp, byAccuracy), best(cnn, byAccuracy)];
  const half = Math.floor(epochs / 2) - 1;
  const common: Metrics = {
    ...NOTHING,
    mlpAccuracy: mlp[atMlp]!.testAccuracy,
    cnnAccuracy: cnn[atCnn]!.testAccuracy,
    mlpHalfLoss: mlp[atMlp]!.validationLoss[half]!,
    cnnHalfLoss: cnn[atCnn]!.validationLoss[half]!,
    mlpRoughness: roughness(mlp[atMlp]!.validationLoss),
    cnnRoughness: roughness(cnn[atCnn]!.validationLoss),
    trainCurve: cnn[atCnn]!.trainLoss,
    validationCurve: cnn[atCnn]!.validationLoss,
    chosen: [ratesOf(arm)[atMlp]!, ratesOf(arm)[atCnn]!],
  };
  if (arm === "adamwCosine") return common;
  const plan = { ...settings, epochs: deepEpochs };
  const deep = yield* curvesOf(arm, "deep", plan, seed, (epoch) => ({ step: 2 * epochs + epoch, of }));
  const accuracies = deep.map(({ testAccuracy }) => testAccuracy);
  return {
    ...common,
    deepAccuracies: accuracies,
    deepShare: accuracies.filter((value) => value > 0.9).length / accuracies.length,
  };
}

const NETS = { mlp: "perceptron", cnn: "convolutional net" } as const;
const LABELS: Readonly<Record<Arm, string>> = {
  ranger: "Ranger21",
  adamw: "AdamW, same schedule",
  adamwCosine: "AdamW, cosine",
  leaveOneOut: "Ranger21 less one part",
};

export default defineExperiment({
  settings: {
    full: { train: 640, epochs: 36, depth: 20, deepEpochs: 28, ablationEpochs: 24 },
    quick: { train: 320, epochs: 4, depth: 12, deepEpochs: 4, ablationEpochs: 0 },
  },
  seeds: { full: 6, quick: 1 },
  arms: {
    ranger: { label: LABELS.ranger },
    adamw: { label: LABELS.adamw },
    adamwCosine: { label: LABELS.adamwCosine },
    leaveOneOut: { label: LABELS.leaveOneOut },
  },
  run,
  claims: [
    ...(["mlp", "cnn"] as const).flatMap((net) =>
      (["adamw", "adamwCosine"] as const).flatMap((worse) => [
        {
          kind: "comparison" as const,
          id: `higher-${net}-${worse === "adamw" ? "same" : "cosine"}`,
          of: "higher-imagenet-accuracy",
          statement: `Ranger21's test accuracy is above that of ${LABELS[worse]} (${NETS[net]}, each at its best rate)`,
          modes: ["full" as const],
          metric: `${net}Accuracy` as const,
          better: "ranger" as const,
          worse,
          goal: "maximize" as const,
        },
        {
          kind: "comparison" as const,
          id: `not-below-${net}-${worse === "adamw" ? "same" : "cosine"}`,
          of: "higher-imagenet-accuracy",
          statement: `Ranger21's test accuracy is at least that of ${LABELS[worse]} less 0.3 points (${NETS[net]})`,
          modes: ["full" as const],
          metric: `${net}Accuracy` as const,
          better: "ranger" as const,
          worse,
          goal: "maximize" as const,
          margin: -0.003,
        },
      ]),
    ),
    ...(["mlp", "cnn"] as const).map((net) => ({
      kind: "comparison" as const,
      id: `smoother-${net}`,
      of: "higher-imagenet-accuracy",
      statement: `Ranger21's validation loss changes more evenly from epoch to epoch than that of AdamW with the same schedule (${NETS[net]})`,
      metric: `${net}Roughness` as const,
      better: "ranger" as const,
      worse: "adamw" as const,
      goal: "minimize" as const,
    })),
    {
      kind: "comparison",
      id: "deep-share",
      of: "trains-normalizer-free",
      statement:
        "Without normalization, Ranger21 trains a net of 20 residual blocks (over 90% accuracy) at a share of the six rates that is larger than AdamW's by at least 0.25",
      metric: "deepShare",
      better: "ranger",
      worse: "adamw",
      goal: "maximize",
      margin: 0.25,
    },
    {
      kind: "statistic",
      id: "parts-help",
      of: "synergy",
      statement: "On the mean over the ten parts, leaving one out raises the perceptron's test log loss",
      quantity: "mean rise of the test log loss",
      modes: ["full"],
      arms: ["leaveOneOut"],
      perSeed: ({ leaveOneOut: { ablation } }) =>
        ablation.slice(1).reduce((total, loss) => total + loss - ablation[0]!, 0) / (ablation.length - 1),
      pass: { min: 0 },
    },
  ],
  figure: ({ Plot, units }) => {
    const curves = units.flatMap(({ arm, seed, metrics }) =>
      (["trainCurve", "validationCurve"] as const).flatMap((name) =>
        metrics[name].map((loss, i) => ({
          arm: LABELS[arm as Arm],
          line: `${arm} ${seed} ${name}`,
          part: name === "trainCurve" ? "training" : "validation",
          epoch: i + 1,
          loss,
        })),
      ),
    );
    const bars = units.flatMap(({ arm, metrics }) =>
      arm === "ranger" || arm === "adamw"
        ? metrics.deepAccuracies.map((value, i) => ({
            arm: LABELS[arm],
            rate: ratesOf(arm)[i]!.toExponential(0),
            trained: value > 0.9 ? 1 : 0,
          }))
        : [],
    );
    const ablated = units.flatMap(({ arm, metrics }) =>
      arm === "leaveOneOut"
        ? metrics.ablation.slice(1).map((loss, i) => ({ part: PARTS[i]!, rise: loss - metrics.ablation[0]! }))
        : [],
    );
    return [
      {
        title: "Log loss of the convolutional net",
        options: {
          width: 640,
          height: 280,
          fx: { label: null },
          x: { label: "epoch" },
          y: { type: "log" as const, label: "log loss", grid: true },
          color: { legend: true },
          marks: [
            Plot.line(curves, { fx: "part", x: "epoch", y: "loss", z: "line", stroke: "arm", opacity: 0.2 }),
            Plot.line(
              curves,
              Plot.groupX(
                { y: "median" },
                { fx: "part", x: "epoch", y: "loss", stroke: "arm", strokeWidth: 2 },
              ),
            ),
          ],
        },
      },
      {
        title: "Runs of the deep net that train, by learning rate",
        options: {
          width: 560,
          height: 260,
          fx: { label: null },
          x: { label: "learning rate", type: "band" as const },
          y: { label: "share of the seeds", domain: [0, 1], grid: true },
          marks: [
            Plot.barY(bars, Plot.groupX({ y: "mean" }, { fx: "arm", x: "rate", y: "trained" })),
            Plot.ruleY([0]),
          ],
        },
      },
      {
        title: "Rise of the test log loss without each part",
        options: {
          width: 460,
          height: 280,
          marginLeft: 100,
          x: { label: "rise of the test log loss", grid: true },
          y: { label: null },
          marks: [
            Plot.dot(ablated, { x: "rise", y: "part", opacity: 0.4 }),
            Plot.tickX(ablated, Plot.groupY({ x: "mean" }, { x: "rise", y: "part", strokeWidth: 2 })),
            Plot.ruleX([0]),
          ],
        },
      },
    ];
  },
});
