import { adamw, type GradientTransformation, type Mask, warmupCosine } from "@prior-art/toolkit/optim";
import { muon, normalizedGradient, reg, signMomentum } from "./method.ts";

/** Optimizers of matrices, compared with AdamW and with each other. */
export type MatrixName = "reg" | "muon" | "ngd" | "sign";
export type OptimizerName = "adamw" | MatrixName;

const rates = {
  pretraining: [0.0025, 0.005, 0.01, 0.02, 0.04],
  tuning: [0.001, 0.002, 0.004, 0.008, 0.016],
};

/** Each rate with and without Nesterov momentum, the same choice for all optimizers of matrices. */
export const matrixSpace = (phase: keyof typeof rates) => ({
  learningRate: rates[phase],
  nesterov: [false, true],
});

/** Each rate with AdamW's usual first decay rate and with that of the others' momentum: as many candidates. */
export const adamwSpace = (phase: keyof typeof rates) => ({
  learningRate: rates[phase],
  momentum: [0.9, 0.95],
});

export interface Candidate {
  readonly learningRate: number;
  /** Of the optimizers of matrices, on the matrices; none by default. */
  readonly nesterov?: boolean;
  /** β₁ of AdamW, 0.9 by default. */
  readonly momentum?: number;
}

const MAKERS = { reg, muon, ngd: normalizedGradient, sign: signMomentum };

/** One of the optimizers for `steps` steps, with a tenth of them to warm up, half a cosine and decay of 0.1. */
export function optimizerOf<P>(
  name: OptimizerName,
  { learningRate: peak, nesterov = false, momentum = 0.9 }: Candidate,
  steps: number,
  select: Mask,
): GradientTransformation<P, unknown> {
  const learningRate = warmupCosine(peak, steps / 10, steps);
  const weightDecay = 0.1;
  return name === "adamw"
    ? adamw<P>({ learningRate, weightDecay, betas: [momentum, 0.95] })
    : MAKERS[name]<P>({ learningRate, weightDecay, select, nesterov });
}
