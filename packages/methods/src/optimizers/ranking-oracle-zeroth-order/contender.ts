import { cosineDecay } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import { adamRates } from "../rates.ts";
import { rankedDescent } from "./method.ts";

const contenders: Readonly<Record<string, Contender>> = {
  zoRankSgd: {
    label: "ZO-RankSGD (no gradients)",
    space: { learningRate: adamRates, mu: [1e-3, 0.01] },
    optimizer: ({ learningRate = 3e-3, mu = 0.01 }, { steps }) =>
      rankedDescent({ learningRate: cosineDecay(learningRate, steps), m: 15, mu }),
  },
};
export default contenders;
