import { type DType, data, type Tensor, tensor } from "@prior-art/tensor";

/** Bytes an element by the format's dtype. */
const SIZES = { F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 } as const;
type StoredDType = keyof typeof SIZES;

/** The format's own limit on its header, bytes. */
const LARGEST_HEADER = 100_000_000;

export interface SafetensorsFile {
  /** By name, in the file's order. Halves are widened to float32, whole numbers narrowed to int32. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** The file's free-form notes. */
  readonly metadata: ReadonlyMap<string, string>;
}

const fail = (reason: string): never => {
  throw new RangeError(`safetensors: ${reason}`);
};

/**
 * Reads a file in the safetensors format: eight bytes of header length, a JSON header, and the numbers.
 * @throws RangeError when the file is cut short or its header lies: unknown dtypes, shapes that don't fit their bytes,
 *   ranges that overlap, leave gaps or point outside, whole numbers beyond int32.
 */
export function decodeSafetensors(file: Uint8Array): SafetensorsFile {
  if (file.length < 8) fail("the file is shorter than its header's length");
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const headerLength = view.getBigUint64(0, true);
  if (headerLength > BigInt(LARGEST_HEADER)) fail(`the header claims ${headerLength} bytes`);
  const start = 8 + Number(headerLength);
  if (start > file.length) fail("the file ends inside its header");
  const header = parseHeader(file.subarray(8, start));
  const metadata = new Map<string, string>();
  const entries: Entry[] = [];
  for (const [name, value] of header) {
    if (name === "__metadata__") {
      for (const [key, note] of objectEntries(value, "__metadata__"))
        metadata.set(
          key,
          typeof note === "string" ? note : fail(`the note ${JSON.stringify(key)} is no text`),
        );
    } else entries.push(entryOf(name, value));
  }
  let end = 0;
  for (const { name, from, to } of [...entries].sort((a, b) => a.from - b.from || a.to - b.to)) {
    if (from !== end) fail(`${JSON.stringify(name)} starts at byte ${from}, where ${end} belongs`);
    end = to;
  }
  if (end !== file.length - start) fail(`the tensors take ${end} bytes of ${file.length - start}`);
  const tensors = new Map(
    entries.map(({ name, dtype, shape, from, to }) => [
      name,
      tensor(valuesOf(file.slice(start + from, start + to).buffer, dtype, name), {
        shape,
        dtype: RESULT[dtype],
      }),
    ]),
  );
  return { tensors, metadata };
}

interface Entry {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  readonly from: number;
  readonly to: number;
}

function parseHeader(bytes: Uint8Array): [string, unknown][] {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    fail("the header is not JSON");
  }
  return objectEntries(header, "the header");
}

function objectEntries(value: unknown, name: string): [string, unknown][] {
  if (value === null || typeof value !== "object" || Array.isArray(value)) fail(`${name} is not an object`);
  return Object.entries(value as Record<string, unknown>);
}

function entryOf(name: string, value: unknown): Entry {
  const what = JSON.stringify(name);
  const fields = new Map(objectEntries(value, what));
  const dtype = fields.get("dtype");
  if (typeof dtype !== "string" || !Object.hasOwn(SIZES, dtype))
    throw new RangeError(
      `safetensors: ${what} has the dtype ${JSON.stringify(dtype)}, which is not supported`,
    );
  const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  const shape = fields.get("shape");
  const offsets = fields.get("data_offsets");
  if (!Array.isArray(shape) || !shape.every(isCount))
    throw new RangeError(`safetensors: the shape of ${what} is no list of sizes`);
  const [from, to] = Array.isArray(offsets) && offsets.length === 2 ? (offsets as unknown[]) : [];
  if (!isCount(from) || !isCount(to) || from > to)
    throw new RangeError(`safetensors: the data_offsets of ${what} are no range`);
  const bytes = shape.reduce((size: number, n: number) => size * n, SIZES[dtype as StoredDType]);
  if (bytes !== to - from)
    throw new RangeError(
      `safetensors: ${what} of shape [${shape.join(", ")}] doesn't fit its ${to - from} bytes`,
    );
  return { name, dtype: dtype as StoredDType, shape, from, to };
}

const RESULT: Readonly<Record<StoredDType, DType>> = {
  F64: "float64",
  F32: "float32",
  F16: "float32",
  BF16: "float32",
  I64: "int32",
  I32: "int32",
  I16: "int32",
  I8: "int32",
  U8: "int32",
  BOOL: "bool",
};

type Values = Float64Array | Float32Array | Int32Array | Uint8Array;

function valuesOf(bytes: ArrayBuffer, dtype: StoredDType, name: string): Values {
  switch (dtype) {
    case "F64":
      return new Float64Array(bytes);
    case "F32":
      return new Float32Array(bytes);
    case "I32":
      return new Int32Array(bytes);
    case "F16":
      return Float32Array.from(new Uint16Array(bytes), fromHalf);
    case "BF16":
      return new Float32Array(Uint32Array.from(new Uint16Array(bytes), (bits) => bits << 16).buffer);
    case "I64":
      return Int32Array.from(new BigInt64Array(bytes), (value) =>
        value === BigInt.asIntN(32, value)
          ? Number(value)
          : fail(`${JSON.stringify(name)} holds ${value}, which is beyond int32`),
      );
    case "I16":
      return Int32Array.from(new Int16Array(bytes));
    case "I8":
      return Int32Array.from(new Int8Array(bytes));
    case "U8":
      return Int32Array.from(new Uint8Array(bytes));
    case "BOOL":
      return new Uint8Array(bytes).map((value) =>
        value <= 1 ? value : fail(`${JSON.stringify(name)} is no bool`),
      );
  }
}

/** IEEE 754 binary16. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const STORED: Readonly<Partial<Record<DType, StoredDType>>> = {
  float64: "F64",
  float32: "F32",
  int32: "I32",
  bool: "BOOL",
};

/**
 * A file in the safetensors format, with the tensors computed first where need be.
 * @throws RangeError for random keys and for a tensor called `__metadata__`.
 */
export async function encodeSafetensors(
  tensors: Iterable<readonly [name: string, value: Tensor]>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array> {
  const header: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) header.push(["__metadata__", metadata]);
  const parts: Uint8Array[] = [];
  const names = new Set<string>();
  let end = 0;
  for (const [name, value] of tensors) {
    const dtype = STORED[value.dtype];
    if (!dtype)
      throw new RangeError(
        `safetensors: ${JSON.stringify(name)} is a ${value.dtype}, which has no place in a file`,
      );
    if (name === "__metadata__" || names.has(name))
      throw new RangeError(`safetensors: the name ${JSON.stringify(name)} is taken`);
    names.add(name);
    const values = await data(value);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    header.push([name, { dtype, shape: value.shape, data_offsets: [end, end + bytes.length] }]);
    parts.push(bytes);
    end += bytes.length;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  // Spaces fill the header up to a multiple of eight bytes, so that the numbers are aligned.
  const padded = Math.ceil(json.length / 8) * 8;
  const file = new Uint8Array(8 + padded + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true);
  file.fill(0x20, 8, 8 + padded);
  file.set(json, 8);
  let at = 8 + padded;
  for (const part of parts) {
    file.set(part, at);
    at += part.length;
  }
  return file;
}
