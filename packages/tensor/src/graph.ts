import { TensorError } from "./errors.ts";
import {
  concreteScalar,
  constantPrimitive,
  isPlaceholder,
  Node,
  placeholder,
  type Tensor,
} from "./tensor.ts";

/** A closed function over tensors: its outputs depend on its parameters and on constants only. */
export interface Graph {
  readonly params: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** Nodes that `outputs` need, inputs before users, not going past tensors for which `stop` holds. */
export function reachable(outputs: readonly Tensor[], stop: (t: Tensor) => boolean = () => false): Node[] {
  const seen = new Set<Node>();
  const leaves: Node[] = [];
  const inner: Node[] = [];
  const stack = [...outputs];
  for (let t = stack.pop(); t !== undefined; t = stack.pop()) {
    if (stop(t) || seen.has(t.node)) continue;
    seen.add(t.node);
    if (t.node.inputs.length === 0) leaves.push(t.node);
    else {
      inner.push(t.node);
      for (const input of t.node.inputs) stack.push(input);
    }
  }
  // A settled tensor's constant has a late id; leaves go first, so that order holds anyway.
  return [...leaves, ...inner.sort((a, b) => a.id - b.id)];
}

/** Nodes between `sources` and `outputs`: those whose value depends on a source, inputs before users. */
export function dependents(outputs: readonly Tensor[], sources: ReadonlySet<Tensor>): Node[] {
  const depends = new Set<Tensor>(sources);
  return reachable(outputs, (t) => sources.has(t)).filter((node) => {
    if (!node.inputs.some((t) => depends.has(t))) return false;
    for (const t of node.outputs) depends.add(t);
    return true;
  });
}

/** The first placeholder that a value depends on, other than `allowed`: it can't be computed outside its trace. */
export function findPlaceholder(
  outputs: readonly Tensor[],
  allowed: ReadonlySet<Tensor> = new Set(),
): Tensor | undefined {
  const isForeign = (t: Tensor): boolean => isPlaceholder(t) && !allowed.has(t);
  return reachable(outputs).find((node) => node.outputs[0] && isForeign(node.outputs[0]))?.outputs[0];
}

/** Copies of `outputs` with `bindings` put in place of the tensors they replace. */
export function substitute(outputs: readonly Tensor[], bindings: ReadonlyMap<Tensor, Tensor>): Tensor[] {
  const env = new Map(bindings);
  for (const node of dependents(outputs, new Set(bindings.keys()))) {
    const inputs = node.inputs.map((t) => env.get(t) ?? t);
    const copy = new Node(node.primitive, inputs, node.attrs, node.outputs);
    copy.site = node.site;
    node.outputs.forEach((t, i) => {
      env.set(t, copy.outputs[i]!);
    });
  }
  return outputs.map((t) => env.get(t) ?? t);
}

/** Calls a graph: its outputs as functions of `args`. */
export function callGraph(graph: Graph, args: readonly Tensor[]): Tensor[] {
  return substitute(graph.outputs, new Map(graph.params.map((p, i) => [p, args[i]!])));
}

/**
 * Makes outputs traced from `params` a closed graph by turning what they take from outside into further
 * parameters, which come first. A part that doesn't depend on `params` stays outside, so it is computed once;
 * with `since`, all nodes made since that mark stay inside instead (for branches, which must not run early).
 */
export function closeOver(
  params: readonly Tensor[],
  outputs: readonly Tensor[],
  trace: string,
  since?: number,
): { graph: Graph; captured: Tensor[] } {
  const sources = new Set(params);
  const inside = new Set<Tensor>(sources);
  const bodyNodes =
    since === undefined
      ? dependents(outputs, sources)
      : reachable(outputs, (t) => sources.has(t) || t.node.id < since || isHostOnly(t)).filter(
          (n) => n.inputs.length > 0,
        );
  for (const node of bodyNodes) for (const t of node.outputs) inside.add(t);
  const captured = new Map<Tensor, Tensor>();
  const capture = (t: Tensor): Tensor => {
    if (inside.has(t) || isInlined(t)) return t;
    let p = captured.get(t);
    if (p === undefined) captured.set(t, (p = placeholder(t, trace)));
    return p;
  };
  const env = new Map<Tensor, Tensor>();
  const resolve = (t: Tensor): Tensor => env.get(t) ?? capture(t);
  for (const node of bodyNodes) {
    const copy = new Node(node.primitive, node.inputs.map(resolve), node.attrs, node.outputs);
    copy.site = node.site;
    node.outputs.forEach((t, i) => {
      env.set(t, copy.outputs[i]!);
    });
  }
  const closed = outputs.map(resolve);
  return {
    graph: { params: [...captured.values(), ...params], outputs: closed },
    captured: [...captured.keys()],
  };
}

/** Random draws are made on the host, before any branch is taken. */
const isHostOnly = (t: Tensor): boolean => t.dtype === "key" || t.node.primitive.onHost === true;

/** Scalar constants are copied into bodies, where they can be folded, rather than passed to them. */
const isInlined = (t: Tensor): boolean =>
  t.node.primitive === constantPrimitive && concreteScalar(t) !== undefined;

/** Throws unless every tensor can be computed now, or once `allowed` placeholders are known. */
export function requireConcrete(op: string, tensors: readonly Tensor[], allowed?: ReadonlySet<Tensor>): void {
  const leaked = findPlaceholder(tensors, allowed);
  if (leaked === undefined) return;
  const { trace } = leaked.node.attrs as { trace: string };
  throw new TensorError(
    op,
    `the value depends on an input of a function traced by ${trace}, ${leaked.toString()}: it has no value outside that trace. Return it from the traced function instead`,
  );
}
