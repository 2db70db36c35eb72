import { type Graph, reachable } from "../graph.ts";
import { concreteValue, constantPrimitive, isPlaceholder, type Tensor } from "../tensor.ts";

/**
 * A string that is equal for graphs that lower to the same model, whatever the values of their constants, and those
 * constants in the order in which the string numbers them.
 */
export function graphKey(graph: Graph): { key: string; constants: Tensor[] } {
  const constants: Tensor[] = [];
  const key = describe(graph, (t) => {
    constants.push(t);
    return "k";
  });
  return { key, constants };
}

function describe(graph: Graph, constantKey: (t: Tensor) => string): string {
  const numbers = new Map<Tensor, number>();
  const parts: string[] = [];
  const add = (t: Tensor): void => {
    numbers.set(t, numbers.size);
  };
  const params = new Set(graph.params);
  for (const p of graph.params) {
    parts.push(`p${p.dtype}[${p.shape.join()}]`);
    add(p);
  }
  for (const node of reachable(graph.outputs, (t) => params.has(t))) {
    const signature = node.outputs.map((t) => `${t.dtype}[${t.shape.join()}]`).join();
    if (node.primitive === constantPrimitive) {
      parts.push(`${constantKey(node.outputs[0]!)}${signature}`);
      // Several tensors can share a settled node; the one that users hold is reached through their inputs.
    } else if (!isPlaceholder(node.outputs[0]!)) {
      const inputs = node.inputs.map((t) => numbers.get(t) ?? numbers.get(t.node.outputs[t.index]!));
      parts.push(`${node.primitive.name}(${inputs.join()})${attrsKey(node.attrs)}${signature}`);
    }
    for (const t of node.outputs) add(t);
  }
  const outputs = graph.outputs.map((t) => numbers.get(t) ?? numbers.get(t.node.outputs[t.index]!));
  return `${parts.join(";")}>${outputs.join()}`;
}

const isGraph = (value: object): value is Graph => "params" in value && "outputs" in value;

function attrsKey(value: unknown): string {
  if (typeof value === "function") return "f";
  if (value === null || typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map(attrsKey).join()}]`;
  if (isGraph(value)) return `{${describe(value, (t) => `=${concreteValue(t)!.join()}`)}}`;
  return `{${Object.entries(value)
    .map(([name, v]) => `${name}:${attrsKey(v)}`)
    .join()}}`;
}
