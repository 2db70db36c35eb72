import type { Contender } from "../family.ts";
import { spot } from "./method.ts";

const contenders: Readonly<Record<string, Contender>> = {
  supportedPolicyOptimization: {
    label: "SPOT",
    space: { strength: [0.1, 0.3, 1], beta: [0.1, 0.5] },
    fixed: { densitySteps: 1500 },
    agent: ({ strength, beta, densitySteps }, setting) =>
      spot({ ...setting, strength: strength!, beta: beta!, fit: { steps: densitySteps! } }),
  },
};
export default contenders;
