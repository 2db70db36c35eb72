import type { Contender } from "../family.ts";
import { hoag } from "./method.ts";

const hoagExponential: Contender = {
  label: "HOAG, exponential schedule",
  space: { epsilon0: [0.01, 0.1, 0.3, 1, 3, 10] },
  solver: ({ epsilon0 }) => hoag({ schedule: "exponential", epsilon0: epsilon0! }),
};

export default { hoagExponential };
