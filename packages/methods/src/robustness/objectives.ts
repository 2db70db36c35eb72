import { div, mean, mul, oneHot, pow, softmax, sub, sum } from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import type { RobustObjective } from "./family.ts";

/** Empirical risk: the mean cross-entropy, with `smoothing` as in `crossEntropy`. */
export const empiricalRisk = ({
  smoothing = 0,
}: {
  readonly smoothing?: number;
} = {}): RobustObjective<null> => ({
  init: () => null,
  loss: ({ logits, labels }, state) => [crossEntropy(logits, labels, { smoothing }), state],
});

/**
 * Generalized cross-entropy `(1 - p_y^q)/q` (Zhang & Sabuncu, 2018, eq. 6): q → 0 is cross-entropy, 1 the absolute error.
 * @throws RangeError unless `0 < q ≤ 1`.
 */
export function generalizedCrossEntropy({ q = 0.7 }: { readonly q?: number } = {}): RobustObjective<null> {
  if (!(q > 0 && q <= 1)) throw new RangeError(`generalizedCrossEntropy: q is in (0, 1], got ${q}`);
  return {
    init: () => null,
    loss: ({ logits, labels }, state) => {
      const likelihood = sum(mul(softmax(logits), oneHot(labels, logits.shape.at(-1)!)), -1);
      return [mean(div(sub(1, pow(likelihood, q)), q)), state];
    },
  };
}
