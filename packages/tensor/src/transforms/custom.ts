import { isFloat } from "../dtype.ts";
import { callGraph, closeOver, type Graph } from "../graph.ts";
import { stackOf } from "../ops/broadcast.ts";
import { zerosLike } from "../ops/create.ts";
import { identity } from "../ops/identity.ts";
import { sum } from "../ops/reduce.ts";
import { type Aval, applyAll, type Maybe, type Primitive, placeholder, type Tensor } from "../tensor.ts";
import { flatten, type TreeShape } from "../tree.ts";
import { backward } from "./backward.ts";
import { vmap } from "./vmap.ts";

/** Lists of tensors in, lists of tensors out. */
type ListFunction = (args: readonly Tensor[]) => readonly Tensor[];

interface CustomAttrs {
  /** The captured values, then the arguments. */
  readonly graph: Graph;
  readonly captured: number;
  /** Cotangents of the arguments from the arguments and the cotangents of the outputs, all given. */
  readonly pull: (args: readonly Tensor[], cotangents: readonly Tensor[]) => readonly Tensor[];
}

const customPrimitive: Primitive<CustomAttrs> = {
  name: "customVjp",
  infer: (_, { graph }) => graph.outputs.map((t): Aval => t),
  vjp: ({ inputs, outputs, attrs }, cts) => {
    const given = outputs.map((t, i) => cts[i] ?? zerosLike(t));
    const results = attrs.pull(inputs.slice(attrs.captured), given);
    return inputs.map((_, i) => (i < attrs.captured ? undefined : results[i - attrs.captured]));
  },
  // The pullback is linear in the cotangent; transposing it gives the tangent by the same rule.
  jvp: ({ inputs, outputs, attrs }, tangents) => {
    const zero = outputs.map((t) => identity(zerosLike(t)));
    const pulled = attrs.pull(inputs.slice(attrs.captured), zero);
    return backward(pulled, tangents.slice(attrs.captured), zero);
  },
  batch: (inputs, batched, { graph, captured, pull }, size) => {
    const axes = batched.map((b) => (b ? 0 : null));
    const args = inputs.slice(captured);
    const primal = vmap((...all: Tensor[]) => callGraph(graph, all), { inAxes: axes });
    const batchedPull: CustomAttrs["pull"] = (now, cts) => {
      const argAxes = axes.slice(captured);
      const grads = vmap((a: Tensor[], c: Tensor[]) => [...pull(a, c)], { inAxes: [0, 0] })(
        now.map((t, i) => (argAxes[i] === null ? stackOf(t, false, size) : t)),
        [...cts],
      );
      return grads.map((g, i) => (argAxes[i] === null ? sum(g, 0) : g));
    };
    return applyCustom((all) => primal(...inputs.slice(0, captured), ...all), args, batchedPull);
  },
  expand: (inputs, { graph }) => callGraph(graph, inputs),
};

function applyCustom(f: ListFunction, args: readonly Tensor[], pull: CustomAttrs["pull"]): readonly Tensor[] {
  const params = args.map((t) => placeholder(t, "customVjp"));
  const { graph, captured } = closeOver(params, f(params), "customVjp");
  return applyAll(customPrimitive, [...captured, ...args], { graph, captured: captured.length, pull });
}

/** How a function with its own derivative is computed and differentiated. */
export interface CustomRule<A extends readonly unknown[], R, Residuals> {
  /** The value, and what the derivative needs besides. */
  readonly forward: (...args: A) => readonly [R, Residuals];
  /** Cotangents of the arguments (shaped as they are; ignored for those that aren't floats) from that of the value. */
  readonly backward: (residuals: Residuals, cotangent: R) => readonly [...A];
}

/**
 * A function whose derivatives, of any order and mode, are those that `rule` says. Values that `f` takes from outside
 * its arguments get derivative 0.
 */
export function customVjp<A extends readonly unknown[], R, Residuals>(
  f: (...args: A) => R,
  rule: CustomRule<A, R, Residuals>,
): (...args: A) => R {
  return (...args) => {
    const { leaves, shape } = flatten("customVjp", args);
    let result: TreeShape | undefined;
    const primal: ListFunction = (all) => {
      const flat = flatten("customVjp", f(...(shape.build(all) as unknown as A)));
      result = flat.shape;
      return flat.leaves;
    };
    const pull: CustomAttrs["pull"] = (all, cts) => {
      const [, residuals] = rule.forward(...(shape.build(all) as unknown as A));
      const grads = rule.backward(residuals, result!.build(cts) as R);
      return all.map((t, i) => orZero(flattenAs(shape, grads)[i], t));
    };
    const outputs = applyCustom(primal, leaves, pull);
    return result!.build(outputs) as R;
  };
}

const orZero = (ct: Maybe<Tensor>, like: Tensor): Tensor =>
  ct && isFloat(like.dtype) ? ct : zerosLike(like);

/** Leaves of `tree` where `shape` has tensors. */
function flattenAs(shape: TreeShape, tree: unknown): Maybe<Tensor>[] {
  const byPath = new Map<string, Tensor>();
  const flat = flatten("customVjp", tree);
  flat.shape.paths.forEach((path, i) => {
    byPath.set(path, flat.leaves[i]!);
  });
  return shape.paths.map((path) => byPath.get(path));
}
