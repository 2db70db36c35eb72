import { mul, random, treeMap } from "@prior-art/tensor";
import { DivergedError } from "@prior-art/toolkit/experiment";
import { fineTune, type LoraFactors, lora } from "@prior-art/toolkit/lm";
import type { TransformerParams } from "@prior-art/toolkit/nn";
import { adam, chain, type GradientTransformation, stateless } from "@prior-art/toolkit/optim";
import { excessLosses, model, pretrained, texts } from "../shiftedTexts.ts";
import { descentDirections, loraGaAdapter, loraOneAdapter } from "./method.ts";

const RANK = 4;
const BATCH = 32;
const TEXTS = 256;
/** Texts that the first gradient is taken on, as in the paper. */
const FIRST = 8;

const RATES = [1e-3, 3e-3, 1e-2, 3e-2];
const ALPHAS = [4, 16];

/** Low-rank adapters by Adam, each with its own learning rate and scale. */
export const ADAPTERS = {
  lora: { label: "LoRA", space: { learningRate: RATES, alpha: ALPHAS } },
  rsLora: { label: "rsLoRA", space: { learningRate: RATES, alpha: ALPHAS } },
  loraPlus: { label: "LoRA+", space: { learningRate: RATES, ratio: [4, 16] }, fixed: { alpha: 4 } },
  gradientAligned: { label: "LoRA-GA", space: { learningRate: RATES, gamma: [16, 64, 256] } },
  loraOne: { label: "LoRA-One", space: { learningRate: RATES, gamma: [16, 128] } },
} as const;
export type AdapterArm = keyof typeof ADAPTERS;

export interface AdapterHyperparameters {
  readonly learningRate: number;
  readonly alpha?: number;
  /** LoRA+: B's learning rate over A's. */
  readonly ratio?: number;
  readonly gamma?: number;
}

type AdapterFactors = Readonly<Record<string, LoraFactors>>;

/** Adam with B's steps `ratio` times A's (LoRA+; Hayou et al., 2024). */
const unequalRates = (learningRate: number, ratio: number) =>
  chain(
    adam<AdapterFactors>({ learningRate }),
    stateless<AdapterFactors>((updates) =>
      Object.fromEntries(
        Object.entries(updates).map(([path, { a, b }]) => [path, { a, b: treeMap((t) => mul(t, ratio), b) }]),
      ),
    ),
  ) as GradientTransformation<AdapterFactors, unknown>;

/** Held-out loss on the new domain after fine-tuning, nats above its entropy. */
export async function fineTunedLoss(
  arm: AdapterArm,
  { learningRate, alpha = 16, ratio = 1, gamma = 128 }: AdapterHyperparameters,
  { steps, seed, stream }: { readonly steps: number; readonly seed: number; readonly stream: string },
): Promise<number> {
  const base = await pretrained.load();
  const spectral = arm === "loraOne" || arm === "gradientAligned";
  const directions = spectral
    ? await descentDirections({ model, base, texts: texts("new", FIRST, seed, "first gradient") })
    : {};
  const adapter =
    arm === "loraOne"
      ? loraOneAdapter(directions, { rank: RANK, gamma })
      : arm === "gradientAligned"
        ? loraGaAdapter(directions, { rank: RANK, gamma })
        : lora<TransformerParams>({ rank: RANK, alpha, scaling: arm === "rsLora" ? "root" : "rank" });
  const { params } = await fineTune({
    model,
    base,
    adapter,
    optimizer: unequalRates(learningRate, ratio),
    data: texts("new", TEXTS, seed, "training"),
    steps,
    batchSize: BATCH,
    key: random.key(seed),
  });
  const { new: loss } = await excessLosses(params, { count: 600, seed, stream });
  if (!Number.isFinite(loss)) throw new DivergedError(`the loss is ${loss}`);
  return loss;
}
