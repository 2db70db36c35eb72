import { cosineDecay } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import { type MatrixOptimizerOptions, muon, reg } from "./method.ts";

const space = { learningRate: [1e-3, 3e-3, 0.01, 0.03], weightDecay: [0, 0.03, 0.1] };

/** The last layer, of ten outputs, is left to AdamW; biases don't decay. */
const optionsOf = (learningRate: number, weightDecay: number, steps: number): MatrixOptimizerOptions => ({
  learningRate: cosineDecay(learningRate, steps),
  weightDecay,
  decayMask: (t) => t.rank > 1,
  select: (t) => Math.min(...t.shape) > 16,
});

const contenders: Readonly<Record<string, Contender>> = {
  reg: {
    label: "REG",
    space,
    optimizer: ({ learningRate = 3e-3, weightDecay = 0.1 }, { steps }) =>
      reg(optionsOf(learningRate, weightDecay, steps)),
  },
  muon: {
    label: "Muon",
    space,
    optimizer: ({ learningRate = 3e-3, weightDecay = 0.1 }, { steps }) =>
      muon(optionsOf(learningRate, weightDecay, steps)),
  },
};
export default contenders;
