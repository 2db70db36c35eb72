import { type DType, isFloat, isNumeric } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { broadcastShapes, sameShape, showShape } from "../shape.ts";
import { apply, type Primitive, type Tensor } from "../tensor.ts";
import { alignRanks, broadcastSource, unbroadcast } from "./broadcast.ts";
import { lift, liftAll, type TensorLike, zerosLike } from "./create.ts";

function predicate(
  name: string,
  onnx: string,
  takes: (dtype: DType) => boolean,
): (x: TensorLike, y: TensorLike) => Tensor {
  const primitive: Primitive<null> = {
    name,
    infer: ([x, y]) => [{ shape: broadcastShapes(name, x!.shape, y!.shape), dtype: "bool" }],
    batch: (inputs, batched) => [apply(primitive, alignRanks(inputs, batched), null)],
    lower: (ctx, inputs) => [ctx.emit(onnx, inputs)],
  };
  return (x, y) => {
    const [a, b] = liftAll(name, [x, y]) as [Tensor, Tensor];
    if (!takes(a.dtype)) throw new TensorError(name, `does not take ${a.dtype}${showShape(a.shape)}`);
    const shape = broadcastShapes(name, a.shape, b.shape);
    const left = broadcastSource(a, b, shape);
    return apply(primitive, [left, broadcastSource(b, left, shape)], null);
  };
}

const isBool = (dtype: DType): boolean => dtype === "bool";

/** `x = y`, broadcasting, as bool. NaN equals nothing. */
export const equal = predicate("equal", "Equal", (d) => d !== "key");
/** `x < y`, broadcasting, as bool. */
export const less = predicate("less", "Less", isNumeric);
/** `x ≤ y`, broadcasting, as bool. */
export const lessEqual = predicate("lessEqual", "LessOrEqual", isNumeric);
/** `x > y`, broadcasting, as bool. */
export const greater = predicate("greater", "Greater", isNumeric);
/** `x ≥ y`, broadcasting, as bool. */
export const greaterEqual = predicate("greaterEqual", "GreaterOrEqual", isNumeric);
export const logicalAnd = predicate("logicalAnd", "And", isBool);
export const logicalOr = predicate("logicalOr", "Or", isBool);
export const logicalXor = predicate("logicalXor", "Xor", isBool);

function test(name: string, onnx: string, takes: (dtype: DType) => boolean): (x: TensorLike) => Tensor {
  const primitive: Primitive<null> = {
    name,
    infer: ([x]) => [{ shape: x!.shape, dtype: "bool" }],
    batch: ([x]) => [apply(primitive, [x!], null)],
    lower: (ctx, inputs) => [ctx.emit(onnx, inputs)],
  };
  return (value) => {
    const x = lift(name, value, "float32");
    if (!takes(x.dtype)) throw new TensorError(name, `does not take ${x.dtype}${showShape(x.shape)}`);
    return apply(primitive, [x], null);
  };
}

export const logicalNot = test("logicalNot", "Not", isBool);
export const isNaN = test("isNaN", "IsNaN", isFloat);
/** `x ≠ y`, broadcasting, as bool. */
export const notEqual = (x: TensorLike, y: TensorLike): Tensor => logicalNot(equal(x, y));
/** Whether each element is neither NaN nor infinite. */
export const isFinite = (x: Tensor): Tensor =>
  logicalAnd(less(x, Number.POSITIVE_INFINITY), greater(x, Number.NEGATIVE_INFINITY));

const wherePrimitive: Primitive<null> = {
  name: "where",
  infer: ([c, x, y]) => [{ shape: broadcastShapes("where", c!.shape, x!.shape, y!.shape), dtype: x!.dtype }],
  vjp: ({ inputs: [c, x, y] }, [ct], needed) => [
    undefined,
    ct && needed[1] ? unbroadcast(where(c!, ct, 0), x!.shape) : undefined,
    ct && needed[2] ? unbroadcast(where(c!, 0, ct), y!.shape) : undefined,
  ],
  jvp: ({ inputs: [c], outputs: [out] }, [, tx, ty]) => {
    if (!tx && !ty) return [undefined];
    const t = where(c!, tx ?? 0, ty ?? 0);
    return [sameShape(t.shape, out!.shape) ? t : where(c!, tx ?? zerosLike(out!), ty ?? zerosLike(out!))];
  },
  batch: (inputs, batched) => [apply(wherePrimitive, alignRanks(inputs, batched), null)],
  lower: (ctx, inputs, node) => (node.outputs[0]!.dtype === "bool" ? undefined : [ctx.emit("Where", inputs)]),
  expand: ([c, x, y]) => [logicalOr(logicalAnd(c!, x!), logicalAnd(logicalNot(c!), y!))],
};

/** `x` where `condition` (bool) holds, else `y`; all three broadcast. */
export function where(condition: Tensor, x: TensorLike, y: TensorLike): Tensor {
  if (condition.dtype !== "bool")
    throw new TensorError(
      "where",
      `the condition is bool, not ${condition.dtype}${showShape(condition.shape)}`,
    );
  const [a, b] = liftAll("where", [x, y]) as [Tensor, Tensor];
  return apply(wherePrimitive, [condition, a, b], null);
}

const castPrimitive: Primitive<{ dtype: DType }> = {
  name: "cast",
  infer: ([x], { dtype }) => [{ shape: x!.shape, dtype }],
  vjp: ({ inputs: [x], attrs }, [ct]) => [
    ct && isFloat(x!.dtype) && isFloat(attrs.dtype) ? cast(ct, x!.dtype) : undefined,
  ],
  jvp: ({ inputs: [x], attrs }, [t]) => [
    t && isFloat(x!.dtype) && isFloat(attrs.dtype) ? cast(t, attrs.dtype) : undefined,
  ],
  batch: ([x], _, attrs) => [apply(castPrimitive, [x!], attrs)],
  lower: (ctx, inputs, node) => [ctx.cast(inputs[0]!, node.outputs[0]!.dtype)],
};

/** The same values in another dtype; floats are truncated to int32, and anything but 0 is `true`. */
export function cast(x: TensorLike, dtype: DType): Tensor {
  const t = lift("cast", x, dtype);
  if (t.dtype === dtype) return t;
  if (t.dtype === "key" || dtype === "key") throw new TensorError("cast", "random keys can't be cast");
  return apply(castPrimitive, [t], { dtype });
}
