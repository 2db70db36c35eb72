import { scalar, type Tensor } from "@prior-art/tensor";
import {
  classifierFreeGuidance,
  digitModels,
  digitQuality,
  type Guidance,
} from "@prior-art/toolkit/diffusion";
import { defineExperiment, type Progress, type RunContext } from "@prior-art/toolkit/experiment";
import { mean } from "@prior-art/toolkit/stats";
import { drawDigits, rescaledGuidance, type SamplerName } from "./drawing.ts";
import { adaptiveProjectedGuidance, parallelGuidance } from "./method.ts";

/** The scale of the claims: five times the gap, where digits are visibly overexposed. */
const HIGH = 5;
/** The scales of the figure. */
const SCALES = [1, 2, 3, HIGH, 8];
interface Hyperparameters {
  readonly parallel?: number;
  readonly radius?: number;
  readonly momentum?: number;
  readonly share?: number;
}

const GUIDANCE = {
  cfg: (w: Tensor) => classifierFreeGuidance(w),
  apg: (w: Tensor, h: Hyperparameters) => adaptiveProjectedGuidance({ scale: w, ...h }),
  orthogonal: (w: Tensor) => adaptiveProjectedGuidance({ scale: w }),
  parallel: (w: Tensor) => parallelGuidance(w),
  rescaled: (w: Tensor, { share = 1 }: Hyperparameters) => rescaledGuidance(w, share),
} as const;

interface Settings {
  /** Digits drawn for each measurement. */
  readonly count: number;
  /** Denoising steps of DDIM; Heun's method takes half as many at twice the evaluations. */
  readonly steps: number;
  readonly scales: readonly number[];
}

type Metrics = {
  /** At the high scale; the lower the better. */
  readonly frechet: number;
  readonly precision: number;
  readonly recall: number;
  readonly accuracy: number;
  readonly contrast: number;
  readonly overshoot: number;
  /** Evaluations of the network that one step of guidance asks for. */
  readonly evaluations: number;
  /** By the figure's scales, with DDIM only. */
  readonly scales: readonly number[];
  readonly frechetByScale: readonly number[];
  readonly precisionByScale: readonly number[];
  readonly recallByScale: readonly number[];
  readonly contrastByScale: readonly number[];
};

type Method = keyof typeof GUIDANCE;
type Arm = `${Method}-ddim` | `${"cfg" | "apg"}-${"ancestral" | "heun"}`;

async function* run({
  arm,
  seed,
  phase,
  settings,
  hyperparameters,
}: RunContext<Arm, Settings>): AsyncGenerator<Progress, Metrics, void> {
  const [method, sampler] = arm.split("-") as [Method, SamplerName];
  const make = (w: Tensor): Guidance<unknown> =>
    GUIDANCE[method](w, hyperparameters as Hyperparameters) as Guidance<unknown>;
  const curve = phase === "test" && sampler === "ddim";
  const scales = curve ? settings.scales : [HIGH];
  const results = [];
  for (const scale of scales) {
    const { images, labels, evaluations } = await drawDigits(make, {
      scale: scalar(scale),
      sampler,
      steps: settings.steps,
      count: settings.count,
      seed,
    });
    results.push({ ...(await digitQuality(images, labels)), evaluations });
    yield { step: results.length, of: scales.length };
  }
  const high = results[scales.indexOf(HIGH)]!;
  // Heun's method guides twice in a step and once more at the end, all of it traced.
  const calls = sampler === "heun" ? 3 : 1;
  return {
    ...high,
    evaluations: high.evaluations / calls,
    scales: [...scales],
    frechetByScale: results.map(({ frechet }) => frechet),
    precisionByScale: results.map(({ precision }) => precision),
    recallByScale: results.map(({ recall }) => recall),
    contrastByScale: results.map(({ contrast }) => contrast),
  };
}

/** Fifteen candidates for the method, fifteen for the rival. */
const APG_SPACE = {
  parallel: [0],
  radius: [0.25, 0.5, 1, 2, 4],
  momentum: [-0.75, -0.5, 0],
};
const SHARES = Array.from({ length: 15 }, (_, i) => (i + 1) / 15);

/** A paired comparison at the high scale. */
const compare = (
  id: string,
  of: string,
  [better, worse]: readonly [Arm, Arm],
  [metric, goal]: readonly [
    "frechet" | "recall" | "precision" | "contrast" | "overshoot",
    "minimize" | "maximize",
  ],
  statement: string,
  margin = 0,
) => ({ kind: "comparison", id, of, statement, metric, better, worse, goal, margin }) as const;

