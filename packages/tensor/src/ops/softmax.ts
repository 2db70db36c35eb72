import { isFloat } from "../dtype.ts";
import { TensorError } from "../errors.ts";
import { normalizeAxis, range, showShape } from "../shape.ts";
import { apply, applyAll, type Primitive, type Tensor } from "../tensor.ts";
import { add, exp, mul, reciprocal, sqrt, sub } from "./elementwise.ts";
import { mean, sum, variance } from "./reduce.ts";
import { reshape } from "./shape.ts";
import { rsqrt } from "./special.ts";

interface AxisAttrs {
  readonly axis: number;
}

function axisPrimitive(
  name: string,
  onnx: string,
  derivative: (t: Tensor, y: Tensor, axis: number) => { vjp: Tensor; jvp: Tensor },
): Primitive<AxisAttrs> {
  const primitive: Primitive<AxisAttrs> = {
    name,
    infer: ([x]) => [x!],
    vjp: ({ outputs: [y], attrs: { axis } }, [ct]) => [ct && derivative(ct, y!, axis).vjp],
    jvp: ({ outputs: [y], attrs: { axis } }, [t]) => [t && derivative(t, y!, axis).jvp],
    batch: ([x], _, { axis }) => [apply(primitive, [x!], { axis: axis + 1 })],
    lower: (ctx, inputs, node) => [ctx.emit(onnx, inputs, { axis: (node.attrs as AxisAttrs).axis })],
  };
  return primitive;
}

// Unused branches of these records are never lowered.
const softmaxPrimitive = axisPrimitive("softmax", "Softmax", (t, y, axis) => {
  const symmetric = mul(y, sub(t, sum(mul(t, y), axis, true)));
  return { vjp: symmetric, jvp: symmetric };
});
const logSoftmaxPrimitive = axisPrimitive("logSoftmax", "LogSoftmax", (t, y, axis) => ({
  vjp: sub(t, mul(exp(y), sum(t, axis, true))),
  jvp: sub(t, sum(mul(exp(y), t), axis, true)),
}));

function alongAxis(primitive: Primitive<AxisAttrs>, x: Tensor, axis: number): Tensor {
  if (!isFloat(x.dtype))
    throw new TensorError(primitive.name, `takes floats, not ${x.dtype}${showShape(x.shape)}`);
  return apply(primitive, [x], { axis: normalizeAxis(primitive.name, axis, x.rank) });
}

/** `exp(x) / Σ exp(x)` along `axis`, without overflow. */
export const softmax = (x: Tensor, axis = -1): Tensor => alongAxis(softmaxPrimitive, x, axis);
/** `log(softmax(x))` along `axis`, without overflow. */
export const logSoftmax = (x: Tensor, axis = -1): Tensor => alongAxis(logSoftmaxPrimitive, x, axis);

/** Outputs: the standardized values, and 1/σ with the last axis of size 1. */
const standardizePrimitive: Primitive<{ epsilon: number }> = {
  name: "standardize",
  infer: ([x]) => [x!, { shape: [...x!.shape.slice(0, -1), 1], dtype: x!.dtype }],
  vjp: ({ outputs: [y, inverse] }, [ct, ctInverse]) => {
    // dy/dx is symmetric up to the factor 1/σ, and d(1/σ)/dx = -y/(n σ²).
    const fromY = ct && mul(inverse!, sub(sub(ct, mean(ct, -1, true)), mul(y!, mean(mul(ct, y!), -1, true))));
    const fromInverse =
      ctInverse && mul(ctInverse, mul(mul(inverse!, inverse!), mul(y!, -1 / y!.shape.at(-1)!)));
    return [fromY && fromInverse ? add(fromY, fromInverse) : (fromY ?? fromInverse)];
  },
  jvp: ({ outputs: [y, inverse] }, [t]) => {
    if (!t) return [undefined, undefined];
    const along = mean(mul(t, y!), -1, true);
    return [
      mul(inverse!, sub(sub(t, mean(t, -1, true)), mul(y!, along))),
      mul(mul(inverse!, inverse!), mul(along, -1)),
    ];
  },
  batch: ([x], _, attrs) => applyAll(standardizePrimitive, [x!], attrs),
  lower: (ctx, inputs, node) => {
    const x = node.inputs[0]!;
    if (x.dtype !== "float32") return undefined;
    const unit = ctx.array(new Float32Array(x.shape.at(-1)!).fill(1), [x.shape.at(-1)!], "float32");
    const { epsilon } = node.attrs as { epsilon: number };
    const [y, , inverse] = ctx.emitAll("LayerNormalization", [inputs[0]!, unit], 3, {
      axis: -1,
      epsilon: { float: epsilon },
    });
    return [y!, inverse!];
  },
  expand: ([x], { epsilon }) => {
    const inverse = rsqrt(add(variance(x!, -1, { keepDims: true }), epsilon));
    return [mul(sub(x!, mean(x!, -1, true)), inverse), inverse];
  },
};

