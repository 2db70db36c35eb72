import { concat, item, linalg, type Tensor } from "@prior-art/tensor";
import {
  type ComparisonClaim,
  defineExperiment,
  type Progress,
  type RunContext,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import { type MarkovSource, markovSourceFrom, type WindowModelParams } from "@prior-art/toolkit/lm";
import { newtonSchulz, warmupCosine } from "@prior-art/toolkit/optim";
import { blockMatrices, excessLoss, textModel, textSource, trainText, VOCABULARY } from "../markovText.ts";
import { type Candidate, type OptimizerName, optimizerOf, spaceOf } from "./candidates.ts";
import { meanDistance, totalRise } from "./curves.ts";
import { type MatrixOptimizerState, racs, reg } from "./method.ts";

interface Settings {
  /** Steps of pre-training, and of fine-tuning. */
  readonly steps: number;
  readonly tuningSteps: number;
}
const settings: Record<"full" | "quick", Settings> = {
  full: { steps: 1000, tuningSteps: 300 },
  quick: { steps: 200, tuningSteps: 60 },
};

/** Steps between two points of a curve. */
const EVERY = { pretraining: 20, tuning: 10 };

const arms = {
  adamw: { label: "AdamW", space: spaceOf("pretraining") },
  reg: { label: "REG", space: spaceOf("pretraining") },
  regPlain: { label: "REG without Nesterov momentum", space: spaceOf("pretraining") },
  muon: { label: "Muon", space: spaceOf("pretraining") },
  ngd: { label: "normalized gradient", space: spaceOf("pretraining") },
  sign: { label: "signs of the momentum", space: spaceOf("pretraining") },
  adamwTuned: { label: "AdamW, fine-tuning", space: spaceOf("tuning") },
  regTuned: { label: "REG, fine-tuning", space: spaceOf("tuning") },
  muonTuned: { label: "Muon, fine-tuning", space: spaceOf("tuning") },
  ngdTuned: { label: "normalized gradient, fine-tuning", space: spaceOf("tuning") },
  spectrum: { label: "singular values" },
} as const;
type Arm = keyof typeof arms;
type TextArm = Exclude<Arm, "spectrum">;

/** Every unit has these; what it doesn't measure is empty or 0. */
type Metrics = {
  /** Nats a token over the (new) source's entropy after training. */
  readonly excess: number;
  /** The same along the way. */
  readonly curve: readonly number[];
  /** All rises of that curve together, in nats a token. */
  readonly rise: number;
  /** What fine-tuning adds to the loss on the first source, in nats a token. */
  readonly forgetting: number;
  /** Stable ranks `[matrices and times, 3]` of the momentum, of REG's update and of Muon's. */
  readonly stableRanks: readonly (readonly number[])[];
  readonly conditionNumbers: readonly (readonly number[])[];
  /** Singular values over the largest of one matrix at the end: of the momentum, of REG's update and of Muon's. */
  readonly profiles: readonly (readonly number[])[];
};

const NOTHING: Metrics = {
  excess: 0,
  curve: [],
  rise: 0,
  forgetting: 0,
  stableRanks: [],
  conditionNumbers: [],
  profiles: [],
};

/** What an arm trains with, in pre-training or in fine-tuning. */
const trainedBy = (arm: TextArm, candidate: Candidate, steps: number) =>
  optimizerOf<WindowModelParams>(arm.replace("Tuned", "") as OptimizerName, candidate, steps, blockMatrices);

async function* pretrained(arm: TextArm, seed: number, steps: number, candidate: Candidate) {
  const { excess } = yield* trainText({
    model: textModel,
    optimizer: trainedBy(arm, candidate, steps),
    source: textSource(seed),
    seed,
    steps,
    every: EVERY.pretraining,
  });
  return { ...NOTHING, excess: excess.at(-1)!, curve: excess, rise: totalRise(excess) };
}

/** The source with every tenth of its rows replaced by another source's. */
function changedSource(source: MarkovSource, seed: number): MarkovSource {
  const transitions = Float64Array.from(source.transitions);
  const other = textSource(seed + 500_000_000).transitions;
  for (let at = 0; at < transitions.length; at += 10 * VOCABULARY)
    transitions.set(other.subarray(at, at + VOCABULARY), at);
  return markovSourceFrom(transitions, VOCABULARY);
}

async function* fineTuned(
  arm: TextArm,
  seed: number,
  { steps, tuningSteps }: Settings,
  candidate: Candidate,
): AsyncGenerator<Progress, Metrics, void> {
  const source = textSource(seed);
  const start = yield* trainText({
    model: textModel,
    optimizer: trainedBy("adamw", { learningRate: 0.01 }, steps),
    source,
    seed,
    steps,
    every: steps / 2,
  });
  const { params, excess } = yield* trainText({
    model: textModel,
    optimizer: trainedBy(arm, candidate, tuningSteps),
    source: changedSource(source, seed),
    seed: seed + 250_000_000,
    steps: tuningSteps,
    every: EVERY.tuning,
    params: start.params,
  });
  const onFirst = await item(excessLoss(source, textModel)(params));
  const forgetting = onFirst - start.excess.at(-1)!;
  return { ...NOTHING, excess: excess.at(-1)!, curve: excess, rise: totalRise(excess), forgetting };
}

/** The momentum of REG on its way, what REG makes of it, and what Muon would. */
async function* spectra(seed: number, steps: number): AsyncGenerator<Progress, Metrics, void> {
  const optimizer = reg<WindowModelParams>({
    learningRate: warmupCosine(0.01, steps / 10, steps),
    select: blockMatrices,
  });
  const { observed } = yield* trainText<WindowModelParams, MatrixOptimizerState>({
    model: textModel,
    optimizer,
    source: textSource(seed),
    seed,
    steps,
    every: 100,
    observe: (_, [{ momentum }]) =>
      concat(
        momentum.flatMap((m: Tensor) => [m, racs(m), newtonSchulz(m)]).map((m) => linalg.singularValues(m)),
      ),
  });
  const side = 64;
  const values = observed.flatMap((all) =>
    Array.from({ length: all.length / (3 * side) }, (_, i) =>
      [0, 1, 2].map((k) => all.slice((3 * i + k) * side, (3 * i + k + 1) * side)),
    ),
  );
  const stableRank = (s: readonly number[]): number => s.reduce((total, v) => total + v * v, 0) / s[0]! ** 2;
  return {
    ...NOTHING,
    stableRanks: values.map((kinds) => kinds.map(stableRank)),
    conditionNumbers: values.map((kinds) => kinds.map((s) => s[0]! / s.at(-1)!)),
    profiles: values.at(-1)!.map((s) => s.map((v) => v / s[0]!)),
  };
}

async function* run({
  arm,
  seed,
  settings: s,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  if (arm === "spectrum") return yield* spectra(seed, s.steps);
  const candidate = hyperparameters as unknown as Candidate;
  if (arm.endsWith("Tuned")) return yield* fineTuned(arm, seed, s, candidate);
  return yield* pretrained(arm, seed, s.steps, candidate);
}

const below = (
  id: string,
  of: string,
  better: TextArm,
  worse: TextArm,
  statement: string,
  metric: "excess" | "rise" | "forgetting" = "excess",
): ComparisonClaim<Arm, "excess" | "rise" | "forgetting"> => ({
  kind: "comparison",
  id,
  of,
  statement,
  metric,
  better,
  worse,
  goal: "minimize",
});

const share = (rows: readonly (readonly number[])[], holds: (row: readonly number[]) => boolean): number =>
  rows.filter(holds).length / rows.length;

const spectral = (
  id: string,
  statement: string,
  quantity: string,
  perSeed: (m: Metrics) => number,
): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id,
  of: "milder-spectrum-change",
  statement,
  quantity,
  arms: ["spectrum"],
  perSeed: ({ spectrum }) => perSeed(spectrum),
  pass: { min: 0.9 },
});

