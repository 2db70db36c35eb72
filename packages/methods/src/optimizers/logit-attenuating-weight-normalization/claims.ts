import type { ComparisonClaim, StatisticClaim } from "@prior-art/toolkit/experiment";
import type { Arm, Regime } from "./sweep.ts";

type OfRegimes<Name extends string> = { readonly [K in `${Name}${Capitalize<Regime>}`]: number };

/** Test log loss of the cell chosen by log loss, test accuracy of the one chosen by accuracy. */
export type Metrics = OfRegimes<"nll"> &
  OfRegimes<"accuracy"> & {
    /** On clean digits in small batches, of the cell chosen by accuracy, at the end. */
    readonly gradientNorm: number;
    readonly maxLogit: number;
    readonly trainLoss: number;
    /** Means over one set of rates, log₁₀ of gradient norms and losses; 0 of arms other than Adam and Adam-LAWN. */
    readonly equalGradient: number;
    readonly equalLogit: number;
    readonly equalLoss: number;
    /** Of the cell chosen by accuracy, by tenth of the training. */
    readonly gradientCurve: readonly number[];
    readonly logitCurve: readonly number[];
    /** By regime: rate and second value of the cell chosen by log loss, then of the one chosen by accuracy. */
    readonly chosen: readonly (readonly [number, number, number, number])[];
  };

type Kind = "Noisy" | "Clean";
type Batches = "Small" | "Full";
type Measure = "nll" | "accuracy";

const KINDS = ["Noisy", "Clean"] as const;
const MEASURES = ["accuracy", "nll"] as const;

const LABELS: Readonly<Record<Arm, string>> = {
  adam: "Adam",
  adamL2: "Adam + L2",
  adamw: "AdamW",
  adamLawn: "Adam-LAWN",
  sgd: "SGD + L2",
  sgdLawn: "SGD-LAWN",
};

const NAMES = { nll: "test log loss", accuracy: "test accuracy" } as const;
const DATA = { Noisy: "a quarter of the labels wrong", Clean: "right labels" } as const;
const SIZES = { Small: "In batches of 32", Full: "In full batches" } as const;
/** The regimes that the quick settings train. */
const isQuick = (kind: Kind, batches: Batches): boolean => (kind === "Noisy") === (batches === "Full");

const betterIn = (
  measure: Measure,
  kind: Kind,
  batches: Batches,
  [better, worse]: readonly [Arm, Arm],
  of: string,
  margin?: number,
): ComparisonClaim<Arm, keyof Metrics & string> => ({
  kind: "comparison",
  id: `${better === "adamLawn" ? worse : better}-${measure}-${kind}-${batches}`.toLowerCase(),
  of,
  statement: `${SIZES[batches]}, ${DATA[kind]}: ${LABELS[better]}'s ${NAMES[measure]} is ${
    margin === undefined
      ? `${measure === "nll" ? "below" : "above"} that of ${LABELS[worse]}`
      : `at least that of ${LABELS[worse]} less half a point`
  }`,
  ...(isQuick(kind, batches) ? {} : { modes: ["full"] as const }),
  metric: `${measure}${kind}${batches}`,
  better,
  worse,
  goal: measure === "nll" ? "minimize" : "maximize",
  ...(margin === undefined ? {} : { margin }),
});

/** Adam-LAWN's lead over another arm in full batches less its lead in small ones, positive where it is better. */
const widerGap = (measure: Measure, kind: Kind, other: "adam" | "adamw"): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id: `gap-${other}-${measure}-${kind}`.toLowerCase(),
  of: "adam-matches-sgd",
  statement: `Adam-LAWN's lead over ${LABELS[other]} in ${NAMES[measure]} is larger in full batches than in batches of 32 (${DATA[kind]})`,
  quantity: "difference of the two leads",
  modes: ["full"],
  arms: [other, "adamLawn"],
  perSeed: (arms) => {
    const sign = measure === "nll" ? -1 : 1;
    const lead = (batches: Batches): number =>
      sign * (arms.adamLawn[`${measure}${kind}${batches}`] - arms[other][`${measure}${kind}${batches}`]);
    return lead("Full") - lead("Small");
  },
  pass: { min: 0 },
});

const outperforms: readonly ComparisonClaim<Arm, keyof Metrics & string>[] = KINDS.flatMap((kind) => [
  ...(["Full", "Small"] as const).flatMap((batches) =>
    MEASURES.map((measure) => betterIn(measure, kind, batches, ["adamLawn", "adamw"], "adam-matches-sgd")),
  ),
  ...MEASURES.map((measure) => betterIn(measure, kind, "Full", ["adamLawn", "adam"], "adam-matches-sgd")),
  betterIn("accuracy", kind, "Full", ["adamLawn", "sgd"], "adam-matches-sgd", -0.005),
]);

const widens: readonly StatisticClaim<Arm, Metrics>[] = KINDS.flatMap((kind) => [
  widerGap("accuracy", kind, "adam"),
  ...MEASURES.map((measure) => widerGap(measure, kind, "adamw")),
]);

const staysAdaptive: readonly (
  | ComparisonClaim<Arm, keyof Metrics & string>
  | StatisticClaim<Arm, Metrics>
)[] = [
  {
    kind: "statistic",
    id: "gradient-norm",
    of: "logits-stay-bounded",
    statement:
      "Each tuned, on right labels in batches of 32: Adam-LAWN's last training gradient is at least 100 times as long as Adam's",
    quantity: "log₁₀ of the ratio of gradient norms",
    modes: ["full"],
    arms: ["adam", "adamLawn"],
    perSeed: ({ adam, adamLawn }) => Math.log10(adamLawn.gradientNorm / adam.gradientNorm),
    pass: { min: 2 },
  },
  {
    kind: "comparison",
    id: "lower-logits",
    of: "logits-stay-bounded",
    statement:
      "Each tuned, on right labels in batches of 32: the mean largest logit at the end is lower under Adam-LAWN than under Adam",
    metric: "maxLogit",
    better: "adamLawn",
    worse: "adam",
    goal: "minimize",
  },
  {
    kind: "comparison",
    id: "training-loss",
    of: "logits-stay-bounded",
    statement:
      "Each tuned, on right labels in batches of 32: the training loss at the end is higher under Adam-LAWN than under Adam",
    metric: "trainLoss",
    better: "adamLawn",
    worse: "adam",
    goal: "maximize",
  },
];

/** What the constraint does by itself: tuned arms have rates of their own, at which Adam-LAWN may train for longer. */
const atEqualRates: readonly ComparisonClaim<Arm, keyof Metrics & string>[] = (
  [
    ["equalGradient", "the last training gradient is longer", "maximize"],
    ["equalLoss", "the last training loss is higher", "maximize"],
    ["equalLogit", "the mean largest logit at the end is lower", "minimize"],
  ] as const
).map(([metric, what, goal]) => ({
  kind: "comparison",
  id: metric.replace("equal", "equal-rates-").toLowerCase(),
  of: "logits-stay-bounded",
  statement: `At the same learning rates (mean over five from 0.002 to 0.04; right labels, batches of 32), ${what} under Adam-LAWN with a free phase of a twentieth than under Adam`,
  metric,
  better: "adamLawn",
  worse: "adam",
  goal,
}));

const helpsSgd: readonly ComparisonClaim<Arm, keyof Metrics & string>[] = KINDS.flatMap((kind) =>
  MEASURES.map((measure) => betterIn(measure, kind, "Full", ["sgdLawn", "sgd"], "works-across-optimizers")),
);

export const claims = [...outperforms, ...widens, ...staysAdaptive, ...atEqualRates, ...helpsSgd];