/** `x` with mean 0 and variance 1 along its last axis; `epsilon` is added to the variance. */
export function standardize(x: Tensor, epsilon = 1e-5): Tensor {
  if (!isFloat(x.dtype) || x.rank === 0)
    throw new TensorError("standardize", `takes floats with an axis, not ${x.toString()}`);
  return applyAll(standardizePrimitive, [x], { epsilon })[0]!;
}

/** Layer normalization over the last axis, then `scale · x + offset` (each `[features]`). */
export function layerNorm(x: Tensor, scale?: Tensor, offset?: Tensor, epsilon = 1e-5): Tensor {
  const y = standardize(x, epsilon);
  const scaled = scale ? mul(y, scale) : y;
  return offset ? add(scaled, offset) : scaled;
}

/** `x / √(mean(x²) + epsilon)` over the last axis, times `scale` (`[features]`). */
export function rmsNorm(x: Tensor, scale?: Tensor, epsilon = 1e-6): Tensor {
  const y = mul(x, rsqrt(add(mean(mul(x, x), -1, true), epsilon)));
  return scale ? mul(y, scale) : y;
}

/** Statistics of a batch for `batchNorm`, per channel. */
export interface BatchStatistics {
  readonly mean: Tensor;
  readonly variance: Tensor;
}

/** Mean and (biased) variance over all axes but `channelAxis`. */
export function batchStatistics(x: Tensor, channelAxis = 1): BatchStatistics {
  const at = normalizeAxis("batchStatistics", channelAxis, x.rank);
  const axes = range(x.rank).filter((a) => a !== at);
  return { mean: mean(x, axes), variance: variance(x, axes) };
}

/** `(x - mean) / √(variance + epsilon) · scale + offset`, each given per channel (axis 1, or the last of a matrix). */
export function batchNorm(
  x: Tensor,
  statistics: BatchStatistics,
  scale?: Tensor,
  offset?: Tensor,
  { epsilon = 1e-5, channelAxis = 1 } = {},
): Tensor {
  const at = normalizeAxis("batchNorm", channelAxis, x.rank);
  const perChannel = (t: Tensor): Tensor =>
    reshape(
      t,
      x.shape.map((n, i) => (i === at ? n : 1)),
    );
  const factor = reciprocal(sqrt(add(statistics.variance, epsilon)));
  const scaled = mul(sub(x, perChannel(statistics.mean)), perChannel(scale ? mul(factor, scale) : factor));
  return offset ? add(scaled, perChannel(offset)) : scaled;
}

/** Mean over examples of `-Σ targets · log softmax(logits)`; logits and targets (distributions, such as `oneHot` gives) are `[…, classes]`. */
export function crossEntropy(logits: Tensor, targets: Tensor): Tensor {
  return mul(mean(sum(mul(targets, logSoftmax(logits)), -1)), -1);
}
