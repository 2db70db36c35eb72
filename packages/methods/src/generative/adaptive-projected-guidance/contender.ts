import type { Contender } from "../family.ts";
import { adaptiveProjectedGuidance } from "./method.ts";

const contenders: Readonly<Record<string, Contender>> = {
  adaptiveProjectedGuidance: {
    label: "APG",
    space: {
      scale: [1.5, 2, 3, 5],
      parallel: [0, 0.5],
      radius: [0.25, 0.5, 1],
      momentum: [-0.75, -0.5, 0],
    },
    guidance: ({ scale, parallel, radius, momentum }) =>
      adaptiveProjectedGuidance({
        scale: scale!,
        parallel: parallel!,
        radius: radius!,
        momentum: momentum!,
      }),
  },
};
export default contenders;
