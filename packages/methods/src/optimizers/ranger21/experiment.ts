import {
  type ArmSpec,
  DivergedError,
  defineExperiment,
  type Mode,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import { type CellCurve, type Net, PARTS, type Plan, type Rule, roughness, trainRates } from "./sweep.ts";

const NETS = { mlp: "perceptron", cnn: "convolutional net" } as const;
const RULES = { Ranger: "ranger", Adamw: "adamw", WarmCosine: "adamwWarmCosine" } as const;
const RULE_LABELS = {
  Ranger: "Ranger21",
  Adamw: "AdamW, same schedule",
  WarmCosine: "AdamW, warm-up and cosine",
} as const;

type Tuned = `${keyof typeof NETS}${keyof typeof RULES}`;
type Deep = "deepRanger" | "deepAdamw";
type Arm = Tuned | Deep | "parts";

const TUNED = (Object.keys(NETS) as (keyof typeof NETS)[]).flatMap((net) =>
  (Object.keys(RULES) as (keyof typeof RULES)[]).map((rule) => ({
    arm: `${net}${rule}` as Tuned,
    net,
    rule,
  })),
);

/** One grid for all rules of the perceptron and the convolutional net, and one for those of the deep net. */
const RATES = [1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3];
const DEEP_RATES = [3e-3, 0.01, 0.03, 0.1, 0.3, 1];
/** For rules whose best rates lie further apart. */
const PART_RATES = [5e-4, 2e-3, 8e-3, 0.03, 0.125, 0.5];

interface Settings extends Omit<Plan, "rates"> {
  readonly deepEpochs: number;
  readonly deepRates: readonly number[];
  readonly partEpochs: number;
}

/** 0 epochs for what is left out. */
const SETTINGS: Readonly<Record<Mode, Settings>> = {
  full: { train: 640, epochs: 30, depth: 20, deepEpochs: 100, deepRates: DEEP_RATES, partEpochs: 20 },
  quick: { train: 640, epochs: 0, depth: 12, deepEpochs: 20, deepRates: [3e-3, 0.03, 0.1], partEpochs: 0 },
};

/** What an arm doesn't measure is 0 or empty. */
type Metrics = {
  readonly accuracy: number;
  readonly roughness: number;
  /** Validation accuracy, by which the rate is chosen; the loss decides between equals. */
  readonly score: number;
  readonly trainCurve: readonly number[];
  readonly validationCurve: readonly number[];
  /** Test accuracies of the deep net, by rate; the share of the rates with more than 90%; the one best in validation. */
  readonly deepAccuracies: readonly number[];
  readonly deepShare: number;
  readonly deepBest: number;
  /** Test log losses at the rates best in validation: all parts, then without each, then AdamW with each alone. */
  readonly full: number;
  readonly without: readonly number[];
  readonly only: readonly number[];
  /** Of the single part that is best in validation. */
  readonly bestSingle: number;
  /** Rates of all parts, without each and with each alone. */
  readonly chosen: readonly number[];
};

const NOTHING: Metrics = {
  accuracy: 0,
  roughness: 0,
  score: 0,
  trainCurve: [],
  validationCurve: [],
  deepAccuracies: [],
  deepShare: 0,
  deepBest: 0,
  full: 0,
  without: [],
  only: [],
  bestSingle: 0,
  chosen: [],
};

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Where the score is largest; NaN never wins. */
const best = (scores: readonly number[]): number =>
  scores.reduce((at, score, i) => (score > scores[at]! || Number.isNaN(scores[at]!) ? i : at), 0);

const scoreOf = ({ validationAccuracy, validationLoss }: CellCurve): number =>
  validationAccuracy - 1e-6 * validationLoss.at(-1)!;

async function* curvesOf(
  rule: Rule,
  net: Net,
  plan: Plan,
  seed: number,
  starts: readonly number[],
  progress: (epoch: number) => { step: number; of: number },
): AsyncGenerator<Progress, CellCurve[][]> {
  const training = trainRates(rule, net, plan, seed, starts);
  let turn = await training.next();
  for (; !turn.done; turn = await training.next())
    yield { ...progress(turn.value.epoch), metrics: { loss: turn.value.loss } };
  return turn.value;
}

/** Each rule's rate has the lowest mean validation loss of three initializations; two others are tested. */
async function* partsOf(settings: Settings, seed: number): AsyncGenerator<Progress, Metrics> {
  const rules: readonly Rule[] = [
    "ranger",
    ...PARTS.map((without) => ({ without })),
    ...PARTS.map((only) => ({ only })),
  ];
  const plan = { ...settings, epochs: settings.partEpochs, rates: PART_RATES };
  const tested = [seed, 1000 + seed];
  const tuned = [0, 1, 2].map((i) => 1_000_000 + 3 * seed + i);
  const outcomes: { rate: number; validation: number; test: number }[] = [];
  for (const [i, rule] of rules.entries()) {
    const curves = yield* curvesOf(rule, "narrow", plan, seed, [...tested, ...tuned], (epoch) => ({
      step: i * plan.epochs + epoch,
      of: rules.length * plan.epochs,
    }));
    const meanOf = (starts: readonly CellCurve[][], rate: number, loss: (curve: CellCurve) => number) =>
      average(starts.map((row) => loss(row[rate]!)));
    const losses = plan.rates.map((_, j) =>
      meanOf(curves.slice(tested.length), j, ({ validationLoss }) => validationLoss.at(-1)!),
    );
    const at = best(losses.map((loss) => -loss));
    outcomes.push({
      rate: plan.rates[at]!,
      validation: losses[at]!,
      test: meanOf(curves.slice(0, tested.length), at, ({ testLoss }) => testLoss),
    });
  }
  const singles = outcomes.slice(1 + PARTS.length);
  return {
    ...NOTHING,
    full: outcomes[0]!.test,
    without: outcomes.slice(1, 1 + PARTS.length).map(({ test }) => test),
    only: singles.map(({ test }) => test),
    bestSingle: singles[best(singles.map(({ validation }) => -validation))]!.test,
    chosen: outcomes.map(({ rate }) => rate),
  };
}

async function* deepOf(
  rule: Rule,
  { deepEpochs, deepRates, ...settings }: Settings,
  seed: number,
): AsyncGenerator<Progress, Metrics> {
  const plan = { ...settings, epochs: deepEpochs, rates: deepRates };
  const [curves] = yield* curvesOf(rule, "deep", plan, seed, [seed], (step) => ({ step, of: deepEpochs }));
  const accuracies = curves!.map(({ testAccuracy }) => testAccuracy);
  return {
    ...NOTHING,
    deepAccuracies: accuracies,
    deepShare: average(accuracies.map((value) => (value > 0.9 ? 1 : 0))),
    deepBest: accuracies[best(curves!.map(scoreOf))]!,
  };
}

async function* run({
  arm,
  seed,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  if (arm === "deepRanger" || arm === "deepAdamw")
    return yield* deepOf(arm === "deepRanger" ? "ranger" : "adamw", settings, seed);
  if (arm === "parts") return settings.partEpochs > 0 ? yield* partsOf(settings, seed) : NOTHING;
  if (settings.epochs === 0) return NOTHING;
  const { net, rule } = TUNED.find((tuned) => tuned.arm === arm)!;
  const { learningRate } = hyperparameters as { readonly learningRate: number };
  const plan = { ...settings, rates: [learningRate] };
  const [[curve]] = (yield* curvesOf(RULES[rule], net, plan, seed, [seed], (step) => ({
    step,
    of: plan.epochs,
  }))) as [[CellCurve]];
  if (!Number.isFinite(curve.validationLoss.at(-1)!))
    throw new DivergedError(`the validation loss is ${curve.validationLoss.at(-1)}`);
  return {
    ...NOTHING,
    accuracy: curve.testAccuracy,
    roughness: roughness(curve.validationLoss),
    score: scoreOf(curve),
    trainCurve: curve.trainLoss,
    validationCurve: curve.validationLoss,
  };
}

const DEEP_LABELS: Readonly<Record<Deep, string>> = {
  deepRanger: RULE_LABELS.Ranger,
  deepAdamw: RULE_LABELS.Adamw,
};

const tuned = (net: keyof typeof NETS, rule: keyof typeof RULES): ArmSpec => ({
  label: `${RULE_LABELS[rule]} (${NETS[net]})`,
  space: { learningRate: RATES },
});

const ARMS: Readonly<Record<Arm, ArmSpec>> = {
  mlpRanger: tuned("mlp", "Ranger"),
  mlpAdamw: tuned("mlp", "Adamw"),
  mlpWarmCosine: tuned("mlp", "WarmCosine"),
  cnnRanger: tuned("cnn", "Ranger"),
  cnnAdamw: tuned("cnn", "Adamw"),
  cnnWarmCosine: tuned("cnn", "WarmCosine"),
  deepRanger: { label: `${DEEP_LABELS.deepRanger} (deep net)` },
  deepAdamw: { label: `${DEEP_LABELS.deepAdamw} (deep net)` },
  parts: { label: "Parts of Ranger21" },
};

const CONTRASTS = (Object.keys(NETS) as (keyof typeof NETS)[]).flatMap((net) =>
  (["Adamw", "WarmCosine"] as const).map((rule) => ({
    net: NETS[net],
    against: RULE_LABELS[rule],
    suffix: `${net}-${rule === "Adamw" ? "same" : "cosine"}`,
    better: `${net}Ranger` as const,
    worse: `${net}${rule}` as const,
  })),
);

export default defineExperiment({
  settings: SETTINGS,
  seeds: { full: 6, quick: 1 },
  arms: ARMS,
  run,
  tuning: { metric: "score", goal: "maximize", budget: { full: 6, quick: 1 }, seeds: { full: 3, quick: 1 } },
  claims: [
    ...CONTRASTS.flatMap(({ net, against, suffix, better, worse }) => [
      {
        kind: "comparison" as const,
        id: `higher-${suffix}`,
        of: "higher-imagenet-accuracy",
        statement: `Ranger21's test accuracy is above that of ${against} (${net}, each at its best rate)`,
        modes: ["full" as const],
        metric: "accuracy" as const,
        better,
        worse,
        goal: "maximize" as const,
      },
      {
        kind: "comparison" as const,
        id: `not-below-${suffix}`,
        of: "higher-imagenet-accuracy",
        statement: `Ranger21's test accuracy is at least that of ${against} less 0.3 points (${net})`,
        modes: ["full" as const],
        metric: "accuracy" as const,
        better,
        worse,
        goal: "maximize" as const,
        margin: -0.003,
      },
      {
        kind: "comparison" as const,
        id: `smoother-${suffix}`,
        of: "higher-imagenet-accuracy",
        statement: `Between warm-up and warm-down, the logarithm of Ranger21's validation loss bends less from epoch to epoch than that of ${against} (${net})`,
        modes: ["full" as const],
        metric: "roughness" as const,
        better,
        worse,
        goal: "minimize" as const,
      },
    ]),
    {
      kind: "comparison",
      id: "deep-share",
      of: "trains-normalizer-free",
      statement:
        "Without normalization, Ranger21 trains a deep net of residual blocks (over 90% accuracy) at a share of the rates that is larger than AdamW's by at least 0.25",
      metric: "deepShare",
      better: "deepRanger",
      worse: "deepAdamw",
      goal: "maximize",
      margin: 0.25,
    },
    {
      kind: "comparison",
      id: "deep-best",
      of: "trains-normalizer-free",
      statement:
        "Without normalization, Ranger21's test accuracy is above AdamW's, each at the rate best in validation",
      modes: ["full"],
      metric: "deepBest",
      better: "deepRanger",
      worse: "deepAdamw",
      goal: "maximize",
    },
    {
      kind: "statistic",
      id: "deep-adamw-stuck",
      of: "trains-normalizer-free",
      statement:
        "Without normalization, AdamW stays near chance: at most 20% test accuracy at the rate best in validation",
      quantity: "AdamW's test accuracy",
      modes: ["full"],
      arms: ["deepAdamw"],
      perSeed: ({ deepAdamw }) => deepAdamw.deepBest,
      pass: { max: 0.2 },
    },
    {
      kind: "statistic",
      id: "parts-help",
      of: "synergy",
      statement: "On the mean over the paper's parts, leaving one out raises the perceptron's test log loss",
      quantity: "mean rise of the test log loss",
      modes: ["full"],
      arms: ["parts"],
      perSeed: ({ parts: { full, without } }) => average(without) - full,
      pass: { min: 0 },
    },
    {
      kind: "statistic",
      id: "above-mean-single",
      of: "synergy",
      statement:
        "The perceptron's test log loss is higher with AdamW and one part, on the mean over the parts, than with all",
      quantity: "mean excess of the test log loss",
      modes: ["full"],
      arms: ["parts"],
      perSeed: ({ parts: { full, only } }) => average(only) - full,
      pass: { min: 0 },
    },
    {
      kind: "statistic",
      id: "above-best-single",
      of: "synergy",
      statement:
        "The perceptron's test log loss is higher with AdamW and the one part that is best in validation than with all parts",
      quantity: "excess of the test log loss",
      modes: ["full"],
      arms: ["parts"],
      perSeed: ({ parts: { full, bestSingle } }) => bestSingle - full,
      pass: { min: 0 },
    },
  ],
  figure: ({ Plot, units, mode }) => {
    const curves = TUNED.filter(({ net }) => net === "cnn").flatMap(({ arm, rule }) =>
      units
        .filter((unit) => unit.arm === arm)
        .flatMap(({ seed, metrics }) =>
          (["trainCurve", "validationCurve"] as const).flatMap((name) =>
            metrics[name].map((loss, i) => ({
              arm: RULE_LABELS[rule],
              line: `${arm} ${seed} ${name}`,
              part: name === "trainCurve" ? "training" : "validation",
              epoch: i + 1,
              loss,
            })),
          ),
        ),
    );
    const bars = (Object.keys(DEEP_LABELS) as Deep[]).flatMap((arm) =>
      units
        .filter((unit) => unit.arm === arm)
        .flatMap(({ metrics }) =>
          metrics.deepAccuracies.map((value, i) => ({
            arm: DEEP_LABELS[arm],
            rate: SETTINGS[mode].deepRates[i]!.toExponential(0),
            trained: value > 0.9 ? 1 : 0,
          })),
        ),
    );
    const changes = units
      .filter(({ arm }) => arm === "parts")
      .flatMap(({ metrics: { full, without, only } }) =>
        PARTS.flatMap((part, i) =>
          [
            { kind: "all but this part", loss: without[i] },
            { kind: "AdamW with this part", loss: only[i] },
          ].flatMap(({ kind, loss }) => (loss === undefined ? [] : [{ kind, part, rise: loss - full }])),
        ),
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
          x: {
            label: "learning rate",
            type: "band" as const,
            domain: SETTINGS[mode].deepRates.map((rate) => rate.toExponential(0)),
          },
          y: { label: "share of the seeds", domain: [0, 1], grid: true },
          marks: [
            Plot.barY(bars, Plot.groupX({ y: "mean" }, { fx: "arm", x: "rate", y: "trained" })),
            Plot.ruleY([0]),
          ],
        },
      },
      {
        title: "Test log loss above that of all parts",
        options: {
          width: 640,
          height: 280,
          marginLeft: 100,
          fx: { label: null },
          x: { label: "test log loss above that of all parts", grid: true },
          y: { label: null },
          marks: [
            Plot.dot(changes, { fx: "kind", x: "rise", y: "part", opacity: 0.4 }),
            Plot.tickX(
              changes,
              Plot.groupY({ x: "mean" }, { fx: "kind", x: "rise", y: "part", strokeWidth: 2 }),
            ),
            Plot.ruleX([0]),
          ],
        },
      },
    ];
  },
});
