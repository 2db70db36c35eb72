import {
  type ComparisonClaim,
  defineExperiment,
  type Progress,
  type RunContext,
} from "@prior-art/toolkit/experiment";
import {
  type Arm,
  ATTACKS,
  type AttackName,
  FLAGS,
  type FlagArm,
  type Scenario,
  type ScenarioResult,
  trainScenarios,
} from "./sweep.ts";

const RATES = [0.02, 0.06, 0.2, 0.6, 2];
/** At which rules are compared under `littleIsEnough` whatever rate was chosen for each. */
const SHARED_RATES = [0.06, 0.2, 0.6];
/** The paper's claim is about up to 3 Byzantine workers of 15, for which Bulyan is built too. */
const MOST_CLAIMED = 3;

interface Settings {
  readonly steps: number;
  /** Byzantine workers of 15. */
  readonly faulty: readonly number[];
  readonly attacks: readonly AttackName[];
  /** The others' metrics are 0. */
  readonly arms: readonly Arm[];
}

type Metrics = {
  /** Test accuracy without attackers, and with 3 of 15. */
  readonly accuracyNone: number;
  readonly accuracyUniformNoise: number;
  readonly accuracySignFlip: number;
  readonly accuracyLittleIsEnough: number;
  readonly accuracyAugmented: number;
  /** Mean over all attacks by 1 and by 3 of 15. */
  readonly accuracyAttacked: number;
  /** Under `littleIsEnough` by 3 of 15, mean over the shared learning rates. */
  readonly accuracyLittleIsEnoughSharedRates: number;
  /** Test accuracy by attack (rows) and number of attackers; Bulyan's stop at 3. */
  readonly accuracies: readonly (readonly number[])[];
  /** Under uniform noise by 3 workers: v_i by worker, attackers first; and the honest ones' mean less the attackers'. */
  readonly reconstruction: readonly number[];
  readonly separation: number;
  /** On validation digits, without attackers, by rules built for 3: what the learning rate is chosen by. */
  readonly validationScore: number;
};

const NOTHING: Metrics = {
  accuracyNone: 0,
  accuracyUniformNoise: 0,
  accuracySignFlip: 0,
  accuracyLittleIsEnough: 0,
  accuracyAugmented: 0,
  accuracyAttacked: 0,
  accuracyLittleIsEnoughSharedRates: 0,
  accuracies: [],
  reconstruction: [],
  separation: 0,
  validationScore: 0,
};

const LABELS: Readonly<Record<Arm, string>> = {
  mean: "Mean",
  median: "Median",
  trimmedMean: "Trimmed mean",
  krum: "Krum",
  multiKrum: "Multi-Krum",
  bulyan: "Bulyan",
  geometricMedian: "Geometric median",
  flag8: "Flag, m = 8",
  flag4: "Flag, m = 4",
  flag1: "Flag, m = 1",
  flag8Pairs1: "Flag, m = 8, λ = 1",
  flag8Pairs15: "Flag, m = 8, λ = 15",
};

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

async function* run({
  arm,
  seed,
  phase,
  settings,
  hyperparameters: { rate },
}: RunContext<Arm, Settings, { readonly rate: number }>): AsyncGenerator<Progress, Metrics, void> {
  const { attacks, arms, steps } = settings;
  if (!arms.includes(arm)) return NOTHING;
  const faulty = settings.faulty.filter((count) => arm !== "bulyan" || count <= MOST_CLAIMED);
  const clean: Scenario = { rate, attack: 0, faulty: 0, builtFor: 0 };
  const under = (attack: AttackName, count: number, at = rate): Scenario => ({
    rate: at,
    attack: ATTACKS.indexOf(attack),
    faulty: count,
    builtFor: count,
  });
  const shared = attacks.includes("littleIsEnough") ? SHARED_RATES : [];
  const scenarios =
    phase === "tune"
      ? // Built for none, most rules are the mean, and would be tuned as it.
        [{ ...clean, builtFor: MOST_CLAIMED }]
      : [
          clean,
          ...attacks.flatMap((attack) => faulty.map((count) => under(attack, count))),
          ...shared.map((at) => under("littleIsEnough", 3, at)),
        ];
  const training = trainScenarios(arm, scenarios, steps, seed);
  let turn = await training.next();
  for (; !turn.done; turn = await training.next()) yield { step: turn.value.step, of: steps };
  const [unattacked, ...results] = turn.value as [ScenarioResult, ...ScenarioResult[]];
  const validationScore = unattacked.validationAccuracy - 1e-6 * unattacked.validationLoss;
  if (phase === "tune") return { ...NOTHING, validationScore };

  const accuracies = attacks.map((_, i) =>
    faulty.map((__, j) => results[i * faulty.length + j]!.testAccuracy),
  );
  const byThree = (attack: AttackName): number =>
    accuracies[attacks.indexOf(attack)]?.[faulty.indexOf(3)] ?? 0;
  const atSharedRates = results.slice(attacks.length * faulty.length).map(({ testAccuracy }) => testAccuracy);
  const shares = results[attacks.indexOf("uniformNoise") * faulty.length + faulty.indexOf(3)]!.reconstruction;
  return {
    accuracyNone: unattacked.testAccuracy,
    accuracyUniformNoise: byThree("uniformNoise"),
    accuracySignFlip: byThree("signFlip"),
    accuracyLittleIsEnough: byThree("littleIsEnough"),
    accuracyAugmented: byThree("augmented"),
    accuracyAttacked: average(accuracies.flatMap((row) => row.filter((_, j) => faulty[j]! <= MOST_CLAIMED))),
    accuracyLittleIsEnoughSharedRates: shared.length > 0 ? average(atSharedRates) : 0,
    accuracies,
    reconstruction: shares,
    separation: average(shares.slice(3)) - average(shares.slice(0, 3)),
    validationScore,
  };
}

