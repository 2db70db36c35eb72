import { type DType, isFloat, isNumeric } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { broadcastShapes, sameShape, showShape } from "../shape.ts";
import { apply, concreteScalar, type Primitive, type Tensor } from "../tensor.ts";
import { alignRanks, broadcastSource, unbroadcast } from "./broadcast.ts";
import { cast, equal, greater, where } from "./compare.ts";
import { full, lift, liftAll, type TensorLike, zerosLike } from "./create.ts";
import { erfDouble } from "./erf.ts";
import { log1p } from "./special.ts";

type DTypeCheck = (dtype: DType) => boolean;

function requireDType(op: string, t: Tensor, check: DTypeCheck, wanted: string): void {
  if (!check(t.dtype)) throw new TensorError(op, `takes ${wanted}, not ${t.dtype}${showShape(t.shape)}`);
}

interface UnaryRules {
  /** Local derivative from the input and the output; undefined where it is zero everywhere. */
  readonly derivative?: (x: Tensor, y: Tensor) => Tensor;
  readonly takes?: "float" | "numeric";
  /** The same function from other primitives, where the runtime has no kernel… */
  readonly composed?: (x: Tensor) => Tensor;
  /** …for this dtype only. */
  readonly composedFor?: DType;
}

/** Defines an element-wise primitive of one operand, with its ONNX operator (null: always composed). */
export function unary(name: string, onnx: string | null, rules: UnaryRules): (x: TensorLike) => Tensor {
  const { derivative, composed, composedFor } = rules;
  const primitive: Primitive<null> = {
    name,
    infer: ([x]) => [x!],
    vjp: ({ inputs, outputs }, [ct]) => [derivative && ct && mul(ct, derivative(inputs[0]!, outputs[0]!))],
    jvp: ({ inputs, outputs }, [t]) => [derivative && t && mul(t, derivative(inputs[0]!, outputs[0]!))],
    batch: ([x]) => [apply(primitive, [x!], null)],
    lower: (ctx, inputs, node) =>
      onnx === null || node.inputs[0]!.dtype === composedFor ? undefined : [ctx.emit(onnx, inputs)],
    ...(composed && { expand: ([x]: readonly Tensor[]) => [composed(x!)] }),
  };
  const [check, wanted]: [DTypeCheck, string] =
    rules.takes === "numeric" ? [isNumeric, "numbers"] : [isFloat, "float32 or float64"];
  return (value) => {
    const x = lift(name, value, "float32");
    requireDType(name, x, check, wanted);
    return apply(primitive, [x], null);
  };
}

/** `-x`. */
export const neg = unary("neg", "Neg", { takes: "numeric", derivative: (x) => full(x.shape, -1, x.dtype) });
/** `|x|`; its derivative at 0 is 0. */
export const abs = unary("abs", "Abs", { takes: "numeric", derivative: (x) => sign(x) });
/** -1, 0 or 1; derivative 0. */
export const sign = unary("sign", "Sign", { takes: "numeric" });
export const floor = unary("floor", "Floor", {});
export const ceil = unary("ceil", "Ceil", {});
/** Nearest whole number, halves to even; derivative 0. */
export const round = unary("round", "Round", {});
export const exp = unary("exp", "Exp", { derivative: (_, y) => y });
/** Natural logarithm. */
export const log = unary("log", "Log", { derivative: (x) => reciprocal(x) });
export const sqrt = unary("sqrt", "Sqrt", { derivative: (_, y) => div(0.5, y) });
export const reciprocal = unary("reciprocal", "Reciprocal", { derivative: (_, y) => neg(mul(y, y)) });
export const sin = unary("sin", "Sin", { derivative: (x) => cos(x) });
export const cos = unary("cos", "Cos", { derivative: (x) => neg(sin(x)) });
export const tanh = unary("tanh", "Tanh", { derivative: (_, y) => sub(1, mul(y, y)) });
/** `1 / (1 + exp(-x))`. */
export const sigmoid = unary("sigmoid", "Sigmoid", { derivative: (_, y) => mul(y, sub(1, y)) });
/** The error function `2/√π ∫₀ˣ exp(-t²) dt`. */
export const erf = unary("erf", "Erf", {
  derivative: (x) => mul(2 / Math.sqrt(Math.PI), exp(neg(mul(x, x)))),
  composed: (x) => erfDouble(x),
  composedFor: "float64",
});
/** `log(1 + exp(x))`, without overflow. */
export const softplus = unary("softplus", "Softplus", {
  derivative: (x) => sigmoid(x),
  composed: (x) => add(relu(x), log1p(exp(neg(abs(x))))),
  composedFor: "float64",
});
/** `max(x, 0)`; its derivative at 0 is 0. */
export const relu = unary("relu", "Relu", { derivative: (_, y) => cast(greater(y, 0), y.dtype) });

interface BinaryRules {
  /** Partial derivatives of the output by each operand times a (co)tangent. */
  readonly left?: (t: Tensor, x: Tensor, y: Tensor, out: Tensor) => Tensor;
  readonly right?: (t: Tensor, x: Tensor, y: Tensor, out: Tensor) => Tensor;
}

