import {
  defineExperiment,
  type Progress,
  type RunContext,
  type StatisticClaim,
} from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { pretrained } from "../shiftedTexts.ts";
import { ADAPTERS, type AdapterArm, type AdapterHyperparameters, fineTunedLoss } from "./fineTuning.ts";
import {
  alignment,
  type CONDITIONS,
  LINEAR,
  type LinearArm,
  type LinearHyperparameters,
  recovery,
} from "./recovery.ts";

type Arm = LinearArm | AdapterArm | "alignment";

interface Settings {
  /** Steps after which recovery of the shift counts as not reached. */
  readonly maxSteps: number;
  /** Gradient steps of fine-tuning. */
  readonly steps: number;
}

/** Every unit has these; what a unit doesn't measure is 0 or empty. */
export type Metrics = {
  /** What is tuned: steps to the tolerance, or the new domain's loss. */
  readonly cost: number;
  /** Steps until the relative error of the shift is 1e-3. */
  readonly steps: number;
  /** log₁₀ of the relative error at steps 0, 4, 8, … */
  readonly errorCurve: readonly number[];
  /** Sine of the angle between the start's A and the gradient's left singular vectors. */
  readonly startAngle: number;
  /** Share of the loss that is left when A's angle to the gradient first is at most 0.1; 0 when it never is. */
  readonly lossWhenAligned: number;
  /** Sine of the angle between B's rows after one step and the gradient's right singular vectors. */
  readonly rightAngle: number;
  readonly angleCurve: readonly number[];
  /** Share of the loss that is left. */
  readonly lossCurve: readonly number[];
  /** Held-out loss on the new domain above its entropy, nats a letter. */
  readonly newLoss: number;
};

const NOTHING: Metrics = {
  cost: 0,
  steps: 0,
  errorCurve: [],
  startAngle: 0,
  lossWhenAligned: 0,
  rightAngle: 0,
  angleCurve: [],
  lossCurve: [],
  newLoss: 0,
};

const isLinear = (arm: Arm): arm is LinearArm => Object.hasOwn(LINEAR, arm);

