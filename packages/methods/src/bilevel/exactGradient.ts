import { addScaled, conjugateGradient, norm } from "@prior-art/toolkit/linalg";
import type { HyperparameterSolver, Step } from "./family.ts";
import { countWork, gradientScale, solveInner } from "./innerSolver.ts";

/**
 * Projected gradient descent on hyperparameters with implicit gradients that are exact to 1e-8 at every step, halving a step that
 * does not decrease the outer objective: the plain method that approximate ones are measured against.
 *
 * @param firstStep Length of the first step. Default 1.
 */
export function exactGradientDescent(firstStep = 1): HyperparameterSolver {
  return (uncounted, { start, maxWork }) => {
    const { problem, work } = countWork(uncounted);
    const { inner, outer, lower, upper } = problem;
    const scale = gradientScale(uncounted, start);
    const train = (from: Float64Array, lambda: Float64Array): Float64Array =>
      solveInner(problem, from, lambda, 1e-8 * scale, Math.max(1, maxWork - work()));
    let lambda: Float64Array = start.slice();
    let x = train(new Float64Array(problem.parameters), lambda);
    let value = outer.value(x, lambda);
    const history: Step[] = [{ lambda, work: work(), outer: value }];
    let size: number | undefined;
    while (work() < maxWork) {
      const right = outer.gradient(x, lambda);
      const { x: q } = conjugateGradient((v) => inner.hessianProduct(x, lambda, v), right, {
        tolerance: 1e-8 * norm(right),
      });
      const gradient = addScaled(
        outer.hyperGradient?.(x, lambda) ?? new Float64Array(lambda.length),
        -1,
        inner.crossProduct(x, lambda, q),
      );
      size ??= (firstStep * Math.sqrt(lambda.length)) / Math.max(norm(gradient), Number.MIN_VALUE);
      for (let improved = false; !improved && work() < maxWork; ) {
        const next = lambda.map((v, j) => Math.min(upper[j]!, Math.max(lower[j]!, v - size! * gradient[j]!)));
        const nextX = train(x, next);
        const nextValue = outer.value(nextX, next);
        history.push({ lambda: next, work: work(), outer: nextValue });
        improved = nextValue < value;
        size *= improved ? 1.5 : 0.5;
        if (improved) [lambda, x, value] = [next, nextX, nextValue];
        else if (size * norm(gradient) < 1e-8) return { lambda, history };
      }
    }
    return { lambda, history };
  };
}
