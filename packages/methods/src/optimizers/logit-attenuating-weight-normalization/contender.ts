import { adam, cosineDecay, momentum } from "@prior-art/toolkit/optim";
import type { Contender, ProblemName } from "../family.ts";
import { adamRates, sgdRates } from "../rates.ts";
import { lawn } from "./method.ts";

/** Not the regression, which has no logits to attenuate, and whose weights start at 0 and need their norm. */
const problems: readonly ProblemName[] = ["digitsCnn", "mnistMlp", "transformer"];

/** Share of the steps in which each phase warms up. */
const WARMUP = 0.04;

const freeShare = [0.04, 0.16];

const contenders: Readonly<Record<string, Contender>> = {
  adamLawn: {
    label: "Adam-LAWN",
    space: { learningRate: adamRates, freeShare },
    problems,
    optimizer: ({ learningRate = 3e-3, freeShare: share = 0.04 }, { steps }) =>
      lawn(adam({ learningRate }), {
        freeSteps: Math.round(share * steps),
        warmupSteps: Math.round(WARMUP * steps),
        schedule: cosineDecay(1, steps),
      }),
  },
  sgdLawn: {
    label: "SGD-LAWN",
    space: { learningRate: sgdRates, freeShare },
    problems,
    optimizer: ({ learningRate = 0.03, freeShare: share = 0.04 }, { steps }) =>
      lawn(momentum({ learningRate }), {
        freeSteps: Math.round(share * steps),
        warmupSteps: Math.round(WARMUP * steps),
        schedule: cosineDecay(1, steps),
      }),
  },
};
export default contenders;