async function* run({
  arm,
  seed,
  phase,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  yield { step: 0, of: 1 };
  if (arm === "alignment") return { ...NOTHING, ...alignment(seed) };
  if (isLinear(arm)) {
    const found = recovery(arm, hyperparameters as LinearHyperparameters, settings.maxSteps, seed);
    return { ...NOTHING, ...found, cost: found.steps };
  }
  const newLoss = await fineTunedLoss(arm, hyperparameters as AdapterHyperparameters, {
    steps: settings.steps,
    seed,
    stream: phase === "tune" ? "validation" : "test",
  });
  return { ...NOTHING, newLoss, cost: newLoss };
}

const beatsInLoss = (worse: AdapterArm) =>
  ({
    kind: "comparison",
    id: `beats-${worse.toLowerCase()}`,
    of: "beats-variants",
    statement: `Fine-tuned on the new domain, LoRA-One's held-out loss is below that of ${ADAPTERS[worse].label} (paired, p ≤ .05)`,
    metric: "newLoss",
    better: "loraOne",
    worse,
    goal: "minimize",
  }) as const;

/** Steps at the worse condition over steps at the better one. */
const slowdown = (
  id: string,
  method: "preconditioned" | "loraOne",
  statement: string,
  pass: { min?: number; max?: number },
): StatisticClaim<Arm, Metrics> => ({
  kind: "statistic",
  id,
  of: "alignment-and-linear-rate",
  statement,
  quantity: "steps at κ = 100 over steps at κ = 1",
  arms: [`${method}1`, `${method}100`] as readonly Arm[],
  perSeed: (seed) => seed[`${method}100` as Arm].steps / seed[`${method}1` as Arm].steps,
  pass,
});

const fewerSteps = (worse: "lora" | "loraGa", kappa: (typeof CONDITIONS)[number], margin: number) =>
  ({
    kind: "comparison",
    id: `${worse === "lora" ? "half-the-steps-of-lora" : "fewer-steps-than-lora-ga"}-${kappa}`,
    of: worse === "lora" ? "alignment-and-linear-rate" : "mixed-subspaces-misaligned",
    statement:
      worse === "lora"
        ? `At κ = ${kappa} LoRA-One recovers the shift in at most half of LoRA's steps, both tuned (p ≤ .01)`
        : `At κ = ${kappa} LoRA-One recovers the shift in fewer steps than LoRA-GA, both tuned (p ≤ .01)`,
    metric: "steps",
    better: `loraOne${kappa}`,
    worse: `${worse}${kappa}`,
    goal: "minimize",
    relative: true,
    margin,
    alpha: 0.01,
  }) as const;

export default defineExperiment({
  settings: { full: { maxSteps: 4000, steps: 100 }, quick: { maxSteps: 1000, steps: 20 } },
  seeds: { full: 10, quick: 1 },
  checkpoints: [pretrained],
  arms: { ...LINEAR, alignment: { label: "LoRA from a tiny start" }, ...ADAPTERS },
  run,
  tuning: { metric: "cost", goal: "minimize", budget: { full: 15, quick: 1 }, seeds: { full: 2, quick: 1 } },
  claims: [
    beatsInLoss("lora"),
    beatsInLoss("rsLora"),
    beatsInLoss("loraPlus"),
    beatsInLoss("gradientAligned"),
    {
      kind: "statistic",
      id: "aligns-before-learning",
      of: "alignment-and-linear-rate",
      statement:
        "From a tiny start LoRA's A comes within a sine of 0.1 of the gradient's singular subspace while more than half of the loss is left, on 9 of 10 seeds",
      quantity: "share of the loss left at alignment",
      arms: ["alignment"],
      perSeed: ({ alignment: { lossWhenAligned } }) => lossWhenAligned,
      pass: { min: 0.5 },
      seedsHolding: 0.9,
    },
    {
      kind: "deterministic",
      id: "b-aligns-in-one-step",
      of: "alignment-and-linear-rate",
      statement:
        "After LoRA's first step B's rows span the gradient's right singular subspace, to a sine of 1e-6",
      arm: "alignment",
      metric: "rightAngle",
      expected: 0,
      tolerance: 1e-6,
    },
    fewerSteps("lora", 1, 0.5),
    fewerSteps("lora", 100, 0.5),
    slowdown(
      "preconditioned-rate-free-of-condition",
      "preconditioned",
      "With preconditioned steps κ = 100 takes at most twice the steps of κ = 1",
      { max: 2 },
    ),
    slowdown(
      "plain-rate-depends-on-condition",
      "loraOne",
      "With plain steps κ = 100 takes at least five times the steps of κ = 1",
      { min: 5 },
    ),
    {
      kind: "statistic",
      id: "lora-ga-starts-misaligned",
      of: "mixed-subspaces-misaligned",
      statement:
        "LoRA-GA's A starts orthogonal to a direction to be learned (sine 1), LoRA-One's within 1e-6 of all",
      quantity: "sine of LoRA-GA's angle minus LoRA-One's",
      arms: ["loraGa1", "loraOne1"],
      perSeed: ({ loraGa1, loraOne1 }) => loraGa1.startAngle - loraOne1.startAngle,
      pass: { min: 1 - 1e-6 },
      seedsHolding: 1,
    },
    fewerSteps("loraGa", 1, 0),
    fewerSteps("loraGa", 100, 0),
  ],
  figure: ({ Plot, units, arms }) => {
    const average = (arm: string, metric: "errorCurve" | "angleCurve" | "lossCurve", every: number) => {
      const curves = units.filter((unit) => unit.arm === arm).map(({ metrics }) => metrics[metric]);
      const length = Math.max(0, ...curves.map((c) => c.length));
      return Array.from({ length }, (_, i) => ({
        step: i * every,
        value: mean(curves.map((c) => c[Math.min(i, c.length - 1)] ?? 0)),
      }));
    };
    const alignmentCurves = [
      ...average("alignment", "angleCurve", 5).map((p) => ({
        ...p,
        series: "sine of A's angle to the gradient",
      })),
      ...average("alignment", "lossCurve", 5).map((p) => ({ ...p, series: "loss left" })),
    ];
    const errors = arms
      .filter(({ name }) => isLinear(name))
      .flatMap(({ name, label }) =>
        average(name, "errorCurve", 4).map((p) => ({
          ...p,
          series: label.replace(/, κ.*/, ""),
          ill: name.endsWith("100"),
        })),
      );
    const losses = units
      .filter(({ arm }) => Object.hasOwn(ADAPTERS, arm))
      .map(({ arm, metrics }) => ({
        arm: arms.find(({ name }) => name === arm)!.label,
        loss: metrics.newLoss,
      }));
    return [
      {
        title: "LoRA from a tiny start: aligned before anything is learned",
        options: {
          x: { label: "Step" },
          y: { label: null, domain: [0, 1], grid: true },
          color: { legend: true },
          marks: [Plot.lineY(alignmentCurves, { x: "step", y: "value", stroke: "series" })],
        },
      },
      {
        title: "Relative error of the shift, tuned (dashed: κ = 100)",
        options: {
          x: { label: "Step", domain: [0, 200] },
          y: { label: "log₁₀ error", domain: [-3, 0], grid: true },
          color: { legend: true },
          marks: [
            ...[false, true].map((ill) =>
              Plot.lineY(
                errors.filter((p) => p.ill === ill),
                { x: "step", y: "value", stroke: "series", strokeDasharray: ill ? "4 3" : "", clip: true },
              ),
            ),
          ],
        },
      },
      {
        title: "Fine-tuning a small transformer",
        options: {
          marginLeft: 80,
          x: { label: "Loss on the new domain above its entropy, nats" },
          y: { label: null },
          marks: [
            Plot.dot(losses, { x: "loss", y: "arm", strokeOpacity: 0.6 }),
            Plot.tickX(losses, Plot.groupY({ x: "mean" }, { x: "loss", y: "arm", stroke: "red" })),
          ],
        },
      },
    ];
  },
  leaderboard: { metric: "newLoss", goal: "minimize" },
});
