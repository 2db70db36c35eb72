import { type Tensor, TensorError, valueAndGrad } from "@prior-art/tensor";
import type { GradientTransformation } from "./transformation.ts";

/** What a model puts out and what is asked of it, for methods that use the curvature of the loss in the outputs. */
export interface OutputLoss<P> {
  /** Logits or values, `[examples, outputs]`. */
  predict(params: P): Tensor;
  /** Class indices, int32 `[examples]`, for cross-entropy; values like the predictions for squared errors. */
  readonly targets: Tensor;
  /** Mean over the examples of the cross-entropy in nats, or of `½‖prediction - target‖²`. */
  readonly kind: "crossEntropy" | "squaredError";
}

/** The loss of one step's batch, which a closure optimizer may evaluate anywhere and as often as it likes. */
export interface Objective<P> {
  loss(params: P): Tensor;
  readonly outputs?: OutputLoss<P>;
}

/**
 * An optimizer that evaluates the batch again within a step (line searches, trial steps, curvature): two pure functions
 * like a gradient transformation's, but given the objective instead of its gradient.
 *
 * @example
 * const optimizer = chainClosure(smb({ learningRate: 0.5 }), clipByGlobalNorm(1));
 * let state = optimizer.init(params);
 * const [updates, next, loss] = optimizer.step({ loss: (p) => crossEntropy(model.apply(p, x), y) }, state, params);
 * params = applyUpdates(params, updates);
 */
export interface ClosureOptimizer<P, S> {
  /** The state before the first step. */
  init(params: P): S;
  /** What to add to the parameters, the next state, and the batch's loss before the step. */
  step(objective: Objective<P>, state: S, params: P): readonly [updates: P, state: S, loss: Tensor];
}

/** Either kind; `asClosure` makes them alike. */
export type AnyOptimizer<P, S> = GradientTransformation<P, S> | ClosureOptimizer<P, S>;

/** A gradient transformation as a closure optimizer: one gradient a step. Closure optimizers stay as they are. */
export function asClosure<P, S>(optimizer: AnyOptimizer<P, S>): ClosureOptimizer<P, S> {
  if ("step" in optimizer) return optimizer;
  return {
    init: (params) => optimizer.init(params),
    step: (objective, state, params) => {
      const [loss, gradients] = valueAndGrad((p: P) => objective.loss(p))(params);
      const [updates, next] = optimizer.update(gradients, state, params);
      return [updates, next, loss];
    },
  };
}

/** A closure optimizer whose updates pass through a transformation (or a `chain`): clipping, masks, decay, schedules. */
export const chainClosure = <P, S, T>(
  optimizer: ClosureOptimizer<P, S>,
  transformation: GradientTransformation<P, T>,
): ClosureOptimizer<P, readonly [S, T]> => ({
  init: (params) => [optimizer.init(params), transformation.init(params)],
  step: (objective, [state, memory], params) => {
    const [direction, next, loss] = optimizer.step(objective, state, params);
    const [updates, after] = transformation.update(direction, memory, params);
    return [updates, [next, after], loss];
  },
});

/** @throws TensorError naming `op` when the objective has no outputs. */
export function requireOutputs<P>(op: string, objective: Objective<P>): OutputLoss<P> {
  if (!objective.outputs)
    throw new TensorError(op, "needs the model's outputs and their loss, not the loss alone: pass `outputs`");
  return objective.outputs;
}
