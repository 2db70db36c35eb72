import { type DType, type TypedArray, toTypedArray } from "../dtype.ts";
import { type Graph, reachable } from "../graph.ts";
import type { Shape } from "../shape.ts";
import {
  type ConstantAttrs,
  constantPrimitive,
  isPlaceholder,
  type Node,
  placeholder,
  type Tensor,
} from "../tensor.ts";
import {
  type Attribute,
  type ElementType,
  graphMessage,
  type Message,
  modelBytes,
  nodeMessage,
  tensorMessage,
  valueMessage,
} from "./proto.ts";

const OPSET = 20;
const IR_VERSION = 9;

type Attributes = Readonly<Record<string, Attribute>>;

interface Emitted {
  readonly message: Message;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** One tensor for all that are the same output of the same node, as computed tensors that share a constant are. */
const canonical = (t: Tensor): Tensor => t.node.outputs[t.index]!;

/** Names of one graph or subgraph; lookups fall through to the graphs around it. */
class Scope {
  private readonly names = new Map<Tensor, string>();
  readonly emitted: Emitted[] = [];
  /** Outputs by operation, inputs and attributes: the same node is never emitted twice. */
  readonly known = new Map<string, readonly string[]>();
  constructor(readonly parent: Scope | undefined) {}

  nameOf(t: Tensor): string | undefined {
    return this.names.get(canonical(t)) ?? this.parent?.nameOf(t);
  }

  bind(t: Tensor, name: string): void {
    this.names.set(canonical(t), name);
  }

  lookup(key: string): readonly string[] | undefined {
    return this.known.get(key) ?? this.parent?.lookup(key);
  }
}

/** A subgraph being attached to a control-flow node, with the outer names it uses. */
export interface Body {
  readonly graph: Message;
  readonly uses: readonly string[];
}

const elementType = (dtype: DType): ElementType => {
  if (dtype === "key") throw new Error("random keys live on the host; a graph can't hold one");
  return dtype;
};

const bytesOf = (value: ArrayBufferView): Uint8Array =>
  new Uint8Array(value.buffer, value.byteOffset, value.byteLength);

/** Equal for expansions of equal results; undefined where attributes are more than plain numbers. */
function expansionKey(node: Node, inputs: readonly string[]): string | undefined {
  const attrs = Object.entries(node.attrs ?? {});
  if (attrs.some(([, v]) => typeof v === "function" || (typeof v === "object" && !Array.isArray(v))))
    return undefined;
  return `expand ${node.primitive.name}(${inputs.join()})${JSON.stringify(attrs)}`;
}

/** What lowering rules emit ONNX nodes through. Values are known by name. */
export class LowerContext {
  private scope = new Scope(undefined);
  private counter = 0;
  private readonly initializers: Message[] = [];
  private readonly literals = new Map<string, string>();
  /** Constants that were met and are to be fed at every run, by input name. */
  readonly fed = new Map<Node, string>();

  /** Whether any value is float64. */
  doublePrecision = false;

  /** @param fedConstants Constants to be inputs of the model instead of stored in it. */
  constructor(private readonly fedConstants: ReadonlySet<Node>) {}

  private fresh(): string {
    return `v${this.counter++}`;
  }

  /** Emits a node of `count` outputs (or finds the one that computes the same). */
  emitAll(
    op: string,
    inputs: readonly string[],
    count: number,
    attributes: Attributes = {},
    uses: readonly string[] = [],
  ): readonly string[] {
    const hasBody = Object.values(attributes).some((a) => typeof a === "object" && "graph" in a);
    const key = hasBody ? undefined : `${op}(${inputs.join()})${count}${JSON.stringify(attributes)}`;
    const found = key === undefined ? undefined : this.scope.lookup(key);
    if (found !== undefined) return found;
    const outputs = Array.from({ length: count }, () => this.fresh());
    if (key !== undefined) this.scope.known.set(key, outputs);
    this.scope.emitted.push({
      message: nodeMessage(op, inputs, outputs, attributes),
      inputs: [...inputs, ...uses],
      outputs,
    });
    return outputs;
  }

  /** Emits a node of one output. */
  emit(op: string, inputs: readonly string[], attributes: Attributes = {}): string {
    return this.emitAll(op, inputs, 1, attributes)[0]!;
  }

  private literal(type: ElementType, dims: Shape, raw: Uint8Array): string {
    const key = raw.length <= 256 ? `${type}[${dims.join()}]${raw.join()}` : undefined;
    const found = key === undefined ? undefined : this.literals.get(key);
    if (found !== undefined) return found;
    const name = `c${this.counter++}`;
    this.initializers.push(tensorMessage(name, type, dims, raw));
    if (key !== undefined) this.literals.set(key, name);
    return name;
  }

