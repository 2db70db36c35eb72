import { cosineDecay } from "@prior-art/toolkit/optim";
import { type Contender, hiddenMatrices, withHiddenMatrices } from "../family.ts";
import { adamRates } from "../rates.ts";
import { fira } from "./method.ts";

const contenders: Readonly<Record<string, Contender>> = {
  fira: {
    label: "Fira, rank 8",
    space: { learningRate: adamRates, updateGap: [25, 200] },
    problems: withHiddenMatrices,
    select: hiddenMatrices,
    optimizer: ({ learningRate = 0.01, updateGap = 200 }, { steps }) =>
      fira({
        learningRate: cosineDecay(learningRate, steps),
        rank: 8,
        scale: 1,
        updateGap,
        select: hiddenMatrices,
      }),
  },
};
export default contenders;
