import {
  defineExperiment,
  type Progress,
  type RunContext,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { countReward, lengthReward } from "../chainLanguage.ts";
import { type Curve, type ExactResult, exactRealignment, LAMBDAS } from "./exact.ts";
import { LEARNED_LAMBDAS, type LearnedResult, type LearnedSettings, learnedRealignment } from "./learned.ts";

type Arm = "exactLength" | "exactCount" | "learned";

/** Every unit has these; what a unit doesn't measure is 0 or empty. */
type Metrics = {
  readonly [K in keyof (ExactResult & LearnedResult)]: (ExactResult & LearnedResult)[K] extends Curve
    ? readonly number[]
    : (ExactResult & LearnedResult)[K];
} & {
  /** Reward less a tenth of the KL, at λ = 2 and less that at λ = 5. */
  readonly lossOfExtreme: number;
};

const NOTHING: Metrics = {
  dera: [],
  retrained: [],
  temperature: [],
  gap: 0,
  temperatureGap: 0,
  rankCorrelation: 0,
  smallestRise: 0,
  extremeGap: 0,
  extrapolation: 0,
  sweepGain: 0,
  sweepRegret: 0,
  learnedDera: [],
  learnedRetrained: [],
  learnedWeights: [],
  learnedKl: [],
  learnedReference: 0,
  learnedRank: 0,
  learnedGap: 0,
  weightsGap: 0,
  lossOfExtreme: 0,
};

const at = (curve: readonly number[], lambda: number): number => curve[LAMBDAS.indexOf(lambda)]!;

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, LearnedSettings>): AsyncGenerator<Progress, Metrics, void> {
  if (arm === "learned") {
    if (settings.rounds === 0) return NOTHING;
    const training = learnedRealignment(seed, settings);
    let turn = await training.next();
    for (; !turn.done; turn = await training.next())
      yield { step: turn.value, of: 2 + LEARNED_LAMBDAS.length };
    return { ...NOTHING, ...turn.value };
  }
  const result = exactRealignment(seed, arm === "exactLength" ? lengthReward : countReward);
  const { dera, retrained, temperature, ...numbers } = result;
  const quality = (lambda: number): number => at(dera.reward, lambda) - 0.1 * at(dera.kl, lambda);
  return {
    ...NOTHING,
    ...numbers,
    dera: dera.reward,
    retrained: retrained.reward,
    temperature: temperature.reward,
    lossOfExtreme: quality(2) - quality(5),
  };
}

const EXACT = ["exactLength", "exactCount"] as const;

/** A claim about both rewards: the worst of the two on each seed, or their mean. */
const exactly = (
  claim: Pick<StatisticClaim<Arm, Metrics>, "id" | "of" | "statement" | "pass" | "quantity">,
  value: (metrics: Metrics) => number,
  over: (values: readonly number[]) => number,
  seedsHolding?: number,
): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  ...claim,
  arms: EXACT,
  perSeed: (seed) => over(EXACT.map((arm) => value(seed[arm]))),
  ...(seedsHolding === undefined ? {} : { seedsHolding }),
});

const highest = (values: readonly number[]): number => Math.max(...values);
const lowest = (values: readonly number[]): number => Math.min(...values);

