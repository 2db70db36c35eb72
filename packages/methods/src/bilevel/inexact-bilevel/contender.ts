import type { Contender } from "../family.ts";
import { maid } from "./method.ts";

/** Constants of the task's problems are not given, so that the inner solver is L-BFGS and the bounds are estimated. */
const maidContender: Contender = {
  label: "MAID",
  space: { stepSize: [0.01, 0.03, 0.1, 0.3, 1, 10] },
  fixed: { epsilon: 1e-3 },
  solver: ({ stepSize, epsilon }) => maid({ stepSize: stepSize!, epsilon: epsilon! }),
};

export default { maid: maidContender };