export default defineExperiment({
  settings: {
    full: { count: 1000, steps: 30, scales: SCALES },
    quick: { count: 100, steps: 20, scales: [2, HIGH] },
  },
  seeds: { full: 10, quick: 2 },
  checkpoints: digitModels,
  arms: {
    "cfg-ddim": { label: "CFG" },
    "apg-ddim": { label: "APG", space: APG_SPACE },
    "orthogonal-ddim": { label: "orthogonal part alone" },
    "parallel-ddim": { label: "parallel part alone" },
    "rescaled-ddim": { label: "CFG, rescaled", space: { share: SHARES } },
    "cfg-ancestral": { label: "CFG, ancestral" },
    "apg-ancestral": { label: "APG, ancestral", space: APG_SPACE },
    "cfg-heun": { label: "CFG, Heun" },
    "apg-heun": { label: "APG, Heun", space: APG_SPACE },
  },
  run,
  tuning: {
    metric: "frechet",
    goal: "minimize",
    budget: { full: 15, quick: 2 },
    seeds: { full: 2, quick: 1 },
  },
  claims: [
    compare(
      "parallel-saturates",
      "parallel-part-causes-saturation",
      ["orthogonal-ddim", "cfg-ddim"],
      ["contrast", "minimize"],
      "Without the parallel part, guidance of scale 5 gives less contrast than with it",
    ),
    compare(
      "parallel-overshoots",
      "parallel-part-causes-saturation",
      ["orthogonal-ddim", "cfg-ddim"],
      ["overshoot", "minimize"],
      "Without the parallel part, pixels leave the data's range by less",
    ),
    compare(
      "orthogonal-is-the-quality",
      "parallel-part-causes-saturation",
      ["orthogonal-ddim", "parallel-ddim"],
      ["frechet", "minimize"],
      "At scale 5 the orthogonal part alone has a lower Fréchet distance than the parallel part alone",
    ),
    {
      kind: "statistic",
      id: "orthogonal-is-precise",
      of: "parallel-part-causes-saturation",
      statement:
        "At the moderate scale 2 the orthogonal part alone gives more precision than the parallel part alone",
      quantity: "difference of precisions at scale 2",
      arms: ["orthogonal-ddim", "parallel-ddim"],
      perSeed: (seed) => {
        const [orthogonal, parallel] = [seed["orthogonal-ddim"], seed["parallel-ddim"]];
        const at = orthogonal.scales.indexOf(2);
        return orthogonal.precisionByScale[at]! - parallel.precisionByScale[at]!;
      },
      pass: { min: 0 },
    },
    compare(
      "frechet-at-high-scale",
      "high-scale-without-oversaturation",
      ["apg-ddim", "cfg-ddim"],
      ["frechet", "minimize"],
      "At scale 5 APG's Fréchet distance is below CFG's",
    ),
    compare(
      "recall-at-high-scale",
      "high-scale-without-oversaturation",
      ["apg-ddim", "cfg-ddim"],
      ["recall", "maximize"],
      "At scale 5 APG's recall is above CFG's",
    ),
    compare(
      "contrast-at-high-scale",
      "high-scale-without-oversaturation",
      ["apg-ddim", "cfg-ddim"],
      ["contrast", "minimize"],
      "At scale 5 APG's images have less contrast than CFG's, which exceed the data's",
    ),
    compare(
      "precision-at-high-scale",
      "high-scale-without-oversaturation",
      ["apg-ddim", "cfg-ddim"],
      ["precision", "maximize"],
      "At scale 5 APG's precision is at most 0.02 below CFG's",
      -0.02,
    ),
    compare(
      "frechet-below-rescaled",
      "high-scale-without-oversaturation",
      ["apg-ddim", "rescaled-ddim"],
      ["frechet", "minimize"],
      "At scale 5 APG's Fréchet distance is below that of rescaled CFG, tuned as well",
    ),
    ...(["cfg-ddim", "apg-ddim", "apg-ancestral", "apg-heun"] as const).map(
      (arm) =>
        ({
          kind: "deterministic",
          id: `evaluations-${arm}`,
          of: "no-overhead",
          statement: `${arm}: two evaluations of the network each time that guidance is asked`,
          arm,
          metric: "evaluations",
          expected: 2,
          tolerance: 0,
        }) as const,
    ),
    compare(
      "frechet-ancestral",
      "no-overhead",
      ["apg-ancestral", "cfg-ancestral"],
      ["frechet", "minimize"],
      "Also with ancestral sampling APG's Fréchet distance is below CFG's",
    ),
    compare(
      "frechet-heun",
      "no-overhead",
      ["apg-heun", "cfg-heun"],
      ["frechet", "minimize"],
      "Also with Heun's method APG's Fréchet distance is below CFG's",
    ),
  ],
  figure: ({ Plot, units, arms }) => {
    const drawn = arms.filter(({ name }) => name.endsWith("-ddim"));
    const curves = (metric: "frechetByScale" | "recallByScale" | "contrastByScale") =>
      drawn.flatMap(({ name, label }) => {
        const own = units.filter(({ arm }) => arm === name).map(({ metrics }) => metrics);
        return (own[0]?.scales ?? []).map((scale, i) => ({
          scale,
          label,
          value: mean(own.map((metrics) => metrics[metric][i]!)),
        }));
      });
    const panel = (
      title: string,
      metric: "frechetByScale" | "recallByScale" | "contrastByScale",
      data: number | null,
    ) => ({
      title,
      options: {
        x: { label: "Guidance scale w" },
        y: { label: title, grid: true, ...(metric === "frechetByScale" ? { type: "log" as const } : {}) },
        color: { legend: true, domain: drawn.map(({ label }) => label) },
        marks: [
          ...(data === null ? [] : [Plot.ruleY([data], { strokeDasharray: "4 3" })]),
          Plot.lineY(curves(metric), { x: "scale", y: "value", stroke: "label", marker: "dot" }),
        ],
      },
    });
    return [
      panel("Fréchet distance", "frechetByScale", null),
      panel("Recall", "recallByScale", null),
      panel("Contrast (dashed: real digits)", "contrastByScale", 0.748),
    ];
  },
});
