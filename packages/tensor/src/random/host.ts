import { allocate, type TypedArray, wordsPerElement } from "../dtype.ts";
import { reachable } from "../graph.ts";
import { broadcastShapes, range, type Shape, sizeOf, stridesOf } from "../shape.ts";
import { type ConstantAttrs, concreteValue, constantPrimitive, type Node, type Tensor } from "../tensor.ts";
import { type DrawAttrs, draw } from "./draw.ts";
import { drawPrimitive, foldPrimitive, hostFold, hostSplit, splitPrimitive } from "./primitives.ts";

type Values = Map<Tensor, TypedArray>;

/** Elements of `x` at positions given by strides and an offset into it, in row-major order of `shape`. */
function pick(
  x: TypedArray,
  words: number,
  shape: Shape,
  strides: readonly number[],
  offset: number,
): TypedArray {
  const count = sizeOf(shape);
  const out = new (x.constructor as new (n: number) => TypedArray)(count * words);
  const steps = stridesOf(shape);
  for (let i = 0; i < count; i++) {
    let at = offset;
    let rest = i;
    for (let axis = 0; axis < shape.length; axis++) {
      at += Math.floor(rest / steps[axis]!) * strides[axis]!;
      rest %= steps[axis]!;
    }
    for (let w = 0; w < words; w++) out[i * words + w] = x[at * words + w]!;
  }
  return out;
}

function broadcastStrides(from: Shape, to: Shape): number[] {
  const strides = stridesOf(from);
  const lead = to.length - from.length;
  return to.map((_, i) => (i < lead || from[i - lead] === 1 ? 0 : strides[i - lead]!));
}

/** The few operations that keys and step numbers go through, by primitive name. */
const evaluators: Record<string, (node: Node, inputs: readonly TypedArray[]) => TypedArray> = {
  identity: (_, [x]) => x!,
  reshape: (_, [x]) => x!,
  slice: (node, [x]) => {
    const { start, step } = node.attrs as { start: number[]; step: number[] };
    const [input] = node.inputs;
    const strides = stridesOf(input!.shape);
    const offset = start.reduce((total, s, i) => total + s * strides[i]!, 0);
    const out = node.outputs[0]!;
    return pick(
      x!,
      wordsPerElement(out.dtype),
      out.shape,
      strides.map((s, i) => s * step[i]!),
      offset,
    );
  },
  transpose: (node, [x]) => {
    const { axes } = node.attrs as { axes: number[] };
    const strides = stridesOf(node.inputs[0]!.shape);
    const out = node.outputs[0]!;
    return pick(
      x!,
      wordsPerElement(out.dtype),
      out.shape,
      axes.map((a) => strides[a]!),
      0,
    );
  },
  broadcastTo: (node, [x]) => {
    const out = node.outputs[0]!;
    return pick(
      x!,
      wordsPerElement(out.dtype),
      out.shape,
      broadcastStrides(node.inputs[0]!.shape, out.shape),
      0,
    );
  },
  concat: (node, inputs) => {
    const { axis } = node.attrs as { axis: number };
    const out = node.outputs[0]!;
    const words = wordsPerElement(out.dtype);
    const value = allocate(out.dtype, out.size);
    const outer = sizeOf(out.shape.slice(0, axis));
    const widths = node.inputs.map((t) => sizeOf(t.shape.slice(axis)) * words);
    let at = 0;
    for (const o of range(outer))
      inputs.forEach((x, i) => {
        value.set(x.subarray(o * widths[i]!, (o + 1) * widths[i]!), at);
        at += widths[i]!;
      });
    return value;
  },
  take: (node, [x, indices]) => {
    const [table] = node.inputs;
    const n = table!.shape[0]!;
    const width = sizeOf(table!.shape.slice(1)) * wordsPerElement(table!.dtype);
    const out = allocate(table!.dtype, node.outputs[0]!.size);
    indices!.forEach((index, i) => {
      const row = Math.min(n - 1, Math.max(0, index < 0 ? index + n : index));
      out.set(x!.subarray(row * width, (row + 1) * width), i * width);
    });
    return out;
  },
  maximum: (node, [a, b]) => integers(node, a!, b!, Math.max),
  minimum: (node, [a, b]) => integers(node, a!, b!, Math.min),
  add: (node, [a, b]) => integers(node, a!, b!, (x, y) => x + y),
  sub: (node, [a, b]) => integers(node, a!, b!, (x, y) => x - y),
  mul: (node, [a, b]) => integers(node, a!, b!, (x, y) => Math.imul(x, y)),
};

