import type { Contender } from "../family.ts";
import { scheduledDropout } from "./method.ts";

const SPACE = { rate: [0.2, 0.4, 0.6], boundary: [1 / 6, 1 / 3] };

const contenders: Readonly<Record<string, Contender>> = {
  earlyDropout: {
    label: "Early dropout",
    space: SPACE,
    regularizer: ({ rate = 0.1, boundary = 1 / 6 }) => scheduledDropout({ phase: "early", rate, boundary }),
  },
  earlyDropoutLate: {
    label: "Late dropout",
    space: SPACE,
    regularizer: ({ rate = 0.1, boundary = 1 / 6 }) => scheduledDropout({ phase: "late", rate, boundary }),
  },
};
export default contenders;
