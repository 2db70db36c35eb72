import type { BilevelProblem } from "./family.ts";

const show = (values: ArrayLike<number>): string => {
  const first = Array.from({ length: Math.min(values.length, 6) }, (_, i) =>
    String(Number(values[i]!.toPrecision(6))),
  );
  return `[${first.join(", ")}${values.length > 6 ? `, … ${values.length} in all` : ""}]`;
};

/**
 * The same problem, whose inner and outer functions throw as soon as they return something that is not finite or of the wrong size.
 *
 * @param op Name for messages.
 * @param start Where a search begins, if it needs that.
 * @throws RangeError when the box is empty or its sides differ in length, or the start is of another size or outside.
 */
export function checkedProblem(op: string, problem: BilevelProblem, start?: Float64Array): BilevelProblem {
  const { inner, outer, lower, upper, parameters } = problem;
  if (!(Number.isInteger(parameters) && parameters >= 1))
    throw new RangeError(
      `${op}: the inner problem needs a whole number of parameters from 1, got ${parameters}`,
    );
  if (lower.length === 0 || lower.length !== upper.length)
    throw new RangeError(
      `${op}: the box has ${lower.length} lower and ${upper.length} upper bounds; they must be as many, at least 1`,
    );
  lower.forEach((low, j) => {
    if (!(low <= upper[j]!))
      throw new RangeError(`${op}: the box is empty in hyperparameter ${j}: ${low} to ${upper[j]}`);
  });
  if (start) {
    if (start.length !== lower.length)
      throw new RangeError(`${op}: the start has ${start.length} hyperparameters, the box ${lower.length}`);
    start.forEach((value, j) => {
      if (!(value >= lower[j]! && value <= upper[j]!))
        throw new RangeError(
          `${op}: the start lies outside the box: hyperparameter ${j} is ${value}, not from ${lower[j]} to ${upper[j]}`,
        );
    });
  }
  const requireNumber = (what: string, value: number, lambda: Float64Array): number => {
    if (!Number.isFinite(value))
      throw new Error(`${op}: ${what} is ${value} at the hyperparameters ${show(lambda)}`);
    return value;
  };
  const requireVector = (
    what: string,
    values: Float64Array,
    size: number,
    lambda: Float64Array,
  ): Float64Array => {
    if (values.length !== size)
      throw new RangeError(`${op}: ${what} has ${values.length} entries instead of ${size}`);
    const bad = values.find((value) => !Number.isFinite(value));
    if (bad !== undefined) requireNumber(`an entry of ${what}`, bad, lambda);
    return values;
  };
  const { hyperGradient } = outer;
  return {
    ...problem,
    inner: {
      ...inner,
      evaluate(x, lambda) {
        const { value, gradient } = inner.evaluate(x, lambda);
        return {
          value: requireNumber("the inner objective", value, lambda),
          gradient: requireVector("the inner gradient", gradient, parameters, lambda),
        };
      },
      hessianProduct: (x, lambda, v) =>
        requireVector("the inner Hessian's product", inner.hessianProduct(x, lambda, v), parameters, lambda),
      strongConvexity(lambda) {
        const value = requireNumber(
          "the strong convexity of the inner problem",
          inner.strongConvexity(lambda),
          lambda,
        );
        if (!(value > 0))
          throw new Error(
            `${op}: the inner problem's strong convexity is ${value} at the hyperparameters ${show(lambda)}; it must be positive`,
          );
        return value;
      },
      crossProduct: (x, lambda, q) =>
        requireVector("the cross product", inner.crossProduct(x, lambda, q), lower.length, lambda),
    },
    outer: {
      ...outer,
      value: (x, lambda) => requireNumber("the outer objective", outer.value(x, lambda), lambda),
      gradient: (x, lambda) =>
        requireVector("the outer gradient", outer.gradient(x, lambda), parameters, lambda),
      ...(hyperGradient && {
        hyperGradient: (x: Float64Array, lambda: Float64Array) =>
          requireVector("the outer objective's own gradient", hyperGradient(x, lambda), lower.length, lambda),
      }),
    },
  };
}
