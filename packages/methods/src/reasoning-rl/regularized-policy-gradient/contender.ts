import type { Contender } from "../family.ts";
import { rpg } from "./method.ts";

const entries: Readonly<Record<string, Contender>> = {
  rpgUnnormalizedReverse: {
    label: "RPG, clipped",
    space: { learningRate: [3e-4, 1e-3, 3e-3], beta: [1e-4, 0.01] },
    objective: ({ beta }) =>
      rpg({ divergence: "urkl", style: "reinforce", beta: beta!, clip: { low: 0.2, high: 0.28, dual: 3 } }),
  },
};
export default entries;
