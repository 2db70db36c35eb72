import { cosineDecay } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import { fira } from "./method.ts";

/** Room for the rank in both sides: the last layer of ten outputs is left to Adam. */
const select = ({ shape }: { readonly shape: readonly number[] }): boolean =>
  shape.length === 2 && Math.min(...shape) > 16;

const contenders: Readonly<Record<string, Contender>> = {
  fira: {
    label: "Fira, rank 8",
    space: { learningRate: [1e-3, 3e-3, 0.01, 0.03], updateGap: [25, 50, 200] },
    optimizer: ({ learningRate = 0.01, updateGap = 200 }, { steps }) =>
      fira({ learningRate: cosineDecay(learningRate, steps), rank: 8, scale: 1, updateGap, select }),
  },
};
export default contenders;
