/** The wire format of an ONNX model, as far as a small inference graph needs it. */

/** A named weight, stored in the model. */
export interface Initializer {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

/** One operation. Attributes are integers, floats, or lists of integers. */
export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly output: string | readonly string[];
  readonly attributes?: Readonly<Record<string, { int: number } | { float: number } | { ints: number[] }>>;
}

/** A graph with one input of `int64` ids `[tokens]` and one output of `float32` `[1, dimensions]`. */
export interface OnnxGraph {
  readonly input: string;
  readonly output: string;
  readonly outputSize: number;
  readonly initializers: readonly Initializer[];
  readonly nodes: readonly OnnxNode[];
}

const FLOAT = 1;
const INT64 = 7;
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;
const ATTRIBUTE_INTS = 7;

const varint = (value: number): Uint8Array => {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
};

const integer = (field: number, value: number): Uint8Array =>
  Buffer.concat([varint(field << 3), varint(value)]);

const bytes = (field: number, content: Uint8Array): Uint8Array =>
  Buffer.concat([varint((field << 3) | 2), varint(content.length), content]);

const text = (field: number, value: string): Uint8Array => bytes(field, Buffer.from(value));

const message = (field: number, ...parts: Uint8Array[]): Uint8Array => bytes(field, Buffer.concat(parts));

function float(field: number, value: number): Uint8Array {
  const content = Buffer.alloc(4);
  content.writeFloatLE(value);
  return Buffer.concat([varint((field << 3) | 5), content]);
}

function encodeNode(node: OnnxNode): Uint8Array {
  const outputs = typeof node.output === "string" ? [node.output] : node.output;
  const attributes = Object.entries(node.attributes ?? {}).map(([name, value]) => {
    if ("int" in value) return message(5, text(1, name), integer(3, value.int), integer(20, ATTRIBUTE_INT));
    if ("float" in value)
      return message(5, text(1, name), float(2, value.float), integer(20, ATTRIBUTE_FLOAT));
    const numbers = value.ints.map((entry) => integer(8, entry));
    return message(5, text(1, name), ...numbers, integer(20, ATTRIBUTE_INTS));
  });
  return message(
    1,
    ...node.inputs.map((name) => text(1, name)),
    ...outputs.map((name) => text(2, name)),
    text(4, node.op),
    ...attributes,
  );
}

function encodeInitializer({ name, shape, data }: Initializer): Uint8Array {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message(
    5,
    ...shape.map((size) => integer(1, size)),
    integer(2, data instanceof Float32Array ? FLOAT : INT64),
    text(8, name),
    bytes(9, raw),
  );
}

function encodeValue(
  field: number,
  name: string,
  type: number,
  shape: readonly (number | string)[],
): Uint8Array {
  const dimensions = shape.map((size) =>
    message(1, typeof size === "number" ? integer(1, size) : text(2, size)),
  );
  return message(field, text(1, name), message(2, message(1, integer(1, type), message(2, ...dimensions))));
}

/** Encodes a graph as an ONNX model (IR version 8, operator set 17) that ONNX Runtime loads. */
export function encodeOnnx(graph: OnnxGraph): Uint8Array {
  return Buffer.concat([
    integer(1, 8),
    message(
      7,
      ...graph.nodes.map(encodeNode),
      text(2, "graph"),
      ...graph.initializers.map(encodeInitializer),
      encodeValue(11, graph.input, INT64, ["tokens"]),
      encodeValue(12, graph.output, FLOAT, [1, graph.outputSize]),
    ),
    message(8, integer(2, 17)),
  ]);
}
