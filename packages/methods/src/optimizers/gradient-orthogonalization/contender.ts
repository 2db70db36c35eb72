import { cosineDecay } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import { muonGeometry, trustRegionMomentum } from "./method.ts";

const momentum = [0.1, 0.3];

const contenders: Readonly<Record<string, Contender>> = {
  spectralTrustRegion: {
    label: "trust region, spectral norm",
    space: { radius: [3e-3, 0.01, 0.03, 0.1, 0.3, 1], momentum },
    optimizer: ({ radius = 0.03, momentum: share = 0.1 }, { steps }) =>
      trustRegionMomentum({ norm: muonGeometry(), radius: cosineDecay(radius, steps), momentum: share }),
  },
  signTrustRegion: {
    label: "trust region, ℓ∞ norm",
    space: { radius: [3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1], momentum },
    optimizer: ({ radius = 1e-3, momentum: share = 0.1 }, { steps }) =>
      trustRegionMomentum({ norm: "linf", radius: cosineDecay(radius, steps), momentum: share }),
  },
};
export default contenders;
