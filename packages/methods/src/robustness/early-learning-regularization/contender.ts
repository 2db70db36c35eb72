import type { Contender } from "../family.ts";
import { earlyLearningRegularization } from "./method.ts";

const contenders: Readonly<Record<string, Contender>> = {
  earlyLearningRegularization: {
    label: "ELR",
    space: { strength: [3, 5, 8], momentum: [0.7, 0.9] },
    objective: earlyLearningRegularization,
  },
};
export default contenders;
