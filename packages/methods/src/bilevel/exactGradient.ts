import { addScaled, conjugateGradient, norm } from "@prior-art/toolkit/linalg";
import type { HyperparameterSolver, Step } from "./family.ts";
import { countWork, gradientScale, type InnerSolution, trainInner } from "./innerSolver.ts";

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
    const train = (from: Float64Array, lambda: Float64Array): InnerSolution =>
      trainInner(problem, from, lambda, 1e-8 * scale, Math.max(1, maxWork - work()));
    let lambda: Float64Array = start.slice();
    const first = train(new Float64Array(problem.parameters), lambda);
    if (!first.finished) return { lambda, history: [] };
    let { x } = first;
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
        const { x: nextX, finished } = train(x, next);
        if (!finished) break;
        const nextValue = outer.value(nextX, next);
        improved = nextValue < value;
        history.push({ lambda: next, work: work(), outer: nextValue, rejected: !improved });
        size *= improved ? 1.5 : 0.5;
        if (improved) [lambda, x, value] = [next, nextX, nextValue];
        else if (size * norm(gradient) < 1e-8) return { lambda, history };
      }
    }
    return { lambda, history };
  };
}
