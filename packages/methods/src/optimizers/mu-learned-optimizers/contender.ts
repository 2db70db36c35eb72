import { mul, slice, treeMap } from "@prior-art/tensor";
import { cosineDecay, type GradientTransformation } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import type { LearnedOptimizerParams, LearnedOptimizerState } from "./method.ts";
import { learnedOptimizer, narrowOptimizers } from "./shippedOptimizers.ts";

/** Parameters that data comes into, of perceptrons, linear models and transformers. */
const INPUTS = /^(layers\[0\]\.weight|weights|tokens\.table|positions\.table)$/;

/** Of a matrix `[inputs, outputs]`, or of filters `[filters, channels, …kernel]`. */
const fanIn = ([first, ...rest]: readonly number[]): number =>
  rest.length === 1 ? first! : rest.reduce((product, n) => product * n, 1);

/**
 * The shipped rule on networks that are not in μP: all weights but the inputs', whose fan-in is not a width, get 1/fan-in;
 * the output's in the place of the multiplier that μP gives its logits.
 */
function annealed<P>(
  phi: LearnedOptimizerParams,
  multiplier: number,
  steps: number,
): GradientTransformation<P, LearnedOptimizerState> {
  const schedule = cosineDecay(multiplier, steps);
  const optimizer = learnedOptimizer.toOptimizer<P>(phi, {
    scale: (path, { rank, shape }) => (rank < 2 || INPUTS.test(path) ? 1 : 1 / fanIn(shape)),
  });
  return {
    init: optimizer.init,
    update(gradients, state, params) {
      const [updates, next] = optimizer.update(gradients, state, params);
      const rate = schedule(state.step);
      return [treeMap((u) => mul(rate, u), updates), next];
    },
  };
}

const contenders: Readonly<Record<string, Contender>> = {
  muLearnedOptimizer: {
    label: "μLO (meta-trained on all 8×8 digits)",
    space: { multiplier: [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30] },
    // The first of the shipped rules: seeds are not there to choose among.
    fixed: { metaSeed: 0 },
    optimizer: async <P>({ multiplier = 1, metaSeed = 0 }, { steps }: { readonly steps: number }) => {
      const { phi: all } = await narrowOptimizers.mup.load();
      const phi = treeMap((t) => slice(t, metaSeed), all);
      return annealed<P>(phi, multiplier, steps);
    },
  },
};
export default contenders;
