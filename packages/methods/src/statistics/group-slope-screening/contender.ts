import type { Contender } from "../family.ts";
import { groupSlope } from "./method.ts";

/** Constant weights make group SLOPE the group lasso, and its screening rule that of the group lasso. */
const groupSlopeScreening: Contender = {
  label: "strong rule for group OWL + FISTA",
  path: (data, lambdas, options) =>
    groupSlope({ weights: new Float64Array(data.groups.count).fill(1) }).path(data, lambdas, options),
};

export default { groupSlopeScreening };
