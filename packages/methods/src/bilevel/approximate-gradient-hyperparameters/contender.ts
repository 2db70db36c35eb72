import type { Contender } from "../family.ts";
import { hoag } from "./method.ts";

const hoagExponential: Contender = {
  label: "HOAG, exponential schedule",
  space: { epsilon0: [0.01, 0.1], factor: [0.8, 0.9] },
  solver: ({ epsilon0, factor }) => hoag({ schedule: "exponential", epsilon0: epsilon0!, factor: factor! }),
};

export default { hoagExponential };
