import type { Contender } from "../family.ts";
import { adamL2, adamw, cosineWarmRestarts, sgdw } from "./method.ts";

/** Weights decay, biases don't. */
const mask = ({ rank }: { readonly rank: number }): boolean => rank > 1;

const contenders: Readonly<Record<string, Contender>> = {
  adamw: {
    label: "AdamW",
    space: { learningRate: [1e-3, 3e-3, 0.01, 0.03], weightDecay: [1e-5, 1e-4, 1e-3] },
    optimizer: ({ learningRate = 1e-3, weightDecay = 1e-4 }, { steps }) =>
      adamw({ learningRate, weightDecay, mask, schedule: cosineWarmRestarts({ firstPeriod: steps }) }),
  },
  adamwL2: {
    label: "Adam with L2",
    space: { learningRate: [1e-3, 3e-3, 0.01, 0.03], weightDecay: [1e-5, 1e-4, 1e-3] },
    optimizer: ({ learningRate = 1e-3, weightDecay = 1e-4 }, { steps }) =>
      adamL2({ learningRate, weightDecay, mask, schedule: cosineWarmRestarts({ firstPeriod: steps }) }),
  },
  sgdw: {
    label: "SGDW",
    space: { learningRate: [0.01, 0.03, 0.1, 0.3], weightDecay: [1e-5, 1e-4, 1e-3] },
    optimizer: ({ learningRate = 0.03, weightDecay = 1e-4 }, { steps }) =>
      sgdw({ learningRate, weightDecay, mask, schedule: cosineWarmRestarts({ firstPeriod: steps }) }),
  },
};
export default contenders;
