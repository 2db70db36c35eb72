import { isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { eye, onesLike } from "../ops/create.ts";
import { identity } from "../ops/identity.ts";
import { reshape } from "../ops/shape.ts";
import { sameShape } from "../shape.ts";
import { Tensor } from "../tensor.ts";
import { flatten, type TreeShape } from "../tree.ts";
import { backward, forward, orZeros } from "./backward.ts";
import { vmap } from "./vmap.ts";

// biome-ignore lint/suspicious/noExplicitAny: any function over trees; argument and result types are inferred.
type TreeFunction = (...args: any[]) => any;

/** Fresh variables for the tensors of `args`, so that each trace differentiates by its own. */
function variables(op: string, args: unknown): { vars: Tensor[]; shape: TreeShape; rebuilt: unknown } {
  const { leaves, shape } = flatten(op, args);
  const vars = leaves.map((t) => identity(t));
  return { vars, shape, rebuilt: shape.build(vars) };
}

function requireMatch(op: string, given: readonly Tensor[], wanted: readonly Tensor[]): void {
  if (given.length !== wanted.length)
    throw new TensorError(op, `${given.length} tensors given where ${wanted.length} belong`);
  given.forEach((t, i) => {
    const w = wanted[i]!;
    if (!sameShape(t.shape, w.shape) || t.dtype !== w.dtype)
      throw new TensorError(op, `${t.toString()} given where ${w.toString()} belongs`);
  });
}

/**
 * The value of `f(...args)` and its pullback, which maps a cotangent shaped as the value to cotangents shaped as the
 * arguments.
 */
export function vjp<F extends TreeFunction>(
  f: F,
  ...args: Parameters<F>
): [value: ReturnType<F>, pullback: (cotangent: ReturnType<F>) => Parameters<F>] {
  const { vars, shape, rebuilt } = variables("vjp", args);
  const flat = flatten("vjp", f(...(rebuilt as Parameters<F>)));
  const outputs = flat.leaves;
  // The caller gets nodes of its own: computing those lets go of their graph, which the pullback still needs.
  const value = flat.shape.build(outputs.map((t) => identity(t))) as ReturnType<F>;
  const pullback = (cotangent: ReturnType<F>): Parameters<F> => {
    const cts = flatten("vjp", cotangent).leaves;
    requireMatch("vjp", cts, outputs);
    return shape.build(orZeros(backward(outputs, cts, vars), vars)) as Parameters<F>;
  };
  return [value, pullback];
}

/** The value of `f(...primals)` and its derivative in the direction of `tangents`, shaped as the primals. */
export function jvp<F extends TreeFunction>(
  f: F,
  primals: Parameters<F>,
  tangents: Parameters<F>,
): [value: ReturnType<F>, tangent: ReturnType<F>] {
  const { vars, rebuilt } = variables("jvp", primals);
  const given = flatten("jvp", tangents).leaves;
  requireMatch("jvp", given, vars);
  const value = f(...(rebuilt as Parameters<F>));
  const outputs = flatten("jvp", value);
  const directions = given.map((t) => (isFloat(t.dtype) ? t : undefined));
  const tangent = orZeros(forward(outputs.leaves, vars, directions), outputs.leaves);
  return [value, outputs.shape.build(tangent) as ReturnType<F>];
}

/** The value and its gradient by the first argument. */
export function valueAndGrad<P, R extends unknown[]>(
  f: (params: P, ...rest: R) => Tensor,
): (params: P, ...rest: R) => [value: Tensor, gradient: P];
/** The value with what else `f` returns, and the gradient of the value by the first argument. */
export function valueAndGrad<P, R extends unknown[], A>(
  f: (params: P, ...rest: R) => [Tensor, A],
  options: { hasAux: true },
): (params: P, ...rest: R) => [valueAndAux: [Tensor, A], gradient: P];
export function valueAndGrad<P, R extends unknown[]>(
  f: (params: P, ...rest: R) => Tensor | [Tensor, unknown],
): (params: P, ...rest: R) => [unknown, P] {
  return (params, ...rest) => {
    const { vars, shape, rebuilt } = variables("grad", params);
    const at = vars.findIndex((t) => !isFloat(t.dtype));
    if (at >= 0)
      throw new TensorError(
        "grad",
        `${shape.paths[at] || "the argument"} is ${vars[at]!.dtype}; derivatives are by floats`,
      );
    const result = f(rebuilt as P, ...rest);
    const value = result instanceof Tensor ? result : Array.isArray(result) ? result[0] : undefined;
    if (!(value instanceof Tensor))
      throw new TensorError("grad", "the function did not return a tensor (or [tensor, aux] with hasAux)");
    if (value.size !== 1 || !isFloat(value.dtype))
      throw new TensorError("grad", `the function returned ${value.toString()}; a gradient is of one float`);
    const gradient = orZeros(backward([value], [onesLike(value)], vars), vars);
    return [result, shape.build(gradient) as P];
  };
}

/** The gradient of `f`, which returns one number, by its first argument. */
export function grad<P, R extends unknown[]>(
  f: (params: P, ...rest: R) => Tensor,
): (params: P, ...rest: R) => P {
  const both = valueAndGrad(f);
  return (params, ...rest) => both(params, ...rest)[1];
}

/** The Jacobian of a tensor-valued function by its first argument: each leaf `[...output, ...leaf]`. */
export function jacobian<P, R extends unknown[]>(
  f: (params: P, ...rest: R) => Tensor,
): (params: P, ...rest: R) => P {
  return (params, ...rest) => {
    const { vars, shape, rebuilt } = variables("jacobian", params);
    const value = f(rebuilt as P, ...rest);
    if (!(value instanceof Tensor)) throw new TensorError("jacobian", "the function did not return a tensor");
    const basis = reshape(eye(value.size, value.size, value.dtype), [value.size, ...value.shape]);
    const rows = vmap((ct: Tensor) => orZeros(backward([value], [ct], vars), vars))(basis);
    return shape.build(rows.map((r, i) => reshape(r, [...value.shape, ...vars[i]!.shape]))) as P;
  };
}

/** The Hessian `[...x, ...x]` of `f`, which returns one number, by its first argument, a tensor. */
export function hessian<R extends unknown[]>(
  f: (x: Tensor, ...rest: R) => Tensor,
): (x: Tensor, ...rest: R) => Tensor {
  return jacobian(grad(f));
}

/** The product of the Hessian of `f` at `params` with `direction`, without forming the Hessian. */
export function hvp<P>(f: (params: P) => Tensor, params: P, direction: P): P {
  return jvp(grad(f), [params], [direction])[1];
}
