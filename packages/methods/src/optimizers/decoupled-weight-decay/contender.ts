import type { Contender } from "../family.ts";
import { adamRates, sgdRates } from "../rates.ts";
import { adamL2, adamw, cosineWarmRestarts, sgdw } from "./method.ts";

/** Weights decay, biases don't. */
const mask = ({ rank }: { readonly rank: number }): boolean => rank > 1;

const weightDecay = [1e-4, 1e-3];

const contenders: Readonly<Record<string, Contender>> = {
  adamw: {
    label: "AdamW",
    space: { learningRate: adamRates, weightDecay },
    optimizer: ({ learningRate = 1e-3, weightDecay: decay = 1e-4 }, { steps }) =>
      adamw({ learningRate, weightDecay: decay, mask, schedule: cosineWarmRestarts({ firstPeriod: steps }) }),
  },
  adamwL2: {
    label: "Adam with L2",
    space: { learningRate: adamRates, weightDecay },
    optimizer: ({ learningRate = 1e-3, weightDecay: decay = 1e-4 }, { steps }) =>
      adamL2({
        learningRate,
        weightDecay: decay,
        mask,
        schedule: cosineWarmRestarts({ firstPeriod: steps }),
      }),
  },
  sgdw: {
    label: "SGDW",
    space: { learningRate: sgdRates, weightDecay },
    optimizer: ({ learningRate = 0.03, weightDecay: decay = 1e-4 }, { steps }) =>
      sgdw({ learningRate, weightDecay: decay, mask, schedule: cosineWarmRestarts({ firstPeriod: steps }) }),
  },
};
export default contenders;
