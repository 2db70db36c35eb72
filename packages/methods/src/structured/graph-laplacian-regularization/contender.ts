import type { Contender } from "../family.ts";
import { totalVariation } from "../reconstructors.ts";
import { graphLaPlus } from "./method.ts";

const graphLaplacian: Contender = {
  label: "graphLa+TV",
  space: { sigma: [3e-4, 1e-3, 3e-3, 1e-2] },
  reconstruct: async (problem, { sigma }) =>
    (await graphLaPlus(problem, { initial: totalVariation, sigma: sigma! })).image,
};

export default { graphLaplacian };
