import { isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { closeOver, type Graph, substitute } from "../graph.ts";
import type { LowerContext } from "../onnx/lower.ts";
import { stackOf } from "../ops/broadcast.ts";
import { where } from "../ops/compare.ts";
import { zerosLike } from "../ops/create.ts";
import { reshape } from "../ops/shape.ts";
import { sameShape, showShape } from "../shape.ts";
import {
  type Aval,
  applyAll,
  idMark,
  type Maybe,
  type Node,
  type Primitive,
  type Tensor,
} from "../tensor.ts";
import { backward, forward } from "../transforms/backward.ts";
import { batchGraph } from "../transforms/vmap.ts";
import { flatten } from "../tree.ts";

/** Inputs are the predicate, then what each branch captured; each branch's parameters are its captured values. */
interface CondAttrs {
  readonly yes: Graph;
  readonly no: Graph;
}

const parts = (
  inputs: readonly Tensor[],
  { yes }: CondAttrs,
): { pred: Tensor; yesArgs: Tensor[]; noArgs: Tensor[] } => {
  const [pred, ...rest] = inputs;
  return { pred: pred!, yesArgs: rest.slice(0, yes.params.length), noArgs: rest.slice(yes.params.length) };
};

const condPrimitive: Primitive<CondAttrs> = {
  name: "cond",
  infer: (_, { yes }) => yes.outputs.map((t): Aval => t),
  vjp: ({ inputs, attrs }, cts, needed) => {
    const { pred, yesArgs, noArgs } = parts(inputs, attrs);
    const flags = needed.slice(1);
    const wanted = [...yesArgs, ...noArgs].flatMap((_, i) => (flags[i] ? [i] : []));
    const pull = (graph: Graph, args: readonly Tensor[], offset: number) => () => {
      const at = wanted.filter((i) => i >= offset && i < offset + args.length);
      const found = backward(
        graph.outputs,
        cts,
        at.map((i) => graph.params[i - offset]!),
      );
      const like = [...yesArgs, ...noArgs];
      const all = wanted.map((i) => found[at.indexOf(i)] ?? zerosLike(like[i]!));
      return substitute(all, new Map(graph.params.map((p, i) => [p, args[i]!])));
    };
    const results = rawCond(pred, pull(attrs.yes, yesArgs, 0), pull(attrs.no, noArgs, yesArgs.length));
    const byInput = new Map(wanted.map((i, j) => [i + 1, results[j]!]));
    return inputs.map((_, i) => byInput.get(i));
  },
  jvp: ({ inputs, outputs, attrs }, tangents) => {
    const { pred, yesArgs, noArgs } = parts(inputs, attrs);
    const push = (graph: Graph, args: readonly Tensor[], given: readonly Maybe<Tensor>[]) => () => {
      const found = forward(graph.outputs, graph.params, given);
      const all = graph.outputs.map((t, i) => found[i] ?? zerosLike(t));
      return substitute(all, new Map(graph.params.map((p, i) => [p, args[i]!])));
    };
    const split = 1 + yesArgs.length;
    const results = rawCond(
      pred,
      push(attrs.yes, yesArgs, tangents.slice(1, split)),
      push(attrs.no, noArgs, tangents.slice(split)),
    );
    return outputs.map((t, i) => (isFloat(t.dtype) ? results[i] : undefined));
  },
  batch: (inputs, batched, attrs, size) => {
    const { pred, yesArgs, noArgs } = parts(inputs, attrs);
    const split = 1 + yesArgs.length;
    const branch = (graph: Graph, args: readonly Tensor[], flags: readonly boolean[]) => () => {
      const stacked = graph.params.flatMap((p, i) => (flags[i] ? [[p, args[i]!] as const] : []));
      const plain = graph.params.flatMap((p, i) => (flags[i] ? [] : [[p, args[i]!] as const]));
      const { results, batched: out } = batchGraph(graph.outputs, new Map(stacked), size);
      return substitute(results, new Map(plain)).map((t, i) => stackOf(t, out[i]!, size));
    };
    const yes = branch(attrs.yes, yesArgs, batched.slice(1, split));
    const no = branch(attrs.no, noArgs, batched.slice(split));
    if (!batched[0]) return rawCond(pred, yes, no);
    const [ifYes, ifNo] = [yes(), no()];
    return ifYes.map((t, i) =>
      where(reshape(pred, [size, ...new Array<number>(t.rank - 1).fill(1)]), t, ifNo[i]!),
    );
  },
  lower: (ctx: LowerContext, names: readonly string[], node: Node) => {
    const { yes, no } = node.attrs as CondAttrs;
    const attach = (graph: Graph, from: number) =>
      ctx.body([], new Map(graph.params.map((p, i) => [p, names[from + i]!])), graph.outputs);
    const thenBody = attach(yes, 1);
    const elseBody = attach(no, 1 + yes.params.length);
    return ctx.emitAll(
      "If",
      [names[0]!],
      node.outputs.length,
      { then_branch: { graph: thenBody.graph }, else_branch: { graph: elseBody.graph } },
      [...thenBody.uses, ...elseBody.uses],
    );
  },
};

function rawCond(pred: Tensor, yes: () => readonly Tensor[], no: () => readonly Tensor[]): readonly Tensor[] {
  const branch = (f: () => readonly Tensor[]) => {
    const mark = idMark();
    return closeOver([], f(), "cond", mark);
  };
  const a = branch(yes);
  const b = branch(no);
  a.graph.outputs.forEach((t, i) => {
    const other = b.graph.outputs[i]!;
    if (!sameShape(t.shape, other.shape) || t.dtype !== other.dtype)
      throw new TensorError("cond", `the branches return ${t.toString()} and ${other.toString()}`);
  });
  if (a.graph.outputs.length === 0) return [];
  return applyAll(condPrimitive, [pred, ...a.captured, ...b.captured], { yes: a.graph, no: b.graph });
}

/**
 * `whenTrue(...args)` or `whenFalse(...args)`, of which only the chosen one is computed; both return the same
 * structure. Under `vmap` with a batched predicate both are computed and chosen from.
 */
export function cond<A extends readonly unknown[], R>(
  predicate: Tensor,
  whenTrue: (...args: A) => R,
  whenFalse: (...args: A) => R,
  ...args: A
): R {
  if (predicate.dtype !== "bool" || predicate.size !== 1)
    throw new TensorError(
      "cond",
      `the predicate is one bool, not ${predicate.dtype}${showShape(predicate.shape)}`,
    );
  const shapes: ReturnType<typeof flatten>["shape"][] = [];
  const run = (f: (...args: A) => R) => () => {
    const { leaves, shape } = flatten("cond", f(...args));
    shapes.push(shape);
    if (shapes[0]!.id !== shape.id)
      throw new TensorError(
        "cond",
        `the branches return different structures: ${shapes[0]!.id} and ${shape.id}`,
      );
    return leaves;
  };
  const outputs = rawCond(reshape(predicate, []), run(whenTrue), run(whenFalse));
  return shapes[0]!.build(outputs) as R;
}