function binary(name: string, onnx: string, rules: BinaryRules): Primitive<null> {
  const primitive: Primitive<null> = {
    name,
    infer: ([x, y]) => [{ shape: broadcastShapes(name, x!.shape, y!.shape), dtype: x!.dtype }],
    vjp: ({ inputs: [x, y], outputs: [out] }, [ct], needed) => {
      const partial = (rule: BinaryRules["left"], operand: Tensor, at: number) =>
        ct && rule && needed[at] ? unbroadcast(rule(ct, x!, y!, out!), operand.shape) : undefined;
      return [partial(rules.left, x!, 0), partial(rules.right, y!, 1)];
    },
    jvp: ({ inputs: [x, y], outputs: [out] }, [tx, ty]) => {
      const left = tx && rules.left?.(tx, x!, y!, out!);
      const right = ty && rules.right?.(ty, x!, y!, out!);
      const sum = left && right ? add(left, right) : (left ?? right);
      return [sum && broadcastTangent(sum, out!)];
    },
    batch: (inputs, batched) => [apply(primitive, alignRanks(inputs, batched), null)],
    lower: (ctx, inputs) => [ctx.emit(onnx, inputs)],
  };
  return primitive;
}

/** A tangent has its output's shape even where only a broadcast operand carries one. */
const broadcastTangent = (t: Tensor, out: Tensor): Tensor =>
  sameShape(t.shape, out.shape) ? t : add(t, zerosLike(out));

const addPrimitive = binary("add", "Add", { left: (t) => t, right: (t) => t });
const subPrimitive = binary("sub", "Sub", { left: (t) => t, right: (t) => neg(t) });
const mulPrimitive = binary("mul", "Mul", { left: (t, _, y) => mul(t, y), right: (t, x) => mul(t, x) });
const divPrimitive = binary("div", "Div", {
  left: (t, _, y) => div(t, y),
  right: (t, _, y, out) => neg(mul(t, div(out, y))),
});
const powPrimitive = binary("pow", "Pow", {
  left: (t, x, y) => mul(t, mul(y, pow(x, sub(y, 1)))),
  // 0^y has derivative 0 by y; the inner where keeps log(0) out of the product.
  right: (t, x, _, out) => mul(t, mul(out, log(where(greater(x, 0), x, 1)))),
});
const half = (t: Tensor, wins: Tensor, tie: Tensor): Tensor => where(wins, t, where(tie, mul(t, 0.5), 0));
const maximumPrimitive = binary("maximum", "Max", {
  left: (t, x, y) => half(t, greater(x, y), equal(x, y)),
  right: (t, x, y) => half(t, greater(y, x), equal(x, y)),
});
const minimumPrimitive = binary("minimum", "Min", {
  left: (t, x, y) => half(t, greater(y, x), equal(x, y)),
  right: (t, x, y) => half(t, greater(x, y), equal(x, y)),
});
const modPrimitive = binary("mod", "Mod", { left: (t) => t });

function operands(op: string, x: TensorLike, y: TensorLike): [Tensor, Tensor] {
  const [a, b] = liftAll(op, [x, y]) as [Tensor, Tensor];
  requireDType(op, a, isNumeric, "numbers");
  const shape = broadcastShapes(op, a.shape, b.shape);
  const left = broadcastSource(a, b, shape);
  return [left, broadcastSource(b, left, shape)];
}

const isScalarOf = (t: Tensor, value: number): boolean => t.rank === 0 && concreteScalar(t) === value;

/** `x + y`, broadcasting. */
export function add(x: TensorLike, y: TensorLike): Tensor {
  const [a, b] = operands("add", x, y);
  if (isScalarOf(b, 0)) return a;
  if (isScalarOf(a, 0)) return b;
  return apply(addPrimitive, [a, b], null);
}

/** `x - y`, broadcasting. */
export function sub(x: TensorLike, y: TensorLike): Tensor {
  const [a, b] = operands("sub", x, y);
  return isScalarOf(b, 0) ? a : apply(subPrimitive, [a, b], null);
}

/** `x · y` element by element, broadcasting. */
export function mul(x: TensorLike, y: TensorLike): Tensor {
  const [a, b] = operands("mul", x, y);
  if (isScalarOf(b, 1)) return a;
  if (isScalarOf(a, 1)) return b;
  if (isScalarOf(b, -1)) return neg(a);
  if (isScalarOf(a, -1)) return neg(b);
  return apply(mulPrimitive, [a, b], null);
}

/** `x / y`, broadcasting; int32 quotients are truncated towards 0. */
export function div(x: TensorLike, y: TensorLike): Tensor {
  const [a, b] = operands("div", x, y);
  return isScalarOf(b, 1) ? a : apply(divPrimitive, [a, b], null);
}

/** `x^y`, broadcasting; the derivative by `y` is taken as 0 where `x ≤ 0`. */
export function pow(x: TensorLike, y: TensorLike): Tensor {
  const [a, b] = operands("pow", x, y);
  const exponent = b.rank === 0 ? concreteScalar(b) : undefined;
  if (exponent === 0) return full(a.shape, 1, a.dtype);
  if (exponent === 1) return a;
  if (exponent === 2) return mul(a, a);
  if (isFloat(a.dtype)) {
    if (exponent === 0.5) return sqrt(a);
    if (exponent === -1) return reciprocal(a);
  }
  return apply(powPrimitive, [a, b], null);
}

/** The larger operand, broadcasting; ties share the derivative. */
export function maximum(x: TensorLike, y: TensorLike): Tensor {
  return apply(maximumPrimitive, operands("maximum", x, y), null);
}

/** The smaller operand, broadcasting; ties share the derivative. */
export function minimum(x: TensorLike, y: TensorLike): Tensor {
  return apply(minimumPrimitive, operands("minimum", x, y), null);
}

/** The remainder `x - y·floor(x/y)`, with the sign of `y`. */
export function mod(x: TensorLike, y: TensorLike): Tensor {
  const [a, b] = operands("mod", x, y);
  return isFloat(a.dtype) ? sub(a, mul(b, floor(div(a, b)))) : apply(modPrimitive, [a, b], null);
}
