import type { Contender } from "../family.ts";
import { spectralRegularization, wassersteinInit } from "./method.ts";

const SPACE = { strength: [1e-4, 1e-3, 1e-2] };

const contenders: Readonly<Record<string, Contender>> = {
  spectralRegularization: {
    label: "Spectral",
    space: SPACE,
    learner: ({ strength = 1e-3 }) => spectralRegularization({ strength }),
  },
  spectralRegularizationWasserstein: {
    label: "Wasserstein to the initial weights",
    space: SPACE,
    learner: ({ strength = 1e-3 }) => wassersteinInit({ strength }),
  },
};
export default contenders;
