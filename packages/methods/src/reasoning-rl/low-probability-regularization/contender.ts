import type { Contender } from "../family.ts";
import { lpReg } from "./method.ts";

const entries: Readonly<Record<string, Contender>> = {
  lpReg: {
    label: "Lp-Reg",
    space: { learningRate: [3e-4, 1e-3, 3e-3], share: [0.01, 0.1] },
    objective: ({ share }) => lpReg({ share: share! }),
  },
};
export default entries;
