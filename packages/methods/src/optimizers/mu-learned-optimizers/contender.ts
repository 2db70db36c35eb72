import { mul, slice, type Tensor, treeMap } from "@prior-art/tensor";
import { cosineDecay, type GradientTransformation } from "@prior-art/toolkit/optim";
import type { Contender } from "../family.ts";
import type { LearnedOptimizerParams, LearnedOptimizerState } from "./method.ts";
import { learnedOptimizer, shippedOptimizers } from "./shippedOptimizers.ts";

/**
 * The shipped rule on networks that are not in μP: all weight matrices but the first get 1/fan-in, the output's in the
 * place of the multiplier that μP gives its logits.
 */
function annealed<P>(
  phi: LearnedOptimizerParams,
  multiplier: number,
  steps: number,
): GradientTransformation<P, LearnedOptimizerState> {
  const schedule = cosineDecay(multiplier, steps);
  const optimizerFor = (params: P) => {
    let isFirst = true;
    const scales = new Map<Tensor, number>();
    treeMap((t) => {
      if (t.rank > 1) {
        scales.set(t, isFirst ? 1 : 1 / t.shape[0]!);
        isFirst = false;
      }
      return t;
    }, params);
    return learnedOptimizer.toOptimizer<P>(phi, { scale: (_, parameter) => scales.get(parameter) ?? 1 });
  };
  return {
    init: (params) => optimizerFor(params).init(params),
    update(gradients, state, params) {
      const [updates, next] = optimizerFor(params).update(gradients, state, params);
      const rate = schedule(state.step);
      return [treeMap((u) => mul(rate, u), updates), next];
    },
  };
}

const contenders: Readonly<Record<string, Contender>> = {
  muLearnedOptimizer: {
    label: "μLO",
    space: { multiplier: [0.3, 1, 3, 10], metaSeed: [0, 1, 2] },
    optimizer: async <P>({ multiplier = 1, metaSeed = 0 }, { steps }: { readonly steps: number }) => {
      const phi = treeMap((t) => slice(t, metaSeed), await shippedOptimizers.mup.load());
      return annealed<P>(phi, multiplier, steps);
    },
  },
};
export default contenders;
