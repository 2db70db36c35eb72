/** Element types. `key` is a counter-based random key (two 32-bit words an element); it lives on the host only. */
export type DType = "float32" | "float64" | "int32" | "bool" | "key";

/** Host storage of a tensor: one typed array per dtype; `bool` is 0 or 1 in bytes, `key` two words an element. */
export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array | Uint32Array;

const constructors = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  bool: Uint8Array,
  key: Uint32Array,
} as const;

/** Words of storage that one element takes. */
export const wordsPerElement = (dtype: DType): number => (dtype === "key" ? 2 : 1);

/** A zeroed array that holds `size` elements of `dtype`. */
export function allocate(dtype: DType, size: number): TypedArray {
  return new constructors[dtype](size * wordsPerElement(dtype));
}

/** Copies numbers into storage of `dtype`. Values are rounded as the typed array does; any non-zero is `true`. */
export function toTypedArray(dtype: DType, values: ArrayLike<number | boolean>): TypedArray {
  if (dtype === "bool") return Uint8Array.from(values as ArrayLike<number>, (v) => (v ? 1 : 0));
  return constructors[dtype].from(values as ArrayLike<number>);
}

/** The dtype whose storage `array` is, or undefined when no tensor is stored that way. */
export function dtypeOfArray(array: unknown): DType | undefined {
  if (array instanceof Float32Array) return "float32";
  if (array instanceof Float64Array) return "float64";
  if (array instanceof Int32Array) return "int32";
  if (array instanceof Uint8Array) return "bool";
  return undefined;
}

export const isFloat = (dtype: DType): boolean => dtype === "float32" || dtype === "float64";
export const isNumeric = (dtype: DType): boolean => isFloat(dtype) || dtype === "int32";
