import type { Contender } from "../family.ts";
import { sparseTransport } from "./method.ts";

const sparsityConstrained: Contender = {
  label: "sparsity-constrained transport",
  space: { k: [2, 4, 8, 16], gamma: [1, 5, 20, 100] },
  solve: (problem, { k, gamma }) =>
    sparseTransport(problem, { k: k!, gamma: gamma!, tolerance: 1e-5, maxIterations: 300 }),
};

export default { sparsityConstrained };
