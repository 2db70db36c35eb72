import {
  type ClosureOptimizer,
  chainClosure,
  cosineDecay,
  scaleByLearningRate,
} from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import { smb, stochasticLineSearch } from "./method.ts";

const RATES = [0.05, 0.1, 0.25, 0.5, 1, 2] as const;

/** Updates shrink by half a cosine. `scaleByLearningRate` turns signs round, so it is given the negative. */
const annealed = <P, S>(optimizer: ClosureOptimizer<P, S>, steps: number) =>
  chainClosure(optimizer, scaleByLearningRate<P>(cosineDecay(-1, steps)));

const contenders: Readonly<Record<string, Contender>> = {
  smb: {
    label: "SMB",
    space: { learningRate: RATES, autoSchedule: [0, 1] },
    optimizer: ({ learningRate = 0.5, autoSchedule = 0 }, { steps }) =>
      annealed(
        smb({
          learningRate,
          autoSchedule: autoSchedule > 0 && { stepsPerEpoch: Math.max(1, Math.round(steps / 25)) },
        }),
        steps,
      ),
  },
  sls: {
    label: "Stochastic line search",
    space: { learningRate: RATES, c: [0.1, 0.5] },
    optimizer: ({ learningRate = 1, c = 0.1 }, { steps }) =>
      annealed(
        stochasticLineSearch({ learningRate, c, stepsPerEpoch: Math.max(1, Math.round(steps / 25)) }),
        steps,
      ),
  },
};
export default contenders;