  /** A constant of the model. */
  array(value: TypedArray, dims: Shape, dtype: DType): string {
    return this.literal(elementType(dtype), dims, bytesOf(value));
  }

  /** A constant without axes. */
  scalar(value: number, dtype: DType): string {
    return this.array(toTypedArray(dtype, [value]), [], dtype);
  }

  /** A constant int64 vector, as shapes and axes are given. */
  ints(values: readonly number[]): string {
    return this.literal("int64", [values.length], bytesOf(BigInt64Array.from(values, BigInt)));
  }

  /** A constant int64 without axes. */
  scalarInt(value: number): string {
    return this.literal("int64", [], bytesOf(BigInt64Array.of(BigInt(value))));
  }

  cast(name: string, dtype: DType): string {
    const to = { float32: 1, int32: 6, bool: 9, float64: 11, key: 0 }[dtype];
    return this.emit("Cast", [name], { to });
  }

  reshape(name: string, shape: Shape): string {
    // A size of 0 means "as in the input" to ONNX, unless it is told otherwise.
    return this.emit("Reshape", [name, this.ints(shape)], shape.includes(0) ? { allowzero: 1 } : {});
  }

  toInt64(name: string): string {
    return this.emit("Cast", [name], { to: 7 });
  }

  /** The name of a tensor's value, lowering what it needs first. */
  name(t: Tensor): string {
    const known = this.scope.nameOf(t);
    if (known !== undefined) return known;
    for (const node of reachable([t], (u) => this.scope.nameOf(u) !== undefined)) this.lowerNode(node);
    return this.scope.nameOf(t)!;
  }

  bind(t: Tensor, name: string): void {
    this.scope.bind(t, name);
  }

  private lowerNode(node: Node): void {
    const outputs = this.namesFor(node);
    node.outputs.forEach((t, i) => {
      this.scope.bind(t, outputs[i]!);
      if (t.dtype === "float64") this.doublePrecision = true;
    });
  }

  private namesFor(node: Node): readonly string[] {
    if (node.primitive === constantPrimitive) return [this.lowerConstant(node)];
    if (isPlaceholder(node.outputs[0]!))
      throw new Error(`unbound ${node.outputs[0]!.toString()} while lowering`);
    const inputs = node.inputs.map((t) => this.name(t));
    const lowered = node.primitive.lower?.(this, inputs, node);
    if (lowered !== undefined) return lowered;
    const key = expansionKey(node, inputs);
    const known = key === undefined ? undefined : this.scope.lookup(key);
    if (known !== undefined) return known;
    // Stand-ins, so that an expansion can't depend on the values of constants that are fed.
    const standIns = node.inputs.map((t, i) => {
      const p = placeholder(t, "lowering");
      this.scope.bind(p, inputs[i]!);
      return p;
    });
    const expanded = node.primitive.expand?.(standIns, node.attrs);
    if (expanded === undefined)
      throw new Error(`${node.primitive.name} has no lowering for ${node.inputs.map(String).join(", ")}`);
    const names = expanded.map((t) => this.name(t));
    if (key !== undefined) this.scope.known.set(key, names);
    return names;
  }

  private lowerConstant(node: Node): string {
    const { value } = node.attrs as ConstantAttrs;
    const { shape, dtype } = node.outputs[0]!;
    if (!this.fedConstants.has(node)) return this.array(value, shape, dtype);
    let name = this.fed.get(node);
    if (name === undefined) this.fed.set(node, (name = `k${this.fed.size}`));
    return name;
  }

