/** The few messages of ONNX's protobuf schema that a model needs, written in wire format. */

/** ONNX element type numbers. */
export const elementTypes = { float32: 1, uint8: 2, int32: 6, int64: 7, bool: 9, float64: 11 } as const;
export type ElementType = keyof typeof elementTypes;

const utf8 = new TextEncoder();

/** A growing buffer of protobuf fields. */
export class Message {
  private bytes = new Uint8Array(64);
  private length = 0;

  private reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + count));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  private varint(value: number | bigint): void {
    let rest = BigInt.asUintN(64, BigInt(value));
    this.reserve(10);
    while (rest > 0x7fn) {
      this.bytes[this.length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.bytes[this.length++] = Number(rest);
  }

  private small(value: number): void {
    let rest = value;
    this.reserve(10);
    while (rest > 0x7f) {
      this.bytes[this.length++] = (rest & 0x7f) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.length++] = rest;
  }

  int(field: number, value: number): this {
    this.small(field * 8);
    if (value >= 0) this.small(value);
    else this.varint(value);
    return this;
  }

  float(field: number, value: number): this {
    this.small(field * 8 + 5);
    this.reserve(4);
    new DataView(this.bytes.buffer).setFloat32(this.length, value, true);
    this.length += 4;
    return this;
  }

  data(field: number, value: Uint8Array): this {
    this.small(field * 8 + 2);
    this.small(value.length);
    this.reserve(value.length);
    this.bytes.set(value, this.length);
    this.length += value.length;
    return this;
  }

  text(field: number, value: string): this {
    return this.data(field, utf8.encode(value));
  }

  message(field: number, value: Message): this {
    return this.data(field, value.finish());
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}

/** A node attribute: int, string, ints, float (wrapped, since numbers are ints), or a subgraph. */
export type Attribute =
  | number
  | string
  | readonly number[]
  | { readonly float: number }
  | { readonly graph: Message };

const FLOAT = 1;
const INT = 2;
const STRING = 3;
const GRAPH = 5;
const INTS = 7;

export function attributeMessage(name: string, value: Attribute): Message {
  const message = new Message().text(1, name);
  if (typeof value === "number") return message.int(3, value).int(20, INT);
  if (typeof value === "string") return message.text(4, value).int(20, STRING);
  if ("float" in value) return message.float(2, value.float).int(20, FLOAT);
  if ("graph" in value) return message.message(6, value.graph).int(20, GRAPH);
  for (const n of value) message.int(8, n);
  return message.int(20, INTS);
}

export function nodeMessage(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, Attribute>>,
): Message {
  const message = new Message();
  for (const name of inputs) message.text(1, name);
  for (const name of outputs) message.text(2, name);
  message.text(4, op);
  for (const [name, value] of Object.entries(attributes)) message.message(5, attributeMessage(name, value));
  return message;
}

export function tensorMessage(
  name: string,
  type: ElementType,
  dims: readonly number[],
  raw: Uint8Array,
): Message {
  const message = new Message();
  for (const n of dims) message.int(1, n);
  return message.int(2, elementTypes[type]).text(8, name).data(9, raw);
}

export function valueMessage(name: string, type: ElementType, dims: readonly number[]): Message {
  const shape = new Message();
  for (const n of dims) shape.message(1, new Message().int(1, n));
  const tensor = new Message().int(1, elementTypes[type]).message(2, shape);
  return new Message().text(1, name).message(2, new Message().message(1, tensor));
}

export interface GraphParts {
  readonly nodes: readonly Message[];
  readonly inputs: readonly Message[];
  readonly outputs: readonly Message[];
  readonly initializers: readonly Message[];
}

export function graphMessage(name: string, parts: GraphParts): Message {
  const message = new Message();
  for (const node of parts.nodes) message.message(1, node);
  message.text(2, name);
  for (const tensor of parts.initializers) message.message(5, tensor);
  for (const input of parts.inputs) message.message(11, input);
  for (const output of parts.outputs) message.message(12, output);
  return message;
}

/** Bytes of a model file of the given operator set. */
export function modelBytes(graph: Message, opset: number, irVersion: number): Uint8Array {
  const operators = new Message().text(1, "").int(2, opset);
  return new Message()
    .int(1, irVersion)
    .text(2, "prior-art")
    .message(7, graph)
    .message(8, operators)
    .finish();
}
