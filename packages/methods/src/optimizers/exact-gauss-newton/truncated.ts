import {
  add,
  div,
  equal,
  jvp,
  matmul,
  mul,
  neg,
  reshape,
  scalar,
  scan,
  sub,
  sum,
  type Tensor,
  treeLeaves,
  where,
  zerosLike,
} from "@prior-art/tensor";
import {
  type ClosureOptimizer,
  type CountState,
  type LearningRate,
  ravel,
  requireLearningRate,
  requireOutputs,
  unravel,
} from "@prior-art/toolkit/optim";
import { linearize, outputHessian } from "./outputLoss.ts";

export interface TruncatedGaussNewtonOptions {
  /** α, 1 by default. */
  readonly learningRate?: LearningRate;
  /** λ, 1 by default. */
  readonly damping?: number | Tensor;
  /** Iterations of conjugate gradients a step, 10 by default. */
  readonly iterations?: number;
}

/** `x` after a number of iterations of conjugate gradients on `A·x = b` from 0. */
function conjugateGradients(multiply: (x: Tensor) => Tensor, b: Tensor, iterations: number): Tensor {
  // An exact solution leaves nothing to divide by.
  const ratio = (a: Tensor, over: Tensor): Tensor =>
    where(equal(over, 0), 0, div(a, where(equal(over, 0), 1, over)));
  const [{ x }] = scan(
    (
      { x, residual, direction, square }: Record<"x" | "residual" | "direction" | "square", Tensor>,
      _: null,
    ) => {
      const image = multiply(direction);
      const length = ratio(square, sum(mul(direction, image)));
      const left = sub(residual, mul(length, image));
      const after = sum(mul(left, left));
      const turned = add(left, mul(ratio(after, square), direction));
      return [
        { x: add(x, mul(length, direction)), residual: left, direction: turned, square: after },
        null,
      ] as const;
    },
    { x: zerosLike(b), residual: b, direction: b, square: sum(mul(b, b)) },
    null,
    { length: iterations },
  );
  return x!;
}

/**
 * Stochastic Gauss–Newton (SGN; Gargiani et al., 2020), the approximation that EGN makes exact: the same
 * Levenberg–Marquardt system in the space of all parameters, by a few iterations of conjugate gradients.
 * @throws RangeError when the rate, the damping or the iterations are not positive. @throws TensorError in a step without
 *   outputs or with targets that don't fit them.
 */
export function truncatedGaussNewton<P>({
  learningRate = 1,
  damping = 1,
  iterations = 10,
}: TruncatedGaussNewtonOptions = {}): ClosureOptimizer<P, CountState> {
  const op = "truncatedGaussNewton";
  requireLearningRate(op, learningRate);
  if (typeof damping === "number" && !(damping > 0 && Number.isFinite(damping)))
    throw new RangeError(`${op}: the damping must be positive and finite, got ${damping}`);
  if (!(Number.isInteger(iterations) && iterations >= 1))
    throw new RangeError(`${op}: iterations must be a whole number of at least 1, got ${iterations}`);
  return {
    init: (params) => ({ step: scalar(0, treeLeaves(params)[0]?.dtype ?? "float32") }),
    step(objective, { step }, params) {
      const outputs = requireOutputs(op, objective);
      const at = linearize(op, outputs, params);
      const hessian = outputHessian(outputs.kind, outputs.predict(params));
      const multiply = (vector: Tensor): Tensor => {
        const [, moved] = jvp((p: P) => outputs.predict(p), [params], [unravel(vector, params)]);
        const weighted = reshape(matmul(hessian, reshape(moved, [at.examples, at.count, 1])), moved.shape);
        return add(div(ravel(at.pullback(weighted)), at.examples), mul(damping, vector));
      };
      const negative = neg(div(ravel(at.pullback(at.residual)), at.examples));
      const direction = conjugateGradients(multiply, negative, iterations);
      const rate = typeof learningRate === "function" ? learningRate(step) : learningRate;
      return [unravel(mul(rate, direction), params), { step: add(step, 1) }, objective.loss(params)];
    },
  };
}