type Accuracy = "accuracyUniformNoise" | "accuracySignFlip" | "accuracyLittleIsEnough" | "accuracyAugmented";

type Compared = Accuracy | "accuracyAttacked" | "accuracyLittleIsEnoughSharedRates";

const UNDER: Readonly<Record<Compared, string>> = {
  accuracyUniformNoise: "uniform noise from 3 of 15 workers",
  accuracySignFlip: "3 of 15 gradients turned round and 10 times as long",
  accuracyLittleIsEnough: "3 of 15 workers a deviation off the mean",
  accuracyAugmented: "noisy, warped images at 3 of 15 workers",
  accuracyAttacked: "the mean over all attacks by 1 and 3 of 15",
  accuracyLittleIsEnoughSharedRates:
    "3 of 15 workers a deviation off the mean, at equal learning rates, the mean over 0.06, 0.2 and 0.6",
};

const beats = (metric: Compared, better: FlagArm, worse: Arm): ComparisonClaim<Arm, typeof metric> => ({
  kind: "comparison",
  id: `${better}-${worse}-${metric.slice("accuracy".length).toLowerCase()}`,
  of: "byzantine-accuracy",
  statement: `${LABELS[better]}: test accuracy above that of ${LABELS[worse]} (${UNDER[metric]})`,
  modes: ["full"],
  metric,
  better,
  worse,
  goal: "maximize",
});

const ALL = Object.keys(LABELS) as Arm[];

