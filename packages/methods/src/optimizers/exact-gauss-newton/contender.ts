import { cosineDecay } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import { exactGaussNewton } from "./method.ts";

const contenders: Readonly<Record<string, Contender>> = {
  exactGaussNewton: {
    label: "EGN",
    space: { learningRate: [0.1, 0.3, 0.6, 1], damping: [0.1, 1, 10] },
    // A step solves a system of all outputs of the batch; of a classifier's hundreds, it takes a hundred times Adam's.
    problems: ["regression"],
    optimizer: ({ learningRate = 0.3, damping = 0.1 }, { steps }) =>
      exactGaussNewton({ learningRate: cosineDecay(learningRate, steps), damping }),
  },
};
export default contenders;