function integers(node: Node, a: TypedArray, b: TypedArray, f: (x: number, y: number) => number): TypedArray {
  const [ta, tb] = node.inputs;
  const shape = broadcastShapes(node.primitive.name, ta!.shape, tb!.shape);
  const x = pick(a, 1, shape, broadcastStrides(ta!.shape, shape), 0);
  const y = pick(b, 1, shape, broadcastStrides(tb!.shape, shape), 0);
  return Int32Array.from(x, (v, i) => f(v, y[i]!));
}

function evaluateNode(node: Node, inputs: readonly TypedArray[]): TypedArray | undefined {
  if (node.primitive === splitPrimitive)
    return hostSplit(inputs[0] as Uint32Array, (node.attrs as { count: number }).count);
  if (node.primitive === drawPrimitive) return draw(inputs[0] as Uint32Array, node.attrs as DrawAttrs);
  if (node.primitive === foldPrimitive) {
    const [key, data] = node.inputs;
    const { shape } = node.outputs[0]!;
    const keys = pick(inputs[0]!, 2, shape, broadcastStrides(key!.shape, shape), 0);
    const numbers = pick(inputs[1]!, 1, shape, broadcastStrides(data!.shape, shape), 0);
    const out = new Uint32Array(keys.length);
    numbers.forEach((n, i) => {
      hostFold(keys[2 * i]!, keys[2 * i + 1]!, n, out, 2 * i);
    });
    return out;
  }
  const { dtype } = node.outputs[0]!;
  return dtype === "key" || dtype === "int32" ? evaluators[node.primitive.name]?.(node, inputs) : undefined;
}

/** The value of a key or draw from those of `given`, or undefined where it needs a computation of the graph. */
export function hostEvaluate(t: Tensor, given: Values = new Map()): TypedArray | undefined {
  for (const node of reachable([t], (u) => given.has(u))) {
    if (node.primitive === constantPrimitive) {
      given.set(node.outputs[0]!, (node.attrs as ConstantAttrs).value);
      continue;
    }
    // A settled tensor shares a constant whose own output is another object.
    const inputs = node.inputs.map((u) => given.get(u) ?? concreteValue(u));
    if (node.inputs.length === 0 || inputs.some((v) => v === undefined)) return undefined;
    const value = evaluateNode(node, inputs as TypedArray[]);
    if (value === undefined) return undefined;
    given.set(node.outputs[0]!, value);
  }
  return given.get(t) ?? concreteValue(t);
}

/** Whether a draw can be filled by the host, given values for `inputs`. */
export function isHostKnown(t: Tensor, inputs: ReadonlySet<Tensor>): boolean {
  const known = new Set(inputs);
  for (const node of reachable([t], (u) => known.has(u))) {
    const leaf = node.primitive === constantPrimitive;
    const plain =
      evaluators[node.primitive.name] !== undefined &&
      !["float32", "float64"].includes(node.outputs[0]!.dtype);
    if (!leaf && !(node.inputs.length > 0 && (node.primitive.onHost || plain))) return false;
    for (const u of node.outputs) known.add(u);
  }
  return true;
}

/** Draws that `outputs` need, inputs before users. */
export const drawsOf = (outputs: readonly Tensor[]): Tensor[] =>
  reachable(outputs)
    .filter((node) => node.primitive === drawPrimitive)
    .map((node) => node.outputs[0]!);