const ADAMW = "at-least-adamw";
const FOLLOWS = "follows-adamw-in-fine-tuning";

export default defineExperiment({
  settings,
  seeds: { full: 8, quick: 2 },
  arms,
  run,
  tuning: {
    metric: "excess",
    goal: "minimize",
    budget: { full: 20, quick: 1 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    below(
      "below-adamw",
      ADAMW,
      "reg",
      "adamw",
      "Pre-training: with Nesterov momentum, which AdamW doesn't have, the excess loss is below AdamW's (paired, p ≤ .05)",
    ),
    below(
      "plain-below-adamw",
      ADAMW,
      "regPlain",
      "adamw",
      "Pre-training: without Nesterov momentum the excess loss is below AdamW's (paired, p ≤ .05)",
    ),
    {
      ...below(
        "near-adamw",
        ADAMW,
        "reg",
        "adamw",
        "Pre-training: with Nesterov momentum the excess loss is at most 1% above AdamW's",
      ),
      margin: -0.01,
      relative: true,
    },
    {
      ...below(
        "plain-near-adamw",
        ADAMW,
        "regPlain",
        "adamw",
        "Pre-training: without Nesterov momentum the excess loss is at most 1% above AdamW's",
      ),
      margin: -0.01,
      relative: true,
    },
    below(
      "smoother-than-adamw",
      ADAMW,
      "reg",
      "adamw",
      "Pre-training: the exact excess loss, seen every 20 steps, rises less in all on its way than AdamW's (paired, p ≤ .05)",
      "rise",
    ),
    below(
      "below-normalized-gradient",
      ADAMW,
      "reg",
      "ngd",
      "Pre-training: the excess loss is below that of the momentum without row-and-column scaling (paired, p ≤ .05)",
    ),
    below(
      "below-muon",
      ADAMW,
      "reg",
      "muon",
      "Pre-training: the excess loss is below Muon's (paired, p ≤ .05)",
    ),
    below(
      "tuned-below-muon",
      FOLLOWS,
      "regTuned",
      "muonTuned",
      "Fine-tuning: the excess loss on the new source is below Muon's (paired, p ≤ .05)",
    ),
    below(
      "forgets-less-than-muon",
      FOLLOWS,
      "regTuned",
      "muonTuned",
      "Fine-tuning: less is forgotten of the first source than with Muon (paired, p ≤ .05)",
      "forgetting",
    ),
    {
      kind: "statistic",
      id: "closer-to-adamw",
      of: FOLLOWS,
      statement: "Fine-tuning: the curve is closer to AdamW's than Muon's is",
      quantity: "distance of Muon's curve from AdamW's less that of REG's, nats",
      arms: ["adamwTuned", "regTuned", "muonTuned"],
      perSeed: ({ adamwTuned, regTuned, muonTuned }) =>
        meanDistance(muonTuned.curve, adamwTuned.curve) - meanDistance(regTuned.curve, adamwTuned.curve),
      pass: { min: 0 },
    },
    spectral(
      "stable-rank-between",
      "The stable rank of REG's update lies between the momentum's and Muon's for 90% of matrices and times",
      "share of matrices and times",
      ({ stableRanks }) => share(stableRanks, ([raw, ours, polar]) => raw! < ours! && ours! < polar!),
    ),
    spectral(
      "condition-between",
      "The condition number of REG's update lies between Muon's and the momentum's for 90% of matrices and times",
      "share of matrices and times",
      ({ conditionNumbers }) =>
        share(conditionNumbers, ([raw, ours, polar]) => raw! > ours! && ours! > polar!),
    ),
  ],
  figure: ({ Plot, units, mode, arms: named }) => {
    const labelOf = (arm: string): string => named.find(({ name }) => name === arm)!.label;
    const pretraining = ["adamw", "reg", "regPlain", "muon", "ngd", "sign"];
    const tuning = ["adamwTuned", "regTuned", "muonTuned", "ngdTuned"];
    const meanCurves = (shown: readonly string[], every: number) =>
      shown.flatMap((arm) => {
        const runs = units.filter((unit) => unit.arm === arm).map(({ metrics }) => metrics.curve);
        return (runs[0] ?? []).map((_, i) => ({
          arm: labelOf(arm),
          step: (i + 1) * every,
          excess: runs.reduce((total, curve) => total + curve[i]!, 0) / runs.length,
        }));
      });
    const kinds = ["momentum", "REG", "Muon"];
    const profiles = (units.find(({ arm }) => arm === "spectrum")?.metrics.profiles ?? []).flatMap(
      (profile, k) => profile.map((value, i) => ({ update: kinds[k]!, index: i + 1, value })),
    );
    return [
      {
        title: "Singular values of an update at the end of training",
        options: {
          width: 560,
          height: 320,
          marginLeft: 60,
          color: { legend: true, domain: kinds },
          x: { label: "index" },
          y: { label: "share of the largest", grid: true },
          marks: [Plot.line(profiles, { x: "index", y: "value", stroke: "update" })],
        },
      },
      {
        title: "Excess loss in the second half of pre-training",
        options: {
          width: 560,
          height: 320,
          marginLeft: 60,
          color: { legend: true, domain: pretraining.map(labelOf) },
          x: { label: "step", domain: [settings[mode].steps / 2, settings[mode].steps] },
          y: { label: "nats a token over the entropy", grid: true },
          marks: [
            Plot.line(
              meanCurves(pretraining, EVERY.pretraining).filter(
                ({ step }) => step >= settings[mode].steps / 2,
              ),
              { x: "step", y: "excess", stroke: "arm" },
            ),
          ],
        },
      },
      {
        title: "Excess loss on the new source in fine-tuning",
        options: {
          width: 560,
          height: 320,
          marginLeft: 60,
          color: { legend: true, domain: tuning.map(labelOf) },
          x: { label: "step", domain: [0, settings[mode].tuningSteps] },
          y: { label: "nats a token over the entropy", grid: true },
          marks: [Plot.line(meanCurves(tuning, EVERY.tuning), { x: "step", y: "excess", stroke: "arm" })],
        },
      },
    ];
  },
});
