import { adam, cosineDecay } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import { galore, onlineSubspaceDescent } from "./method.ts";

const learningRate = [1e-3, 3e-3, 0.01, 0.03];
/** Room for the rank in both sides: the last layer of ten outputs is left to Adam. */
const select = ({ shape }: { readonly shape: readonly number[] }): boolean =>
  shape.length === 2 && Math.min(...shape) > 16;

const contenders: Readonly<Record<string, Contender>> = {
  onlineSubspaceDescent: {
    label: "online subspace descent, rank 8",
    space: { learningRate, pcaRate: [3e-3, 0.01, 0.03] },
    optimizer: ({ learningRate = 0.01, pcaRate = 0.01 }, { steps }) =>
      onlineSubspaceDescent(adam({ learningRate: cosineDecay(learningRate, steps) }), {
        rank: 8,
        select,
        pca: { learningRate: cosineDecay(pcaRate, steps) },
      }),
  },
  galore: {
    label: "GaLore, rank 8",
    space: { learningRate, updateGap: [25, 50, 200] },
    optimizer: ({ learningRate = 0.01, updateGap = 200 }, { steps }) =>
      galore(adam({ learningRate: cosineDecay(learningRate, steps) }), {
        rank: 8,
        scale: 1,
        updateGap,
        select,
      }),
  },
};
export default contenders;