export default defineExperiment({
  settings: {
    full: { readingSteps: 400, rounds: 80, words: 192 },
    quick: { readingSteps: 0, rounds: 0, words: 0 },
  },
  seeds: { full: 6, quick: 5 },
  arms: {
    exactLength: { label: "Exact, reward for length" },
    exactCount: { label: "Exact, reward for As" },
    learned: { label: "Learned, reward for As" },
  },
  run,
  claims: [
    exactly(
      {
        id: "reward-gap",
        of: "tracks-retrained-models",
        statement:
          "Exact models: for all λ ≤ 2 DeRa's reward is within 15% of the rewards' range of the retrained optimum's, on every language and for both rewards",
        quantity: "largest reward gap, share of the range",
        pass: { max: 0.15 },
      },
      ({ gap }) => gap,
      highest,
      1,
    ),
    exactly(
      {
        id: "same-ranking",
        of: "tracks-retrained-models",
        statement:
          "Exact models: DeRa ranks the λ ≤ 2 as retraining does (rank correlation ≥ .95), on every language",
        quantity: "rank correlation",
        pass: { min: 0.95 },
      },
      ({ rankCorrelation }) => rankCorrelation,
      lowest,
      1,
    ),
    exactly(
      {
        id: "closer-than-temperature",
        of: "tracks-retrained-models",
        statement:
          "Exact models: DeRa's largest gap is below that of the aligned model at temperature 1/λ, on average",
        quantity: "temperature's largest gap minus DeRa's",
        pass: { min: 0 },
      },
      ({ gap, temperatureGap }) => temperatureGap - gap,
      mean,
    ),
    {
      kind: "statistic",
      id: "learned-same-ranking",
      of: "tracks-retrained-models",
      statement:
        "Transformers aligned by policy gradient: DeRa ranks five λ as retraining does (rank correlation ≥ .8) on at least four seeds of five",
      quantity: "rank correlation",
      modes: ["full"],
      arms: ["learned"],
      perSeed: ({ learned }) => learned.learnedRank,
      pass: { min: 0.8 },
      seedsHolding: 0.8,
    },
    {
      kind: "statistic",
      id: "learned-closer-than-weights",
      of: "tracks-retrained-models",
      statement: "Transformers: DeRa's mean reward gap to retraining is below that of interpolated weights",
      quantity: "weights' mean gap minus DeRa's",
      modes: ["full"],
      arms: ["learned"],
      perSeed: ({ learned }) => learned.weightsGap - learned.learnedGap,
      pass: { min: 0 },
    },
    exactly(
      {
        id: "smooth-interpolation",
        of: "interpolates-and-extrapolates",
        statement: "Exact models: the reward rises with every step of λ up to 2, on every language",
        quantity: "smallest rise",
        pass: { min: 0 },
      },
      ({ smallestRise }) => smallestRise,
      lowest,
      1,
    ),
    {
      kind: "statistic",
      id: "learned-extrapolation",
      of: "interpolates-and-extrapolates",
      statement: "Transformers: DeRa at λ = 2 has a higher reward than the aligned model itself",
      quantity: "reward at λ = 2 minus reward at λ = 1",
      modes: ["full"],
      arms: ["learned"],
      perSeed: ({ learned: { learnedDera } }) =>
        learnedDera[LEARNED_LAMBDAS.indexOf(2)]! - learnedDera[LEARNED_LAMBDAS.indexOf(1)]!,
      pass: { min: 0 },
    },
    exactly(
      {
        id: "too-large-degrades",
        of: "interpolates-and-extrapolates",
        statement:
          "Exact models: at λ = 5 the reward less a tenth of the KL is below that at λ = 2, on every language",
        quantity: "quality at λ = 2 minus quality at λ = 5",
        pass: { min: 0 },
      },
      ({ lossOfExtreme }) => lossOfExtreme,
      lowest,
      1,
    ),
    exactly(
      {
        id: "sweep-improves",
        of: "finds-better-strength",
        statement:
          "Exact models: where a KL costs 0.1 or 0.4, retraining with the strength that DeRa's sweep picks beats the original strength, on every language",
        quantity: "smallest gain",
        pass: { min: 0 },
      },
      ({ sweepGain }) => sweepGain,
      lowest,
      1,
    ),
    exactly(
      {
        id: "sweep-near-best",
        of: "finds-better-strength",
        statement:
          "Exact models: that strength has on average at least 80% of the gain of the best one on the grid",
        quantity: "share of the possible gain",
        pass: { min: 0.8 },
      },
      ({ sweepGain, sweepRegret }) => sweepGain / (sweepGain + sweepRegret),
      mean,
    ),
  ],
  figure: ({ Plot, units }) => {
    const curve = (
      arm: Arm,
      metric: "dera" | "retrained" | "temperature" | "learnedDera" | "learnedRetrained" | "learnedWeights",
      series: string,
      lambdas: readonly number[],
    ) => {
      const curves = units.filter((unit) => unit.arm === arm && unit.metrics[metric].length > 0);
      return lambdas.map((lambda, i) => ({
        lambda,
        series,
        reward: curves.length ? mean(curves.map(({ metrics }) => metrics[metric][i]!)) : 0,
      }));
    };
    const panel = (title: string, lines: ReturnType<typeof curve>[], points: ReturnType<typeof curve>) => ({
      title,
      options: {
        x: { label: "λ" },
        y: { label: "Reward", grid: true },
        color: { legend: true },
        marks: [
          ...lines.map((line, i) =>
            Plot.lineY(line, { x: "lambda", y: "reward", stroke: "series", strokeDasharray: i ? "4 3" : "" }),
          ),
          Plot.dot(points, { x: "lambda", y: "reward", fill: "series", r: 4 }),
        ],
      },
    });
    const exactPanel = panel(
      "Exact models",
      [
        curve("exactCount", "dera", "DeRa", LAMBDAS),
        curve("exactCount", "temperature", "aligned model, temperature 1/λ", LAMBDAS),
      ],
      curve("exactCount", "retrained", "retrained with β/λ", LAMBDAS),
    );
    if (units.every(({ metrics }) => metrics.learnedDera.length === 0)) return exactPanel;
    return [
      exactPanel,
      panel(
        "Transformers",
        [
          curve("learned", "learnedDera", "DeRa", LEARNED_LAMBDAS),
          curve("learned", "learnedWeights", "interpolated weights", LEARNED_LAMBDAS),
        ],
        curve("learned", "learnedRetrained", "retrained with β/λ", LEARNED_LAMBDAS),
      ),
    ];
  },
});
