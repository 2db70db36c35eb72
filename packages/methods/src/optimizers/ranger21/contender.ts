import type { Contender } from "../family.ts";
import { adamRates } from "../rates.ts";
import { ranger21 } from "./method.ts";

const contenders: Readonly<Record<string, Contender>> = {
  ranger21: {
    label: "Ranger21",
    space: { learningRate: adamRates, weightDecay: [1e-4, 1e-2] },
    optimizer: ({ learningRate = 3e-3, weightDecay = 1e-4 }, { steps }) =>
      ranger21({ learningRate, weightDecay, totalSteps: steps }),
  },
};
export default contenders;
