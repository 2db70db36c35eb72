import {
  abs,
  add,
  cast,
  div,
  equal,
  exp,
  expandDims,
  greater,
  greaterEqual,
  log1p,
  max,
  maximum,
  mul,
  neg,
  softmax,
  sqrt,
  squeeze,
  sub,
  sum,
  type Tensor,
  TensorError,
  takeAlongAxis,
  treeLeaves,
  treeMap,
  where,
} from "@prior-art/tensor";
import { crossEntropy } from "@prior-art/toolkit/nn";
import { type GradientTransformation, stateless } from "@prior-art/toolkit/optim";

/** Floating-point formats by the bits of their significand, the hidden one included. */
const SIGNIFICAND_BITS = { float16: 11, float32: 24, float64: 53 } as const;
export type Precision = keyof typeof SIGNIFICAND_BITS;

/**
 * The margin of the label's logit from which on every other class's term is lost when it is added to 1: `-log 2⁻ᵇ`, 7.6,
 * 16.6 and 36.7 nats in float16, float32 and float64.
 */
export const collapseMargin = (precision: Precision): number => SIGNIFICAND_BITS[precision] * Math.LN2;

/** The nearest number of the precision's significand; exponents are not limited. */
function round(x: number, precision: Precision): number {
  if (precision === "float64" || x === 0 || !Number.isFinite(x)) return x;
  if (precision === "float32") return Math.fround(x);
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(x))) - SIGNIFICAND_BITS[precision] + 1);
  const units = x / unit;
  const floor = Math.floor(units);
  const rest = units - floor;
  // Ties go to the even neighbour, as in IEEE 754.
  return (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor) * unit;
}

export interface PreciseLoss {
  /** In nats. */
  readonly loss: number;
  /** By the logits. */
  readonly gradient: readonly number[];
  /** Whether the sum of exponentials equals the label's: loss and gradient of the label's logit are then exactly 0. */
  readonly collapsed: boolean;
}

/**
 * Softmax cross-entropy of one example with every operation rounded to a precision (section 3 of the paper).
 * @throws RangeError when the label is no class.
 */
export function preciseCrossEntropy(
  logits: readonly number[],
  label: number,
  precision: Precision,
): PreciseLoss {
  if (logits[label] === undefined)
    throw new RangeError(`preciseCrossEntropy: label ${label} is none of ${logits.length} classes`);
  const r = (x: number): number => round(x, precision);
  const largest = Math.max(...logits.map(r));
  const terms = logits.map((z) => r(Math.exp(r(r(z) - largest))));
  const total = terms.reduce((a, b) => r(a + b), 0);
  return {
    loss: r(r(Math.log(total)) - r(r(logits[label]) - largest)),
    gradient: terms.map((term, i) => r(r(term / total) - (i === label ? 1 : 0))),
    collapsed: total === terms[label],
  };
}

/**
 * Softmax cross-entropy computed in a precision of its own, whatever that of the network: the mean over examples, in the
 * logits' dtype.
 * @param logits `[examples, classes]`
 * @param labels int32 `[examples]`
 */
export function softmaxCrossEntropy(
  logits: Tensor,
  labels: Tensor,
  precision: "float32" | "float64",
): Tensor {
  const dtype = logits.dtype;
  return cast(crossEntropy(cast(logits, precision), labels), dtype);
}

/** `g` with `StableMax = Softmax ∘ g` : `log(x + 1)` from 0 on, `-log(1 - x)` below (eq. 6). */
function compressed(x: Tensor): Tensor {
  const isUpper = greaterEqual(x, 0);
  return where(isUpper, log1p(where(isUpper, x, 0)), neg(log1p(where(isUpper, 0, neg(x)))));
}

/**
 * Which examples have collapsed in the logits' own precision: the sum of all classes' terms equals the label's, as computed
 * (eq. 4). Terms are `exp(z - max)`, or `s(z)` of StableMax.
 * @param logits `[examples, classes]`
 * @param labels int32 `[examples]`
 * @returns bool `[examples]`
 * @throws TensorError when they don't fit.
 */
export function isCollapsed(
  logits: Tensor,
  labels: Tensor,
  normalizer: "softmax" | "stableMax" = "softmax",
): Tensor {
  if (logits.rank !== 2 || labels.shape.join() !== `${logits.shape[0]}`)
    throw new TensorError("isCollapsed", `labels ${labels.toString()} don't fit ${logits.toString()}`);
  const terms = normalizer === "softmax" ? exp(sub(logits, max(logits, -1, true))) : exp(compressed(logits));
  const own = takeAlongAxis(terms, expandDims(labels, -1));
  return equal(sum(terms, -1), squeeze(own, -1));
}

/**
 * StableMax `s(zᵢ)/Σ s(zⱼ)` with `s(x) = x + 1` from 0 on and `1/(1 - x)` below (eqs. 5 and 6): like Softmax, but terms grow
 * and fall only as fast as the logits, so that none is lost in the sum. Not the same after a shift of the logits.
 * @param logits `[…, classes]`
 */
export const stableMax = (logits: Tensor): Tensor => softmax(compressed(logits));

/**
 * `-log StableMax(z)_y`, the mean over examples, computed in float64 as in the authors' code, in the logits' dtype.
 * @param logits `[examples, classes]`
 * @param labels int32 `[examples]`
 */
export const stableMaxCrossEntropy = (logits: Tensor, labels: Tensor): Tensor =>
  cast(crossEntropy(compressed(cast(logits, "float64")), labels), logits.dtype);

const dot = (a: Tensor, b: Tensor): Tensor => sum(mul(a, b));

export interface OrthogonalGradientOptions {
  /** Give the projected gradient the length of the original, as the authors' code does; false by default. */
  readonly rescale?: boolean;
}

/**
 * ⊥Grad (eq. 10): `g⊥ = g - ⟨θ, g⟩/⟨θ, θ⟩ θ` for each tensor, so that no step lowers the loss by mere scaling of the weights.
 * Put it before an optimizer in a chain; a tensor of zeros keeps its gradient.
 */
export const orthogonalGradient = <P>({
  rescale = false,
}: OrthogonalGradientOptions = {}): GradientTransformation<P, null> =>
  stateless((gradients, params) =>
    treeMap(
      (g, theta) => {
        const projected = sub(g, mul(div(dot(theta, g), add(dot(theta, theta), 1e-30)), theta));
        if (!rescale) return projected;
        return mul(projected, div(sqrt(dot(g, g)), add(sqrt(dot(projected, projected)), 1e-30)));
      },
      gradients,
      params,
    ),
  );

/**
 * Cosine of the descent `-∇L` and the weights θ, over all tensors together: near 1 when training does little but scale the
 * weights (naive loss minimization). 0 where either is 0.
 */
export function scalingCosine(gradients: unknown, params: unknown): Tensor {
  const [g, p] = [treeLeaves(gradients), treeLeaves(params)];
  const total = (values: readonly Tensor[]): Tensor => values.reduce((a, b) => add(a, b));
  // Lengths first, tensor by tensor: squares of vanishing gradients leave float32's range.
  const scale = treeLeaves(g)
    .map((t) => max(abs(t)))
    .reduce((a, b) => maximum(a, b));
  const safe = where(greater(scale, 0), scale, 1);
  const scaled = g.map((t) => div(t, safe));
  const inner = total(scaled.map((t, i) => dot(t, p[i]!)));
  const lengths = sqrt(mul(total(scaled.map((t) => dot(t, t))), total(p.map((t) => dot(t, t)))));
  return where(greater(lengths, 0), div(neg(inner), where(greater(lengths, 0), lengths, 1)), 0);
}
