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

const RATES = [0.06, 0.2, 0.6, 2];

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
  /** Mean over all attacks with 1, 3 and 5 of 15. */
  readonly accuracyAttacked: number;
  /** Test accuracy by attack (rows) and number of attackers. */
  readonly accuracies: readonly (readonly number[])[];
  /** Under uniform noise by 3 workers: v_i by worker, attackers first; and the honest ones' mean less the attackers'. */
  readonly reconstruction: readonly number[];
  readonly separation: number;
  readonly rate: number;
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
  flag8Pairs: "Flag, m = 8, λ = 15",
};

const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

async function* trained(
  arm: Arm,
  scenarios: readonly Scenario[],
  { steps }: Settings,
  seed: number,
  done: number,
): AsyncGenerator<Progress, ScenarioResult[]> {
  const training = trainScenarios(arm, scenarios, steps, seed);
  let turn = await training.next();
  for (; !turn.done; turn = await training.next()) yield { step: done + turn.value.step, of: 2 * steps };
  return turn.value;
}

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { faulty, attacks, arms, steps } = settings;
  const nothing: Metrics = {
    accuracyNone: 0,
    accuracyUniformNoise: 0,
    accuracySignFlip: 0,
    accuracyLittleIsEnough: 0,
    accuracyAugmented: 0,
    accuracyAttacked: 0,
    accuracies: [],
    reconstruction: [],
    separation: 0,
    rate: 0,
  };
  if (!arms.includes(arm)) return nothing;
  // Each rule's learning rate is tuned without attackers.
  const alone = RATES.map((rate) => ({ rate, attack: 0, faulty: 0 }));
  const tuned = yield* trained(arm, alone, settings, seed, 0);
  const scores = tuned.map((r) => r.validationAccuracy - 1e-6 * r.validationLoss);
  const best = scores.reduce((at, score, i) => (score > scores[at]! ? i : at), 0);
  const rate = RATES[best]!;

  const scenarios = attacks.flatMap((attack) =>
    faulty.map((count) => ({ rate, attack: ATTACKS.indexOf(attack), faulty: count })),
  );
  const results = yield* trained(arm, scenarios, settings, seed, steps);
  const of = (attack: AttackName, count: number): ScenarioResult | undefined =>
    results[scenarios.findIndex((s) => s.attack === ATTACKS.indexOf(attack) && s.faulty === count)];
  const shares = of("uniformNoise", 3)?.reconstruction ?? [];
  const [bad, honest] = [shares.slice(0, 3), shares.slice(3)];
  return {
    accuracyNone: tuned[best]!.testAccuracy,
    accuracyUniformNoise: of("uniformNoise", 3)?.testAccuracy ?? 0,
    accuracySignFlip: of("signFlip", 3)?.testAccuracy ?? 0,
    accuracyLittleIsEnough: of("littleIsEnough", 3)?.testAccuracy ?? 0,
    accuracyAugmented: of("augmented", 3)?.testAccuracy ?? 0,
    accuracyAttacked: average(results.map(({ testAccuracy }) => testAccuracy)),
    accuracies: attacks.map((attack) => faulty.map((count) => of(attack, count)!.testAccuracy)),
    reconstruction: shares,
    separation: shares.length > 0 ? average(honest) - average(bad) : 0,
    rate,
  };
}

type Accuracy = "accuracyUniformNoise" | "accuracySignFlip" | "accuracyLittleIsEnough" | "accuracyAugmented";

const UNDER: Readonly<Record<Accuracy | "accuracyAttacked", string>> = {
  accuracyUniformNoise: "uniform noise from 3 of 15 workers",
  accuracySignFlip: "3 of 15 gradients turned round and 10 times as long",
  accuracyLittleIsEnough: "3 of 15 workers a deviation off the mean",
  accuracyAugmented: "noisy, warped images at 3 of 15 workers",
  accuracyAttacked: "the mean over all attacks by 1, 3 and 5 of 15",
};

const beats = (
  metric: Accuracy | "accuracyAttacked",
  better: FlagArm,
  worse: Arm,
): ComparisonClaim<Arm, typeof metric> => ({
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
  arms: Object.fromEntries(ALL.map((arm) => [arm, { label: LABELS[arm] }])) as Record<Arm, { label: string }>,
  run,
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