export default defineExperiment({
  settings: {
    full: { steps: 100, faulty: [1, 3, 5], attacks: ATTACKS, arms: ALL },
    quick: { steps: 40, faulty: [3], attacks: ["uniformNoise"], arms: ["mean", "multiKrum", "flag4"] },
  },
  seeds: { full: 5, quick: 1 },
  arms: Object.fromEntries(
    ALL.map((arm) => [arm, { label: LABELS[arm], space: { rate: RATES } }]),
  ) as unknown as Record<Arm, { label: string; space: { rate: readonly number[] } }>,
  run,
  // Each rule's learning rate is tuned without attackers, but built for 3 where it is built for a number.
  tuning: {
    metric: "validationScore",
    goal: "maximize",
    budget: { full: RATES.length, quick: RATES.length },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    beats("accuracySignFlip", "flag8", "median"),
    beats("accuracySignFlip", "flag8", "trimmedMean"),
    beats("accuracySignFlip", "flag8", "mean"),
    {
      kind: "statistic",
      id: "noise-close-to-clean",
      of: "byzantine-accuracy",
      statement:
        "Flag, m = 8: under uniform noise from 3 of 15 workers within 1.5 points of the mean without attackers",
      quantity: "difference of test accuracies",
      modes: ["full"],
      arms: ["flag8", "mean"],
      perSeed: ({ flag8, mean }) => flag8.accuracyUniformNoise - mean.accuracyNone,
      pass: { min: -0.015 },
    },
    {
      kind: "statistic",
      id: "no-cost-without-attack",
      of: "byzantine-accuracy",
      statement: "Flag, m = 8: without attackers within 1 point of the mean",
      quantity: "difference of test accuracies",
      modes: ["full"],
      arms: ["flag8", "mean"],
      perSeed: ({ flag8, mean }) => flag8.accuracyNone - mean.accuracyNone,
      pass: { min: -0.01 },
    },
    beats("accuracyUniformNoise", "flag8", "multiKrum"),
    beats("accuracySignFlip", "flag8", "multiKrum"),
    beats("accuracyLittleIsEnough", "flag8", "multiKrum"),
    beats("accuracyLittleIsEnoughSharedRates", "flag8", "multiKrum"),
    beats("accuracyAugmented", "flag8", "multiKrum"),
    beats("accuracyAttacked", "flag8", "multiKrum"),
    beats("accuracyAttacked", "flag4", "multiKrum"),
    beats("accuracyAttacked", "flag8", "bulyan"),
    beats("accuracyAttacked", "flag8", "median"),
    {
      kind: "statistic",
      id: "separation-4",
      of: "ratios-separate-workers",
      statement:
        "m = 4: under uniform noise honest gradients are reconstructed better by more than 0.2 of their variance",
      quantity: "mean share, honest less Byzantine",
      arms: ["flag4"],
      perSeed: ({ flag4 }) => flag4.separation,
      pass: { min: 0.2 },
    },
    {
      kind: "statistic",
      id: "separation-1",
      of: "ratios-separate-workers",
      statement:
        "m = 1: under uniform noise honest gradients are reconstructed better by more than 0.2 of their variance",
      quantity: "mean share, honest less Byzantine",
      modes: ["full"],
      arms: ["flag1"],
      perSeed: ({ flag1 }) => flag1.separation,
      pass: { min: 0.2 },
    },
  ],
  figure: ({ Plot, units, mode }) => {
    const { faulty, attacks } =
      mode === "full"
        ? { faulty: [1, 3, 5], attacks: ATTACKS as readonly AttackName[] }
        : { faulty: [3], attacks: ["uniformNoise"] as readonly AttackName[] };
    const points = units.flatMap(({ arm, metrics }) =>
      metrics.accuracies.flatMap((row, i) => [
        { attack: attacks[i]!, arm: LABELS[arm as Arm], f: 0, accuracy: metrics.accuracyNone },
        ...row.map((accuracy, j) => ({
          attack: attacks[i]!,
          arm: LABELS[arm as Arm],
          f: faulty[j]!,
          accuracy,
        })),
      ]),
    );
    const claimed = units.flatMap(({ arm, metrics }) =>
      metrics.accuracies.map((row, i) => ({
        attack: attacks[i]!,
        arm: LABELS[arm as Arm],
        accuracy: average(row.filter((_, j) => faulty[j]! <= MOST_CLAIMED)),
      })),
    );
    const shares = units.flatMap(({ arm, metrics }) =>
      arm in FLAGS
        ? metrics.reconstruction.map((share, i) => ({
            arm: LABELS[arm as Arm],
            worker: i < 3 ? "Byzantine" : "honest",
            share,
          }))
        : [],
    );
    return [
      {
        title: "Test accuracy by number of Byzantine workers of 15 (mean of the seeds)",
        options: {
          width: 860,
          height: 300,
          fx: { label: null },
          x: { label: "Byzantine workers" },
          y: { label: "accuracy", grid: true },
          color: { legend: true, scheme: "paired" as const },
          marks: [
            Plot.line(
              points,
              Plot.groupX({ y: "mean" }, { fx: "attack", x: "f", y: "accuracy", stroke: "arm" }),
            ),
            Plot.dot(
              points,
              Plot.groupX({ y: "mean" }, { fx: "attack", x: "f", y: "accuracy", fill: "arm" }),
            ),
          ],
        },
      },
      {
        title: `Test accuracy by attack, mean over ${mode === "full" ? "1 and 3" : "3"} Byzantine workers of 15: each seed, and the seeds' mean`,
        options: {
          width: 860,
          height: 300,
          marginLeft: 130,
          fx: { label: null },
          x: { label: "accuracy", grid: true, ticks: 4 },
          y: { label: null, domain: ALL.map((arm) => LABELS[arm]) },
          marks: [
            Plot.tickX(claimed, { fx: "attack", x: "accuracy", y: "arm", opacity: 0.4 }),
            Plot.dot(
              claimed,
              Plot.groupY({ x: "mean" }, { fx: "attack", x: "accuracy", y: "arm", fill: "currentColor" }),
            ),
          ],
        },
      },
      {
        title: "Reconstructed share of each worker's gradient, uniform noise from 3 workers",
        options: {
          width: 560,
          height: 240,
          marginLeft: 130,
          x: { label: "v, mean over the steps", domain: [0, 1], grid: true },
          y: { label: null },
          color: { legend: true },
          marks: [Plot.tickX(shares, { x: "share", y: "arm", stroke: "worker", opacity: 0.6 })],
        },
      },
    ];
  },
});
