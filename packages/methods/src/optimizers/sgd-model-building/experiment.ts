import {
  type ComparisonClaim,
  defineExperiment,
  type Progress,
  type RunContext,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import { type Arm, type CellTrace, type Problem, RATES, ratesOf, trainRates } from "./sweep.ts";

const PROBLEMS = ["digits", "deepDigits", "friedman"] as const satisfies readonly Problem[];

interface Settings {
  readonly epochs: number;
  /** The others' metrics are left at 0. */
  readonly problems: readonly Problem[];
}

/** The paper's own choices without tuning. */
const DEFAULT_RATES: Readonly<Record<Arm, number>> = {
  smb: 0.5,
  smbi: 0.5,
  shortened: 0.5,
  sls: 1,
  sgd: 0.1,
  adam: 1e-3,
};

type OfProblems<Name extends string> = { readonly [K in `${Name}${Capitalize<Problem>}`]: number };

type Metrics = OfProblems<"logLoss"> &
  OfProblems<"accuracy"> &
  OfProblems<"defaultLogLoss"> &
  OfProblems<"span"> & {
    /** Of the model steps with trial steps from 0.01 to 5: how many left the batch's loss below the trial's. */
    readonly betterShare: number;
    readonly modelShare: number;
    /** log₁₀ of the last training loss by problem (rows) and rate. */
    readonly losses: readonly (readonly number[])[];
    /** Rates chosen by training loss and by validation accuracy, by problem. */
    readonly chosen: readonly (readonly [number, number])[];
  };

/** First steps over which robustness is measured. */
const inRange = (rate: number): boolean => rate >= 0.01 && rate <= 5;

/** Training losses from here on count as this: a classifier that knows nothing, or a regression that is no better. */
const IGNORANT = Math.log10(Math.log(10));

/** log₁₀ of a training loss; what diverged counts as knowing nothing, which is in its favour. */
const logLoss = (loss: number): number => {
  const value = Math.log10(Math.max(loss, 1e-12));
  return Number.isFinite(loss) ? Math.min(value, IGNORANT) : IGNORANT;
};

/** The last epoch within the work that SGD has in all of them. */
const lastWithin = ({ evaluations }: CellTrace, budget: number): number =>
  Math.max(0, evaluations.filter((used) => used <= budget * (1 + 1e-6)).length - 1);

/** Position of the smallest value; NaN never wins. */
const argmin = (values: readonly number[]): number =>
  values.reduce((at, v, i) => (v < values[at]! || Number.isNaN(values[at]!) ? i : at), 0);

const titled = (problem: Problem) => `${problem[0]!.toUpperCase()}${problem.slice(1)}` as Capitalize<Problem>;

const STEPS_PER_EPOCH: Readonly<Record<Problem, number>> = { digits: 14, deepDigits: 14, friedman: 8 };

async function* run({
  arm,
  seed,
  settings,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const { epochs, problems } = settings;
  const entries = new Map<string, number>(
    PROBLEMS.flatMap((problem) =>
      ["logLoss", "accuracy", "defaultLogLoss", "span"].map(
        (name) => [`${name}${titled(problem)}`, 0] as const,
      ),
    ),
  );
  const losses: number[][] = [];
  const chosen: [number, number][] = [];
  let [uses, better, steps] = [0, 0, 0];
  for (const [i, problem] of problems.entries()) {
    const training = trainRates(arm, problem, epochs, seed);
    let turn = await training.next();
    for (; !turn.done; turn = await training.next()) {
      const step = i * epochs + turn.value.epoch;
      yield { step, of: problems.length * epochs, metrics: { loss: turn.value.loss } };
    }
    const traces = turn.value;
    const rates = ratesOf(arm);
    const budget = epochs * STEPS_PER_EPOCH[problem];
    const ends = traces.map((trace) => lastWithin(trace, budget));
    const final = traces.map(({ trainLoss }, cell) => logLoss(trainLoss[ends[cell]!]!));
    const byLoss = argmin(final);
    // Ties, of which 300 digits leave many, go to the lower training loss.
    const byAccuracy = argmin(
      traces.map(({ validationAccuracy }, cell) => -validationAccuracy[ends[cell]!]! + 1e-6 * final[cell]!),
    );
    chosen.push([rates[byLoss]!, rates[byAccuracy]!]);
    losses.push(traces.map(({ trainLoss }) => logLoss(trainLoss.at(-1)!)));
    const wide = losses.at(-1)!.filter((_, cell) => inRange(rates[cell]!));
    entries.set(`logLoss${titled(problem)}`, final[byLoss]!);
    entries.set(`accuracy${titled(problem)}`, traces[byAccuracy]!.testAccuracy[ends[byAccuracy]!]!);
    entries.set(`defaultLogLoss${titled(problem)}`, final[rates.indexOf(DEFAULT_RATES[arm])]!);
    entries.set(`span${titled(problem)}`, Math.max(...wide) - Math.min(...wide));
    traces.forEach(({ modelSteps, betterModelSteps }, cell) => {
      if (!inRange(rates[cell]!)) return;
      uses += modelSteps;
      better += betterModelSteps;
      steps += budget;
    });
  }
  return {
    ...(Object.fromEntries(entries) as unknown as OfProblems<"logLoss"> &
      OfProblems<"accuracy"> &
      OfProblems<"defaultLogLoss"> &
      OfProblems<"span">),
    betterShare: uses > 0 ? better / uses : 0,
    modelShare: uses / steps,
    losses,
    chosen,
  };
}

const NAMES: Readonly<Record<Problem, string>> = {
  digits: "digits, one hidden layer",
  deepDigits: "digits, two hidden layers",
  friedman: "Friedman's regression",
};

const LABELS: Readonly<Record<Arm, string>> = {
  smb: "SMB",
  smbi: "SMBi",
  shortened: "Shortened trials",
  sls: "Line search",
  sgd: "SGD",
  adam: "Adam",
};

const halfTheSpan = (problem: Problem): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id: `span-${problem.toLowerCase()}`,
  of: "robust-to-initial-step",
  statement: `The last training loss spans at most half as many decades over first steps of 0.01 to 5 with SMB as with SGD (${NAMES[problem]})`,
  quantity: "ratio of the spans, SMB to SGD",
  ...(problem !== "digits" && { modes: ["full"] as const }),
  arms: ["smb", "sgd"],
  perSeed: ({ smb, sgd }) => smb[`span${titled(problem)}`] / sgd[`span${titled(problem)}`],
  pass: { max: 0.5 },
});

