import type { Contender } from "../family.ts";
import { tbrm } from "./method.ts";

const entries: Readonly<Record<string, Contender>> = {
  tbrm: {
    label: "TBRM",
    space: { learningRate: [3e-4, 1e-3, 3e-3], beta: [0.03, 0.1] },
    objective: ({ beta }) => tbrm({ beta: beta! }),
  },
};
export default entries;
