import { adam, cosineDecay, momentum } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import { lawn } from "./method.ts";

const contenders: Readonly<Record<string, Contender>> = {
  adamLawn: {
    label: "Adam-LAWN",
    space: { learningRate: [1e-3, 3e-3, 0.01, 0.03], freeShare: [0, 0.04, 0.16] },
    optimizer: ({ learningRate = 3e-3, freeShare = 0.04 }, { steps }) =>
      lawn(adam({ learningRate }), {
        freeSteps: Math.round(freeShare * steps),
        schedule: cosineDecay(1, steps),
      }),
  },
  sgdLawn: {
    label: "SGD-LAWN",
    space: { learningRate: [0.01, 0.03, 0.1, 0.3], freeShare: [0, 0.04, 0.16] },
    optimizer: ({ learningRate = 0.03, freeShare = 0.04 }, { steps }) =>
      lawn(momentum({ learningRate }), {
        freeSteps: Math.round(freeShare * steps),
        schedule: cosineDecay(1, steps),
      }),
  },
};
export default contenders;
