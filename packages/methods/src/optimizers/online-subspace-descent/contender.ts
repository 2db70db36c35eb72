import { adam, cosineDecay } from "@prior-art/toolkit/optim";
import { type Contender, hiddenMatrices, withHiddenMatrices } from "../family.ts";
import { adamRates } from "../rates.ts";
import { galore, onlineSubspaceDescent } from "./method.ts";

/** Both project the same matrices, and enter where there are any. */
const entry = { problems: withHiddenMatrices, select: hiddenMatrices };

const contenders: Readonly<Record<string, Contender>> = {
  onlineSubspaceDescent: {
    label: "online subspace descent, rank 8",
    space: { learningRate: adamRates, pcaRate: [0.01, 0.1] },
    ...entry,
    optimizer: ({ learningRate = 0.01, pcaRate = 0.01 }, { steps }) =>
      onlineSubspaceDescent(adam({ learningRate: cosineDecay(learningRate, steps) }), {
        rank: 8,
        select: hiddenMatrices,
        pca: { learningRate: cosineDecay(pcaRate, steps) },
      }),
  },
  galore: {
    label: "GaLore, rank 8",
    space: { learningRate: adamRates, updateGap: [25, 200] },
    ...entry,
    optimizer: ({ learningRate = 0.01, updateGap = 200 }, { steps }) =>
      galore(adam({ learningRate: cosineDecay(learningRate, steps) }), {
        rank: 8,
        scale: 1,
        updateGap,
        select: hiddenMatrices,
      }),
  },
};
export default contenders;
