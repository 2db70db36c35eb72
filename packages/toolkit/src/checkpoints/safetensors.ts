import { type Tensor, type TypedArray, tensor } from "@prior-art/tensor";

/** A file that is not what its format says, with the reason in the message. */
export class InvalidCheckpointError extends Error {
  override readonly name = "InvalidCheckpointError";
}

/** One array of a file, on the host. */
export interface StoredArray {
  readonly dtype: "float32" | "float64" | "int32" | "bool";
  readonly shape: readonly number[];
  /** Row-major values. */
  readonly values: TypedArray;
}

export interface SafetensorsFile {
  readonly tensors: Readonly<Record<string, StoredArray>>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Longest header that is read, in bytes, as in the reference implementation. */
const LONGEST_HEADER = 100_000_000;

/** Bytes an element takes, and how its bytes become values. */
const FORMATS = {
  F64: { bytes: 8, dtype: "float64", read: (b: ArrayBuffer) => new Float64Array(b) },
  F32: { bytes: 4, dtype: "float32", read: (b: ArrayBuffer) => new Float32Array(b) },
  F16: { bytes: 2, dtype: "float32", read: (b: ArrayBuffer) => Float32Array.from(new Uint16Array(b), half) },
  BF16: { bytes: 2, dtype: "float32", read: (b: ArrayBuffer) => brainFloats(new Uint16Array(b)) },
  I64: { bytes: 8, dtype: "int32", read: (b: ArrayBuffer) => narrow(new BigInt64Array(b)) },
  I32: { bytes: 4, dtype: "int32", read: (b: ArrayBuffer) => new Int32Array(b) },
  U8: { bytes: 1, dtype: "int32", read: (b: ArrayBuffer) => Int32Array.from(new Uint8Array(b)) },
  BOOL: { bytes: 1, dtype: "bool", read: (b: ArrayBuffer) => new Uint8Array(b) },
} as const;
type Format = keyof typeof FORMATS;

const formatOf = { float64: "F64", float32: "F32", int32: "I32", bool: "BOOL" } as const;

/** Writes arrays in the safetensors format: a JSON header with types, shapes and places, then the bytes. */
export function encodeSafetensors(
  tensors: Readonly<Record<string, StoredArray>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = Object.keys(metadata).length ? { __metadata__: metadata } : {};
  let end = 0;
  for (const [name, { dtype, shape, values }] of Object.entries(tensors)) {
    const start = end;
    end += values.byteLength;
    header[name] = { dtype: formatOf[dtype], shape, data_offsets: [start, end] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  // Spaces up to a multiple of eight keep the arrays aligned.
  const length = Math.ceil(json.length / 8) * 8;
  const file = new Uint8Array(8 + length + end).fill(0x20, 8, 8 + length);
  new DataView(file.buffer).setBigUint64(0, BigInt(length), true);
  file.set(json, 8);
  let at = 8 + length;
  for (const { values } of Object.values(tensors)) {
    file.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    at += values.byteLength;
  }
  return file;
}

/**
 * Reads a safetensors file. Half and brain floats become float32, 64-bit integers int32.
 *
 * @throws InvalidCheckpointError when the header is not one, or places arrays outside the file, over each other or with
 *   gaps, or in a size that does not fit their shape.
 */
export function decodeSafetensors(file: Uint8Array): SafetensorsFile {
  const { header, start } = readHeader(file);
  const { __metadata__: metadata = {}, ...entries } = header;
  if (!isRecord(metadata) || Object.values(metadata).some((text) => typeof text !== "string"))
    throw new InvalidCheckpointError("the metadata is not a table of texts");
  const places = Object.entries(entries).map(([name, entry]) => ({ name, ...placeOf(name, entry) }));
  places.sort((a, b) => a.from - b.from || a.to - b.to);
  let end = 0;
  for (const { name, from, to } of places) {
    if (from !== end) throw new InvalidCheckpointError(`"${name}" starts at byte ${from}, not at ${end}`);
    end = to;
  }
  if (start + end !== file.length)
    throw new InvalidCheckpointError(`the arrays end at byte ${start + end}, the file at ${file.length}`);
  const tensors = places.map(({ name, from, to, format, shape }) => {
    const { dtype, read } = FORMATS[format];
    // A copy: a Buffer's own `slice` would share the memory and its alignment.
    const bytes = new Uint8Array(file.subarray(start + from, start + to)).buffer;
    return [name, { dtype, shape, values: read(bytes) }] as const;
  });
  return { tensors: Object.fromEntries(tensors), metadata: metadata as Record<string, string> };
}

/** The array as a tensor. */
export function toTensor({ values, shape, dtype }: StoredArray): Tensor {
  return tensor(values, { shape: [...shape], dtype });
}

function readHeader(file: Uint8Array) {
  if (file.length < 8) throw new InvalidCheckpointError("the file is too short for a header");
  const size = new DataView(file.buffer, file.byteOffset).getBigUint64(0, true);
  if (size > BigInt(Math.min(LONGEST_HEADER, file.length - 8)))
    throw new InvalidCheckpointError(`a header of ${size} bytes does not fit the file`);
  const start = 8 + Number(size);
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(file.subarray(8, start)));
  } catch {
    throw new InvalidCheckpointError("the header is not JSON");
  }
  if (!isRecord(header)) throw new InvalidCheckpointError("the header is not a table");
  return { header, start };
}

function placeOf(name: string, entry: unknown) {
  const { dtype, shape, data_offsets: offsets } = isRecord(entry) ? entry : {};
  if (typeof dtype !== "string" || !Object.hasOwn(FORMATS, dtype))
    throw new InvalidCheckpointError(`"${name}" has the type ${JSON.stringify(dtype)}, which is not read`);
  if (!isCounts(shape)) throw new InvalidCheckpointError(`"${name}" has no shape`);
  if (!isCounts(offsets) || offsets.length !== 2)
    throw new InvalidCheckpointError(`"${name}" has no place in the file`);
  const [from, to] = offsets as [number, number];
  const format = dtype as Format;
  const bytes = shape.reduce((product, n) => product * n, FORMATS[format].bytes);
  if (to - from !== bytes)
    throw new InvalidCheckpointError(`"${name}" takes ${to - from} bytes, its shape asks for ${bytes}`);
  return { from, to, format, shape };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);

/** IEEE 754 binary16. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The upper half of a binary32 each. */
function brainFloats(bits: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(bits, (b) => b << 16).buffer);
}

function narrow(values: BigInt64Array): Int32Array {
  return Int32Array.from(values, (value) => {
    if (value !== BigInt.asIntN(32, value))
      throw new InvalidCheckpointError(`the integer ${value} does not fit 32 bits`);
    return Number(value);
  });
}
