import { adamw, type GradientTransformation, type Mask, warmupCosine } from "@prior-art/toolkit/optim";
import { muon, normalizedGradient, reg, signMomentum } from "./method.ts";

/** Optimizers of matrices, compared with AdamW and with each other. */
export type MatrixName = "reg" | "regPlain" | "muon" | "ngd" | "sign";
export type OptimizerName = "adamw" | MatrixName;

const rates = {
  pretraining: [0.0025, 0.005, 0.01, 0.02, 0.04],
  tuning: [0.001, 0.002, 0.004, 0.008, 0.016],
};

/**
 * Each rate without decay and with one of 0.1, and with a second decay rate of 0.95, as is usual in large models, and of
 * 0.999, Adam's default: of AdamW, and of the Adam that the optimizers of matrices leave all else to. The same for all arms.
 */
export const spaceOf = (phase: keyof typeof rates) => ({
  learningRate: rates[phase],
  secondDecay: [0.95, 0.999],
  weightDecay: [0, 0.1],
});

export interface Candidate {
  readonly learningRate: number;
  /** β₂ of Adam, 0.95 by default. */
  readonly secondDecay?: number;
  /** λ, 0.1 by default. */
  readonly weightDecay?: number;
}

const MAKERS = { reg, regPlain: reg, muon, ngd: normalizedGradient, sign: signMomentum };

/**
 * One of the optimizers for `steps` steps, with a tenth of them to warm up and half a cosine; those of matrices with
 * Nesterov momentum, but for `regPlain`.
 */
export function optimizerOf<P>(
  name: OptimizerName,
  { learningRate: peak, secondDecay = 0.95, weightDecay = 0.1 }: Candidate,
  steps: number,
  select: Mask,
): GradientTransformation<P, unknown> {
  const learningRate = warmupCosine(peak, steps / 10, steps);
  const betas = [0.9, secondDecay] as const;
  return name === "adamw"
    ? adamw<P>({ learningRate, weightDecay, betas })
    : MAKERS[name]<P>({ learningRate, weightDecay, betas, select, nesterov: name !== "regPlain" });
}