const lowerLoss = (
  id: string,
  of: string,
  worse: Arm,
  problem: Problem,
  { defaults = false } = {},
): ComparisonClaim<Arm, `${"logLoss" | "defaultLogLoss"}${Capitalize<Problem>}`> => ({
  kind: "comparison",
  id: `${id}-${problem.toLowerCase()}`,
  of,
  statement: `After the same number of gradients, SMB's training loss is below that of ${LABELS[worse]}, ${defaults ? "each with the paper's default rate" : `each at the seed's best of its ${RATES.length} rates`} (${NAMES[problem]}; log₁₀)`,
  ...(problem !== "digits" && { modes: ["full"] as const }),
  metric: `${defaults ? "defaultLogLoss" : "logLoss"}${titled(problem)}`,
  better: "smb",
  worse,
  goal: "minimize",
});

const accuracyWithin = (
  id: string,
  worse: Arm,
  margin: number,
): ComparisonClaim<Arm, "accuracyDeepDigits"> => ({
  kind: "comparison",
  id,
  of: "faster-training",
  statement: `After the same number of gradients, SMB's test accuracy is at least that of ${LABELS[worse]} less ${margin === 0.01 ? "1 point" : `${margin * 100} points`}, each at the rate of the best validation accuracy (digits, two hidden layers)`,
  modes: ["full"],
  metric: "accuracyDeepDigits",
  better: "smb",
  worse,
  goal: "maximize",
  margin: -margin,
});

export default defineExperiment({
  settings: {
    full: { epochs: 40, problems: PROBLEMS },
    quick: { epochs: 5, problems: ["digits"] },
  },
  seeds: { full: 6, quick: 1 },
  arms: {
    smb: { label: LABELS.smb },
    smbi: { label: LABELS.smbi },
    shortened: { label: LABELS.shortened },
    sls: { label: LABELS.sls },
    sgd: { label: LABELS.sgd },
    adam: { label: LABELS.adam },
  },
  run,
  claims: [
    halfTheSpan("digits"),
    halfTheSpan("deepDigits"),
    halfTheSpan("friedman"),
    lowerLoss("tuned-sgd", "faster-training", "sgd", "digits"),
    lowerLoss("tuned-sgd", "faster-training", "sgd", "deepDigits"),
    lowerLoss("tuned-sgd", "faster-training", "sgd", "friedman"),
    lowerLoss("default-sgd", "faster-training", "sgd", "deepDigits", { defaults: true }),
    lowerLoss("default-adam", "faster-training", "adam", "deepDigits", { defaults: true }),
    accuracyWithin("accuracy-adam", "adam", 0.01),
    accuracyWithin("accuracy-sls", "sls", 0.005),
    lowerLoss("shortened", "direction-matters", "shortened", "digits"),
    lowerLoss("shortened", "direction-matters", "shortened", "deepDigits"),
    {
      kind: "statistic",
      id: "model-beats-trial",
      of: "faster-training",
      statement: "More than 95% of the model steps leave the batch's loss below that at the failed trial",
      quantity: "share of the model steps",
      arms: ["smb"],
      perSeed: ({ smb }) => smb.betterShare,
      pass: { min: 0.95 },
    },
  ],
  figure: ({ Plot, units, mode }) => {
    const drawn = mode === "full" ? PROBLEMS : (["digits"] as const);
    return drawn.map((problem, row) => {
      const points = units.flatMap(({ arm, seed, metrics }) =>
        metrics.losses[row]!.map((value, i) => ({
          arm: LABELS[arm as Arm],
          seed,
          rate: ratesOf(arm as Arm)[i]!,
          loss: 10 ** value,
        })),
      );
      return {
        title: `Last training loss by first step: ${NAMES[problem]}`,
        options: {
          width: 560,
          height: 320,
          x: {
            type: "log" as const,
            label: "first trial step, or learning rate",
            grid: true,
            domain: [1e-4, RATES.at(-1)!],
          },
          y: { type: "log" as const, label: "training loss", grid: true },
          color: { legend: true },
          marks: [
            Plot.dot(points, { x: "rate", y: "loss", fill: "arm", r: 1.5, opacity: 0.4 }),
            Plot.line(
              points,
              Plot.groupX({ y: "median" }, { x: "rate", y: "loss", stroke: "arm", strokeWidth: 2 }),
            ),
          ],
        },
      };
    });
  },
});
