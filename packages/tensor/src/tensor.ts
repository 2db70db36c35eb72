import { type DType, type TypedArray, wordsPerElement } from "./dtype.ts";
import { callSite, TensorError } from "./errors.ts";
import type { LowerContext } from "./onnx/lower.ts";
import { type Shape, showShape, sizeOf } from "./shape.ts";

/** Shape and dtype: all that is known of a value before it is computed. */
export interface Aval {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What a derivative rule sees of the node it differentiates. */
export interface RuleContext<A> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly attrs: A;
  readonly node: Node;
}

export type Maybe<T> = T | undefined;

/**
 * One primitive operation, with all its rules. Derivative and batching rules are written with the public
 * operations, so that they can themselves be differentiated and batched. `undefined` stands for a zero
 * (co)tangent. Under `batch`, batched inputs carry the batch axis first, and all outputs must too.
 */
// biome-ignore lint/suspicious/noExplicitAny: attributes differ by primitive; each definition is typed.
export interface Primitive<A = any> {
  readonly name: string;
  infer(inputs: readonly Tensor[], attrs: A): Aval[];
  vjp?(
    ctx: RuleContext<A>,
    cotangents: readonly Maybe<Tensor>[],
    needed: readonly boolean[],
  ): readonly Maybe<Tensor>[];
  jvp?(ctx: RuleContext<A>, tangents: readonly Maybe<Tensor>[]): readonly Maybe<Tensor>[];
  batch?(inputs: readonly Tensor[], batched: readonly boolean[], attrs: A, size: number): readonly Tensor[];
  /** Emits ONNX nodes and returns the output names, or undefined to have `expand` used instead. */
  lower?(ctx: LowerContext, inputs: readonly string[], node: Node): readonly string[] | undefined;
  /** Worked out by the host before a graph runs, as random keys and draws are. */
  readonly onHost?: boolean;
  /** The same values from other primitives, for backends or dtypes without a kernel. */
  expand?(inputs: readonly Tensor[], attrs: A): readonly Tensor[];
}

let nextId = 0;
/** The id that the next node will get; nodes made while a function is traced have ids at or above it. */
export const idMark = (): number => nextId;

/** An application of a primitive. Ids grow, so that ascending ids are a topological order. */
export class Node {
  readonly id = nextId++;
  readonly outputs: Tensor[];
  /** The user's source line, recorded only under `debugNans`. */
  site: string | undefined;
  constructor(
    readonly primitive: Primitive,
    readonly inputs: readonly Tensor[],
    public attrs: unknown,
    avals: readonly Aval[],
  ) {
    this.outputs = avals.map((aval, index) => new Tensor(this, index, aval.shape, aval.dtype));
    if (recordSites.on) this.site = callSite();
  }
}

/** Whether new nodes remember the source line that made them. */
export const recordSites = { on: false };

/** An immutable value of static shape and dtype, computed when it is asked for. */
export class Tensor {
  constructor(
    /** @internal The node that computes it; a constant once it has been computed. */
    public node: Node,
    /** @internal */
    public index: number,
    readonly shape: Shape,
    readonly dtype: DType,
  ) {}

  /** Number of axes. */
  get rank(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** The values in row-major order; they are computed first if need be. Don't write to them. */
  data(): Promise<TypedArray> {
    return readers.data(this);
  }

  /** The value of a tensor of one element. Bools come as 0 or 1. */
  item(): Promise<number> {
    return readers.item(this);
  }

  /** The values as nested arrays (a number for a tensor without axes); bools as booleans. */
  toArray(): Promise<Nested> {
    return readers.toArray(this);
  }

  toString(): string {
    return `Tensor(${this.dtype}${showShape(this.shape)})`;
  }

  /** JavaScript arithmetic on tensors is an error: values are not known while a function is traced. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.toString();
    throw new TensorError(
      "number",
      `${this.toString()} was used as a JavaScript number or condition; use add, mul, where, cond …, or await item()`,
    );
  }
}

/** Numbers nested as deep as the tensor has axes. */
export type Nested = number | boolean | readonly Nested[];

/** How values are read; filled in by `values.ts`, so that the graph does not depend on the runtime. */
export const readers = {} as {
  data(t: Tensor): Promise<TypedArray>;
  item(t: Tensor): Promise<number>;
  toArray(t: Tensor): Promise<Nested>;
};

/** Applies a primitive; shape and dtype errors are thrown here, at the caller's line. */
export function applyAll<A>(primitive: Primitive<A>, inputs: readonly Tensor[], attrs: A): readonly Tensor[] {
  return new Node(primitive, inputs, attrs, primitive.infer(inputs, attrs)).outputs;
}

/** Applies a primitive of one output. */
export function apply<A>(primitive: Primitive<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  return applyAll(primitive, inputs, attrs)[0]!;
}

export interface ConstantAttrs {
  readonly value: TypedArray;
  /** The runtime's own handle on the same memory, kept so that state is fed back without wrapping it again. */
  handle?: unknown;
}

export const constantPrimitive: Primitive<ConstantAttrs> = {
  name: "constant",
  infer: () => {
    throw new Error("constants carry their own shape");
  },
};

/** A tensor over `value`, which must not be written to afterwards. */
export function constant(value: TypedArray, shape: Shape, dtype: DType, handle?: unknown): Tensor {
  if (value.length !== sizeOf(shape) * wordsPerElement(dtype))
    throw new TensorError("tensor", `${value.length} values do not fill shape ${showShape(shape)}`);
  return new Node(constantPrimitive, [], { value, handle }, [{ shape, dtype }]).outputs[0]!;
}

/** The value of a computed tensor, or undefined. */
export function concreteValue(t: Tensor): TypedArray | undefined {
  return t.node.primitive === constantPrimitive ? (t.node.attrs as ConstantAttrs).value : undefined;
}

/** The number in a computed tensor of one element, or undefined. */
export function concreteScalar(t: Tensor): number | undefined {
  const value = concreteValue(t);
  return value !== undefined && t.dtype !== "key" && value.length === 1 ? value[0] : undefined;
}

/** Makes a tensor a constant once its value is known, letting go of the graph behind it. */
export function settle(t: Tensor, value: TypedArray, handle?: unknown): void {
  t.node = constant(value, t.shape, t.dtype, handle).node;
  t.index = 0;
}

export interface PlaceholderAttrs {
  readonly trace: string;
}

export const placeholderPrimitive: Primitive<PlaceholderAttrs> = {
  name: "placeholder",
  infer: () => {
    throw new Error("placeholders carry their own shape");
  },
};

/** An input of a function being traced by `trace` (`"jit"`, `"vmap"`, …). */
export function placeholder(aval: Aval, trace: string): Tensor {
  return new Node(placeholderPrimitive, [], { trace }, [{ shape: aval.shape, dtype: aval.dtype }])
    .outputs[0]!;
}

export const isPlaceholder = (t: Tensor): boolean => t.node.primitive === placeholderPrimitive;
