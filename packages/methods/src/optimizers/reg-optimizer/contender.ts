import { cosineDecay } from "@prior-art/toolkit/optim";
import { type Contender, hiddenMatrices, withHiddenMatrices } from "../family.ts";
import { adamRates } from "../rates.ts";
import { type MatrixOptimizerOptions, muon, reg } from "./method.ts";

/** Both take the same matrices, and enter where there are any. */
const entry = {
  space: { learningRate: adamRates, weightDecay: [0, 0.1] },
  problems: withHiddenMatrices,
  select: hiddenMatrices,
};

/** Biases don't decay. */
const optionsOf = (learningRate: number, weightDecay: number, steps: number): MatrixOptimizerOptions => ({
  learningRate: cosineDecay(learningRate, steps),
  weightDecay,
  decayMask: (t) => t.rank > 1,
  select: hiddenMatrices,
});

const contenders: Readonly<Record<string, Contender>> = {
  reg: {
    label: "REG",
    ...entry,
    optimizer: ({ learningRate = 3e-3, weightDecay = 0.1 }, { steps }) =>
      reg(optionsOf(learningRate, weightDecay, steps)),
  },
  muon: {
    label: "Muon",
    ...entry,
    optimizer: ({ learningRate = 3e-3, weightDecay = 0.1 }, { steps }) =>
      muon(optionsOf(learningRate, weightDecay, steps)),
  },
};
export default contenders;