  /**
   * A subgraph whose formal inputs are `inputs`; `bound` names the values of the graph's other parameters outside.
   * `finish` may put further nodes and gives the output names.
   */
  body(
    inputs: readonly { readonly tensor: Tensor; readonly dims?: Shape }[],
    bound: ReadonlyMap<Tensor, string>,
    outputs: readonly Tensor[],
    extra: {
      readonly before?: readonly ValueSpec[];
      readonly lead?: (ctx: LowerContext, before: readonly string[]) => readonly string[];
    } = {},
  ): Body {
    const outer = this.scope;
    this.scope = new Scope(outer);
    const before = (extra.before ?? []).map((spec) => ({ spec, name: this.fresh() }));
    const formals = inputs.map(({ tensor, dims }) => {
      const name = this.fresh();
      this.scope.bind(tensor, name);
      return valueMessage(name, elementType(tensor.dtype), dims ?? tensor.shape);
    });
    for (const [tensor, name] of bound) this.scope.bind(tensor, name);
    const lead =
      extra.lead?.(
        this,
        before.map((b) => b.name),
      ) ?? [];
    const names = this.ownNames(outputs.map((t) => this.name(t)));
    const values = [
      ...lead.map((name) => valueMessage(name, "bool", [])),
      ...outputs.map((t, i) => valueMessage(names[i]!, elementType(t.dtype), t.shape)),
    ];
    const { nodes, uses } = this.close([...lead, ...names]);
    this.scope = outer;
    const formalsAll = [
      ...before.map(({ spec, name }) => valueMessage(name, spec.type, spec.dims)),
      ...formals,
    ];
    return {
      graph: graphMessage("body", { nodes, inputs: formalsAll, outputs: values, initializers: [] }),
      uses,
    };
  }

  /** Distinct names made in the current scope, as outputs of a graph must be. */
  private ownNames(names: readonly string[]): string[] {
    const made = new Set(this.scope.emitted.flatMap((node) => node.outputs));
    return names.map((name) => {
      if (made.delete(name)) return name;
      const copy = this.fresh();
      this.scope.emitted.push({
        message: nodeMessage("Identity", [name], [copy], {}),
        inputs: [name],
        outputs: [copy],
      });
      return copy;
    });
  }

  /** Nodes of the current scope that `results` need, and the names they take from outside. */
  private close(results: readonly string[]): { nodes: Message[]; uses: string[] } {
    const needed = new Set(results);
    const made = new Set<string>();
    const kept: Emitted[] = [];
    for (const node of this.scope.emitted.toReversed()) {
      if (!node.outputs.some((name) => needed.has(name))) continue;
      kept.push(node);
      for (const name of node.inputs) needed.add(name);
      for (const name of node.outputs) made.add(name);
    }
    return {
      nodes: kept.reverse().map((node) => node.message),
      uses: [...needed].filter((n) => n && !made.has(n)),
    };
  }

  /** The finished model. */
  model(
    inputs: readonly { name: string; tensor: Tensor }[],
    outputs: readonly { name: string; tensor: Tensor }[],
  ): Uint8Array {
    for (const { tensor } of outputs) this.name(tensor);
    const last = outputs.map(({ name, tensor }) => ({
      message: nodeMessage("Identity", [this.name(tensor)], [name], {}),
      inputs: [this.name(tensor)],
      outputs: [name],
    }));
    this.scope.emitted.push(...last);
    const { nodes } = this.close(outputs.map((o) => o.name));
    const fed = [...this.fed].map(([node, name]) => ({ name, tensor: node.outputs[0]! }));
    const value = ({ name, tensor }: { name: string; tensor: Tensor }) =>
      valueMessage(name, elementType(tensor.dtype), tensor.shape);
    return modelBytes(
      graphMessage("graph", {
        nodes,
        inputs: [...inputs, ...fed].map(value),
        outputs: outputs.map(value),
        initializers: this.initializers,
      }),
      OPSET,
      IR_VERSION,
    );
  }
}

interface ValueSpec {
  readonly type: ElementType;
  readonly dims: Shape;
}

export interface Lowered {
  readonly model: Uint8Array;
  /** Whether any value in it is float64. */
  readonly doublePrecision: boolean;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Constants that are fed at every run, by input name. */
  readonly fed: ReadonlyMap<string, Node>;
}

/** Lowers a graph to an ONNX model with inputs `i0…` and outputs `o0…`, unless names are given. */
export function lowerGraph(
  graph: Graph,
  options: {
    fedConstants?: readonly Tensor[];
    inputNames?: readonly string[];
    outputNames?: readonly string[];
  } = {},
): Lowered {
  const ctx = new LowerContext(new Set(options.fedConstants?.map((t) => t.node)));
  const inputs = graph.params.map((tensor, i) => ({ name: options.inputNames?.[i] ?? `i${i}`, tensor }));
  for (const { name, tensor } of inputs) ctx.bind(tensor, name);
  const outputs = graph.outputs.map((tensor, i) => ({ name: options.outputNames?.[i] ?? `o${i}`, tensor }));
  const model = ctx.model(inputs, outputs);
  return {
    model,
    doublePrecision: ctx.doublePrecision,
    inputs: inputs.map((i) => i.name),
    outputs: outputs.map((o) => o.name),
    fed: new Map([...ctx.fed].map(([node, name]) => [name, node])),
  };
}
