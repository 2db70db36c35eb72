import {
  add,
  div,
  less,
  lessEqual,
  logicalAnd,
  logicalNot,
  logicalOr,
  minimum,
  mul,
  neg,
  scalar,
  sqrt,
  sub,
  sum,
  type Tensor,
  treeLeaves,
  treeMap,
  valueAndGrad,
  where,
  whileLoop,
} from "@prior-art/tensor";
import { applyUpdates, type ClosureOptimizer, requireLearningRate } from "@prior-art/toolkit/optim";

export interface LineSearchOptions {
  /** Where the first step's search starts; 1 by default. */
  readonly learningRate?: number | Tensor;
  /** Share of the promised decrease that a step must reach (Armijo); 0.1 by default. */
  readonly c?: number;
  /** What a failed length is multiplied by; 0.9 by default. */
  readonly backtrack?: number;
  /** Between steps the length may grow by this factor an epoch; 2 by default. */
  readonly growth?: number;
  /** 500 by default. */
  readonly stepsPerEpoch?: number;
  /** The longest step, 10 by default. */
  readonly largest?: number;
  /** Tries a step, 100 by default; then the step is 1e-6 gradients long. */
  readonly tries?: number;
}

export interface LineSearchState {
  /** The last length, a scalar. */
  readonly learningRate: Tensor;
  /** Work so far in gradients, a try at 1/3. */
  readonly evaluations: Tensor;
}

/** Where no length will do. */
const FALLBACK = 1e-6;

/**
 * SGD whose step is shortened until the batch's loss falls by `c · length · ‖g‖²` (stochastic Armijo line search,
 * Vaswani et al., 2019), each search starting a little above the last length found.
 * @throws RangeError for a learning rate that is not positive, or factors on the wrong side of 1.
 */
export function stochasticLineSearch<P>({
  learningRate = 1,
  c = 0.1,
  backtrack = 0.9,
  growth = 2,
  stepsPerEpoch = 500,
  largest = 10,
  tries = 100,
}: LineSearchOptions = {}): ClosureOptimizer<P, LineSearchState> {
  requireLearningRate("stochasticLineSearch", learningRate);
  if (!(c >= 0 && c < 1 && backtrack > 0 && backtrack < 1 && growth >= 1 && stepsPerEpoch >= 1 && tries >= 1))
    throw new RangeError(
      `stochasticLineSearch: needs c in [0, 1), backtrack in (0, 1), growth, stepsPerEpoch and tries of at least 1, got ${JSON.stringify({ c, backtrack, growth, stepsPerEpoch, tries })}`,
    );
  const gain = growth ** (1 / stepsPerEpoch);
  return {
    init: (params) => {
      const zero = scalar(0, treeLeaves(params)[0]?.dtype ?? "float32");
      // The first search grows it too, so that it starts where it was asked to.
      return { learningRate: div(add(zero, learningRate), gain), evaluations: zero };
    },
    step: ({ loss }, state, params) => {
      const [before, gradients] = valueAndGrad((p: P) => loss(p))(params);
      const square = treeLeaves(gradients)
        .map((g) => sum(mul(g, g)))
        .reduce((a, b) => add(a, b));
      const stepOf = (length: Tensor): P => treeMap((g) => neg(mul(length, g)), gradients);
      const falls = (length: Tensor): Tensor =>
        logicalOr(
          lessEqual(loss(applyUpdates(params, stepOf(length))), sub(before, mul(c, mul(length, square)))),
          less(sqrt(square), 1e-8),
        );
      const first = minimum(mul(gain, state.learningRate), largest);
      const start = { length: first, found: falls(first), tried: add(mul(first, 0), 1) };
      const end = whileLoop(
        ({ found, tried }) => logicalAnd(logicalNot(found), less(tried, tries)),
        ({ length, tried }) => {
          const shorter = mul(backtrack, length);
          return { length: shorter, found: falls(shorter), tried: add(tried, 1) };
        },
        start,
      );
      const length = where(end.found, end.length, FALLBACK);
      return [
        stepOf(length),
        {
          learningRate: length,
          evaluations: add(state.evaluations, add(1, div(end.tried, 3))),
        },
        before,
      ];
    },
  };
}
