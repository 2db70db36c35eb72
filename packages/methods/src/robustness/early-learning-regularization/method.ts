import {
  add,
  clip,
  div,
  log,
  mean,
  mul,
  scatterAdd,
  softmax,
  stopGradient,
  sub,
  sum,
  type Tensor,
  TensorError,
  take,
  zeros,
} from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import type { RobustObjective } from "../family.ts";

function requireSame(op: string, probabilities: Tensor, targets: Tensor): void {
  if (probabilities.shape.join() !== targets.shape.join())
    throw new TensorError(op, `targets ${targets.toString()} don't fit ${probabilities.toString()}`);
}

/**
 * `log(1 - ⟨p, t⟩)` of each example, the term of eq. 7: falls without bound as the prediction agrees with its target.
 * @param probabilities p, `[…, classes]`
 * @param targets t, `[…, classes]`; nothing is differentiated through them
 * @returns `[…]`, in nats
 * @throws TensorError when the shapes differ.
 */
export function ellRegularizer(probabilities: Tensor, targets: Tensor): Tensor {
  requireSame("ellRegularizer", probabilities, targets);
  return log(sub(1, sum(mul(probabilities, stopGradient(targets)), -1)));
}

/**
 * The regularizer's gradient by the logits (Lemma 2): `g_c = p_c / (1 - ⟨p, t⟩) · Σ_k (t_k - t_c) p_k`. Negative for the
 * class that the target favours: it keeps pulling on examples whose cross-entropy has vanished, and pulls against a
 * wrong label.
 * @returns `[…, classes]`
 * @throws TensorError when the shapes differ.
 */
export function ellGradient(probabilities: Tensor, targets: Tensor): Tensor {
  requireSame("ellGradient", probabilities, targets);
  const agreement = sum(mul(probabilities, targets), -1, true);
  return mul(div(probabilities, sub(1, agreement)), sub(agreement, targets));
}

/**
 * Targets after an example was seen (eq. 9): `t ← β t + (1 - β) p` for the examples in the batch, the others stay.
 * @param targets `[examples, classes]`
 * @param indices int32 `[batch]`, each example at most once
 * @param probabilities `[batch, classes]`
 */
export function updateTargets(
  targets: Tensor,
  indices: Tensor,
  probabilities: Tensor,
  momentum: number,
): Tensor {
  return scatterAdd(targets, indices, mul(1 - momentum, sub(probabilities, take(targets, indices))));
}

export interface EllOptions {
  /** λ, 3 by default as on CIFAR-10. */
  readonly strength?: number;
  /** β in [0, 1), 0.7 by default as on CIFAR-10. */
  readonly momentum?: number;
  /**
   * Probabilities are kept this far from 0 and 1 in the regularizer and the targets, so that the logarithm stays finite;
   * 1e-4 by default as in the authors' code. The paper's formulas have none.
   */
  readonly margin?: number;
}

/** Running average of the network's predictions for each training example, from 0, `[examples, classes]`. */
export interface EllState {
  readonly targets: Tensor;
}

/**
 * Early-learning regularization (eq. 7): cross-entropy plus `λ/n Σ log(1 - ⟨p, t⟩)`, where an example's target t is the
 * running average of its own predictions. A batch updates its targets first and is measured against the new ones.
 * @throws RangeError unless `strength ≥ 0`, `0 ≤ momentum < 1` and `0 ≤ margin < 1/2`.
 */
export function earlyLearningRegularization({
  strength = 3,
  momentum = 0.7,
  margin = 1e-4,
}: EllOptions = {}): RobustObjective<EllState> {
  if (!(strength >= 0 && momentum >= 0 && momentum < 1 && margin >= 0 && margin < 0.5))
    throw new RangeError(
      `earlyLearningRegularization: needs strength ≥ 0, momentum in [0, 1) and margin in [0, ½), got ${strength}, ${momentum}, ${margin}`,
    );
  return {
    init: ({ examples, classes }) => ({ targets: zeros([examples, classes]) }),
    loss: ({ logits, labels, indices }, { targets: before }) => {
      const probabilities = clip(softmax(logits), margin, 1 - margin);
      const normalized = div(probabilities, sum(probabilities, -1, true));
      const targets = updateTargets(before, indices, stopGradient(normalized), momentum);
      const regularizer = mean(ellRegularizer(probabilities, take(targets, indices)));
      return [add(crossEntropy(logits, labels), mul(strength, regularizer)), { targets }];
    },
  };
}
